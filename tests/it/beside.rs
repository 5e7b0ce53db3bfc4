//! One-off commands beside an application: what they see and get, how they end, who may, and that nothing is left.
//! At terminals they are in `beside_terminals.rs`.

use super::bench::lives;
use super::support::world::run;
use super::support::{Running, World};
use nix::sys::signal::Signal;
use std::process::Command;
use std::time::{Duration, Instant};

/// Waits for something that another process does.
pub fn comes_true(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn streams_stay_apart_and_the_exit_code_is_the_commands_through_both_doors() {
    let world = World::new();
    world.project("blog").saying("hello").push("main").succeeds();
    let script = "cat; echo loud >&2; exit 7";
    let here = world.commis_with_input(&["run", "blog", "--", "sh", "-c", script], "typed\n");
    let there = run(
        world.ssh_command("admin", &["run", "blog", "--", "sh", "-c", &format!("'{script}'")]),
        "typed\n",
        "ssh run",
    );
    for ran in [here, there] {
        ran.failed(7);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("typed\n", "loud\n"), "{ran:?}");
    }
    world.commis(&["run", "blog", "true"]).succeeded();
    world.commis(&["run", "blog", "--", "sh", "-c", "kill -9 $$"]).failed(137);
    world.commis(&["run", "blog", "--", "sh", "-c", "kill -15 $$"]).failed(143);
    world.commis(&["run", "blog", "--", "no-such-program"]).failed(127).says("error: no-such-program: no such program");
    world.commis(&["run", "blog", "--", "./page.txt"]).failed(126).says("error: ").says("not executable");
    world.commis(&["run", "blog"]).failed(64);
    world.commis(&["run", "blog", "--json", "--", "true"]).failed(64).says("not JSON");
}

#[test]
fn it_has_what_the_application_has_but_no_port() {
    let world = World::new();
    let blog =
        world.project("blog").saying("hello").write(".profile.d/a.sh", "export FROM_PROFILE=yes\n").commit("profile");
    world.commis(&["project", "create", "blog"]).succeeded();
    world.commis(&["config", "set", "blog", "GREETING=hi there"]).succeeded();
    blog.push("main").succeeds();
    let said =
        |script: &str| world.commis(&["run", "blog", "--", "sh", "-c", script]).succeeded().stdout.trim().to_owned();
    assert_eq!(said("echo $PS/$PORT/$GREETING/$FROM_PROFILE/$COMMIS_RELEASE"), "run.1//hi there/yes/v1");
    assert_eq!(said("pwd; echo $HOME; whoami"), format!("{0}\n{0}\nblog", blog.place("run").display()));
    assert_eq!(said("cat page.txt; ls -d ../git ../pillar ../releases 2>/dev/null; true"), "hello");
    assert_eq!(
        said("touch x 2>/dev/null || echo read-only; echo kept > $COMMIS_DATA/note; echo mine > /tmp/mine"),
        "read-only"
    );
    assert_eq!(said("cat /tmp/mine 2>/dev/null || echo gone"), "gone");
    assert_eq!(std::fs::read_to_string(blog.place("data").join("note")).expect("a note"), "kept\n");
    let application = world.json(&["show", "blog"])["processes"][0]["pid"].as_u64().expect("a pid");
    let uid =
        |pid: &str| Command::new("stat").args(["-c", "%u", &format!("/proc/{pid}")]).output().expect("stat").stdout;
    assert_eq!(said("id -u").as_bytes(), uid(&application.to_string()).trim_ascii());
    world.commis(&["run", "blog", "--", "nowhere"]).failed(127).says("error: nowhere: no such program in PATH");
}

#[test]
fn a_release_that_is_not_there_and_a_crowd_are_told_so() {
    let world = World::with("[run]\nat_once = 2\n");
    world.commis(&["project", "create", "blog"]).succeeded();
    world.commis(&["run", "blog", "--", "true"]).failed(66).says("blog has no release yet");
    world.commis(&["run", "blgo", "--", "true"]).failed(66).says("no project \"blgo\"");
    world.project("blog").saying("hello").push("main").succeeds();
    let mut two: Vec<Running> = (0..2)
        .map(|_| Running::start(world.commis_command(&["run", "blog", "--", "sh", "-c", "echo $PS; cat"]), "run"))
        .collect();
    two.iter_mut().for_each(|one| one.until("run."));
    let said: String = two.iter().map(Running::said).collect();
    assert!(said.contains("run.1") && said.contains("run.2"), "{said}");
    world.commis(&["run", "blog", "--", "true"]).failed(75).says("2 one-off commands of blog run already");
    for one in two {
        one.ended().succeeded();
    }
    world.commis(&["run", "blog", "--", "true"]).succeeded();
}

#[test]
fn who_may_is_a_right_of_its_own() {
    let world = World::new();
    world.project("blog").saying("hello").push("main").succeeds();
    world.admit("jane", &[]);
    world.admit("ci", &["--project", "other"]);
    world.admit("bot", &["--project", "blog", "--only", "release:fetch"]);
    world.ssh("jane", &["run", "blog", "--", "cat", "page.txt"]).succeeded().says("hello");
    let hidden = world.ssh("ci", &["run", "blog", "--", "true"]);
    let absent = world.ssh("ci", &["run", "none", "--", "true"]);
    assert_eq!(hidden.failed(66).stderr.replace("blog", "X"), absent.failed(66).stderr.replace("none", "X"));
    world.ssh("bot", &["run", "blog", "--", "true"]).failed(77).says("may not run commands");
}

#[test]
fn much_goes_through_both_ways_and_nothing_is_lost() {
    let world = World::new();
    world.project("blog").saying("hello").push("main").succeeds();
    let much: String = (0..400_000).map(|number| format!("line {number}\n")).collect();
    let there = run(world.ssh_command("admin", &["run", "blog", "cat"]), &much, "ssh cat");
    assert!(there.succeeded().stdout == much, "{} of {} bytes", there.stdout.len(), much.len());
    // Whoever writes and does not read waits for himself: a file as the input.
    std::fs::write(world.path("much"), &much).expect("a file");
    let mut command = world.commis_command(&["run", "blog", "cat"]);
    let here = command.stdin(std::fs::File::open(world.path("much")).expect("a file")).output().expect("output");
    assert!(here.stdout == much.as_bytes(), "{} of {} bytes", here.stdout.len(), much.len());
    let odd = world.commis_command(&["run", "blog", "--", "printf", "\\377\\000\\001"]).output().expect("output");
    assert_eq!(odd.stdout, [255, 0, 1]);
}

#[test]
fn who_leaves_takes_everything_along() {
    let world = World::new();
    world.project("blog").saying("hello").push("main").succeeds();
    let script = "setsid sleep 95131 & (setsid nohup sleep 95132 &) ; echo up; sleep 95133";
    let words = ["run", "blog", "--", "sh", "-c", script];
    let quoted = ["run", "blog", "--", "sh", "-c", &format!("'{script}'")];
    for command in [world.commis_command(&words), world.ssh_command("admin", &quoted)] {
        let mut left = Running::start(command, "run");
        left.until("up");
        comes_true("all of it runs", || lives("95131") && lives("95132") && lives("95133"));
        left.signal(Signal::SIGINT);
        comes_true("it is all gone", || !lives("95131") && !lives("95132") && !lives("95133"));
        let _ = left.ended();
    }
    world.commis(&["run", "blog", "--", "sh", "-c", "setsid sleep 95134 & exit 0"]).succeeded();
    assert!(!lives("95134"), "what a command leaves behind is nothing");
}

#[test]
fn the_end_of_the_server_is_theirs_too_and_so_is_that_of_the_project() {
    let mut world = World::new();
    world.project("blog").saying("hello").push("main").succeeds();
    let start = |world: &World| {
        let mut running =
            Running::start(world.commis_command(&["run", "blog", "--", "sh", "-c", "echo up; sleep 95141"]), "run");
        running.until("up");
        running
    };
    let killed = start(&world);
    world.kill();
    killed.ended().failed(69).says("the server");
    world.start();
    assert!(!lives("95141"), "the next life clears it");
    world.page_when_up("blog");
    let stopped = start(&world);
    assert_eq!(world.stop(), Some(0));
    assert!(!lives("95141"));
    stopped.ended().failed(130).says("is being stopped");
    world.start();
    world.page_when_up("blog");
    let orphan = start(&world);
    world.commis(&["project", "destroy", "blog", "--confirm", "blog", "--now"]).succeeded();
    assert!(!lives("95141"));
    orphan.ended().failed(130);
}

#[test]
fn nothing_starts_between_a_switch_and_its_verdict() {
    let world = World::new();
    let blog = world.project("blog").saying("hello");
    blog.push("main").succeeds();
    let slow = "web: sleep 3; exec python3 server.py\n";
    let blog = blog.write("Procfile", slow).commit("slow");
    let mut push = blog.starts_pushing("main");
    let busy = |world: &World| world.commis(&["run", "blog", "--", "sh", "-c", "echo $COMMIS_RELEASE"]);
    let mut refused = None;
    comes_true("a command is refused", || {
        let ran = busy(&world);
        refused = (ran.code == 75).then_some(ran);
        refused.is_some() || push.has_ended()
    });
    refused.expect("a refusal").says("deployment #2 of blog is between its switch and its verdict");
    push.ended().succeeded();
    busy(&world).succeeded().says("v2");
}

#[test]
fn what_is_edited_in_place_is_what_a_command_sees() {
    let world = World::new();
    world.commis(&["project", "create", "blog", "--mode", "editable"]).succeeded();
    let blog = world.project("blog").saying("hello");
    blog.push("main").succeeds();
    std::fs::write(blog.place("project").join("page.txt"), "edited").expect("an edit");
    world.commis(&["run", "blog", "cat", "page.txt"]).succeeded().says("edited");
}
