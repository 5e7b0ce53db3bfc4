//! What a job sees, what it may not, and that nothing of it is left. Real processes and mounts: needs root.
#![allow(clippy::disallowed_methods)]

use commis::model::Exit;
use commis::sandbox::{Cancel, Running, Sandbox, Stream, Task};
use commis::system::{Access, Bind, Cgroups, GroupLimits, Identity, Job, Limits, Privacy, UserIds, View};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const USER: u32 = 29_871;

/// One server's sandbox and one project. Dropping it fails when a cgroup or a mount is left.
struct Bench {
    directory: tempfile::TempDir,
    cgroups: Arc<Cgroups>,
    sandbox: Sandbox,
}

struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

impl Bench {
    fn new() -> Self {
        Self::with(|id| Cgroups::discover(&id))
    }

    fn with(cgroups: impl FnOnce(String) -> Cgroups) -> Self {
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

    fn root(&self) -> PathBuf {
        self.directory.path().join("projects/blog")
    }

    fn bind(&self, source: &str, target: &str, access: Access) -> Bind {
        Bind { source: self.root().join(source), target: self.root().join(target), access }
    }

    /// A job that sees the build directory at the run path.
    fn job(&self, argv: &[&str]) -> Job {
        let view = View {
            cover: Some(self.root()),
            binds: vec![self.bind("build", "run", Access::ReadWrite), self.bind("data", "data", Access::ReadOnly)],
            tmp: Privacy::Private,
            identity: Some(Identity { name: "blog".into(), home: self.root().join("run") }),
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

    fn task(&self, argv: &[&str]) -> Task {
        Task { name: "blog.build.1".into(), job: self.job(argv), group: GroupLimits::default(), deadline: None }
    }

    fn bash(&self, script: &str) -> Task {
        self.task(&["bash", "-c", script])
    }

    async fn run(&self, task: Task) -> Ran {
        self.run_until(task, &Cancel::default()).await
    }

    async fn run_until(&self, task: Task, cancel: &Cancel) -> Ran {
        let (mut out, mut err) = (String::new(), String::new());
        let mut lines = |stream: Stream, line: &[u8]| {
            let text = if stream == Stream::Out { &mut out } else { &mut err };
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        };
        let exit = self.sandbox.run(task, &mut lines, cancel).await;
        Ran { exit, out, err }
    }

    async fn start(&self, script: &str) -> Running {
        self.sandbox.start(self.bash(script)).await.unwrap_or_else(|exit| panic!("{exit}"))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
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
    fn says(&self, expected: &str) {
        assert_eq!((&self.exit, self.out.trim_end()), (&Exit::Code(0), expected), "{}", self.err);
    }
}

/// A process of the test user whose arguments hold `mark`.
fn lives(mark: &str) -> bool {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok()).any(|line| {
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.starts_with("sleep") && line.contains(mark)
    })
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain");
}

#[tokio::test]
async fn a_build_sees_its_work_at_the_run_path_and_nothing_else_of_the_project() {
    let bench = Bench::new();
    let root = bench.root();
    let ran = bench.run(bench.bash("pwd; pwd > made; ls ..; cat ../pillar/secret")).await;
    assert_eq!(ran.out, format!("{}\ndata\nrun\n", root.join("run").display()));
    assert!(ran.err.contains("No such file"), "{}", ran.err);
    assert_eq!(fs::read_to_string(root.join("build/made")).unwrap().trim(), root.join("run").to_str().unwrap());
    assert!(root.join("pillar/secret").exists() && !root.join("run/made").exists());
}

#[tokio::test]
async fn a_build_writes_where_it_may_and_nowhere_else() {
    let bench = Bench::new();
    let root = bench.root();
    let ran = bench.run(bench.bash("touch ok; touch ../data/x; touch ../x; touch /etc/x; ls")).await;
    ran.says("ok");
    assert_eq!(ran.err.matches("Read-only file system").count(), 2, "{}", ran.err);
    assert!(!root.join("data/x").exists() && !root.join("x").exists());
}

#[tokio::test]
async fn a_file_can_be_bound_and_missing_targets_are_made() {
    let bench = Bench::new();
    fs::write(bench.root().join("pillar/one"), "shown").unwrap();
    let mut task = bench.bash("cat ../etc/deep/one");
    task.job.view.binds.push(bench.bind("pillar/one", "etc/deep/one", Access::ReadOnly));
    bench.run(task).await.says("shown");
}

#[tokio::test]
async fn a_source_that_is_a_symbolic_link_is_refused() {
    let bench = Bench::new();
    std::os::unix::fs::symlink("/etc", bench.root().join("link")).unwrap();
    let mut task = bench.bash("ls ../linked");
    task.job.view.binds.push(bench.bind("link", "linked", Access::ReadOnly));
    let Exit::NotStarted(why) = bench.run(task).await.exit else { panic!("started") };
    assert!(why.ends_with("/link: is a symbolic link"), "{why}");
}

#[tokio::test]
async fn a_link_inside_the_work_does_not_lead_a_mount_elsewhere() {
    let bench = Bench::new();
    std::os::unix::fs::symlink("/etc", bench.root().join("build/data")).unwrap();
    let mut task = bench.bash("true");
    task.job.view.binds.push(bench.bind("data", "run/data", Access::ReadOnly));
    let Exit::NotStarted(why) = bench.run(task).await.exit else { panic!("started") };
    assert!(why.ends_with("/run/data: is a symbolic link"), "{why}");
}

#[tokio::test]
async fn tmp_is_the_jobs_own() {
    let bench = Bench::new();
    let mark = format!("commis-{}", std::process::id());
    fs::write(Path::new("/tmp").join(&mark), "").unwrap();
    let script = format!("ls -A /tmp /var/tmp | grep {mark}; echo > /tmp/inner-{mark}; stat -c %a /tmp /var/tmp");
    bench.run(bench.bash(&script)).await.says("1777\n1777");
    assert!(!Path::new(&format!("/tmp/inner-{mark}")).exists());
    fs::remove_file(Path::new("/tmp").join(&mark)).unwrap();
}

#[tokio::test]
async fn the_user_has_a_name_and_a_home() {
    let bench = Bench::new();
    let script = "whoami; id -nG; id -u; python3 -c 'import pwd,os; print(pwd.getpwuid(os.getuid()).pw_dir)'; head -1 /etc/passwd; touch /etc/passwd";
    let ran = bench.run(bench.bash(script)).await;
    let home = bench.root().join("run");
    let expected = format!("blog\nblog\n{USER}\n{}\nroot:x:0:0:root:/root:/bin/bash\n", home.display());
    assert_eq!(ran.out, expected);
    assert!(!ran.exit.is_success(), "the user database was writable");
}

#[tokio::test]
async fn a_job_has_no_powers_and_no_way_to_any() {
    let bench = Bench::new();
    let script = "grep -E '^(NoNewPrivs|CapInh|CapPrm|CapEff|CapBnd|CapAmb|Groups|SigBlk):' /proc/self/status; umask";
    let ran = bench.run(bench.task(&["bash", "-c", script])).await;
    let mut values: Vec<&str> = ran.out.lines().map(|line| line.split_whitespace().nth(1).unwrap_or("")).collect();
    assert_eq!(values.pop(), Some(""), "umask has one word");
    assert_eq!(values.iter().filter(|value| **value == "0000000000000000").count(), 6, "{}", ran.out);
    assert!(ran.out.contains("NoNewPrivs:\t1") && ran.out.ends_with("0022\n"), "{}", ran.out);
    let escalate =
        bench.run(bench.bash("cp /usr/bin/id . && chmod 4755 id; mount -t tmpfs x /mnt; unshare -m true")).await;
    assert!(!escalate.exit.is_success());
}

#[tokio::test]
async fn the_environment_is_exactly_the_jobs() {
    let bench = Bench::new();
    let mut task = bench.task(&["env"]);
    task.job.env.push(("GREETING".into(), "a b\nc".into()));
    bench.run(task).await.says("PATH=/usr/bin:/bin\nGREETING=a b\nc");
}

#[tokio::test]
async fn a_job_has_three_open_files_and_an_empty_input() {
    let bench = Bench::new();
    let leaked = fs::File::open("/etc/hostname").unwrap();
    nix::fcntl::fcntl(&leaked, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    // `ls` itself opens the directory it lists, as number 3.
    let ran = bench.run(bench.bash("ls /proc/self/fd; readlink /proc/self/fd/0; cat; ps -o sid= -p $$; echo $$")).await;
    let lines: Vec<&str> = ran.out.split_whitespace().collect();
    assert_eq!(lines.get(..5), Some(&["0", "1", "2", "3", "/dev/null"][..]));
    assert_eq!(lines.get(5), lines.get(6), "it leads its session");
}

#[tokio::test]
async fn a_closed_pipe_ends_a_program_as_usual() {
    let bench = Bench::new();
    bench.run(bench.bash("yes | head -1; echo ${PIPESTATUS[0]}")).await.says("y\n141");
}

#[tokio::test]
async fn limits_of_a_process_hold() {
    let bench = Bench::new();
    let mut task = bench.bash("ulimit -c; ulimit -n; head -c 5000000 /dev/zero > big; echo $?");
    task.job.limits = Limits { open_files: 512, file_size: 1 << 20 };
    bench.run(task).await.says("0\n512\n153");
    assert_eq!(fs::metadata(bench.root().join("build/big")).unwrap().len(), 1 << 20);
}

#[tokio::test]
async fn reaching_the_memory_limit_is_said_in_so_many_words() {
    let bench = Bench::new();
    let script = "python3 -c 'x = bytearray(200_000_000); x[::4096] = b\"x\" * len(x[::4096])'";
    let limits = GroupLimits { memory: Some(64 << 20), ..GroupLimits::default() };
    let ran = bench.run(Task { group: limits, ..bench.bash(script) }).await;
    assert_eq!(ran.exit, Exit::OutOfMemory { limit: 64 << 20 });
    assert!(bench.run(bench.bash(script)).await.exit.is_success(), "without a limit it fits");
}

#[tokio::test]
async fn a_fork_bomb_meets_a_limit() {
    let bench = Bench::new();
    let limits = GroupLimits { pids: Some(20), ..GroupLimits::default() };
    let script = "for i in {1..40}; do sleep 971 & done; wait";
    let task = Task { group: limits, deadline: Some(Duration::from_secs(1)), ..bench.bash(script) };
    let ran = bench.run(task).await;
    assert!(ran.err.contains("fork"), "{}", ran.err);
    assert!(!lives("971"));
}

/// Leaves its process group and session twice over, and ignores being asked.
const ESCAPE: &str =
    "trap '' TERM; (setsid bash -c \"trap '' TERM; setsid nohup sleep MARK >/dev/null 2>&1 & wait\" &) ; ";

#[tokio::test]
async fn a_timeout_kills_what_has_escaped_too() {
    let bench = Bench::new();
    let script = ESCAPE.replace("MARK", "9721") + "sleep 9722";
    let seen = tokio::spawn(async { until(|| lives("9721") && lives("9722")).await });
    let task = Task { deadline: Some(Duration::from_secs(2)), ..bench.bash(&script) };
    assert_eq!(bench.run(task).await.exit, Exit::TimedOut { after: 2 });
    seen.await.unwrap();
    assert!(!lives("9721") && !lives("9722"));
}

#[tokio::test]
async fn a_child_that_keeps_the_output_open_does_not_hold_up_the_end() {
    let bench = Bench::new();
    let ran = bench.run(bench.bash("setsid sleep 9731 & echo done")).await;
    ran.says("done");
    assert!(!lives("9731"));
}

#[tokio::test]
async fn cancelling_kills_everything() {
    let bench = Bench::new();
    let cancel = Cancel::default();
    let handle = cancel.clone();
    let script = ESCAPE.replace("MARK", "9741") + "sleep 9742";
    tokio::spawn(async move {
        until(|| lives("9741") && lives("9742")).await;
        handle.cancel();
    });
    assert_eq!(bench.run_until(bench.bash(&script), &cancel).await.exit, Exit::Cancelled);
    assert!(!lives("9741") && !lives("9742"));
    assert_eq!(bench.run_until(bench.bash("true"), &cancel).await.exit, Exit::Cancelled, "before it began");
}

#[tokio::test]
async fn giving_up_on_a_run_leaves_nothing_either() {
    let bench = Bench::new();
    let given_up =
        tokio::time::timeout(Duration::from_secs(1), bench.run(bench.bash("setsid sleep 9751 & sleep 9751")));
    assert!(given_up.await.is_err());
    until(|| !lives("9751") && bench.cgroups.leftovers().is_empty()).await;
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let bench = Bench::new();
    let write = |name: &str, text: &str, mode: u32| {
        let file = bench.root().join("build").join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("plain", "#!/bin/sh\n", 0o644);
    write("dos", "#!/bin/bash\r\n", 0o755);
    write("text", "echo\n", 0o755);
    write("good", "#!/bin/sh\necho hello\n", 0o755);
    for (program, expected) in [
        ("./plain", "./plain is not executable (chmod +x)"),
        ("./dos", "./dos: bad interpreter: /bin/bash\\r: no such file"),
        ("./text", "./text is neither a program of this machine nor a script that begins with #!"),
        ("./absent", "./absent: no such file"),
        ("nowhere", "nowhere: no such program in PATH"),
        ("/etc", "/etc is a directory"),
    ] {
        assert_eq!(bench.run(bench.task(&[program])).await.exit, Exit::NotStarted(expected.into()));
    }
    assert!(matches!(bench.sandbox.start(bench.task(&["./plain"])).await, Err(Exit::NotStarted(_))));
    let mut lost = bench.task(&["true"]);
    lost.job.directory = "/no/where".into();
    assert!(matches!(bench.run(lost).await.exit, Exit::NotStarted(why) if why.starts_with("/no/where: ")));
    bench.run(bench.task(&["./good"])).await.says("hello");
}

#[tokio::test]
async fn ends_are_told_apart() {
    let bench = Bench::new();
    assert_eq!(bench.run(bench.bash("exit 7")).await.exit, Exit::Code(7));
    assert_eq!(bench.run(bench.bash("kill -SEGV $$")).await.exit, Exit::Signal(11));
    assert_eq!(bench.run(bench.bash("exit 126")).await.exit, Exit::Code(126), "a program's own 126 is its own");
}

#[tokio::test]
async fn output_is_cut_into_lines_whatever_comes() {
    let bench = Bench::new();
    let ran =
        bench.run(bench.bash("head -c 20000000 /dev/zero | tr '\\0' x; printf '1%%\\r99%%\\nend'; echo e >&2")).await;
    assert!(ran.out.lines().all(|line| line.len() <= 8192));
    assert!(ran.out.ends_with("99%\nend\n") && ran.err == "e\n");
}

#[tokio::test]
async fn something_that_stays_is_read_signalled_and_ended() {
    let bench = Bench::new();
    let script = "trap 'echo bye; exit 3' TERM; echo up; setsid sleep 9761 & while :; do sleep 0.05; done";
    let mut running = bench.start(script).await;
    assert_eq!(running.output.recv().await, Some((Stream::Out, b"up".to_vec())));
    until(|| lives("9761")).await;
    assert!(running.pids().len() >= 2 && running.memory().is_some());
    running.signal(nix::sys::signal::Signal::SIGTERM, commis::sandbox::Whom::MainGroup);
    assert_eq!(running.wait().await, Exit::Code(3));
    let mut output = running.take_output();
    let mut said = Vec::new();
    while said != b"bye" {
        said = output.recv().await.unwrap().1;
    }
    assert!(lives("9761"), "what left the group lives until the end");
    running.finish().await;
    assert!(!lives("9761"));
}

#[tokio::test]
async fn a_listener_on_the_wrong_port_is_found() {
    let bench = Bench::new();
    let script = "exec python3 -u -c 'import socket,time; s=socket.create_server((\"127.0.0.1\",0)); print(s.getsockname()[1]); time.sleep(60)'";
    let mut running = bench.start(script).await;
    let (_, line) = running.output.recv().await.unwrap();
    let port: u16 = String::from_utf8(line).unwrap().parse().unwrap();
    assert_eq!(running.listening_ports(), [port]);
    running.finish().await;
}

#[tokio::test]
async fn without_cgroups_a_job_still_runs_and_its_process_group_dies() {
    let bench = Bench::with(|_| Cgroups::none());
    bench.run(bench.bash("echo $((6*7))")).await.says("42");
    let task = Task { deadline: Some(Duration::from_secs(1)), ..bench.bash("sleep 9771 & sleep 9771") };
    assert_eq!(bench.run(task).await.exit, Exit::TimedOut { after: 1 });
    until(|| !lives("9771")).await;
}
