//! What a job sees and what it may not. Real processes and mounts: needs root. How jobs end stands in `job_ends.rs`.

use crate::bench::{Bench, USER};
use commis::model::Exit;
use commis::system::Access;
use std::fs;
use std::path::Path;

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
    assert!(why.ends_with("/run/data: is or leads through a symbolic link"), "{why}");
    let mut task = bench.bash("true");
    task.job.view.binds.push(bench.bind("data", "run/data/ssl", Access::ReadOnly));
    assert!(matches!(bench.run(task).await.exit, Exit::NotStarted(why) if why.ends_with("through a symbolic link")));
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
