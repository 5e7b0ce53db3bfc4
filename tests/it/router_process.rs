//! The router as a process of its own: found again, replaced and revived without a request that fails.

use super::support::routing::{Crowd, LIMIT, LONG, Scene, application, ask, get, head, project, routes, runtime};
use commis::router::{CertificateFiles, DrainLimits, Drained, InstanceAddress, Maintenance, RouteRefused};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

#[test]
fn the_router_is_nobody_and_has_a_session_of_its_own() {
    let scene = Scene::new();
    let router = scene.routed();
    assert!(get(router.http()).ends_with("hello"));
    let [pid] = scene.pids()[..] else { panic!("{:?}", scene.pids()) };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let user = scene.plan.user.uid;
    assert!(status.contains(&format!("Uid:\t{user}\t{user}\t{user}\t{user}\n")), "{status}");
    assert!(status.contains("CapEff:\t0000000000000000\n") && status.contains("NoNewPrivs:\t1\n"), "{status}");
    assert!(status.contains("Groups:\t \n") || status.contains("Groups:\t\n"), "{status}");
    let session = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid))).unwrap();
    assert_eq!(session.as_raw(), pid);
    runtime().block_on(router.shut_down(LIMIT));
    assert_eq!(scene.pids(), Vec::<i32>::new());
    assert!(TcpStream::connect(router.http()).is_err(), "the port is free again");
    let log = std::fs::read_to_string(scene.directory.path().join("logs/access.log")).unwrap();
    assert!(log.contains("\"GET / HTTP/1.1\" 200 5 ") && log.contains(" blog/web.1\n"), "{log}");
}

#[test]
fn a_server_that_leaves_finds_its_router_again() {
    let scene = Scene::new();
    let first = scene.routed();
    let crowd = Crowd::before(first.http());
    let [pid] = scene.pids()[..] else { panic!("{:?}", scene.pids()) };
    runtime().block_on(first.leave());
    assert!(matches!(first.set(routes("blog", 1)), Err(RouteRefused::NoRouter(_))), "who left has nothing to say");
    crowd.until_more_were_answered(100);
    let second = scene.start();
    assert_eq!((second.http(), scene.pids()), (first.http(), vec![pid]));
    let other = application("hello");
    second.set(routes("blog", other)).unwrap();
    crowd.until_more_were_answered(100);
    assert_eq!(crowd.leaves(), Vec::<String>::new());
    runtime().block_on(second.shut_down(LIMIT));
}

#[test]
fn another_program_takes_over_and_nobody_notices() {
    let mut scene = Scene::new();
    let mut router = scene.routed();
    let (address, crowd) = (router.http(), Crowd::before(router.http()));
    for build in ["two", "three", "four"] {
        crowd.until_more_were_answered(50);
        let [before] = scene.pids()[..] else { panic!("{:?}", scene.pids()) };
        runtime().block_on(router.leave());
        scene.plan.build = build.into();
        router = scene.start();
        assert_eq!(router.http(), address);
        crowd.until_more_were_answered(50);
        assert_ne!(scene.until_one_is_left(), before);
    }
    assert_eq!(crowd.leaves(), Vec::<String>::new());
    runtime().block_on(router.shut_down(LIMIT));
}

/// The known-bad control: a router that is simply started again does fail requests, so the crowd would see it.
#[test]
fn a_router_that_is_restarted_naively_fails_requests() {
    let scene = Scene::new();
    let router = scene.routed();
    let crowd = Crowd::before(router.http());
    crowd.until_more_were_answered(50);
    runtime().block_on(router.shut_down(LIMIT));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!crowd.leaves().is_empty());
}

#[test]
fn new_settings_are_those_of_a_new_router_on_the_same_port() {
    let scene = Scene::new();
    let router = scene.routed();
    let crowd = Crowd::before(router.http());
    let mut config = scene.plan.config.clone();
    config.hold = Duration::from_secs(1);
    crowd.until_more_were_answered(50);
    runtime().block_on(router.reconfigure(config, Vec::new())).unwrap();
    crowd.until_more_were_answered(50);
    scene.until_one_is_left();
    assert_eq!(crowd.leaves(), Vec::<String>::new());
    runtime().block_on(router.shut_down(LIMIT));
}

#[test]
fn a_router_that_dies_is_back_with_its_routes_and_refuses_no_connection() {
    let scene = Scene::new();
    let router = scene.routed();
    let on = Maintenance::On { page: Some("<p>later".into()), retry_after: LIMIT };
    router.set(routes("shop", scene.application)).unwrap();
    assert!(router.maintain(&project("shop"), on).unwrap());
    for _ in 0..2 {
        let [pid] = scene.pids()[..] else { panic!("{:?}", scene.pids()) };
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        assert!(get(router.http()).ends_with("hello"), "the connection waited for the next one");
        assert_ne!(scene.until_one_is_left(), pid);
    }
    let mut shop = routes("shop", scene.application);
    shop.names.clear();
    router.set(shop).unwrap();
    assert!(router.table().get(&project("shop")).unwrap().maintenance != Maintenance::Off);
    runtime().block_on(router.shut_down(LIMIT));
}

#[test]
fn a_router_starts_from_its_snapshot_alone() {
    let scene = Scene::new();
    let router = scene.routed();
    runtime().block_on(router.shut_down(LIMIT));
    let router = scene.start();
    assert!(get(router.http()).ends_with("hello"));
    std::fs::write(&scene.plan.snapshot, "{").unwrap();
    runtime().block_on(router.shut_down(LIMIT));
    let router = scene.start();
    assert!(get(router.http()).starts_with("HTTP/1.1 404"), "one that cannot be read is none");
    runtime().block_on(router.shut_down(LIMIT));
}

#[test]
fn a_drain_hears_of_requests_at_the_router_that_was_replaced() {
    let scene = Scene::new();
    let router = scene.start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    router.set(routes("blog", port)).unwrap();
    let mut client = TcpStream::connect(router.http()).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: blog.test\r\n\r\n").unwrap();
    let (mut application, _) = listener.accept().unwrap();
    head(&mut application).unwrap();
    let mut config = scene.plan.config.clone();
    config.hold_requests += 1;
    runtime().block_on(router.reconfigure(config, Vec::new())).unwrap();
    router.set(routes("blog", scene.application)).unwrap();
    let leaving = [InstanceAddress::web(1, port)];
    let short = DrainLimits { requests: Duration::from_millis(100), ..LONG };
    let cut = runtime().block_on(router.drain(&project("blog"), &leaving, short));
    assert_eq!(cut, Drained { requests_left: 1, tunnels_closed: 0 });
    application.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold").unwrap();
    assert_eq!(runtime().block_on(router.drain(&project("blog"), &leaving, LONG)), Drained::default());
    assert!(head(&mut client).unwrap().starts_with("HTTP/1.1 200"));
    runtime().block_on(router.shut_down(LIMIT));
}

#[test]
fn who_still_asks_the_router_that_was_replaced_gets_what_is_live_now() {
    let scene = Scene::new();
    let router = scene.routed();
    let mut kept = None;
    ask(router.http(), &mut kept, true).unwrap();
    let mut config = scene.plan.config.clone();
    config.hold_requests += 1;
    runtime().block_on(router.reconfigure(config, Vec::new())).unwrap();
    assert_eq!(scene.pids().len(), 2, "the old one waits for those who are connected");
    router.set(routes("blog", application("hello"))).unwrap();
    let leaving = [InstanceAddress::web(1, scene.application)];
    runtime().block_on(router.drain(&project("blog"), &leaving, LONG));
    assert_eq!(ask(router.http(), &mut kept, true), Ok(()));
    assert!(kept.is_none(), "it was the old one, which asks to be left");
    runtime().block_on(router.shut_down(LIMIT));
}

#[test]
fn a_server_finds_the_router_that_was_replaced_before_it_came() {
    let mut scene = Scene::new();
    let first = scene.routed();
    let mut kept = None;
    ask(first.http(), &mut kept, true).unwrap();
    scene.plan.config.hold_requests += 1;
    runtime().block_on(first.reconfigure(scene.plan.config.clone(), Vec::new())).unwrap();
    runtime().block_on(first.leave());
    let second = scene.start();
    assert_eq!(scene.pids().len(), 2, "the one that is wanted, and the one that waits for its clients");
    second.set(routes("blog", application("hello"))).unwrap();
    let leaving = [InstanceAddress::web(1, scene.application)];
    runtime().block_on(second.drain(&project("blog"), &leaving, LONG));
    assert_eq!(ask(second.http(), &mut kept, true), Ok(()));
    assert!(kept.is_none(), "it was the old one, which asks to be left");
    scene.until_one_is_left();
    runtime().block_on(second.shut_down(LIMIT));
    let left: Vec<_> =
        std::fs::read_dir(scene.directory.path()).unwrap().flatten().map(|one| one.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("sock")), "{left:?}");
}

#[test]
fn a_router_whose_server_ended_while_it_was_replaced_is_taken_up() {
    let scene = Scene::new();
    let first = scene.routed();
    let pids = scene.pids();
    runtime().block_on(first.leave());
    let aside = format!("{}.{}", scene.plan.socket.display(), pids[0]);
    std::fs::rename(&scene.plan.socket, &aside).unwrap();
    let second = scene.start();
    assert_eq!((second.http(), scene.pids()), (first.http(), pids));
    assert!(get(second.http()).ends_with("hello"));
    runtime().block_on(second.shut_down(LIMIT));
}

#[test]
fn only_root_speaks_to_the_router() {
    let scene = Scene::new();
    let router = scene.start();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&scene.plan.socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // Even one who could open the socket: a descriptor's owner is who connected.
    std::fs::set_permissions(&scene.plan.socket, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let python = "import socket,sys
m = b'{\"id\":1,\"body\":\"End\"}'
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
try:
    s.connect(sys.argv[1])
    s.sendall(len(m).to_bytes(4, 'big') + m)
    print(len(s.recv(9, socket.MSG_WAITALL)))
except ConnectionError:
    print(0)";
    let ask = |uid: u32| {
        let mut command = std::process::Command::new("setpriv");
        let user = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".into()];
        command.args(user).args(["/usr/bin/python3", "-c", python]).arg(&scene.plan.socket);
        let ran = command.current_dir("/").output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    assert_eq!((ask(12_345), scene.pids().len()), ("0\n".into(), 1));
    assert_eq!(ask(0), "9\n", "the control: root is heard");
    runtime().block_on(router.shut_down(LIMIT));
}

/// The certificate that a client gets who asks for `a.test`, as hexadecimal digits.
fn shown(address: SocketAddr) -> String {
    let python = "import socket,ssl,sys
c = ssl.create_default_context()
c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
with c.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[1]))), server_hostname='a.test') as s:
    print(s.getpeercert(True).hex())";
    let ran = std::process::Command::new("python3").args(["-c", python, &address.port().to_string()]).output().unwrap();
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

/// Writes a new certificate; returns it as [`shown`] does.
fn certify(files: &CertificateFiles) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    std::fs::write(&files.chain, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    made.cert.der().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn certificates_are_roots_files_and_come_again_on_order_and_after_a_death() {
    let mut scene = Scene::new();
    let path = |name: &str| scene.directory.path().join(name);
    let files = CertificateFiles { name: "a".into(), chain: path("a.pem"), key: path("a.key") };
    let missing = CertificateFiles { name: "gone".into(), chain: path("gone.pem"), key: path("gone.key") };
    let first = certify(&files);
    std::fs::set_permissions(&files.key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    scene.plan.config.https = Some("127.0.0.1:0".parse().unwrap());
    scene.plan.certificates = vec![missing, files.clone()];
    let router = scene.routed();
    let address = router.https().unwrap();
    assert_eq!(shown(address), first);
    let second = certify(&files);
    runtime().block_on(router.reconfigure(scene.plan.config.clone(), scene.plan.certificates.clone())).unwrap();
    assert_eq!(shown(address), second);
    let [pid] = scene.pids()[..] else { panic!("{:?}", scene.pids()) };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(shown(address), second);
    runtime().block_on(router.shut_down(LIMIT));
}
