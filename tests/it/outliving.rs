//! Applications outlive the server that started them: it is stopped, killed, replaced, and they answer all the while from the
//! same processes. What looks after one instance may be killed as well.

use super::support::leftovers::{is_dead, names};
use super::support::world::signal;
use super::support::{Project, World};
use nix::sys::signal::Signal;
use std::path::Path;
use std::time::{Duration, Instant};

/// Answers with its own process id; `/end` ends it.
const SERVER: &str = r#"import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/end':
            os._exit(7)
        body = str(os.environ['PS'] + ' ' + open('page.txt').read() + ' ' + str(os.getpid())).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Page).serve_forever()
"#;

fn blog<'a>(world: &'a World, text: &str) -> Project<'a> {
    let blog = world.project("blog").write("server.py", SERVER).write("page.txt", text);
    let blog = blog.write("Procfile", "web: exec python3 server.py\nworker: exec sleep 86419\n").commit(text);
    blog.push("main").succeeds();
    world.settle();
    blog
}

/// `web.1 hello 4711`, once it says something else than `before`.
fn says(world: &World, before: &str) -> String {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let page = world.page("blog");
        if page.status == 200 && page.body != before {
            return page.body;
        }
        assert!(Instant::now() < until, "{page:?}\n{}", world.server_log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The shims of a world's instances.
fn shims(world: &World) -> Vec<u32> {
    let place = format!("{}/", world.path("rt/instances").display());
    let line = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let pids = names(Path::new("/proc")).into_iter().filter(|pid| line(pid).contains(&place) && !is_dead(pid));
    pids.filter_map(|pid| pid.parse().ok()).collect()
}

fn restarts(world: &World) -> Vec<(String, u64)> {
    let project = world.json(&["show", "blog"]);
    let all = project["processes"].as_array().expect("processes").iter();
    all.map(|one| (one["process"].as_str().unwrap_or_default().to_owned(), one["restarts"].as_u64().unwrap_or(99)))
        .collect()
}

#[test]
fn a_server_that_is_told_to_end_leaves_its_applications_to_the_next_one() {
    let mut world = World::new();
    let blog = blog(&world, "hello");
    let before = says(&world, "");
    let held = shims(&world);
    assert_eq!(held.len(), 2);
    drop(blog);
    for _ in 0..3 {
        assert_eq!(world.leave(), Some(0));
        assert_eq!(shims(&world), held, "nothing was ended");
        world.start();
        assert_eq!(world.page("blog").body, before, "it answers at once, and is the same process");
    }
    assert!(world.server_log().contains("v1 serves on"), "{}", world.server_log());
    let blog = world.project("blog").write("server.py", SERVER).write("page.txt", "newer");
    blog.write("Procfile", "web: exec python3 server.py\n").commit("newer").push("main").succeeds();
    assert!(says(&world, &before).contains("newer"), "what was found is replaced as any other");
    world.settle();
    assert_eq!(shims(&world).len(), 1);
}

#[test]
fn a_server_that_is_killed_leaves_them_too() {
    let mut world = World::new();
    drop(blog(&world, "hello"));
    let before = says(&world, "");
    for _ in 0..3 {
        world.kill();
        world.start();
        assert_eq!(world.page("blog").body, before);
    }
    assert_eq!(restarts(&world), [("web.1".into(), 0), ("worker.1".into(), 0)]);
}

#[test]
fn what_ends_while_no_server_is_there_is_started_again_by_its_shim() {
    let mut world = World::new();
    drop(blog(&world, "hello"));
    let before = says(&world, "");
    world.kill();
    let pid: u32 = before.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid");
    signal(pid, Signal::SIGKILL);
    world.start();
    let after = says(&world, &before);
    assert!(after.starts_with("web.1 hello"), "{after}");
    assert_eq!(restarts(&world)[0], ("web.1".into(), 1));
    let log = std::fs::read_to_string(world.path("log/blog/app.log")).expect("the log");
    assert!(log.contains("web.1 | commis: killed by signal 9 (SIGKILL)"), "{log}");
}

#[test]
fn an_instance_whose_shim_is_killed_gets_another_one() {
    let world = World::new();
    let _blog = blog(&world, "hello");
    let before = says(&world, "");
    let held = shims(&world);
    held.iter().for_each(|pid| signal(*pid, Signal::SIGKILL));
    let after = says(&world, &before);
    assert!(after.starts_with("web.1 hello"), "{after}");
    let until = Instant::now() + Duration::from_secs(30);
    while shims(&world).len() != 2 {
        assert!(Instant::now() < until, "{:?}", shims(&world));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(shims(&world).iter().all(|pid| !held.contains(pid)));
    assert_eq!(restarts(&world), [("web.1".into(), 1), ("worker.1".into(), 1)]);
}

#[test]
fn shims_that_are_killed_while_no_server_is_there_leave_nothing_behind() {
    let mut world = World::new();
    drop(blog(&world, "hello"));
    let before = says(&world, "");
    world.kill();
    shims(&world).into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
    world.start();
    let after = says(&world, &before);
    assert!(after.starts_with("web.1 hello"), "{after}");
    assert_eq!(shims(&world).len(), 2);
    assert!(super::support::leftovers::is_dead(before.rsplit(' ').next().expect("a pid")), "the old one is gone");
}

#[test]
fn with_one_instance_missing_the_others_go_on() {
    let mut world = World::new();
    drop(blog(&world, "hello"));
    let before = says(&world, "");
    let pid: i32 = before.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a pid");
    let own = shims(&world);
    // The web process's parent is its shim.
    let parent = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let parent: u32 =
        parent.rsplit(')').next().and_then(|rest| rest.split(' ').nth(2)?.parse().ok()).expect("a parent");
    assert!(own.contains(&parent), "{own:?} {parent}");
    world.kill();
    own.iter().filter(|pid| **pid != parent).for_each(|pid| signal(*pid, Signal::SIGKILL));
    world.start();
    assert_eq!(world.page("blog").body, before, "web.1 never noticed");
    assert_eq!(shims(&world).len(), 2, "and worker.1 runs again");
}
