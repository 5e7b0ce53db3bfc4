//! Inside what a process of the application sees, and saw when it ended by itself: its own /tmp is still there.

use super::support::world::DOMAIN;
use super::support::{Running, World};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Leaves its name in its own /tmp; a POST ends it, with last words.
const SERVER: &str = r#"import http.server, os, sys
open('/tmp/evidence', 'w').write('written by ' + str(os.getpid()))
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        print('nobody expected that', flush=True)
        os._exit(7)
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Page).serve_forever()
"#;

/// A POST is not repeated by the router.
fn end(world: &World) {
    let mut stream = TcpStream::connect(("127.0.0.1", world.http)).expect("the router");
    let head = format!("POST / HTTP/1.1\r\nHost: blog.{DOMAIN}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("a request");
    let _ = stream.read_to_end(&mut Vec::new());
}

fn pid(world: &World) -> Option<u64> {
    let ps = world.json(&["ps", "blog"]);
    let one = ps["processes"].as_array()?.iter().find(|one| one["process"] == "web.1" && one["state"] == "running")?;
    one["pid"].as_u64()
}

fn other_pid(world: &World, before: u64) -> u64 {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match pid(world) {
            Some(pid) if pid != before => return pid,
            _ => assert!(Instant::now() < until, "{}", world.server_log()),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn looks(world: &World, words: &[&str]) -> String {
    let words: Vec<&str> = ["shell", "blog"].iter().chain(words).copied().collect();
    let mut shell = Running::at_terminal(&world.commis_command(&words), "shell");
    shell.until("blog v1");
    shell.types("cat /tmp/evidence; echo; id -un; exit\n");
    shell.ended().succeeded().stdout.clone()
}

#[test]
fn what_a_process_saw_when_it_ended_can_be_looked_at_for_a_while() {
    let world = World::with("[apps]\nrestart_delay = \"100ms\"\n");
    let blog = world.project("blog").write("server.py", SERVER).write("Procfile", "web: exec python3 server.py\n");
    blog.commit("one").push("main").succeeds();
    world.settle();
    let first = pid(&world).expect("a pid");
    world.commis(&["shell", "blog", "--crashed", "web.1"]).failed(64).says("needs a terminal");
    let nothing = Running::at_terminal(&world.commis_command(&["shell", "blog", "--crashed", "web.1"]), "shell");
    nothing.ended().failed(66).says("nothing is kept of web.1");
    let nobody = Running::at_terminal(&world.commis_command(&["shell", "blog", "--ps", "web.9"]), "shell");
    nobody.ended().failed(66).says("no process \"web.9\" of blog runs").says("there is: web.1");
    end(&world);
    let second = other_pid(&world, first);
    let crashed = looks(&world, &["--crashed", "web.1"]);
    for said in ["exit 7", "nobody expected that", "PORT", &format!("written by {first}")] {
        assert!(crashed.contains(said), "{said:?} not in {crashed}");
    }
    assert!(crashed.lines().any(|line| line.trim() == "blog"), "the user of the application: {crashed}");
    let running = looks(&world, &["--ps", "web.1"]);
    assert!(running.contains(&format!("written by {second}")), "{running}");
}

#[test]
fn it_is_kept_no_longer_than_the_server_says() {
    let world = World::with("[apps]\nrestart_delay = \"100ms\"\nkeep_crashed = \"0s\"\n");
    let blog = world.project("blog").write("server.py", SERVER).write("Procfile", "web: exec python3 server.py\n");
    blog.commit("one").push("main").succeeds();
    world.settle();
    let first = pid(&world).expect("a pid");
    end(&world);
    other_pid(&world, first);
    let nothing = Running::at_terminal(&world.commis_command(&["shell", "blog", "--crashed", "web.1"]), "shell");
    nothing.ended().failed(66).says("nothing is kept of web.1");
}
