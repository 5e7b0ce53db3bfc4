//! How many processes run, anew, none, again: `ps`, `scale`, `restart`, `stop`, `start`.

use super::support::{Project, World};

/// Answers with its name and process id; `web.3` cannot stay.
const SERVER: &str = r#"import http.server, os, sys
if os.environ['PS'] == 'web.3' and os.path.exists('no-third'):
    sys.exit('there is no room for a third')
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (os.environ['PS'] + ' ' + str(os.getpid())).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Page).serve_forever()
"#;

fn blog(world: &World) -> Project<'_> {
    let blog = world.project("blog").write("server.py", SERVER);
    blog.write("Procfile", "web: exec python3 server.py\nworker: exec sleep 86423\n")
}

/// `web.1 running` of each process, by name.
fn runs(world: &World) -> Vec<String> {
    let ps = world.json(&["ps", "blog"]);
    let word = |one: &serde_json::Value, key: &str| one[key].as_str().unwrap_or("?").to_owned();
    let all = ps["processes"].as_array().expect("processes").iter();
    let mut names: Vec<String> = all.map(|one| format!("{} {}", word(one, "process"), word(one, "state"))).collect();
    names.sort();
    names
}

fn pid(world: &World, process: &str) -> u64 {
    let ps = world.json(&["ps", "blog"]);
    let mut all = ps["processes"].as_array().expect("processes").iter();
    all.find(|one| one["process"] == process).and_then(|one| one["pid"].as_u64()).expect("a pid")
}

#[test]
fn more_and_fewer_processes_run_and_those_that_stay_are_not_touched() {
    let mut world = World::new();
    let app = r#"{"formation": {"web": {"quantity": 2}}}"#;
    blog(&world).write("app.json", app).commit("two").push("main").succeeds().says("the port answers, 2 of 2");
    assert_eq!(runs(&world), ["web.1 running", "web.2 running", "worker.1 running"]);
    let first = pid(&world, "web.1");
    world.commis(&["scale", "blog", "web=3", "worker=0"]).succeeded().says("formation: web=3 worker=0");
    assert_eq!(runs(&world), ["web.1 running", "web.2 running", "web.3 running"]);
    assert_eq!(pid(&world, "web.1"), first);
    world.leave();
    world.start();
    assert_eq!(runs(&world), ["web.1 running", "web.2 running", "web.3 running"]);
    world.commis(&["scale", "blog", "web=default"]).succeeded();
    assert_eq!(runs(&world), ["web.1 running", "web.2 running"]);
    assert_eq!(pid(&world, "web.1"), first);
    world.commis(&["redeploy", "blog"]).succeeded();
    world.settle();
    assert_eq!(runs(&world), ["web.1 running", "web.2 running"], "worker=0 is still what was asked for");
    world.commis(&["scale", "blog", "worker=1"]).succeeded();
    assert_eq!(runs(&world), ["web.1 running", "web.2 running", "worker.1 running"]);
}

#[test]
fn what_cannot_be_scaled_is_said_and_changes_nothing() {
    let world = World::new();
    blog(&world).write("no-third", "").commit("two fit").push("main").succeeds();
    world.settle();
    world.commis(&["scale", "blog", "web=2"]).succeeded();
    let refused = world.commis(&["scale", "blog", "web=3"]);
    refused.failed(1).says("web.3").says("there is no room for a third").says("goes on running");
    assert_eq!(runs(&world), ["web.1 running", "web.2 running", "worker.1 running"]);
    assert_eq!(world.json(&["scale", "blog"])["formation"]["web"], 2);
    world.commis(&["scale", "blog", "wbe=2"]).failed(66).says("no process type wbe").says("it has: web, worker");
    world.commis(&["scale", "blog", "web=many"]).failed(64).says("is not TYPE=NUMBER");
    world.commis(&["scale", "blog", "web=101"]).failed(64).says("from 0 to 100");
    world.commis(&["scale", "blog", "release=1"]).failed(64);
}

#[test]
fn a_restart_starts_everything_anew() {
    let world = World::new();
    blog(&world).commit("one").push("main").succeeds();
    world.settle();
    let before = (pid(&world, "web.1"), pid(&world, "worker.1"));
    world.commis(&["restart", "blog"]).succeeded().says("was started anew");
    assert_eq!(runs(&world), ["web.1 running", "worker.1 running"]);
    let after = (pid(&world, "web.1"), pid(&world, "worker.1"));
    assert!(before.0 != after.0 && before.1 != after.1);
    assert_eq!(world.page("blog").body, format!("web.1 {}", after.0));
}

#[test]
fn what_is_stopped_stays_so_until_somebody_starts_it_or_a_push_does() {
    let mut world = World::new();
    let blog = blog(&world).commit("one");
    blog.push("main").succeeds();
    world.settle();
    world.commis(&["stop", "blog"]).succeeded().says("is stopped");
    assert_eq!(world.page("blog").status, 503);
    assert_eq!(runs(&world), Vec::<String>::new());
    world.commis(&["ps", "blog"]).succeeded().says("stopped");
    world.commis(&["restart", "blog"]).failed(1).says("commis start blog");
    world.commis(&["deploy", "blog", "--step", "post_deploy"]).failed(1).says("commis start blog");
    drop(blog);
    world.kill();
    world.start();
    assert_eq!(runs(&world), Vec::<String>::new(), "also after a crash");
    let broken = world.project("blog").write("server.py", "import sys\nsys.exit('broken')\n").commit("broken");
    broken.push("main").is_rejected("rolled-back");
    assert_eq!(runs(&world), Vec::<String>::new(), "a failed deployment starts nothing that was stopped");
    world.commis(&["start", "blog"]).succeeded();
    assert_eq!(runs(&world), ["web.1 running", "worker.1 running"]);
    world.commis(&["start", "blog"]).succeeded().says("v1 runs");
    world.commis(&["stop", "blog"]).succeeded();
    let good = broken.write("server.py", SERVER).commit("good");
    good.push("main").succeeds();
    world.settle();
    assert_eq!(runs(&world), ["web.1 running", "worker.1 running"]);
}
