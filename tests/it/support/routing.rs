//! A router's process without a server, an application for it, and a crowd of clients that notices everything.

use super::world::commis_program;
use commis::model::ProjectName;
use commis::router::{
    DrainLimits, Encryption, Host, InstanceAddress, Name, Plan, Router, RouterConfig, Routes, Target,
};
use commis::system::UserIds;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

pub const LIMIT: Duration = Duration::from_secs(10);
pub const LONG: DrainLimits = DrainLimits { requests: LIMIT, tunnels: LIMIT };

/// A directory for one router, and an application.
pub struct Scene {
    pub directory: TempDir,
    pub plan: Plan,
    pub application: u16,
}

impl Scene {
    pub fn new() -> Self {
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
            certificates: Vec::new(),
            acme: None,
        };
        Self { directory, plan, application: application("hello") }
    }

    pub fn start(&self) -> Router {
        runtime().block_on(Router::start(self.plan.clone())).unwrap()
    }

    pub fn routed(&self) -> Router {
        let router = self.start();
        router.set(routes("blog", self.application)).unwrap();
        router
    }

    /// The processes that route here.
    pub fn pids(&self) -> Vec<i32> {
        routers(self.directory.path())
    }

    pub fn until_one_is_left(&self) -> i32 {
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

pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> =
        std::sync::LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
    &RUNTIME
}

pub fn routers(below: &Path) -> Vec<i32> {
    let pids =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("router-process") && line.contains(&below.display().to_string())
    })
    .collect()
}

pub fn project(name: &str) -> ProjectName {
    ProjectName::parse(name).unwrap()
}

pub fn routes(name: &str, port: u16) -> Routes {
    let names = vec![Name::whole(Host::parse(&format!("{name}.test")).unwrap())];
    Routes {
        project: project(name),
        names,
        target: Target::Instances(vec![InstanceAddress::web(1, port)]),
        encryption: Encryption::AsServer,
    }
}

/// Answers every request with this text.
pub fn application(text: &'static str) -> u16 {
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
pub fn head(stream: &mut TcpStream) -> Option<String> {
    let (mut got, mut byte) = (Vec::new(), [0]);
    while !got.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => got.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&got).into_owned())
}

pub fn get(address: SocketAddr) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: blog.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// Clients that ask all the time, on new connections and on kept ones.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Crowd {
    pub fn before(address: SocketAddr) -> Self {
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

    pub fn until_more_were_answered(&self, more: usize) {
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
    pub fn leaves(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

pub fn ask(address: SocketAddr, kept: &mut Option<TcpStream>, keeps: bool) -> Result<(), String> {
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
