//! What must not be there when a test is over: files of deployments, processes, mounts, cgroups.

use std::path::{Path, PathBuf};

/// Nothing of a finished deployment lies around in the projects.
pub fn check_projects(projects: &Path, runtime: &Path) {
    for name in names(projects) {
        let root = projects.join(&name);
        assert_eq!(names(&root.join("build")), Vec::<String>::new(), "{name}: build/ is not empty");
        let deployed: Vec<String> = names(&root.join("deploy")).into_iter().filter(|name| name != "current").collect();
        assert_eq!(deployed, Vec::<String>::new(), "{name}: trees are left in deploy/");
        assert_eq!(names(&root.join("trash")), Vec::<String>::new(), "{name}: trash is left");
        let partial: Vec<String> =
            names(&root.join("releases")).into_iter().filter(|n| n.contains("partial")).collect();
        assert_eq!(partial, Vec::<String>::new(), "{name}: half a release");
        let volatile = names(&runtime.join("projects").join(&name));
        assert!(
            volatile.iter().all(|name| name == "deploy.lock"),
            "{name}: {volatile:?} left in the runtime directory"
        );
    }
}

/// The routers of a world, which outlive a server that is killed.
pub fn routers(root: &Path) -> Vec<i32> {
    let root = root.display().to_string();
    let own = names(Path::new("/proc")).into_iter().filter(|pid| {
        let line = command_line(pid);
        line.contains("router-process ") && line.contains(&root)
    });
    own.filter_map(|pid| pid.parse().ok()).collect()
}

/// As a power cut ends them.
pub fn end_router(root: &Path) {
    while let Some(pid) = routers(root).first() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::Signal::SIGKILL);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The numbers of the users of a world, from its settings.
pub fn users(settings: &str) -> Vec<u32> {
    let first = settings.lines().find_map(|line| line.strip_prefix("first = ")?.parse().ok()).unwrap_or(0);
    (first..first + 200).collect()
}

/// No process of these users, no mount below the root, no cgroup with a process of ours.
pub fn check_machine(root: &Path, users: &[u32], server_id: &str) {
    let processes: Vec<String> = names(Path::new("/proc"))
        .into_iter()
        .filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()))
        .filter(|pid| uid_of(pid).is_some_and(|uid| users.contains(&uid)))
        .filter(|pid| !is_dead(pid))
        .map(|pid| format!("{pid}: {}", command_line(&pid)))
        .collect();
    assert_eq!(processes, Vec::<String>::new(), "processes are left");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let root = root.display().to_string();
    let left: Vec<&str> = mounts.lines().filter(|line| line.contains(&root)).collect();
    assert_eq!(left, Vec::<&str>::new(), "mounts are left");
    assert_eq!(cgroups(server_id), Vec::<PathBuf>::new(), "cgroups are left");
}

/// Ends the instances of a server that is not there any more: their shims stop them.
pub fn end_instances(runtime: &Path) {
    let place = runtime.join("instances").display().to_string();
    let shims = || {
        let pids = names(Path::new("/proc")).into_iter().filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()));
        let shims = pids.filter(|pid| command_line(pid).contains(&place) && !is_dead(pid));
        shims.filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>()
    };
    for pid in shims() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
    }
    for _ in 0..1500 {
        if shims().is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(shims(), Vec::<i32>::new(), "instances are left");
}

/// The id that a server gave itself, which its cgroups are named after.
pub fn server_id(database: &Path) -> Option<String> {
    let database = rusqlite::Connection::open(database).ok()?;
    database.query_row("SELECT value FROM meta WHERE key = 'server_id'", [], |row| row.get(0)).ok()
}

/// Directories of a server in all hierarchies, wherever this process stands in them.
pub fn cgroups(id: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    let name = format!("commis-{id}");
    let mut found = Vec::new();
    let mut waiting: Vec<PathBuf> = points.map(PathBuf::from).collect();
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == name.as_str() {
                    found.push(entry.path());
                }
                waiting.push(entry.path());
            }
        }
    }
    found
}

/// A zombie: what waits for PID 1 to notice that it is dead is no process any more.
pub fn is_dead(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.is_empty() || status.lines().any(|line| line.starts_with("State:") && line.contains('Z'))
}

fn uid_of(pid: &str) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn command_line(pid: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}

pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
