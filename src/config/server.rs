//! The server's configuration as a whole: its sections, read and checked before anything happens.
//!
//! Pure. What each key means stands beside it in `server.toml`, which is defaults, documentation and schema at once; to
//! add a key, add it there and in `sections`. Which files and variables are read is `load`'s business.

use super::kinds;
use super::settings::{Schema, Settings};
use super::{router, upstreams};
use crate::model::{Code, Failure, Mode};

pub use super::router::{Acme, CertificateFiles, Router};
pub use super::running::{Run, Tasks};
pub use super::sections::{
    Apps, Archives, Backups, Builds, Final, Git, Health, Hooks, Log, Network, Paths, Queue, Releases, Ssh, Trees, Users,
};
pub use super::upkeep::{Housekeeping, Storage, Trash};
pub use super::upstreams::Upstream;
use std::collections::BTreeMap;

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
    pub run: Run,
    pub tasks: Tasks,
    pub hooks: Hooks,
    pub health: Health,
    pub releases: Releases,
    pub backups: Backups,
    pub archives: Archives,
    pub queue: Queue,
    pub log: Log,
    pub storage: Storage,
    pub housekeeping: Housekeeping,
    pub trash: Trash,
    pub finals: Final,
    /// Other servers whose releases are deployed here, by the names of their environments.
    pub upstreams: BTreeMap<String, Upstream>,
    /// What the router shows to clients, by names of the admin's own.
    pub certificates: BTreeMap<String, CertificateFiles>,
    pub acme: Acme,
}

/// What this machine is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Platform {
    Dev,
    Staging,
    Prod,
}

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

    /// What signatures call this server: its own name for its environment, or the platform's word.
    pub fn environment(&self) -> &str {
        self.releases.environment.as_deref().unwrap_or(self.platform.as_str())
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
            run: Run::read(from)?,
            tasks: Tasks::read(from)?,
            hooks: Hooks::read(from)?,
            health: Health::read(from)?,
            releases: Releases::read(from)?,
            backups: Backups::read(from)?,
            archives: Archives::read(from)?,
            queue: Queue::read(from)?,
            log: Log::read(from)?,
            storage: Storage::read(from)?,
            housekeeping: Housekeeping::read(from)?,
            trash: Trash::read(from)?,
            finals: Final::read(from)?,
            upstreams: upstreams::read(from)?,
            certificates: router::certificates(from)?,
            acme: Acme::read(from)?,
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
        if self.storage.step > self.storage.max {
            return Err(from.refuse("storage.step", "should not be more than storage.max"));
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
    Schema {
        keys: Settings::keys_of(TEMPLATE),
        open: &["builds.env"],
        families: &[("upstreams", &upstreams::KEYS), ("certificates", &router::CERTIFICATE_KEYS)],
        lists: &[],
        code: Code::ServerConfig,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::time::Duration;

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
    fn each_upstream_is_a_section_with_an_address_and_a_pinned_key() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChLTbLOtEXrPVb3jBSGoHsFnGuLFmVkJZ3FGYqwp";
        let one = |url: &str, key: &str| format!("[upstreams.staging]\nurl = \"{url}\"\nhost_key = \"{key}\"");
        let config = ServerConfig::parse(&one("ssh://commis@staging.example.com", key), "commis.toml").unwrap();
        let staging = config.upstreams.get("staging").unwrap();
        assert_eq!(
            (staging.host.as_str(), staging.port, staging.user.as_str()),
            ("staging.example.com", 2222, "commis")
        );
        assert!(config.agrees_with_itself(&defaults().unwrap()).is_ok() && staging.host_key == key);
        let url = "commis.toml line 2: upstreams.staging.url: should be ";
        assert!(error(&one("http://x", key)).starts_with(url));
        assert!(error(&one("ssh://commis@x:0", key)).starts_with(url));
        assert!(error(&one("ssh://commis@x", "ssh-rsa AAAA")).contains("host_key: should be a host key"));
        let line = format!("[staging.example.com]:2222 {key}");
        let read = ServerConfig::parse(&one("ssh://commis@x", &line), "commis.toml").unwrap();
        assert_eq!(read.upstreams["staging"].host_key, key, "the whole line of known_hosts will do");
        assert!(error("[upstreams.staging]\nurl = \"ssh://commis@x\"").contains("host_key: is missing"));
        assert!(error("[upstreams.staging]\nuri = 1").contains("unknown key"));
        assert!(error("[upstreams]\nstaging = 1").contains("should be a section"));
        assert!(error("[upstreams.\"A b\"]\nurl = \"ssh://commis@x\"").contains("is not the name of an environment"));
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
