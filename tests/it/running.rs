//! What runs and what is kept: the tree in run/, archives, restarts of applications and of the server itself.

use super::support::{Project, World};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Asks until the page says so; the applications of a restarted server come up in their own time.
fn comes_to_say(world: &World, project: &str, text: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        if world.page(project).body == text {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{project} does not say {text:?} but {:?}", world.page(project));
}

/// Relative paths of all files below a directory.
fn files(root: &Path) -> Vec<String> {
    let found =
        Command::new("find").arg(root).args(["-mindepth", "1", "-printf", "%P %m %y\n"]).output().expect("find");
    let mut lines: Vec<String> = String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn run_is_exactly_the_release() {
    let world = World::new();
    let blog = world.project("blog").saying("one").write("old/file", "x").commit("old");
    blog.push("main").succeeds();
    let blog = blog.remove("old/file").write("new/file", "y").script("tool", "#!/bin/sh\n").saying("two");
    blog.push("main").succeeds();
    let unpacked = world.path("unpacked");
    std::fs::create_dir(&unpacked).expect("a directory");
    let release = world.json(&["releases", "blog"])["releases"][0]["archive"]["name"].as_str().map(str::to_owned);
    let archive = blog.place("releases").join(release.expect("an archive"));
    let tar = Command::new("tar").args(["--zstd", "-xpf"]).arg(&archive).arg("-C").arg(&unpacked).status();
    assert!(tar.is_ok_and(|status| status.success()), "tar");
    let run = files(&blog.place("run"));
    assert_eq!(run, files(&unpacked.join("tree")));
    assert!(run.contains(&"new/file 644 f".to_owned()) && run.contains(&"tool 755 f".to_owned()), "{run:?}");
    assert!(!run.iter().any(|line| line.starts_with("old")), "{run:?}");
}

#[test]
fn the_previous_tree_is_archived_and_current_names_the_live_one() {
    let world = World::new();
    let blog = world.project("blog").saying("one");
    blog.push("main").succeeds();
    let current = || std::fs::read_to_string(blog.place("deploy/current/page.txt")).unwrap_or_default();
    assert_eq!(current(), "one");
    let blog = blog.saying("two");
    blog.push("main").succeeds();
    world.settle();
    let current = std::fs::read_to_string(blog.place("deploy/current/page.txt")).unwrap_or_default();
    assert_eq!(current, "two");
    let archived = std::fs::read_to_string(blog.place("archives/2/run/page.txt")).unwrap_or_default();
    assert_eq!(archived, "one");
}

#[test]
fn as_many_releases_are_kept_as_the_configuration_says() {
    let world = World::with("[releases]\nkeep = 2\n");
    let mut blog = world.project("blog");
    for text in ["one", "two", "three", "four"] {
        blog = blog.saying(text);
        blog.push("main").succeeds();
    }
    world.settle();
    let releases = world.json(&["releases", "blog"]);
    let kept: Vec<&str> = releases["releases"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|release| release["release"].as_str())
        .collect();
    assert_eq!(kept, ["v4", "v3"]);
    // What only helps to pack the next one is no part of a release.
    let shelf = files(&blog.place("releases"));
    let shelf = shelf.iter().filter(|line| !line.contains(".frames "));
    assert_eq!(shelf.count(), 8, "two archives and what stands beside them");
    world.commis(&["rollback", "blog", "v1"]).failed(66).says("no release v1");
    assert_eq!(world.page("blog").body, "four");
}

#[test]
fn a_restarted_server_serves_everything_again_also_beside_a_project_that_does_not_start() {
    let mut world = World::new();
    for name in ["blog", "wiki"] {
        world.project(name).saying(name).push("main").succeeds();
    }
    let slow = world
        .project("slow")
        .write("Procfile", "web: sleep $(cat $COMMIS_DATA/wait || echo 0); exec python3 server.py\n");
    let slow =
        slow.saying("slow").write("Procfile", "web: sleep $(cat $COMMIS_DATA/wait || echo 0); python3 server.py\n");
    let slow = slow.commit("slow");
    slow.push("main").succeeds();
    std::fs::write(slow.place("data").join("wait"), "3600").expect("a long wait");
    assert_eq!(world.stop(), Some(0));
    world.start();
    world.learn_host_key();
    for name in ["blog", "wiki"] {
        comes_to_say(&world, name, name);
    }
    assert_eq!(world.page("slow").status, 502);
    assert!(world.server_log().contains("wiki"), "{}", world.server_log());
}

#[test]
fn a_killed_server_leaves_nothing_that_its_next_life_does_not_clear() {
    let mut world = World::new();
    world.project("blog").saying("one").push("main").succeeds();
    world.kill();
    world.start();
    world.learn_host_key();
    comes_to_say(&world, "blog", "one");
    world.project("blog").saying("two").push("main").succeeds();
    assert_eq!(world.page("blog").body, "two");
}

#[test]
fn a_process_that_ends_is_started_again_and_its_log_goes_on() {
    let world = World::with("[apps]\nrestart_delay = \"50ms\"\n");
    let blog = world.project("blog").saying("x").write("server.py", DIES).commit("dies");
    blog.push("main").succeeds();
    assert_eq!(world.get("blog.commis.test", "/").body, "alive");
    let _ = world.get("blog.commis.test", "/die");
    comes_to_say(&world, "blog", "alive");
    let process = world.json(&["show", "blog"])["processes"][0].clone();
    assert!(process["restarts"].as_u64() >= Some(1), "{process}");
    let logs = world.commis(&["logs", "blog"]).succeeded().stdout.clone();
    // Three times: the router repeats a GET that had no answer, once.
    assert_eq!(logs.matches("web.1 | hello from the application").count(), 3, "{logs}");
    assert!(logs.contains("web.1 | dying"), "{logs}");
    let first = logs.lines().next().unwrap_or_default();
    assert!(first.starts_with("20") && first.contains("Z web.1 | "), "{first}");
    let last = world.commis(&["logs", "blog", "-n", "1"]).succeeded().stdout.clone();
    assert_eq!(last.lines().count(), 1, "{last}");
}

/// Ends at once when asked for /die.
const DIES: &str = r#"import http.server, os, sys
print('hello from the application', flush=True)
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/die':
            print('dying', flush=True)
            os._exit(3)
        self.send_response(200)
        self.send_header('Content-Length', '5')
        self.end_headers()
        self.wfile.write(b'alive')
    def log_message(self, *args):
        pass
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Page).serve_forever()
"#;

#[test]
fn logs_can_be_followed_over_a_restart_of_the_application() {
    use std::io::{BufRead, BufReader};
    let world = World::with("[apps]\nrestart_delay = \"50ms\"\n");
    world.project("blog").saying("x").write("server.py", DIES).commit("dies").push("main").succeeds();
    let mut following = Command::new(env!("CARGO_BIN_EXE_commis"))
        .args(["logs", "blog", "-f"])
        .env("COMMIS_CONFIG", world.config())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("commis logs -f");
    let mut lines = BufReader::new(following.stdout.take().expect("stdout")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.ends_with("web.1 | hello from the application")));
    let _ = world.get("blog.commis.test", "/die");
    assert!(lines.any(|line| line.ends_with("web.1 | dying")));
    assert!(lines.any(|line| line.ends_with("web.1 | hello from the application")), "of the next life");
    let _ = following.kill();
    let _ = following.wait();
}

#[test]
fn a_worker_runs_beside_the_web_process_and_is_replaced_with_it() {
    let world = World::new();
    let procfile = |text: &str| format!("web: python3 server.py\nworker: echo {text} at work; sleep 3600\n");
    let blog = world.project("blog").write("Procfile", &procfile("first"));
    let blog = blog.saying("x").write("Procfile", &procfile("first")).commit("first");
    blog.push("main").succeeds();
    let blog = blog.write("Procfile", &procfile("second")).commit("second");
    blog.push("main").succeeds();
    world.settle();
    let processes = world.json(&["show", "blog"])["processes"].clone();
    let releases: Vec<&str> =
        processes.as_array().into_iter().flatten().filter_map(|process| process["release"].as_str()).collect();
    assert_eq!(releases, ["v2", "v2"], "{processes}");
    world.commis(&["logs", "blog"]).succeeded().says("worker.1 | first at work").says("worker.1 | second at work");
}

#[test]
fn hosts_that_nobody_has_get_our_page_and_never_another_project() {
    let world = World::new();
    let only: Project<'_> = world.project("only").saying("only one");
    only.push("main").succeeds();
    world.commis(&["project", "create", "empty"]).succeeded();
    for host in ["nobody.commis.test", "commis.test", "127.0.0.1", "xonly.commis.test", "only.commis.test.evil.example"]
    {
        let page = world.get(host, "/");
        assert_eq!(page.status, 404, "{host}: {page:?}");
        assert!(!page.body.contains("only one"), "{host}");
    }
    assert_eq!(world.get("ONLY.commis.test", "/").body, "only one");
    let empty = world.page("empty");
    assert_eq!(empty.status, 503, "a project without a release: {empty:?}");
}

#[test]
fn a_process_that_keeps_ending_is_started_with_growing_pauses() {
    let world = World::with("[apps]\nrestart_delay = \"100ms\"\nrestart_delay_max = \"1h\"\n");
    let procfile = "web: python3 server.py\nworker: test ! -e $COMMIS_DATA/broken || exit 7; sleep 3600\n";
    let blog = world.project("blog").saying("x").write("Procfile", procfile).commit("worker");
    blog.push("main").succeeds();
    std::fs::write(blog.place("data").join("broken"), "").expect("a file");
    let worker = || {
        let shown = world.json(&["show", "blog"]);
        shown["processes"].as_array().into_iter().flatten().find(|p| p["process"] == "worker.1").cloned().expect("it")
    };
    let pid = worker()["pid"].as_u64().expect("its pid");
    super::support::world::signal(pid as u32, nix::sys::signal::Signal::SIGKILL);
    let until = Instant::now() + Duration::from_secs(20);
    while worker()["restarts"].as_u64() < Some(3) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let found = worker();
    assert!(found["restarts"].as_u64() >= Some(3) && found["state"] == "restarting", "{found}");
    assert_eq!(world.page("blog").body, "x", "the other process is not touched");
}
