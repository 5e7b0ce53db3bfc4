//! One server in roots of its own: started, killed, stopped, asked. Its people's things (keys, working copies, its log)
//! lie outside of its roots, so that what happens to its disks does not happen to them.

use super::children::{self, Ran, Started};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

pub const DOMAIN: &str = "commis.test";
/// Numeric users of one server.
const USERS: u32 = 200;
const READY: Duration = Duration::from_secs(60);

/// Where a server keeps its four roots.
#[derive(Clone, Debug)]
pub struct Roots {
    pub projects: PathBuf,
    pub state: PathBuf,
    pub runtime: PathBuf,
    pub logs: PathBuf,
}

impl Roots {
    /// All below one directory.
    pub fn below(directory: &Path) -> Self {
        let at = |name: &str| directory.join(name);
        Self { projects: at("srv"), state: at("state"), runtime: at("rt"), logs: at("log") }
    }
}

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Start {
    pub env: Vec<(String, String)>,
    pub wrapper: Vec<String>,
}

impl Start {
    /// With points armed, as `system::failpoint` reads them.
    pub fn armed(points: &str) -> Self {
        Self { env: vec![("FAILPOINTS".into(), points.into())], ..Self::default() }
    }

    /// In a mount table of its own: what is mounted here later is never in use there.
    pub fn apart() -> Self {
        let wrapper = ["unshare", "--mount", "--propagation", "private", "--"];
        Self { wrapper: wrapper.map(str::to_owned).to_vec(), ..Self::default() }
    }
}

pub struct Machine {
    /// Keys, working copies, configuration, the server's own log.
    pub scratch: tempfile::TempDir,
    pub roots: Roots,
    server: Option<Child>,
    pub ssh: u16,
    http: u16,
    first_user: u32,
    /// What it calls itself; its groups have this name, also when its disk cannot be read any more.
    id: Option<String>,
}

impl Machine {
    /// A machine that is not switched on yet. `roots` must be on file systems that its users may walk through.
    pub fn new(scratch: tempfile::TempDir, roots: Roots, more: &str) -> Result<Self, String> {
        open_to_all(scratch.path())?;
        let machine = Self { scratch, roots, server: None, ssh: 0, http: 0, first_user: own_users(), id: None };
        std::fs::write(machine.path("commis.toml"), machine.settings()).map_err(|error| error.to_string())?;
        std::fs::create_dir_all(machine.path("conf.d")).map_err(|error| error.to_string())?;
        std::fs::write(machine.path("conf.d/10-more.toml"), more).map_err(|error| error.to_string())?;
        children::done(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-f", &machine.path("admin").display().to_string()],
        )?;
        Ok(machine)
    }

    fn settings(&self) -> String {
        let Roots { projects, state, runtime, logs } = &self.roots;
        format!(
            "platform = \"staging\"\n[paths]\nprojects = {projects:?}\nstate = {state:?}\nruntime = {runtime:?}\nlogs = {logs:?}\n\
             [ssh]\nlisten = \"127.0.0.1:0\"\n[router]\nhttp = \"127.0.0.1:0\"\nadmin = \"\"\ndomain = \"{DOMAIN}\"\n\
             [users]\nfirst = {}\ncount = {USERS}\n[builds]\ntimeout = \"30s\"\n[hooks]\ntimeout = \"30s\"\n\
             [health]\ntimeout = \"10s\"\ninterval = \"10ms\"\n[apps]\nstop_grace = \"1s\"\nrestart_delay = \"100ms\"\n\
             [releases]\nkeep = 3\n",
            self.first_user
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Returns when the server is ready, with an error when it ended instead.
    pub fn start(&mut self, how: &Start) -> Result<(), String> {
        assert!(self.server.is_none(), "started twice");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("server.log"));
        let log = log.map_err(|error| error.to_string())?;
        let words: Vec<&str> = how.wrapper.iter().map(String::as_str).chain([program(), "serve", "--config"]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(self.path("commis.toml")).envs(how.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut server = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let stdout = server.stdout.take().expect("stdout");
        self.server = Some(server);
        let (sender, line) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let mut stdout = BufReader::new(stdout);
            let _ = stdout.read_line(&mut text);
            let _ = sender.send(text);
            // A server whose standard output is gone is another experiment.
            let _ = std::io::copy(&mut stdout, &mut std::io::sink());
        });
        let line = line.recv_timeout(READY).unwrap_or_default();
        let port = |key: &str| {
            let address = line.split_whitespace().find_map(|word| word.strip_prefix(key))?;
            address.rsplit(':').next()?.parse().ok()
        };
        match (port("ssh="), port("http=")) {
            (Some(ssh), Some(http)) => (self.ssh, self.http) = (ssh, http),
            _ => {
                self.kill();
                return Err(format!("the server did not become ready: {line:?}\n{}", self.log_tail(15)));
            }
        }
        Ok(())
    }

    /// A life that ends before it has properly begun.
    pub fn start_and_kill(&mut self, after: Duration) -> Result<(), String> {
        let mut command = Command::new(program());
        command.args(["serve", "--config"]).arg(self.path("commis.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        self.server = Some(server);
        std::thread::sleep(after);
        self.kill();
        Ok(())
    }

    /// The first life: its admin's key is known afterwards.
    pub fn first_start(&mut self, how: &Start) -> Result<(), String> {
        self.start(how)?;
        self.id = super::ground::server_id(&self.roots.state.join("state.db"));
        let key = std::fs::read_to_string(self.path("admin.pub")).map_err(|error| error.to_string())?;
        let ran = children::run(self.commis(&["key", "add", "admin", "--admin"]), &key)?;
        if ran.code == 0 { Ok(()) } else { Err(format!("key add: {ran:?}")) }
    }

    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    pub fn is_up(&mut self) -> bool {
        self.server.as_mut().is_some_and(|server| matches!(server.try_wait(), Ok(None)))
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// The server and everything that it ever started, as a reboot ends them.
    pub fn kill_everything(&mut self) {
        let below = self.pid().map(children::descendants).unwrap_or_default();
        self.kill();
        below.iter().for_each(|process| children::signal(process.pid, Signal::SIGKILL));
        children::until(Duration::from_secs(10), || {
            // Shims first: they start again what ends.
            let own = [self.shims(), self.routers(), self.processes()].concat();
            own.iter().for_each(|process| children::signal(process.pid, Signal::SIGKILL));
            own.is_empty()
        });
    }

    pub fn remove_cgroups(&self) {
        self.id.iter().for_each(|id| super::ground::remove_cgroups(id));
    }

    /// Processes of this server's users, the router left out.
    pub fn processes(&self) -> Vec<children::Process> {
        let users = self.first_user..self.first_user + USERS;
        let routers: Vec<u32> = self.routers().iter().map(|router| router.pid).collect();
        let is_theirs = |process: &children::Process| users.contains(&process.user) && !routers.contains(&process.pid);
        children::processes().into_iter().filter(is_theirs).collect()
    }

    /// The router of this server, whichever life of it started that; two while one takes over.
    pub fn routers(&self) -> Vec<children::Process> {
        let command = format!("router-process {}/", self.roots.runtime.display());
        children::processes().into_iter().filter(|process| process.command.contains(&command)).collect()
    }

    /// Those that look after the instances of this server, whichever life of it started them.
    pub fn shims(&self) -> Vec<children::Process> {
        let place = self.roots.runtime.join("instances").display().to_string();
        children::processes().into_iter().filter(|process| process.command.contains(&place)).collect()
    }

    /// Git's hooks that are at work for this server.
    pub fn hooks(&self) -> Vec<children::Process> {
        let hook = self.roots.state.join("hooks").display().to_string();
        children::processes().into_iter().filter(|process| process.command.contains(&hook)).collect()
    }

    /// `commis ARGS` on the server itself.
    pub fn commis(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args).env("COMMIS_CONFIG", self.path("commis.toml"));
        command
    }

    pub fn verb(&self, args: &[&str]) -> Result<Ran, String> {
        children::run(self.commis(args), "")
    }

    pub fn json(&self, args: &[&str]) -> Result<serde_json::Value, String> {
        let words: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let ran = self.verb(&words)?;
        serde_json::from_str(&ran.out).map_err(|error| format!("{args:?}: {error}: {ran:?}"))
    }

    /// Starts a git command in a working copy, with nobody's configuration.
    pub fn git(&self, directory: &Path, args: &[&str]) -> Command {
        let ssh = format!(
            "ssh -F /dev/null -i {} -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no \
             -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            self.path("admin").display()
        );
        let mut command = Command::new("git");
        command.args(args).current_dir(directory).env_clear();
        for (name, value) in [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("HOME", "/nonexistent"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "Jane"),
            ("GIT_AUTHOR_EMAIL", "jane@example.com"),
            ("GIT_COMMITTER_NAME", "Jane"),
            ("GIT_COMMITTER_EMAIL", "jane@example.com"),
            // The same tree is the same commit, whenever it is made.
            ("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z"),
            ("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z"),
            ("GIT_SSH_COMMAND", &ssh),
        ] {
            command.env(name, value);
        }
        command
    }

    pub fn url(&self, project: &str) -> String {
        format!("ssh://commis@127.0.0.1:{}/{project}", self.ssh)
    }

    /// Status and body of a project's front page.
    pub fn page(&self, project: &str) -> Result<(u16, String), String> {
        let get = || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.http))?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            write!(stream, "GET / HTTP/1.1\r\nHost: {project}.{DOMAIN}\r\nConnection: close\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let text = get().map_err(|error: std::io::Error| format!("the router: {error}"))?;
        let status = text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        Ok((status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    pub fn log_tail(&self, count: usize) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains(" failpoint: ")).collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill_everything();
        self.remove_cgroups();
    }
}

/// The server under test: the one that was built with this, or a copy that no later build replaces.
pub fn program() -> &'static str {
    static PROGRAM: LazyLock<String> =
        LazyLock::new(|| std::env::var("COMMIS_TEST_PROGRAM").unwrap_or(env!("CARGO_BIN_EXE_commis").into()));
    &PROGRAM
}

/// Users of servers walk through it.
pub fn open_to_all(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711)).map_err(|error| error.to_string())
}

/// The first of a range of numbers that nothing else uses, in this process or another one's tests.
fn own_users() -> u32 {
    static MACHINES: AtomicU32 = AtomicU32::new(0);
    let own = MACHINES.fetch_add(1, Ordering::Relaxed) % 100;
    1_000_000 + (std::process::id() % 99_000) * 20_000 + own * USERS
}

/// A git push on its way.
pub fn push(machine: &Machine, directory: &Path, options: &[&str]) -> Result<Started, String> {
    let url = machine.url(super::session::PROJECT);
    let words = [&["push"], options, &[&url, "HEAD:refs/heads/main"]].concat();
    Started::new(machine.git(directory, &words), "")
}
