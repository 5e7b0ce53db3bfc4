//! The sections of the server's configuration: their fields, and the kind and range of each key.
//!
//! Pure. What a key means to people stands in `server.toml`; what sections must agree on is checked by `server`.

use super::kinds::{self, Kind, absolute_path, count, duration, flag, size, text};
use super::settings::Settings;
use crate::model::{Failure, RefName};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Roots; `layouts::places` builds every path below them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paths {
    pub projects: PathBuf,
    pub state: PathBuf,
    pub runtime: PathBuf,
    pub logs: PathBuf,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ssh {
    pub listen: SocketAddr,
    /// From connecting to being authenticated.
    pub grace: Duration,
    pub max_unauthenticated: u32,
    pub max_unauthenticated_per_source: u32,
    pub max_channels: u32,
    pub keepalive: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Git {
    pub program: PathBuf,
    /// Branch names without `refs/heads/`; at least one.
    pub deploy_branches: Vec<String>,
    /// An admin's push to an unknown project creates it.
    pub create_on_push: bool,
    pub max_push: u64,
    pub max_refs: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trees {
    pub max_files: u32,
    pub max_bytes: u64,
    pub max_file: u64,
    pub max_depth: u32,
}

/// Numeric users from `first` up to, not including, `first + count`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Users {
    pub first: u32,
    pub count: u32,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Builds {
    pub timeout: Duration,
    pub silence: Duration,
    pub memory: u64,
    pub pids: u32,
    /// `None`: no limit.
    pub cpus: Option<u32>,
    /// `None`: the tools directory below the state.
    pub tools: Option<PathBuf>,
    /// Directories with a `bin/` that builds find first.
    pub toolchains: Vec<PathBuf>,
    /// More environment for every build; values may hold passwords of mirrors.
    pub env: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Apps {
    pub memory: u64,
    pub pids: u32,
    pub stop_grace: Duration,
    pub keep_crashed: Duration,
    pub restart_delay: Duration,
    pub restart_delay_max: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hooks {
    pub timeout: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    pub timeout: Duration,
    pub interval: Duration,
    /// Good answers in a row.
    pub successes: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Releases {
    pub keep: u32,
    /// The newest release of each of so many months stays.
    pub months: u32,
    /// Of all releases of one project; `None`: no limit.
    pub max_bytes: Option<u64>,
    /// `None`: the platform's word. See [`ServerConfig::environment`](super::ServerConfig::environment).
    pub environment: Option<String>,
    /// File of those whose releases are taken.
    pub signers: PathBuf,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backups {
    pub timeout: Duration,
    pub keep: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Archives {
    pub failed_days: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queue {
    pub wait: Duration,
}

/// Mode final.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Final {
    /// What scripts of a deployment in mode final reach at most.
    pub network: Network,
}

/// What scripts of a deployment reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// The machine's network.
    Host,
    /// A loopback of their own.
    None,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// A `tracing` filter.
    pub filter: String,
}

pub(super) const SECOND: u64 = 1_000;
pub(super) const HOUR: u64 = 3_600 * SECOND;
pub(super) const DAY: u64 = 24 * HOUR;
pub(super) const MEGABYTE: u64 = 1_000_000;
pub(super) const TERABYTE: u64 = 1_000_000 * MEGABYTE;

impl Paths {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            projects: from.need("paths.projects", absolute_path())?,
            state: from.need("paths.state", absolute_path())?,
            runtime: from.need("paths.runtime", absolute_path())?,
            logs: from.need("paths.logs", absolute_path())?,
        })
    }
}

impl Ssh {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            listen: from.need("ssh.listen", kinds::socket_address())?,
            grace: from.need("ssh.grace", duration(SECOND, HOUR))?,
            max_unauthenticated: from.need("ssh.max_unauthenticated", count(1, 100_000))?,
            max_unauthenticated_per_source: from.need("ssh.max_unauthenticated_per_source", count(1, 100_000))?,
            max_channels: from.need("ssh.max_channels", count(1, 1_000))?,
            keepalive: from.need("ssh.keepalive", duration(SECOND, HOUR))?,
        })
    }
}

impl Git {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        let branches =
            kinds::list("a list of branch names", |name| RefName::parse(&format!("refs/heads/{name}")).is_some());
        Ok(Self {
            program: from.need("git.program", absolute_path())?,
            deploy_branches: from.need("git.deploy_branches", branches)?,
            create_on_push: from.need("git.create_on_push", flag())?,
            max_push: from.need("git.max_push", size(1_000, TERABYTE))?,
            max_refs: from.need("git.max_refs", count(1, 1_000_000))?,
        })
    }
}

impl Trees {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            max_files: from.need("trees.max_files", count(1, 100_000_000))?,
            max_bytes: from.need("trees.max_bytes", size(1, 100 * TERABYTE))?,
            max_file: from.need("trees.max_file", size(1, 100 * TERABYTE))?,
            max_depth: from.need("trees.max_depth", count(1, 500))?,
        })
    }
}

impl Users {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        // Together they stay below 2^31: some tools read a user's number as signed.
        Ok(Self {
            first: from.need("users.first", count(1_000, 2_000_000_000))?,
            count: from.need("users.count", count(10, 100_000_000))?,
        })
    }
}

impl Builds {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        let env = from.section("builds.env", text("text without NUL", |value| !value.contains('\0')))?;
        if let Some(name) = env.keys().find(|name| !kinds::is_variable_name(name)) {
            return Err(from.refuse(&format!("builds.env.{name}"), "is not the name of a variable"));
        }
        Ok(Self {
            timeout: from.need("builds.timeout", duration(SECOND, 7 * DAY))?,
            silence: from.need("builds.silence", duration(100, HOUR))?,
            memory: from.need("builds.memory", memory())?,
            pids: from.need("builds.pids", count(8, 1_000_000))?,
            cpus: Some(from.need("builds.cpus", count(0, 4_096))?).filter(|cpus| *cpus > 0),
            tools: from.need("builds.tools", kinds::absolute_path_or_empty())?,
            toolchains: from.need("builds.toolchains", kinds::absolute_paths())?,
            env,
        })
    }
}

impl Apps {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            memory: from.need("apps.memory", memory())?,
            pids: from.need("apps.pids", count(8, 1_000_000))?,
            stop_grace: from.need("apps.stop_grace", duration(0, HOUR))?,
            keep_crashed: from.need("apps.keep_crashed", duration(0, 7 * DAY))?,
            restart_delay: from.need("apps.restart_delay", duration(10, HOUR))?,
            restart_delay_max: from.need("apps.restart_delay_max", duration(10, DAY))?,
        })
    }
}

impl Health {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            timeout: from.need("health.timeout", duration(100, HOUR))?,
            interval: from.need("health.interval", duration(10, HOUR))?,
            successes: from.need("health.successes", count(1, 100))?,
        })
    }
}

impl Hooks {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self { timeout: from.need("hooks.timeout", duration(SECOND, DAY))? })
    }
}

impl Releases {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        let environment = text("empty or a name of lower-case letters, digits, dots, dashes", is_environment);
        Ok(Self {
            keep: from.need("releases.keep", count(1, 10_000))?,
            months: from.need("releases.months", count(0, 1_200))?,
            max_bytes: Some(from.need("releases.max_bytes", size(0, 100 * TERABYTE))?).filter(|bytes| *bytes > 0),
            environment: Some(from.need("releases.environment", environment)?).filter(|name| !name.is_empty()),
            signers: from.need("releases.signers", absolute_path())?,
        })
    }
}

impl Backups {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            timeout: from.need("backups.timeout", duration(SECOND, 7 * DAY))?,
            keep: from.need("backups.keep", count(1, 10_000))?,
        })
    }
}

impl Archives {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self { failed_days: from.need("archives.failed_days", count(0, 10_000))? })
    }
}

impl Queue {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self { wait: from.need("queue.wait", duration(0, 7 * DAY))? })
    }
}

impl Final {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self { network: from.need("final.network", network())? })
    }
}

impl Log {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self { filter: from.need("log.filter", text("a level or a filter", |filter| !filter.trim().is_empty()))? })
    }
}

impl fmt::Debug for Builds {
    /// Without the values of the environment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.env.keys().collect();
        f.debug_struct("Builds").field("timeout", &self.timeout).field("env", &names).finish_non_exhaustive()
    }
}

/// Memory of a process tree; less than 8 MB starts nothing.
pub(super) fn memory() -> Kind<u64> {
    size(8 * MEGABYTE, 100 * TERABYTE)
}

/// As signatures and allowed_signers files take it, or empty.
fn is_environment(text: &str) -> bool {
    text.is_empty() || crate::model::words::is_environment(text)
}

pub(super) fn network() -> Kind<Network> {
    kinds::word("none or host", |word| match word {
        "none" => Some(Network::None),
        "host" => Some(Network::Host),
        _ => None,
    })
}
