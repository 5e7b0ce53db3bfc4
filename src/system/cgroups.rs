//! Control groups: everything that a job started can be counted, limited and killed, whatever it did to hide.
//!
//! One directory `commis-<server>` stands below this process's own group in each useful hierarchy, and one directory
//! per job below that. v2 tracks and kills wherever it is mounted; limits come from v1 or v2, whichever has the
//! controller. Without any cgroups everything here still answers, and the caller is left with process groups.
//! Which directories those are is read in [`hierarchies`]; one job's group is [`group::Group`].

pub mod group;
pub mod hierarchies;

pub use group::Group;

use hierarchies::Hierarchies;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Limits of everything in a group together; `None` is no limit.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct GroupLimits {
    /// Bytes of memory, swap included where it is counted.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processors: 0.5 is half of one.
    pub cpus: Option<f64>,
}

/// What can be held back on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    Memory,
    Pids,
    Cpu,
    /// Finding and killing every process of a job, also those that left its process group.
    Kill,
}

/// Whether a limit works here, for `doctor`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enforcement {
    pub limit: Limit,
    pub by: Enforcer,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Enforcer {
    CgroupV1,
    CgroupV2,
    /// Not enforced, and why.
    Nobody(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Version {
    V1,
    V2,
}

/// The top directory of this server in the hierarchy that has one controller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Control {
    pub version: Version,
    pub top: PathBuf,
}

/// The groups of one server; can be handed to another process of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cgroups {
    unified: Option<PathBuf>,
    freezer: Option<PathBuf>,
    memory: Option<Control>,
    pids: Option<Control>,
    cpu: Option<Control>,
}

impl Cgroups {
    /// Looks where this process is and makes the top directories. Never fails: what cannot be had is missing from
    /// [`Cgroups::enforced`]. `server_id` is `[a-z0-9-]+` and tells servers on one machine apart.
    pub fn discover(server_id: &str) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let found = hierarchies::locate(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let name = format!("commis-{server_id}");
        let top = |directory: Option<PathBuf>| directory.and_then(|own| made(&own.join(&name)));
        let (unified, controllers) = open_unified(&found, &name);
        let control = |controller: &str, v1: Option<PathBuf>| match top(v1) {
            Some(top) => Some(Control { version: Version::V1, top }),
            None => unified
                .clone()
                .filter(|_| controllers.iter().any(|have| have == controller))
                .map(|top| Control { version: Version::V2, top }),
        };
        Self {
            freezer: top(found.freezer.clone()),
            memory: control("memory", found.memory.clone()),
            pids: control("pids", found.pids.clone()),
            cpu: control("cpu", found.cpu.clone()),
            unified,
        }
    }

    /// No groups at all: for machines and tests without them.
    pub fn none() -> Self {
        Self::default()
    }

    /// A new, empty group. `name` is `[a-z0-9.-]+`; an empty group of the same name left from before is used again.
    pub fn create(&self, name: &str, limits: GroupLimits) -> io::Result<Group> {
        check_name(name)?;
        let group = self.group(name);
        let made = group.make().and_then(|()| group.limit(limits));
        if let Err(error) = made {
            let _ = group.remove();
            return Err(error);
        }
        Ok(group)
    }

    /// The handle of a group made earlier, also by an earlier life of this server.
    pub fn group(&self, name: &str) -> Group {
        let below =
            |control: &Option<Control>| control.as_ref().map(|c| Control { version: c.version, top: c.top.join(name) });
        Group {
            name: name.to_owned(),
            unified: self.unified.as_ref().map(|top| top.join(name)),
            // v2 kills at once; each further hierarchy costs every job some time.
            freezer: self.freezer.as_ref().filter(|_| self.unified.is_none()).map(|top| top.join(name)),
            memory: below(&self.memory),
            pids: below(&self.pids),
            cpu: below(&self.cpu),
        }
    }

    /// Names of all groups that exist now. Right after a start those are leftovers of an earlier life.
    pub fn leftovers(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tops().iter().flat_map(|top| directories_in(top)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Which limits really hold on this machine.
    pub fn enforced(&self) -> Vec<Enforcement> {
        let by = |control: &Option<Control>, name: &str| match control.as_ref().map(|c| c.version) {
            Some(Version::V1) => Enforcer::CgroupV1,
            Some(Version::V2) => Enforcer::CgroupV2,
            None => Enforcer::Nobody(format!("no {name} controller can be used below this server's own cgroup")),
        };
        let kill = match (&self.unified, self.tops().is_empty()) {
            (Some(_), _) => Enforcer::CgroupV2,
            (None, false) => Enforcer::CgroupV1,
            (None, true) => Enforcer::Nobody("no cgroups can be made: only process groups are killed".into()),
        };
        vec![
            Enforcement { limit: Limit::Memory, by: by(&self.memory, "memory") },
            Enforcement { limit: Limit::Pids, by: by(&self.pids, "pids") },
            Enforcement { limit: Limit::Cpu, by: by(&self.cpu, "cpu") },
            Enforcement { limit: Limit::Kill, by: kill },
        ]
    }

    /// Takes the top directories away: at the end of the server's life, when no group is left.
    pub fn remove_tops(&self) {
        for top in self.tops() {
            let _ = fs::remove_dir(top);
        }
    }

    fn tops(&self) -> Vec<&Path> {
        let controls = [&self.memory, &self.pids, &self.cpu];
        let of_controls = controls.into_iter().flatten().map(|control| control.top.as_path());
        let mut tops: Vec<&Path> =
            self.unified.iter().chain(&self.freezer).map(PathBuf::as_path).chain(of_controls).collect();
        tops.sort();
        tops.dedup();
        tops
    }
}

fn check_name(name: &str) -> io::Result<()> {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-');
    if !plain || name.is_empty() || name.starts_with('.') || name.len() > 200 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("not a name for a cgroup: {name:?}")));
    }
    Ok(())
}

fn made(directory: &Path) -> Option<PathBuf> {
    match fs::create_dir(directory) {
        Ok(()) => Some(directory.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Some(directory.to_owned()),
        Err(_) => None,
    }
}

fn directories_in(top: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(top) else { return Vec::new() };
    let is_group = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.flatten().filter(is_group).filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The v2 top directory, and the controllers that children of it will have.
fn open_unified(found: &Hierarchies, name: &str) -> (Option<PathBuf>, Vec<String>) {
    let Some(own) = &found.unified else { return (None, Vec::new()) };
    let leaf = format!("{name}.server");
    // After an earlier retreat this process stands in the leaf; the groups belong beside it, not below.
    let own = match (own.file_name(), own.parent()) {
        (Some(last), Some(parent)) if last == leaf.as_str() => parent.to_owned(),
        _ => own.clone(),
    };
    let Some(top) = made(&own.join(name)) else { return (None, Vec::new()) };
    let offered = words(&own.join("cgroup.controllers"));
    let mut usable = Vec::new();
    for controller in ["memory", "pids", "cpu"] {
        let elsewhere = match controller {
            "memory" => found.memory.is_some(),
            "pids" => found.pids.is_some(),
            _ => found.cpu.is_some(),
        };
        if !elsewhere && offered.iter().any(|have| have == controller) {
            let enabled =
                enable(&own, controller).or_else(|_| retreat(&own, &leaf).and_then(|()| enable(&own, controller)));
            if enabled.is_ok() && enable(&top, controller).is_ok() {
                usable.push(controller.to_owned());
            }
        }
    }
    (Some(top), usable)
}

fn enable(directory: &Path, controller: &str) -> io::Result<()> {
    fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"))
}

/// v2 gives no controllers to the children of a group that has processes of its own. When this process is the only
/// one there, it moves into a leaf; other people's processes are never moved.
fn retreat(own: &Path, leaf: &str) -> io::Result<()> {
    let alone = words(&own.join("cgroup.procs")).iter().all(|pid| *pid == std::process::id().to_string());
    if !alone {
        return Err(io::Error::other("other processes share this server's cgroup"));
    }
    let Some(leaf) = made(&own.join(leaf)) else { return Err(io::Error::other("cannot make a leaf cgroup")) };
    fs::write(leaf.join("cgroup.procs"), "0")
}

fn words(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}
