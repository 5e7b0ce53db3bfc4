//! How jobs end: limits, deadlines, cancelling, programs that cannot be started, and that nothing of them is left.
//! Real processes and cgroups: needs root.

use crate::bench::{Bench, lives, until};
use commis::model::Exit;
use commis::sandbox::{Cancel, Stream, Task};
use commis::system::{Cgroups, GroupLimits, Limits};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

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
async fn a_child_that_writes_without_end_does_not_hold_up_the_end() {
    let bench = Bench::new();
    let ran = bench.run(bench.bash("setsid yes & sleep 0.1")).await;
    assert!(ran.exit.is_success() && ran.out.starts_with("y\ny\n"));
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
