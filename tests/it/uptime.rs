//! Nobody notices: users who ask all the time, in every way they can, while releases change, the server is restarted and
//! the router replaced. A short slice of the row `uptime` of the bench, with its users and its application.

use super::support::world::commis_program;
use super::support::{Gate, Project, World};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const APPLICATION: &str = include_str!("../bench/uptime_server.py");
const USERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/uptime_users.py");

/// The users of an application; they know which releases may answer.
struct Users {
    process: Child,
    says: ChildStdin,
    hears: BufReader<ChildStdout>,
}

impl Users {
    fn of(port: u16, host: &str) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(USERS).args(["--port", &port.to_string(), "--host", host]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3");
        let (says, hears) = (process.stdin.take().expect("stdin"), process.stdout.take().expect("stdout"));
        Self { process, says, hears: BufReader::new(hears) }
    }

    /// What happens now, and the releases that may answer meanwhile.
    fn hear(&mut self, now: &str) {
        writeln!(self.says, "{now}").expect("users");
        let mut line = String::new();
        self.hears.read_line(&mut line).expect("an answer");
        assert_eq!(line, "ok\n");
    }

    /// What they saw.
    fn leave(self) -> serde_json::Value {
        let Self { mut process, says, mut hears } = self;
        drop(says);
        let mut text = String::new();
        hears.read_to_string(&mut text).expect("a summary");
        assert!(process.wait().expect("a child").success());
        serde_json::from_str(&text).expect("JSON")
    }
}

fn release<'a>(world: &'a World, number: u32) -> Project<'a> {
    let web = "web: exec /usr/bin/python3 server.py\n";
    let blog = world.project("blog").write("server.py", APPLICATION).write("Procfile", web);
    let blog = blog.write(".commis/project.toml", "[health]\npath = \"/\"\n");
    blog.write("greeting.txt", &format!("this is commit number {number}\n")).commit("next")
}

/// For the server and its router another program than the one that was built, which does the same.
fn other_program(world: &World) -> std::path::PathBuf {
    let place = world.path("other-commis");
    std::fs::copy(commis_program(), &place).expect("a copy");
    let mut file = std::fs::OpenOptions::new().append(true).open(&place).expect("a file");
    file.write_all(b"another one").expect("a few bytes more");
    place
}

#[test]
fn no_request_fails_while_everything_is_replaced() {
    let mut world = World::with("[router]\ntunnel_grace = \"500ms\"\n");
    release(&world, 1).push("main").succeeds();
    world.settle();
    let mut users = Users::of(world.http, "blog.commis.test");
    users.hear("push 1 2");
    release(&world, 2).push("main").succeeds();
    users.hear("settle 2");
    world.settle();
    users.hear("server-term 2");
    world.leave();
    world.start();
    users.hear("rollback 1 2");
    world.commis(&["rollback", "blog", "v1"]).succeeded();
    users.hear("settle 1");
    world.settle();
    users.hear("server-kill 1");
    world.kill_server();
    world.start();
    users.hear("restart 1");
    world.commis(&["restart", "blog"]).succeeded();
    world.commis(&["scale", "blog", "web=2"]).succeeded();
    world.commis(&["scale", "blog", "web=1"]).succeeded();
    users.hear("router 1 3");
    world.leave();
    world.start_as(&other_program(&world));
    release(&world, 3).push("main").succeeds();
    world.settle();
    let seen = users.leave();
    assert_eq!(seen["failures"], serde_json::json!([]), "{seen}\n{}", world.server_log());
    assert!(seen["requests"].as_u64() > Some(500), "{seen}");
    assert!(seen["sockets"]["messages"].as_u64() > Some(20), "{seen}");
}

/// The known-bad control: the same users before a process that is killed and started again see it.
#[test]
fn a_process_that_is_started_again_naively_fails_requests() {
    let place = tempfile::tempdir().expect("a directory");
    std::fs::write(place.path().join("server.py"), APPLICATION).expect("a file");
    std::fs::write(place.path().join("greeting.txt"), "this is commit number 1\n").expect("a file");
    let port = commis::runtime::free_port().expect("a port");
    let mut process = start(place.path(), port);
    let mut users = Users::of(port, "blog.test");
    users.hear("naive 1");
    std::thread::sleep(Duration::from_millis(500));
    process.kill().and_then(|()| process.wait()).expect("a child");
    let mut process = start(place.path(), port);
    users.hear("other 7");
    std::thread::sleep(Duration::from_millis(500));
    let seen = users.leave();
    process.kill().and_then(|()| process.wait()).expect("a child");
    let kinds: Vec<&str> =
        seen["failures"].as_array().expect("failures").iter().filter_map(|one| one["kind"].as_str()).collect();
    assert!(kinds.contains(&"refused"), "{seen}");
    assert!(kinds.contains(&"closed") || kinds.contains(&"reset"), "{seen}");
    assert!(kinds.contains(&"body"), "an answer of another release is seen: {seen}");
}

fn start(place: &Path, port: u16) -> Child {
    let mut command = Command::new("/usr/bin/python3");
    command.arg("server.py").current_dir(place).env_clear().env("PORT", port.to_string());
    let child = command.spawn().expect("python3");
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "it does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn a_request_at_a_release_that_is_undone_meanwhile_is_answered() {
    let world = World::new();
    let gate = Gate::new();
    release(&world, 1).push("main").succeeds();
    world.settle();
    let hook = format!("{}exit 1\n", gate.hook());
    let next = release(&world, 2).script(".commis/hooks/post_deploy", &hook).commit("it fails late");
    let push = next.starts_pushing("main");
    let waiting = gate.reached();
    assert_eq!(world.page("blog").body, "this is commit number 2\n");
    let mut client = TcpStream::connect(("127.0.0.1", world.http)).expect("the router");
    client.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
    let head = "POST / HTTP/1.1\r\nHost: blog.commis.test\r\nContent-Length: 6\r\nConnection: close\r\n\r\n";
    client.write_all(format!("{head}abc").as_bytes()).expect("half a request");
    // It has arrived when the application's answer waits for the other half alone.
    std::thread::sleep(Duration::from_millis(300));
    waiting.opens();
    let until = Instant::now() + Duration::from_secs(30);
    while world.page("blog").body == "this is commit number 2\n" {
        assert!(Instant::now() < until, "it is not undone");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
    client.write_all(b"def").expect("the other half");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("abcdef"), "{answer}");
    assert_ne!(push.ended().code, 0);
}
