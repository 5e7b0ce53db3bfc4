//! A server of its own in a temporary root on free loopback ports, and the people around it.

use super::leftovers;
use super::project::Project;
pub use super::ran::Ran;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A running server and its surroundings.
pub struct World {
    pub root: tempfile::TempDir,
    server: Option<Child>,
    /// A program and its first words that the server is started by; none: by itself.
    entrance: Vec<String>,
    pub ssh: u16,
    pub http: u16,
    /// Every world has numeric users of its own, so that what is left of one is not another's.
    first_user: u32,
    /// What the server calls itself; its cgroups have this name.
    id: Option<String>,
}

/// What a browser would see.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub body: String,
}

pub const DOMAIN: &str = "commis.test";

impl World {
    pub fn new() -> Self {
        Self::with("")
    }

    /// With more lines in its commis.toml; sections that it has already get theirs by a drop-in file.
    pub fn with(more: &str) -> Self {
        Self::inside(more, |_| Vec::new())
    }

    /// The same, started by another program, which gets the server's words after its own.
    pub fn inside(more: &str, entrance: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let root = tempfile::Builder::new().prefix("commis-world-").tempdir().expect("a temporary root");
        // Numeric users must be able to walk through.
        set_mode(root.path(), 0o711);
        let entrance = entrance(root.path());
        let mut world = Self { root, server: None, entrance, ssh: 0, http: 0, first_user: own_users(), id: None };
        std::fs::write(world.config(), world.settings()).expect("commis.toml");
        std::fs::create_dir_all(world.path("conf.d")).expect("conf.d");
        std::fs::write(world.path("conf.d/10-test.toml"), more).expect("drop-in");
        world.start();
        world.make_key("admin");
        world.commis_with_input(&["key", "add", "admin", "--admin"], &world.public_key("admin")).succeeded();
        world
    }

    /// The same with another program than the one that was built.
    pub fn start_as(&mut self, program: &Path) {
        self.start_program(&program.display().to_string(), "");
    }

    fn settings(&self) -> String {
        let first = self.first_user;
        let root = self.root.path().display();
        format!(
            "platform = \"staging\"\n\
             [paths]\nprojects = \"{root}/srv\"\nstate = \"{root}/state\"\nruntime = \"{root}/rt\"\nlogs = \"{root}/log\"\n\
             [ssh]\nlisten = \"127.0.0.1:0\"\n[router]\nhttp = \"127.0.0.1:0\"\nadmin = \"\"\ndomain = \"{DOMAIN}\"\n\
             [users]\nfirst = {first}\ncount = 200\n\
             [builds]\ntools = \"{}\"\n[health]\ntimeout = \"20s\"\n",
            tools().display()
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("commis.toml")
    }

    /// Starts the server; returns when it is ready.
    pub fn start(&mut self) {
        self.start_armed("");
    }

    /// The same with points at which the server dies or fails, as its failpoints understand them.
    pub fn start_armed(&mut self, points: &str) {
        self.start_program(commis_program(), points);
    }

    fn start_program(&mut self, program: &str, points: &str) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("server.log")).expect("log");
        let words: Vec<&str> = self.entrance.iter().map(String::as_str).chain([program]).collect();
        let mut server = Command::new(words[0])
            .args(&words[1..])
            .args(["serve", "--config"])
            .arg(self.config())
            .env("NOTIFY_SOCKET", self.path("notify"))
            .env("FAILPOINTS", points)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("commis serve");
        let stdout = server.stdout.take().expect("stdout");
        self.server = Some(server);
        let mut said = BufReader::new(stdout).lines().map_while(Result::ok);
        let line = said.next().unwrap_or_default();
        let port = |key: &str| {
            let address = line.split_whitespace().find_map(|word| word.strip_prefix(key));
            address.and_then(|address| address.rsplit(':').next()).and_then(|port| port.parse().ok())
        };
        let (Some(ssh), Some(http)) = (port("ssh="), port("http=")) else {
            panic!("not ready: {line:?}\n{}", self.server_log());
        };
        (self.ssh, self.http) = (ssh, http);
        let recovery = said.find(|line| line.starts_with("commis: recovery over"));
        assert!(recovery.is_some(), "no recovery:\n{}", self.server_log());
        // Each start has a port of its own, and known_hosts names it.
        self.learn_host_key();
        self.id = leftovers::server_id(&self.path("state/state.db"));
    }

    /// What the server tells its service manager: listens from here on.
    pub fn service_manager(&self) -> UnixDatagram {
        let _ = std::fs::remove_file(self.path("notify"));
        let manager = UnixDatagram::bind(self.path("notify")).expect("a socket");
        manager.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
        manager
    }

    /// SIGINT, which ends the applications too, and the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.end(nix::sys::signal::Signal::SIGINT)
    }

    /// SIGTERM: applications go on. And the exit code.
    pub fn leave(&mut self) -> Option<i32> {
        self.end(nix::sys::signal::Signal::SIGTERM)
    }

    fn end(&mut self, by: nix::sys::signal::Signal) -> Option<i32> {
        let mut server = self.server.take()?;
        signal(server.id(), by);
        wait_at_most(&mut server, Duration::from_secs(30))
    }

    /// kill -9, as a power cut would, but for the disk.
    pub fn kill(&mut self) {
        self.kill_server();
        leftovers::end_router(self.root.path());
    }

    /// kill -9 of the server alone.
    pub fn kill_server(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        signal(server.id(), nix::sys::signal::Signal::SIGKILL);
        let _ = server.wait();
    }

    pub fn reload(&self) {
        if let Some(server) = &self.server {
            signal(server.id(), nix::sys::signal::Signal::SIGHUP);
        }
    }

    pub fn server_pid(&self) -> u32 {
        self.server.as_ref().expect("a running server").id()
    }

    pub fn server_log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    /// `commis ARGS` on the server itself.
    pub fn commis(&self, args: &[&str]) -> Ran {
        self.commis_with_input(args, "")
    }

    pub fn commis_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(commis_program());
        command.args(args).env("COMMIS_CONFIG", self.config());
        command
    }

    pub fn commis_with_input(&self, args: &[&str], input: &str) -> Ran {
        run(self.commis_command(args), input, &format!("commis {}", args.join(" ")))
    }

    /// The record of a verb as JSON.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let words: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let ran = self.commis(&words);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// `ssh commis@host WORDS` with a key.
    pub fn ssh(&self, key: &str, words: &[&str]) -> Ran {
        run(self.ssh_command(key, words), "", &format!("ssh {}", words.join(" ")))
    }

    pub fn ssh_command(&self, key: &str, words: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(self.ssh_options(key)).args(["-p", &self.ssh.to_string(), "commis@127.0.0.1"]).args(words);
        command
    }

    /// A key that the server knows, made with these options of `key add`.
    pub fn admit(&self, name: &str, options: &[&str]) {
        self.make_key(name);
        let words: Vec<&str> = ["key", "add", name].iter().chain(options).copied().collect();
        self.commis_with_input(&words, &self.public_key(name)).succeeded();
    }

    pub fn ssh_options(&self, key: &str) -> Vec<String> {
        let known_hosts = self.path("known_hosts").display().to_string();
        let key = self.path(key).display().to_string();
        let mut options = vec!["-F".to_owned(), "/dev/null".to_owned(), "-i".to_owned(), key];
        for option in [
            "IdentitiesOnly=yes".to_owned(),
            "BatchMode=yes".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            format!("UserKnownHostsFile={known_hosts}"),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
        ] {
            options.extend(["-o".to_owned(), option]);
        }
        options
    }

    /// A key pair of that name.
    pub fn make_key(&self, name: &str) {
        let file = self.path(name);
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(file).status();
        assert!(made.is_ok_and(|status| status.success()), "ssh-keygen");
    }

    pub fn public_key(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.pub"))).expect("a public key")
    }

    pub fn learn_host_key(&self) {
        let line = self.commis(&["hostkey"]).succeeded().stdout.clone();
        std::fs::write(self.path("known_hosts"), line).expect("known_hosts");
    }

    /// A project of this name, with an empty repository on the developer's side.
    pub fn project(&self, name: &str) -> Project<'_> {
        Project::new(self, name)
    }

    /// The front page of a project, through the router.
    pub fn page(&self, project: &str) -> Page {
        self.get(&format!("{project}.{DOMAIN}"), "/")
    }

    /// The front page, once the application that was started with the server answers.
    pub fn page_when_up(&self, project: &str) -> Page {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let page = self.page(project);
            if page.status < 500 || Instant::now() > until {
                return page;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn get(&self, host: &str, path: &str) -> Page {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).expect("the router");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        Page { status, body }
    }

    /// Waits until nothing is being deployed or tidied.
    pub fn settle(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            let status = self.json(&["status"]);
            if status["deploying"].as_array().is_some_and(Vec::is_empty) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("still deploying after 30 s");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let failing = std::thread::panicking();
        if failing {
            eprintln!("---- server log ----\n{}", self.server_log());
        }
        if !failing && self.server.is_some() {
            self.settle();
            leftovers::check_projects(&self.path("srv"), &self.path("rt"));
        }
        let users: Vec<u32> = leftovers::users(&self.settings());
        let code = self.stop();
        // Of a server that was killed, or left, applications went on.
        leftovers::end_instances(&self.path("rt"));
        leftovers::end_router(self.root.path());
        super::mounts::end_bound(self.root.path());
        if !failing {
            assert!(code.is_none_or(|code| code == 0), "the server ended with {code:?}\n{}", self.server_log());
            leftovers::check_machine(self.root.path(), &users, self.id.as_deref().expect("the server's id"));
        }
    }
}

/// The first of a range of numbers that no other world, in this process or another, uses at the same time.
fn own_users() -> u32 {
    static WORLDS: AtomicU32 = AtomicU32::new(0);
    1_000_000 + (std::process::id() % 100_000) * 20_000 + WORLDS.fetch_add(1, Ordering::Relaxed) % 100 * 200
}

/// Runs a command to its end, with an input.
pub fn run(mut command: Command, input: &str, what: &str) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin");
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("its output");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { what: what.to_owned(), code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}

/// The one that was built with this, or another kind of it.
pub fn commis_program() -> &'static str {
    static PROGRAM: LazyLock<String> =
        LazyLock::new(|| std::env::var("COMMIS_TEST_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_commis").into()));
    &PROGRAM
}

/// Where bin/setup puts uv.
pub fn tools() -> PathBuf {
    let program = Path::new(commis_program());
    let target = program.parent().and_then(Path::parent).expect("the target directory");
    target.join("tools").join("uv")
}

pub fn wait_at_most(child: &mut Child, limit: Duration) -> Option<i32> {
    let until = Instant::now() + limit;
    loop {
        match child.try_wait().expect("a child") {
            Some(status) => return Some(status.code().unwrap_or(-1)),
            None if Instant::now() > until => {
                let _ = child.kill();
                let _ = child.wait();
                return Some(-9);
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

pub fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal);
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}
