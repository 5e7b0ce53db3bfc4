//! Applications that build and then are not well: the old version serves again, or nothing does when it is the first.

use super::support::World;
use super::support::leftovers::names;
use super::support::rejected::{live_blog, rejected};

const IMPATIENT: &str = "[health]\ntimeout = \"3s\"\n";

#[test]
fn an_application_that_ends_at_once_is_shown_with_its_last_words() {
    let world = World::with(IMPATIENT);
    let blog = live_blog(&world)
        .write("server.py", "print('the stove is cold', flush=True)\nraise SystemExit(4)\n")
        .commit("cold");
    let said = rejected(&world, &blog, "rolled-back");
    said.because("web.1").because("exit 4").says_times("the stove is cold", 1).says("is live again");
}

#[test]
fn an_application_on_another_port_is_told_both_ports() {
    let world = World::with(IMPATIENT);
    let script = "import http.server\ns = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\nprint('listening on', s.server_port, flush=True)\ns.serve_forever()\n";
    let blog = live_blog(&world).write("server.py", script).commit("any port");
    let said = rejected(&world, &blog, "rolled-back");
    let listening = said.lines.iter().find_map(|line| line.split_once("listening on ")).expect("its own words").1;
    said.because("nothing listens on $PORT (").because(listening.trim()).says("$PORT");
}

#[test]
fn an_application_that_answers_500_is_rolled_back() {
    let world = World::with(IMPATIENT);
    let blog = live_blog(&world)
        .write("server.py", BROKEN)
        .write(".commis/project.toml", "[health]\npath = \"/healthz\"\n")
        .commit("500");
    let said = rejected(&world, &blog, "rolled-back");
    said.because("GET /healthz 500").says("Rolling back to v1").says("is live again");
    let kept = names(&blog.place("archives"));
    assert_eq!(kept, [format!("{}.failed", said.number)], "the failed tree can be looked at");
}

#[test]
fn the_first_version_of_a_project_is_unhealthy_and_not_rolled_back() {
    let world = World::with(IMPATIENT);
    world.commis(&["project", "create", "blog"]).succeeded();
    let blog = world
        .project("blog")
        .write("Procfile", "web: python3 server.py\n")
        .write("server.py", BROKEN)
        .write(".commis/project.toml", "[health]\npath = \"/\"\n")
        .commit("500");
    rejected(&world, &blog, "unhealthy").because("GET / 500").says("no live release yet");
    assert!(names(&blog.place("run")).is_empty(), "run/ is strictly the release, and there is none");
    let blog = blog.remove(".commis/project.toml").saying("now it works");
    blog.push("main").succeeds();
    assert_eq!(world.page("blog").body, "now it works");
}

#[test]
fn an_application_whose_own_port_is_taken_is_shown_with_its_error() {
    let world = World::with(IMPATIENT);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its number").port();
    let script = format!("import socket\ns = socket.socket()\ns.bind(('127.0.0.1', {port}))\n");
    let blog = live_blog(&world).write("server.py", &script).commit("taken");
    rejected(&world, &blog, "rolled-back").because("web.1").says("Address already in use");
}

#[test]
fn an_application_that_needs_too_much_memory_is_told_the_limit() {
    let world = World::with("[health]\ntimeout = \"8s\"\n[apps]\nmemory = \"64MB\"\n");
    let blog = live_blog(&world).write("server.py", "x = bytearray(300_000_000)\n").commit("hungry");
    rejected(&world, &blog, "rolled-back").because("memory limit of 64 MB");
}

#[test]
fn an_application_that_never_listens_is_given_up_in_time() {
    let world = World::with(IMPATIENT);
    let script = "import time\nprint('thinking', flush=True)\ntime.sleep(600)\n";
    let blog = live_blog(&world).write("server.py", script).commit("thinking");
    rejected(&world, &blog, "rolled-back").because("connection refused").says("thinking");
}

#[test]
fn a_second_process_that_ends_at_once_is_named() {
    let world = World::with(IMPATIENT);
    let blog = live_blog(&world)
        .write("Procfile", "web: sleep 1; python3 server.py\nworker: echo no work; exit 2\n")
        .commit("worker");
    rejected(&world, &blog, "rolled-back").because("worker.1").because("exit 2").says("no work");
}

#[test]
fn a_health_page_without_a_web_process_is_no_success() {
    let world = World::new();
    let hook = "#!/bin/sh\necho built > index.html\n";
    let blog = live_blog(&world).remove("Procfile").script(".commis/hooks/build", hook);
    let blog = blog.write(".commis/project.toml", "[health]\npath = \"/\"\n").commit("a page that nobody serves");
    rejected(&world, &blog, "rolled-back").because("there is no web process").says("buildpack");
    let blog = blog.remove(".commis/project.toml").write("Procfile", "worker: exec sleep 600\n").commit("nobody asks");
    blog.push("main").succeeds().says("no web process to ask");
}

/// Answers 500 to everything.
const BROKEN: &str = r#"import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(500)
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Page).serve_forever()
"#;
