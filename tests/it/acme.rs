//! Certificates from a real authority: Debian's pebble, which asks the router over HTTP. Its names are answered by a small
//! name server of this test.

use super::support::routing::{LIMIT, Scene, project, routes, runtime};
use commis::router::{AcmePlan, Router};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A pebble that ends with the test.
struct Pebble(Child);

impl Pebble {
    fn start(directory: &Path, port: u16, http: u16) -> Self {
        let management = free_port();
        let path = |name: &str| directory.join(name).display().to_string();
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": path("pebble.pem"), "privateKey": path("pebble.key"),
            "httpPort": http, "tlsPort": 1, "ocspResponderURL": "", "externalAccountBindingRequired": false,
            "certificateValidityPeriod": 20,
        }});
        std::fs::write(directory.join("pebble.json"), config.to_string()).unwrap();
        let child = Command::new("pebble")
            .args(["-config", &path("pebble.json"), "-dnsserver", &format!("127.0.0.1:{}", name_server())])
            .envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "20")])
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(directory.join("pebble.log")).unwrap())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("pebble, which bin/setup installs"))
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Says 127.0.0.1 for every name but those that begin with `bad`, which lead where nobody listens.
fn name_server() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((size, from)) = socket.recv_from(&mut question) {
            let end = 12 + question[12..size].iter().position(|byte| *byte == 0).unwrap() + 5;
            let is_address = question[end - 4..end - 2] == [0, 1];
            let address =
                if question[13..].starts_with(b"bad") { [127, 0, 0, 66] } else { Ipv4Addr::LOCALHOST.octets() };
            let mut answer = question[..end].to_vec();
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
            if is_address {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
                answer.extend(address);
            }
            let _ = socket.send_to(&answer, from);
        }
    });
    port
}

/// Name of the issuer and the serial of what is shown for a host; empty when nothing is.
fn shown(router: &Router, host: &str) -> String {
    let python = "import socket,ssl,sys
c = ssl.create_default_context()
c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
with c.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[1]))), server_hostname=sys.argv[2]) as s:
    print(s.getpeercert(True).hex())";
    let port = router.https().unwrap().port().to_string();
    let ran = Command::new("/usr/bin/python3").args(["-c", python, &port, host]).output().unwrap();
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

fn until(what: &str, limit: Duration, holds: impl Fn() -> bool) {
    let end = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn an_authority_issues_and_renews_and_a_name_that_fails_holds_nobody() {
    let mut scene = Scene::new();
    let directory = scene.directory.path().to_owned();
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("pebble.pem"), own.cert.pem()).unwrap();
    std::fs::write(directory.join("pebble.key"), own.signing_key.serialize_pem()).unwrap();
    let port = free_port();
    scene.plan.config.https = Some("127.0.0.1:0".parse().unwrap());
    scene.plan.config.redirect = true;
    scene.plan.acme = Some(AcmePlan {
        directory: format!("https://localhost:{port}/dir"),
        email: Some("admin@blog.test".into()),
        roots: Some(directory.join("pebble.pem")),
        store: directory.join("acme"),
        every: Duration::from_millis(500),
    });
    let router = scene.start();
    let _pebble = Pebble::start(&directory, port, router.http().port());
    router.set(routes("bad", scene.application)).unwrap();
    router.set(routes("blog", scene.application)).unwrap();
    until("a certificate", Duration::from_secs(60), || !shown(&router, "blog.test").is_empty());
    assert_eq!(shown(&router, "bad.test"), "", "nobody proved that it is ours");
    let first = shown(&router, "blog.test");
    until("another one", Duration::from_secs(60), || {
        let now = shown(&router, "blog.test");
        !now.is_empty() && now != first
    });
    let modes: Vec<u32> = ["account.json", "blog.test.pem"]
        .map(|name| std::fs::metadata(directory.join("acme").join(name)).unwrap())
        .iter()
        .map(|data| std::os::unix::fs::PermissionsExt::mode(&data.permissions()) & 0o777)
        .collect();
    assert_eq!(modes, [0o600, 0o600]);
    assert!(router.remove(&project("blog")).unwrap());
    runtime().block_on(router.shut_down(LIMIT));
}
