//! What a server and the shims of its instances say to each other: one JSON value per line, over a socket in a directory
//! that is root's alone. A shim of yesterday's program talks to today's server: fields are only ever added, and have
//! defaults. Values only.

use super::machine::{RestartPolicy, Restarts};
use super::status::{Condition, InstanceStatus};
use crate::model::{Exit, ProcessName, ProjectName, ReleaseVersion, Time};
use crate::system::{Cgroups, GroupLimits, Job};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Longest message, in bytes: 500 lines of 8 KiB, escaped.
pub const LONGEST: u64 = 32 << 20;

/// What a shim is made for. Holds secrets of the application, hence no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Charge {
    pub identity: Identity,
    pub job: Job,
    pub group: GroupLimits,
    pub cgroups: Cgroups,
    pub log: PathBuf,
    pub policy: RestartPolicy,
    pub restarts: Restarts,
    pub before: Before,
}

/// What happened to an instance before this shim had it: another shim was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Before {
    /// Starts of it.
    pub starts: u32,
    /// Failures in a row.
    pub failures: u32,
}

/// Which instance it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    pub project: String,
    /// `web.1`
    pub process: String,
    pub release: u32,
    /// Number of the set, and the instance's place in it.
    pub set: u64,
    pub position: usize,
    pub port: Option<u16>,
}

impl Identity {
    /// `blog.v3.17.0-web.1.`: what the names of its cgroups begin with, whatever the attempt.
    pub fn group_prefix(&self) -> String {
        let process = self.process.to_ascii_lowercase().replace('_', "-");
        format!("{}.v{}.{}.{}-{process}.", self.project, self.release, self.set, self.position)
    }
}

/// What the server wants of a shim.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// Probation is over: what ends is started again.
    Keep,
    /// SIGTERM, the grace, the end of the whole cgroup, and of the shim.
    Stop,
    /// On which TCP ports it listens.
    Ports,
    /// Its last lines of output.
    Recent(usize),
    /// How it ended last by itself, and what it saw.
    Crashed,
}

/// What a shim tells.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// The first message to everyone who connects.
    Hello(Identity),
    /// How it is; again with every change.
    Now(Report),
    Ports(Vec<u16>),
    /// Oldest first.
    Recent(Vec<Line>),
    Crashed(Option<Crash>),
}

/// A process that ended by itself, while what it saw can still be entered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Crash {
    /// Milliseconds since 1970.
    pub at: i64,
    pub exit: Ended,
    /// Names of its variables.
    pub environment: Vec<String>,
    /// Its mount namespace, as long as its shim holds that: `/proc/4711/fd/12`.
    pub namespace: PathBuf,
    /// Its last lines of output, oldest first.
    pub lines: Vec<Line>,
}

/// A line of output.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Tells lines of one millisecond apart.
    pub number: u64,
    pub text: String,
}

/// How an instance is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    pub condition: Condition,
    pub pid: Option<u32>,
    /// Starts so far, and failures in a row.
    pub starts: u32,
    pub failures: u32,
    pub last_exit: Option<Ended>,
    /// Since when it is in this condition; milliseconds since 1970.
    pub since: i64,
    /// When its present or last process was started.
    pub started: i64,
    /// Whether it is started again when it ends.
    pub kept: bool,
}

/// [`Exit`] on the wire.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    Code(i32),
    Signal(i32),
    OutOfMemory(u64),
    TimedOut(u64),
    Cancelled,
    NotStarted(String),
}

impl From<Exit> for Ended {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Ended::Code(code),
            Exit::Signal(number) => Ended::Signal(number),
            Exit::OutOfMemory { limit } => Ended::OutOfMemory(limit),
            Exit::TimedOut { after } => Ended::TimedOut(after),
            Exit::Cancelled => Ended::Cancelled,
            Exit::NotStarted(why) => Ended::NotStarted(why),
        }
    }
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Code(code) => Exit::Code(code),
            Ended::Signal(number) => Exit::Signal(number),
            Ended::OutOfMemory(limit) => Exit::OutOfMemory { limit },
            Ended::TimedOut(after) => Exit::TimedOut { after },
            Ended::Cancelled => Exit::Cancelled,
            Ended::NotStarted(why) => Exit::NotStarted(why),
        }
    }
}

impl Report {
    /// Before anything is known.
    pub fn starting(now: Time, restarts: Restarts) -> Self {
        Self {
            condition: Condition::Starting,
            pid: None,
            starts: 0,
            failures: 0,
            last_exit: None,
            since: now.0,
            started: now.0,
            kept: restarts == Restarts::BackOff,
        }
    }

    /// As people ask for it.
    pub fn status(self, process: ProcessName, release: ReleaseVersion, port: Option<u16>) -> InstanceStatus {
        InstanceStatus {
            process,
            release,
            condition: self.condition,
            pid: self.pid,
            restarts: self.starts.saturating_sub(1),
            last_exit: self.last_exit.map(Exit::from),
            port,
            since: Time(self.since),
            started: Time(self.started),
            kept: self.kept,
        }
    }
}

/// What a shim's word about itself means here; `None` for what no server of ours has named.
pub fn known(identity: &Identity) -> Option<(ProjectName, ProcessName, ReleaseVersion)> {
    let project = ProjectName::parse(&identity.project)?;
    Some((project, ProcessName::parse(&identity.process)?, ReleaseVersion(identity.release)))
}

/// A message as it goes over the socket.
pub fn line<T: Serialize>(message: &T) -> Vec<u8> {
    // Only maps with keys that are no text cannot be written; there are none.
    let mut text = serde_json::to_vec(message).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        let identity = Identity {
            project: "blog".into(),
            process: "web.1".into(),
            release: 3,
            set: 17,
            position: 0,
            port: Some(9),
        };
        assert_eq!(identity.group_prefix(), "blog.v3.17.0-web.1.");
        let exits = [
            Exit::Code(3),
            Exit::Signal(9),
            Exit::OutOfMemory { limit: 7 },
            Exit::TimedOut { after: 1 },
            Exit::Cancelled,
            Exit::NotStarted("no\nsuch program".into()),
        ];
        for exit in exits {
            let report =
                Report { last_exit: Some(exit.clone().into()), ..Report::starting(Time(5), Restarts::BackOff) };
            let told = Told::Now(report);
            let text = line(&told);
            assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
            let heard: Told = serde_json::from_slice(&text).unwrap();
            assert_eq!(heard, told);
            let Told::Now(report) = heard else { panic!() };
            let web = ProcessName::parse("web.1").unwrap();
            assert_eq!(report.status(web, ReleaseVersion(3), None).last_exit, Some(exit));
        }
        let (project, process, release) = known(&identity).unwrap();
        assert_eq!((project.as_str(), process.to_string().as_str(), release.0), ("blog", "web.1", 3));
    }

    #[test]
    fn a_shim_that_names_no_instance_of_ours_is_not_known() {
        let identity = |project: &str, process: &str| Identity {
            project: project.into(),
            process: process.into(),
            release: 1,
            set: 1,
            position: 0,
            port: None,
        };
        assert_eq!(known(&identity("../etc", "web.1")), None);
        assert_eq!(known(&identity("blog", "web.x")), None);
        assert_eq!(known(&identity("blog", "web")), None);
    }
}
