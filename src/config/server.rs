//! The server's configuration: every key of `server.toml` as a typed field, checked before anything happens.
//!
//! Pure. What each key means stands beside it in `server.toml`, which is defaults, documentation and schema at once;
//! to add a key, add it there and here. Which files and variables are read is `load`'s business.

use super::kinds::{self, Kind, absolute_path, count, duration, flag, size, text};
use super::settings::{Schema, Settings};
use crate::model::{Code, Failure, Mode, RefName};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The annotated defaults.
pub(super) const TEMPLATE: &str = include_str!("server.toml");
/// Name of the defaults in errors.
pub(super) const TEMPLATE_NAME: &str = "server.toml";

/// What one server was asked to be. Sizes are bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct ServerConfig {
    pub platform: Platform,
    pub paths: Paths,
    pub ssh: Ssh,
    pub router: Router,
    pub git: Git,
    pub trees: Trees,
    pub users: Users,
    pub builds: Builds,
    pub apps: Apps,
    pub hooks: Hooks,
    pub health: Health,
    pub releases: Releases,
    pub queue: Queue,
    pub log: Log,
}

/// What this machine is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Platform {
    Dev,
    Staging,
    Prod,
}

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
pub struct Router {
    pub http: SocketAddr,
    /// Lower case; project `p` answers at `p.<domain>`.
    pub domain: String,
    pub header_timeout: Duration,
    pub response_timeout: Duration,
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
    /// More environment for every build; values may hold passwords of mirrors.
    pub env: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Apps {
    pub memory: u64,
    pub pids: u32,
    pub stop_grace: Duration,
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
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queue {
    pub wait: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// A `tracing` filter.
    pub filter: String,
}

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
const MEGABYTE: u64 = 1_000_000;
const TERABYTE: u64 = 1_000_000 * MEGABYTE;

impl ServerConfig {
    /// The defaults with one file's text over them. Errors are `server-config` and name file, line and key.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, Failure> {
        let mut settings = defaults()?;
        settings.overlay(Settings::read(text, file_name, &schema())?);
        Self::from_settings(&settings)
    }

    /// The mode of projects that ask for none.
    pub fn mode_default(&self) -> Mode {
        match self.platform {
            Platform::Dev => Mode::Editable,
            Platform::Staging => Mode::Cooking,
            Platform::Prod => Mode::Final,
        }
    }

    pub(super) fn from_settings(from: &Settings) -> Result<Self, Failure> {
        let config = Self {
            platform: from.need("platform", kinds::word("dev, staging or prod", Platform::parse))?,
            paths: Paths::read(from)?,
            ssh: Ssh::read(from)?,
            router: Router::read(from)?,
            git: Git::read(from)?,
            trees: Trees::read(from)?,
            users: Users::read(from)?,
            builds: Builds::read(from)?,
            apps: Apps::read(from)?,
            hooks: Hooks { timeout: from.need("hooks.timeout", duration(SECOND, DAY))? },
            health: Health::read(from)?,
            releases: Releases { keep: from.need("releases.keep", count(1, 10_000))? },
            queue: Queue { wait: from.need("queue.wait", duration(0, 7 * DAY))? },
            log: Log { filter: from.need("log.filter", text("a level or a filter", |t| !t.trim().is_empty()))? },
        };
        config.agrees_with_itself(from)?;
        Ok(config)
    }

    /// What no single key can say.
    fn agrees_with_itself(&self, from: &Settings) -> Result<(), Failure> {
        if self.apps.restart_delay > self.apps.restart_delay_max {
            return Err(from.refuse("apps.restart_delay", "should not be more than apps.restart_delay_max"));
        }
        if self.trees.max_file > self.trees.max_bytes {
            return Err(from.refuse("trees.max_file", "should not be more than trees.max_bytes"));
        }
        if self.ssh.listen == self.router.http && self.ssh.listen.port() != 0 {
            return Err(from.refuse("router.http", "should not be the address of ssh.listen"));
        }
        Ok(())
    }
}

/// The defaults as settings that layers go over.
pub(super) fn defaults() -> Result<Settings, Failure> {
    Settings::read(TEMPLATE, TEMPLATE_NAME, &schema())
}

/// The keys of `server.toml` are the keys there are.
pub(super) fn schema() -> Schema {
    Schema { keys: Settings::keys_of(TEMPLATE), open: &["builds.env"], code: Code::ServerConfig }
}

impl Platform {
    pub fn as_str(self) -> &'static str {
        match self {
            Platform::Dev => "dev",
            Platform::Staging => "staging",
            Platform::Prod => "prod",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Platform::Dev, Platform::Staging, Platform::Prod].into_iter().find(|platform| platform.as_str() == text)
    }
}

impl Paths {
    fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            projects: from.need("paths.projects", absolute_path())?,
            state: from.need("paths.state", absolute_path())?,
            runtime: from.need("paths.runtime", absolute_path())?,
            logs: from.need("paths.logs", absolute_path())?,
        })
    }
}

impl Ssh {
    fn read(from: &Settings) -> Result<Self, Failure> {
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

impl Router {
    fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            http: from.need("router.http", kinds::socket_address())?,
            domain: from.need("router.domain", text("a host name in lower case", is_domain))?,
            header_timeout: from.need("router.header_timeout", duration(100, HOUR))?,
            response_timeout: from.need("router.response_timeout", duration(100, DAY))?,
        })
    }
}

impl Git {
    fn read(from: &Settings) -> Result<Self, Failure> {
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
    fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            max_files: from.need("trees.max_files", count(1, 100_000_000))?,
            max_bytes: from.need("trees.max_bytes", size(1, 100 * TERABYTE))?,
            max_file: from.need("trees.max_file", size(1, 100 * TERABYTE))?,
            max_depth: from.need("trees.max_depth", count(1, 500))?,
        })
    }
}

impl Users {
    fn read(from: &Settings) -> Result<Self, Failure> {
        // Together they stay below 2^31: some tools read a user's number as signed.
        Ok(Self {
            first: from.need("users.first", count(1_000, 2_000_000_000))?,
            count: from.need("users.count", count(10, 100_000_000))?,
        })
    }
}

impl Builds {
    fn read(from: &Settings) -> Result<Self, Failure> {
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
            env,
        })
    }
}

impl Apps {
    fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            memory: from.need("apps.memory", memory())?,
            pids: from.need("apps.pids", count(8, 1_000_000))?,
            stop_grace: from.need("apps.stop_grace", duration(0, HOUR))?,
            restart_delay: from.need("apps.restart_delay", duration(10, HOUR))?,
            restart_delay_max: from.need("apps.restart_delay_max", duration(10, DAY))?,
        })
    }
}

impl Health {
    fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            timeout: from.need("health.timeout", duration(100, HOUR))?,
            interval: from.need("health.interval", duration(10, HOUR))?,
            successes: from.need("health.successes", count(1, 100))?,
        })
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

/// Labels of letters, digits and dashes with dots between them, in lower case.
fn is_domain(text: &str) -> bool {
    let label_ok = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 200 && text.split('.').all(label_ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        ServerConfig::parse(text, "commis.toml").map(|_| ()).unwrap_err().what
    }

    #[test]
    fn the_template_is_the_defaults() {
        let defaults = ServerConfig::parse("", "commis.toml").unwrap();
        assert_eq!(ServerConfig::parse(TEMPLATE, TEMPLATE_NAME).unwrap(), defaults);
        assert_eq!(defaults.mode_default(), Mode::Cooking);
        assert_eq!(defaults.paths.projects, PathBuf::from("/srv/projects"));
        assert_eq!(defaults.ssh.grace, Duration::from_secs(20));
        assert_eq!(defaults.git.max_push, 1_000_000_000);
        assert_eq!(defaults.git.deploy_branches, ["main", "master"]);
        assert_eq!(defaults.health.interval, Duration::from_millis(250));
        assert_eq!((defaults.builds.cpus, defaults.builds.tools.clone()), (None, None));
        assert_eq!(defaults.builds.env, BTreeMap::new());
    }

    #[test]
    fn every_key_of_the_template_is_read() {
        // A wrong type in any key must be noticed; a key that nobody reads would pass.
        for key in schema().keys {
            let what = error(&format!("{key} = {{ wrong = 1979-05-27 }}"));
            assert!(what.contains(&format!("{key}: should be ")), "{key}: {what}");
        }
    }

    #[test]
    fn each_platform_has_its_mode() {
        for (platform, mode) in [("dev", Mode::Editable), ("staging", Mode::Cooking), ("prod", Mode::Final)] {
            let config = ServerConfig::parse(&format!("platform = \"{platform}\""), "commis.toml").unwrap();
            assert_eq!(config.mode_default(), mode);
        }
        assert_eq!(
            error("platform = \"live\""),
            "commis.toml line 1: platform: should be dev, staging or prod, found \"live\""
        );
    }

    #[test]
    fn a_wrong_value_is_named_with_file_line_and_key() {
        assert_eq!(error("[router]\nhttp = 80"), "commis.toml line 2: router.http: should be HOST:PORT, found 80");
        assert_eq!(
            error("router.htp = \"\""),
            "commis.toml line 1: router.htp: unknown key; did you mean router.http?"
        );
        assert!(error("paths.state = \"var\"").contains("paths.state: should be an absolute path"));
        assert!(error("users.first = 0").contains("users.first: should be a number from 1000 to"));
        assert!(error("git.deploy_branches = [\"a b\"]").contains("should be a list of branch names"));
        assert!(error("router.domain = \"-x.example\"").contains("should be a host name"));
        assert!(error("builds.memory = \"1KB\"").contains("should be a size"));
    }

    #[test]
    fn keys_that_contradict_each_other_are_refused() {
        assert!(error("apps.restart_delay = \"2m\"").contains("should not be more than apps.restart_delay_max"));
        assert!(error("router.http = \"0.0.0.0:2222\"").contains("should not be the address of ssh.listen"));
        let both = "ssh.listen = \"127.0.0.1:0\"\nrouter.http = \"127.0.0.1:0\"";
        assert!(ServerConfig::parse(both, "commis.toml").is_ok(), "port 0 is never the same port");
    }

    #[test]
    fn the_environment_of_builds_is_free_but_has_proper_names() {
        let text = "[builds.env]\nPIP_INDEX_URL = \"https://user:s3cr3t@pypi.example.com\"";
        let config = ServerConfig::parse(text, "commis.toml").unwrap();
        assert_eq!(config.builds.env.len(), 1);
        assert!(!format!("{config:?}").contains("s3cr3t"));
        assert_eq!(
            error("[builds.env]\n\"A-B\" = \"x\""),
            "commis.toml line 2: builds.env.A-B: is not the name of a variable"
        );
    }
}
