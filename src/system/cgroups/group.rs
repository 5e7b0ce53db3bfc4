//! One group of processes: a directory of the same name in each hierarchy in use. Limits, counters, killing, removal.
//! Where the directories stand is decided in [`super`].

use super::{Control, GroupLimits, Version};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a group is asked whether it is empty, at first and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(20);
/// The period of v1's and v2's processor quota, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// A group of processes. Without cgroups it has no directories, no processes, and killing it does nothing.
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) name: String,
    pub(super) unified: Option<PathBuf>,
    pub(super) freezer: Option<PathBuf>,
    pub(super) memory: Option<Control>,
    pub(super) pids: Option<Control>,
    pub(super) cpu: Option<Control>,
}

impl Group {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Directories into whose `cgroup.procs` a process writes itself to belong here.
    pub fn join_paths(&self) -> Vec<PathBuf> {
        self.directories().into_iter().map(Path::to_owned).collect()
    }

    /// Whether every process of a job can be found and killed through this group.
    pub fn tracks(&self) -> bool {
        self.tracking().is_some()
    }

    /// Kills every process, also those that are forking at this moment.
    pub fn kill(&self) -> io::Result<()> {
        let Some(directory) = self.tracking().filter(|directory| directory.is_dir()) else { return Ok(()) };
        let at_once = directory.join("cgroup.kill");
        if at_once.exists() {
            return fs::write(at_once, "1");
        }
        let state = self.freezer.as_ref().map(|freezer| freezer.join("freezer.state"));
        for _ in 0..50 {
            let frozen = state.as_ref().map(|file| fs::write(file, "FROZEN"));
            let pids = self.pids();
            send(&pids, Signal::SIGKILL);
            if let (Some(_), Some(file)) = (frozen, &state) {
                fs::write(file, "THAWED")?;
            }
            if pids.is_empty() {
                break;
            }
            std::thread::sleep(FIRST_PAUSE);
        }
        Ok(())
    }

    /// Sends a signal to every process of the group.
    pub fn signal(&self, signal: Signal) {
        send(&self.pids(), signal);
    }

    /// Waits until nothing runs in the group; false when `at_most` was not enough.
    pub async fn wait_empty(&self, at_most: Duration) -> bool {
        let wait = async {
            let mut pause = FIRST_PAUSE;
            while self.is_populated() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        };
        tokio::time::timeout(at_most, wait).await.is_ok()
    }

    /// Whether a process of the group lives.
    pub fn is_populated(&self) -> bool {
        match &self.unified {
            Some(directory) => counter(&directory.join("cgroup.events"), "populated").is_some_and(|count| count > 0),
            None => !self.pids().is_empty(),
        }
    }

    /// Processes of the group.
    pub fn pids(&self) -> Vec<i32> {
        let Some(directory) = self.tracking() else { return Vec::new() };
        let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// How many processes the kernel killed because the group reached its memory limit.
    pub fn oom_kills(&self) -> u64 {
        let file = self.memory.as_ref().map(|control| match control.version {
            Version::V1 => control.top.join("memory.oom_control"),
            Version::V2 => control.top.join("memory.events"),
        });
        file.and_then(|file| counter(&file, "oom_kill")).unwrap_or(0)
    }

    /// Bytes of memory in use, page cache included.
    pub fn memory_current(&self) -> Option<u64> {
        let control = self.memory.as_ref()?;
        let file = match control.version {
            Version::V1 => "memory.usage_in_bytes",
            Version::V2 => "memory.current",
        };
        fs::read_to_string(control.top.join(file)).ok()?.trim().parse().ok()
    }

    /// Takes the directories away, trying again for half a second while the kernel still calls them busy.
    /// The group must be empty.
    pub fn remove(&self) -> io::Result<()> {
        self.directories().into_iter().try_for_each(remove_directory)
    }

    pub(super) fn make(&self) -> io::Result<()> {
        for directory in self.directories() {
            match fs::create_dir(directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // Counters of an earlier life must not be ours.
                    remove_directory(directory)?;
                    fs::create_dir(directory).map_err(|error| at(directory, &error))?;
                }
                other => other.map_err(|error| at(directory, &error))?,
            }
        }
        Ok(())
    }

    pub(super) fn limit(&self, limits: GroupLimits) -> io::Result<()> {
        if let (Some(bytes), Some(control)) = (limits.memory, &self.memory) {
            limit_memory(control, bytes)?;
        }
        if let (Some(count), Some(control)) = (limits.pids, &self.pids) {
            set(&control.top.join("pids.max"), &count.to_string())?;
        }
        if let (Some(cpus), Some(control)) = (limits.cpus, &self.cpu) {
            let quota = ((cpus * CPU_PERIOD as f64) as u64).max(1_000);
            match control.version {
                Version::V1 => {
                    set(&control.top.join("cpu.cfs_period_us"), &CPU_PERIOD.to_string())?;
                    set(&control.top.join("cpu.cfs_quota_us"), &quota.to_string())?;
                }
                Version::V2 => set(&control.top.join("cpu.max"), &format!("{quota} {CPU_PERIOD}"))?,
            }
        }
        Ok(())
    }

    /// The directory whose `cgroup.procs` is asked: v2, or any v1 hierarchy.
    fn tracking(&self) -> Option<&Path> {
        self.directories().into_iter().next()
    }

    fn directories(&self) -> Vec<&Path> {
        let controls = [&self.memory, &self.pids, &self.cpu];
        let of_controls = controls.into_iter().flatten().map(|control| control.top.as_path());
        let mut all: Vec<&Path> = Vec::new();
        for directory in self.unified.iter().chain(&self.freezer).map(PathBuf::as_path).chain(of_controls) {
            if !all.contains(&directory) {
                all.push(directory);
            }
        }
        all
    }
}

/// A process that has just ended is no error.
fn send(pids: &[i32], signal: Signal) {
    for pid in pids {
        let _ = kill(Pid::from_raw(*pid), signal);
    }
}

fn limit_memory(control: &Control, bytes: u64) -> io::Result<()> {
    let text = bytes.to_string();
    match control.version {
        Version::V1 => {
            set(&control.top.join("memory.limit_in_bytes"), &text)?;
            set_if_there(&control.top.join("memory.memsw.limit_in_bytes"), &text)
        }
        Version::V2 => {
            set(&control.top.join("memory.max"), &text)?;
            set_if_there(&control.top.join("memory.swap.max"), "0")
        }
    }
}

fn set(file: &Path, value: &str) -> io::Result<()> {
    fs::write(file, value).map_err(|error| at(file, &error))
}

fn set_if_there(file: &Path, value: &str) -> io::Result<()> {
    if file.exists() { set(file, value) } else { Ok(()) }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The number behind a word: `populated 1`.
fn counter(file: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn remove_directory(directory: &Path) -> io::Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && pause < Duration::from_millis(250) => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            other => return other.map_err(|error| at(directory, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cgroups;
    use super::*;
    use crate::system::UserIds;
    use crate::system::command::command;
    use tokio::process::Child;

    /// A server's groups with only some hierarchies, as on other machines; taken away at the end.
    struct Machine(Cgroups);

    impl Machine {
        fn new(id: &str, shape: impl FnOnce(&mut Cgroups)) -> Self {
            let mut cgroups = Cgroups::discover(&format!("unit-{id}-{}", std::process::id()));
            let all = cgroups.clone();
            shape(&mut cgroups);
            // What the shape does not have was made all the same.
            all.tops().iter().filter(|top| !cgroups.tops().contains(top)).for_each(|top| fs::remove_dir(top).unwrap());
            Self(cgroups)
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            self.0.remove_tops();
        }
    }

    fn sleeper(group: &Group) -> Child {
        let user = UserIds::of(0);
        let child = command(Path::new("/bin/sleep"), ["977"], Path::new("/"), user, &[]).spawn().unwrap();
        let pid = child.id().unwrap().to_string();
        group.join_paths().iter().for_each(|directory| fs::write(directory.join("cgroup.procs"), &pid).unwrap());
        child
    }

    async fn is_killed_and_removed(machine: &Machine) {
        let group = machine.0.create("blog.web.1", GroupLimits { pids: Some(9), ..GroupLimits::default() }).unwrap();
        let mut children = [sleeper(&group), sleeper(&group)];
        assert_eq!(group.pids().len(), 2);
        assert!(!group.wait_empty(Duration::from_millis(20)).await, "both live");
        assert!(machine.0.create("blog.web.1", GroupLimits::default()).is_err(), "in use");
        assert_eq!(machine.0.leftovers(), ["blog.web.1"]);
        let reopened = machine.0.group("blog.web.1");
        reopened.kill().unwrap();
        for child in &mut children {
            child.wait().await.unwrap();
        }
        assert!(reopened.wait_empty(Duration::from_secs(5)).await);
        reopened.remove().unwrap();
        reopened.remove().unwrap();
        assert!(machine.0.leftovers().is_empty());
    }

    #[tokio::test]
    async fn a_group_is_killed_with_v2() {
        is_killed_and_removed(&Machine::new("v2", |_| {})).await;
    }

    #[tokio::test]
    async fn a_group_is_killed_with_v1_and_its_freezer() {
        is_killed_and_removed(&Machine::new("v1", |cgroups| cgroups.unified = None)).await;
    }

    #[tokio::test]
    async fn a_group_is_killed_with_a_limit_hierarchy_alone() {
        let shape = |cgroups: &mut Cgroups| (cgroups.unified, cgroups.freezer, cgroups.cpu) = (None, None, None);
        is_killed_and_removed(&Machine::new("pids", shape)).await;
    }

    #[tokio::test]
    async fn without_cgroups_everything_still_answers() {
        let group = Cgroups::none().create("x", GroupLimits { memory: Some(1), ..GroupLimits::default() }).unwrap();
        group.kill().unwrap();
        assert!(!group.tracks() && group.pids().is_empty() && group.oom_kills() == 0);
        assert!(group.wait_empty(Duration::ZERO).await);
        group.remove().unwrap();
    }

    #[test]
    fn a_name_that_climbs_is_refused() {
        for name in ["", "..", "a/b", "A", ".x", "a b"] {
            assert!(Cgroups::none().create(name, GroupLimits::default()).is_err(), "{name}");
        }
    }
}
