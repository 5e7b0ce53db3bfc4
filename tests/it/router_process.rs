//! The router as a process of its own: found again, replaced and revived without a request that fails.

use super::support::world::commis_program;
use commis::model::ProjectName;
use commis::router::{
    DrainLimits, Drained, Host, InstanceAddress, Maintenance, Name, Plan, RouteRefused, Router, RouterConfig, Routes,
    Target,
};
use commis::system::UserIds;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(10);
const LONG: DrainLimits = DrainLimits { requests: LIMIT, tunnels: LIMIT };

/// A directory for one router, and an application.
struct Scene {
    directory: TempDir,
    plan: Plan,
    application: u16,
}

impl Scene {
    fn new() -> Self {
        static USERS: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::Builder::new().prefix("commis-router-").tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut config = RouterConfig::new("127.0.0.1:0".parse().unwrap());
        config.admin = Some("127.0.0.1:0".parse().unwrap());
        config.access_log = Some(path("logs/access.log"));
        let plan = Plan {
            config,
            program: commis_program().into(),
            build: "one".into(),
            user: UserIds::of(900_000_000 + std::process::id() % 100_000 * 100 + USERS.fetch_add(1, Ordering::Relaxed)),
            socket: path("router.sock"),
            snapshot: path("state/routes.json"),
            log: path("logs/router.log"),
            log_filter: "info".into(),
        };
        Self { directory, plan, application: application("hello") }
    }

    fn start(&self) -> Router {
        runtime().block_on(Router::start(self.plan.clone())).unwrap()
    }

    fn routed(&self) -> Router {
        let router = self.start();
        router.set(routes("blog", self.application)).unwrap();
        router
    }

    /// The processes that route here.
    fn pids(&self) -> Vec<i32> {
        routers(self.directory.path())
    }

    fn until_one_is_left(&self) -> i32 {
        for _ in 0..2_000 {
            if let [pid] = self.pids()[..] {
                return pid;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("routers: {:?}", self.pids());
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for pid in self.pids() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> =
        std::sync::LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
    &RUNTIME
}

fn routers(below: &Path) -> Vec<i32> {
    let pids =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("router-process") && line.contains(&below.display().to_string())
    })
    .collect()
}

fn project(name: &str) -> ProjectName {
    ProjectName::parse(name).unwrap()
}

fn routes(name: &str, port: u16) -> Routes {
    let names = vec![Name::whole(Host::parse(&format!("{name}.test")).unwrap())];
    Routes { project: project(name), names, target: Target::Instances(vec![InstanceAddress::web(1, port)]) }
}

/// Answers every request with this text.
fn application(text: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                while head(&mut stream).is_some() {
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Up to an empty line.
fn head(stream: &mut TcpStream) -> Option<String> {
    let (mut got, mut byte) = (Vec::new(), [0]);
    while !got.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => got.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&got).into_owned())
}

fn get(address: SocketAddr) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: blog.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// Clients that ask all the time, on new connections and on kept ones.
struct Crowd {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Crowd {
    fn before(address: SocketAddr) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |keeps: bool| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                let (mut kept, mut failed) = (None, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    match ask(address, &mut kept, keeps) {
                        Ok(()) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Err(what) => failed.push(what),
                    }
                }
                failed
            })
        };
        let clients = [true, true, false, false].map(client).into();
        Self { stop, answered, clients }
    }

    fn until_more_were_answered(&self, more: usize) {
        let before = self.answered.load(Ordering::Relaxed);
        for _ in 0..3_000 {
            if self.answered.load(Ordering::Relaxed) >= before + more {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("nobody answers");
    }

    /// What went wrong.
    fn leaves(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

fn ask(address: SocketAddr, kept: &mut Option<TcpStream>, keeps: bool) -> Result<(), String> {
    let mut client = match kept.take() {
        Some(client) => client,
        None => TcpStream::connect(address).map_err(|error| format!("connect: {error}"))?,
    };
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: blog.test\r\n\r\n").map_err(|error| format!("send: {error}"))?;
    let head = head(&mut client).ok_or("no answer")?.to_lowercase();
    let mut body = [0; 5];
    client.read_exact(&mut body).map_err(|error| format!("body: {error}"))?;
    if !head.starts_with("http/1.1 200") || &body != b"hello" {
        return Err(head);
    }
    *kept = (keeps && !head.contains("connection: close")).then_some(client);
    Ok(())
}

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
    runtime().block_on(router.reconfigure(config)).unwrap();
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
    runtime().block_on(router.reconfigure(config)).unwrap();
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
    print(len(s.recv(9)))
except ConnectionError:
    print(0)";
    let ask = |uid: u32| {
        let mut command = std::process::Command::new("setpriv");
        let user = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".into()];
        command.args(user).args(["python3", "-c", python]).arg(&scene.plan.socket);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!((ask(12_345), scene.pids().len()), ("0\n".into(), 1));
    assert_eq!(ask(0), "9\n", "the control: root is heard");
    runtime().block_on(router.shut_down(LIMIT));
}
