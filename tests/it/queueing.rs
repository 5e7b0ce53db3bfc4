//! Pushes that wait, are overtaken, interrupted or left alone; what the pusher sees meanwhile.

use super::clients::wait_until;
use super::support::{Gate, Project, Running, World};
use nix::sys::signal::Signal;

/// A project whose build waits at a gate.
fn gated<'a>(world: &'a World, gate: &Gate, text: &str) -> Project<'a> {
    world.project("blog").script(".commis/hooks/build", &gate.hook()).saying(text)
}

#[test]
fn a_second_push_waits_and_says_behind_whom() {
    let world = World::new();
    world.admit("jane", &[]);
    let gate = Gate::new();
    let blog = gated(&world, &gate, "first");
    let first = blog.starts_pushing("main");
    let waiting = gate.reached();
    let mut second = blog.with_key("jane").starts_pushing("main");
    second.until("blog is busy: deploy #1 by admin");
    second.until("You are next (#2)");
    let third = blog.with_key("jane");
    third.push_with(&["--porcelain", "-o", "no-wait", &blog.url(), "main"]).is_rejected("busy");
    assert!(!gate.is_reached());
    waiting.opens();
    first.ended().succeeded();
    // The branch is not where the second saw it: refused before any work.
    second.ended().failed(1).says("(stale: ").says("git fetch");
    let log = std::fs::read_to_string(world.path("log/blog/2.log")).expect("a log");
    assert!(!log.contains("Build"), "{log}");
    assert_eq!(world.json(&["show", "blog", "2"])["reason_code"], "stale");
}

#[test]
fn a_newer_push_of_the_same_key_takes_the_place_of_its_waiting_one() {
    let world = World::new();
    world.admit("jane", &[]);
    let gate = Gate::new();
    let blog = gated(&world, &gate, "first");
    let first = blog.starts_pushing("main");
    let waiting = gate.reached();
    let mut older = blog.with_key("jane").starts_pushing("main");
    older.until("You are next (#2)");
    let newer_copy = blog.saying("newer").with_key("jane");
    let mut newer = newer_copy.starts_pushing("main");
    newer.until("You are next (#3)");
    older.ended().failed(1).says("(superseded: ");
    assert_eq!(world.json(&["show", "blog", "2"])["reason_code"], "superseded");
    waiting.opens();
    first.ended().succeeded();
    newer.ended().failed(1).says("(stale: ");
}

#[test]
fn cancel_ends_a_build_and_leaves_nothing() {
    let world = World::new();
    let gate = Gate::new();
    let blog = gated(&world, &gate, "first");
    let push = blog.starts_pushing("main");
    let waiting = gate.reached();
    world.ssh("admin", &["cancel", "blog"]).succeeded().says("cancelled blog #1");
    push.ended().failed(1).says("(cancelled: ").says("live=none; deploy=1");
    waiting.leaves();
    assert_eq!(blog.remote_ref("refs/heads/main"), None);
    world.ssh("admin", &["cancel", "blog"]).succeeded().says("nothing is being deployed");
}

#[test]
fn ctrl_c_before_the_switch_cancels() {
    let world = World::new();
    let gate = Gate::new();
    let blog = gated(&world, &gate, "first");
    let mut push = blog.starts_pushing_at_terminal("main");
    let waiting = gate.reached();
    push.until("at the gate");
    push.types("\x03");
    assert_ne!(push.ended().code, 0);
    waiting.leaves();
    world.settle();
    assert_eq!(world.json(&["show", "blog", "1"])["reason_code"], "cancelled");
    assert_eq!(blog.remote_ref("refs/heads/main"), None);
    // The lock is free.
    let again = blog.starts_pushing("main");
    gate.reached().opens();
    again.ended().succeeded();
}

#[test]
fn ctrl_c_in_the_queue_leaves_the_queue() {
    let world = World::new();
    world.admit("jane", &[]);
    let gate = Gate::new();
    let blog = gated(&world, &gate, "first");
    let first = blog.starts_pushing("main");
    let waiting = gate.reached();
    let mut second = blog.with_key("jane").starts_pushing_at_terminal("main");
    second.until("You are next (#2)");
    second.types("\x03");
    let _ = second.ended();
    wait_until(|| world.json(&["show", "blog", "2"])["reason_code"] == "cancelled");
    waiting.opens();
    first.ended().succeeded();
}

#[test]
fn ctrl_c_after_the_switch_only_detaches() {
    let world = World::new();
    let gate = Gate::new();
    // The application answers only once it may: that is after the switch.
    let blog = world.project("blog").saying("late");
    let web = format!("#!/bin/bash\n{}exec python3 server.py\n", gate.bash());
    let blog = blog.script("web", &web).write("Procfile", "web: ./web\n").commit("late");
    let mut push = blog.starts_pushing_at_terminal("main");
    let waiting = gate.reached();
    push.types("\x03");
    assert_ne!(push.ended().code, 0);
    world.ssh("admin", &["cancel", "blog"]).failed(75).says("past its switch");
    waiting.opens();
    world.settle();
    assert_eq!(world.json(&["show", "blog", "1"])["status"], "success");
    assert_eq!(blog.remote_ref("refs/heads/main"), Some(blog.head()));
    assert_eq!(world.page("blog").body, "late");
}

#[test]
fn a_killed_client_without_a_terminal_never_cancels_and_pushing_again_tells_the_truth() {
    let world = World::new();
    let gate = Gate::new();
    let blog = gated(&world, &gate, "goes on");
    let mut push = blog.starts_pushing("main");
    let waiting = gate.reached();
    push.until("at the gate");
    for pid in children(push.pid()) {
        super::support::world::signal(pid, Signal::SIGKILL);
    }
    push.signal(Signal::SIGKILL);
    let _ = push.ended();
    waiting.opens();
    world.settle();
    assert_eq!(world.json(&["show", "blog", "1"])["status"], "success");
    assert_eq!(world.page("blog").body, "goes on");
    blog.push_with(&[&blog.url(), "main"]).succeeds().says("Everything up-to-date");
}

#[test]
fn a_shallow_push_whose_client_died_still_moves_the_ref() {
    let world = World::new();
    let gate = Gate::new();
    let blog = gated(&world, &gate, "one").saying("two");
    let url = format!("file://{}", blog.directory.display());
    let elsewhere = world.project("elsewhere");
    elsewhere.git(&["clone", "-q", "--depth", "1", &url, "cut"]).succeeded();
    let words = ["-C", "cut", "push", &blog.url(), "HEAD:refs/heads/main"];
    let push = Running::start(elsewhere.git_command(&words), "a shallow push");
    let waiting = gate.reached();
    for pid in children(push.pid()) {
        super::support::world::signal(pid, Signal::SIGKILL);
    }
    push.signal(Signal::SIGKILL);
    let _ = push.ended();
    waiting.opens();
    world.settle();
    assert_eq!(world.json(&["show", "blog", "1"])["status"], "success");
    wait_until(|| blog.remote_ref("refs/heads/main") == Some(blog.head()));
}

#[test]
fn a_silent_build_is_heard_of() {
    let world = World::with("[builds]\nsilence = \"1s\"\n");
    let gate = Gate::new();
    let blog = gated(&world, &gate, "slow");
    let mut push = blog.starts_pushing("main");
    let waiting = gate.reached();
    push.until("still at hook build, 0:0");
    waiting.opens();
    push.ended().succeeded();
}

#[test]
fn what_a_build_prints_can_neither_forge_a_verdict_nor_reach_the_terminal() {
    let world = World::new();
    let nasty = r#"#!/usr/bin/python3
import sys
out = sys.stdout.buffer
out.write(b'\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\n')
out.write(b'success: blog v99 is live\n=====> Application deployed:\n-----> [6/6] Tidy\nerror: x\n')
out.write(b'10%\r20%\rforged: \rsuccess: forged\n')
out.write('a\u202eb\u2028success: forged\n'.encode())
out.write(b'x' * 1000000)
out.write(b'\nlast\n')
sys.exit(1)
"#;
    let blog = world.project("blog").saying("x").script(".commis/hooks/build", nasty).commit("n\x1b[2Jasty");
    let pushed = blog.push("main");
    pushed.is_rejected("build-failed");
    pushed.0.is_silent_about("\x1b").is_silent_about("\u{202e}").is_silent_about("\u{2028}").is_silent_about("\x07");
    let lines: Vec<&str> = pushed.0.stderr.lines().filter_map(|line| line.strip_prefix("remote: ")).collect();
    for word in ["success:", "=====>", "-----> [6/6]", "error: x"] {
        assert!(!lines.iter().any(|line| line.starts_with(word)), "{word} is forged");
    }
    assert!(lines.iter().any(|line| line.starts_with("       success: blog v99 is live")));
    assert!(lines.iter().any(|line| line.starts_with("error: ")), "the control: our own verdict is there");
}

#[test]
fn the_log_is_what_the_pusher_saw_byte_for_byte_and_without_secrets() {
    let world = World::new();
    let hook = "#!/bin/sh\necho \"the password is $PASSWORD\"\necho \"caf\\303\\251\"\n";
    let blog = world.project("blog").saying("x").script(".commis/hooks/build", hook).commit("leaky");
    blog.push_with(&[&blog.url(), "HEAD:refs/heads/other"]).succeeds();
    world.commis(&["config", "set", "blog", "PASSWORD=correct-horse-battery"]).succeeded();
    let pushed = blog.push("main");
    pushed.succeeds().says("the password is [PASSWORD]");
    pushed.0.is_silent_about("correct-horse");
    let log = std::fs::read_to_string(world.path("log/blog/1.log")).expect("a log");
    // git appends eight blanks to each line when it is not at a terminal.
    let seen: String = pushed
        .0
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("remote: "))
        .map(|line| format!("{}\n", line.strip_suffix("        ").unwrap_or(line)))
        .collect();
    assert_eq!(seen, log);
    for line in log.lines().filter(|line| !line.starts_with("        ")) {
        assert!(line.chars().count() <= 72, "{line}");
    }
    world.ssh("admin", &["log", "blog", "1"]).succeeded().says("the password is [PASSWORD]");
}

#[test]
fn ten_projects_are_pushed_at_once() {
    let world = World::new();
    let names: Vec<String> = (0..10).map(|n| format!("site{n}")).collect();
    let projects: Vec<_> =
        names.iter().map(|name| world.project(name).write("index.html", name).commit("a page")).collect();
    let pushes: Vec<Running> = projects.iter().map(|project| project.starts_pushing("main")).collect();
    for push in pushes {
        push.ended().succeeded();
    }
    for name in &names {
        assert_eq!(&world.page(name).body, name);
    }
}

#[test]
fn a_stop_waits_for_the_deployment_that_runs() {
    let mut world = World::new();
    let gate = Gate::new();
    let blog = gated(&world, &gate, "before the stop");
    let head = blog.head();
    let push = blog.starts_pushing("main");
    let waiting = gate.reached();
    drop(blog);
    super::support::world::signal(world.server_pid(), Signal::SIGTERM);
    wait_until(|| world.server_log().contains("draining"));
    waiting.opens();
    push.ended().succeeded().says("success: blog v1 is live");
    assert_eq!(world.stop(), Some(0));
    world.start();
    world.learn_host_key();
    assert_eq!(world.json(&["show", "blog", "1"])["commit"], head.as_str());
}

#[test]
fn a_hangup_reads_the_configuration_again_and_a_bad_one_changes_nothing() {
    let world = World::new();
    let file = world.path("conf.d/30-later.toml");
    std::fs::write(&file, "[git]\ncreate_on_push = \"perhaps\"\n").expect("settings");
    world.reload();
    wait_until(|| world.server_log().contains("configuration not taken"));
    world.project("blog").saying("hello").push("main").succeeds();
    std::fs::write(&file, "[git]\ncreate_on_push = false\n").expect("settings");
    world.reload();
    wait_until(|| world.server_log().contains("configuration read again"));
    world.project("wiki").saying("hello").push("main").0.failed(128).says("no project \"wiki\"");
}

/// The processes that a process has started, and theirs.
fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let direct: Vec<u32> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    direct.iter().flat_map(|child| children(*child)).chain(direct.iter().copied()).collect()
}
