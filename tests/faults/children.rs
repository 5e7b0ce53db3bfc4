//! Programs that are started and always waited for, for a bounded time; and the processes of a server, found by their
//! users and parents. Only what was started here is ever killed.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A command that has ended.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// -1: killed by a signal; -9: by us, because it took too long.
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A command on its way.
pub struct Started {
    child: Child,
    readers: [JoinHandle<String>; 2],
    pub since: Instant,
}

impl Started {
    pub fn new(mut command: Command, input: &str) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input.as_bytes());
        }
        let (out, err) = (child.stdout.take().expect("stdout"), child.stderr.take().expect("stderr"));
        Ok(Self { child, readers: [reader(out), reader(err)], since: Instant::now() })
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn ended(mut self, limit: Duration) -> Ran {
        let code = wait(&mut self.child, limit);
        let [out, err] = self.readers.map(|reader| reader.join().unwrap_or_default());
        Ran { code, out, err }
    }
}

fn reader(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Runs a command to its end.
pub fn run(command: Command, input: &str) -> Result<Ran, String> {
    Ok(Started::new(command, input)?.ended(Duration::from_secs(60)))
}

/// A command that must succeed.
pub fn done(program: &str, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(args);
    let ran = run(command, "")?;
    if ran.code == 0 { Ok(ran.out) } else { Err(format!("{program} {args:?}: {} {}", ran.out, ran.err)) }
}

/// The exit code; a child that does not end in time is killed.
pub fn wait(child: &mut Child, limit: Duration) -> i32 {
    let until = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.code().unwrap_or(-1),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return -9;
            }
        }
    }
}

pub fn signal(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid as i32), signal);
}

/// Waits until something holds.
pub fn until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// A living process.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    pub user: u32,
    pub command: String,
}

/// All that live, zombies left out.
pub fn processes() -> Vec<Process> {
    let pids = names(Path::new("/proc")).into_iter().filter_map(|name| name.parse().ok());
    pids.filter_map(process).collect()
}

fn process(pid: u32) -> Option<Process> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next();
    if matches!(field("State:")?, "Z" | "X") {
        return None;
    }
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
    Some(Process { pid, parent: field("PPid:")?.parse().ok()?, user: field("Uid:")?.parse().ok()?, command })
}

/// Everything below a process, itself left out.
pub fn descendants(of: u32) -> Vec<Process> {
    let all = processes();
    let (mut found, mut open): (Vec<Process>, Vec<u32>) = (Vec::new(), vec![of]);
    while let Some(parent) = open.pop() {
        for process in all.iter().filter(|process| process.parent == parent) {
            open.push(process.pid);
            found.push(process.clone());
        }
    }
    found
}

pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Files and directories below, links not followed.
pub fn below(directory: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = open.pop() {
        for name in names(&directory) {
            let path = directory.join(name);
            if path.symlink_metadata().is_ok_and(|data| data.is_dir()) {
                open.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    found
}
