//! A sandbox to try things in: one server's cgroups, one project's directories, one user. Used by the tests of
//! sandboxes; whole servers live elsewhere.

use commis::model::Exit;
use commis::sandbox::{Cancel, Running, Sandbox, Stream, Task};
use commis::system::{Access, Bind, Cgroups, GroupLimits, Identity, Job, Limits, Privacy, UserIds, View};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub const USER: u32 = 29_871;

/// One server's sandbox and one project. Dropping it fails when a cgroup or a mount is left.
pub struct Bench {
    pub directory: tempfile::TempDir,
    pub cgroups: Arc<Cgroups>,
    pub sandbox: Sandbox,
}

pub struct Ran {
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(|id| Cgroups::discover(&id))
    }

    pub fn with(cgroups: impl FnOnce(String) -> Cgroups) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let cgroups = Arc::new(cgroups(id));
        let program = PathBuf::from(env!("CARGO_BIN_EXE_commis"));
        let bench =
            Self { directory: tempfile::tempdir().unwrap(), sandbox: Sandbox::new(program, cgroups.clone()), cgroups };
        fs::set_permissions(bench.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["build", "run", "data", "pillar"] {
            fs::create_dir_all(bench.root().join(name)).unwrap();
            chown(bench.root().join(name), Some(USER), Some(USER)).unwrap();
        }
        fs::write(bench.root().join("pillar/secret"), "hush").unwrap();
        bench
    }

    /// Where sockets of instances are.
    pub fn instances(&self) -> PathBuf {
        let directory = self.directory.path().join("instances");
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("projects/blog")
    }

    pub fn bind(&self, source: &str, target: &str, access: Access) -> Bind {
        Bind { source: self.root().join(source), target: self.root().join(target), access }
    }

    /// A job that sees the build directory at the run path.
    pub fn job(&self, argv: &[&str]) -> Job {
        let view = View {
            cover: Some(self.root()),
            binds: vec![self.bind("build", "run", Access::ReadWrite), self.bind("data", "data", Access::ReadOnly)],
            tmp: Privacy::Private,
            identity: Some(Identity { name: "blog".into(), home: self.root().join("run") }),
            ..View::default()
        };
        Job {
            argv: argv.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            directory: self.root().join("run"),
            user: UserIds::of(USER),
            view,
            limits: Limits::default(),
            cgroups: Vec::new(),
        }
    }

    pub fn task(&self, argv: &[&str]) -> Task {
        Task { name: "blog.build.1".into(), job: self.job(argv), group: GroupLimits::default(), deadline: None }
    }

    pub fn bash(&self, script: &str) -> Task {
        self.task(&["bash", "-c", script])
    }

    pub async fn run(&self, task: Task) -> Ran {
        self.run_until(task, &Cancel::default()).await
    }

    pub async fn run_until(&self, task: Task, cancel: &Cancel) -> Ran {
        let (mut out, mut err) = (String::new(), String::new());
        let mut lines = |stream: Stream, line: &[u8]| {
            let text = if stream == Stream::Out { &mut out } else { &mut err };
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        };
        let exit = self.sandbox.run(task, &mut lines, cancel).await;
        Ran { exit, out, err }
    }

    pub async fn start(&self, script: &str) -> Running {
        self.sandbox.start(self.bash(script)).await.unwrap_or_else(|exit| panic!("{exit}"))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            crate::support::leftovers::end_instances(self.directory.path());
            self.cgroups.remove_tops();
            return;
        }
        assert!(self.cgroups.leftovers().is_empty(), "cgroups are left: {:?}", self.cgroups.leftovers());
        self.cgroups.remove_tops();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.directory.path().to_str().unwrap()), "a mount leaked");
    }
}

impl Ran {
    #[track_caller]
    pub fn says(&self, expected: &str) {
        assert_eq!((&self.exit, self.out.trim_end()), (&Exit::Code(0), expected), "{}", self.err);
    }
}

/// A process of the test user whose arguments hold `mark`.
pub fn lives(mark: &str) -> bool {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok()).any(|line| {
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.starts_with("sleep") && line.contains(mark)
    })
}

pub async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain");
}
