//! `.commis/project.toml`: what a project says about its own deployment.
//!
//! Pure. Every key may be left out; `None` means that the server's configuration or a buildpack decides. The annotated
//! example is `project.toml`. Processes stand in the Procfile, variables in the pillar.

use super::kinds::{self, Kind, duration, text};
use super::sections::{Network, memory, network};
use super::settings::{Schema, Settings};
use super::tasks::{self, Task};
use crate::model::{Code, Failure, Mode, RollbackClass};
use std::time::Duration;

/// The annotated example, which is also the defaults.
pub(super) const TEMPLATE: &str = include_str!("project.toml");

const KEYS: [&str; 13] = [
    "mode",
    "buildpack",
    "health.path",
    "health.timeout",
    "build.env",
    "build.timeout",
    "build.memory",
    "python.installer",
    "static.root",
    "data.backup",
    "data.exclude",
    "data.rollback",
    "network.deployment",
];

/// What one project asks for. Sizes are bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProjectConfig {
    /// Instead of what the platform gives.
    pub mode: Option<Mode>,
    /// Name of a buildpack, `[a-z][a-z0-9-]*`; `none` and `inline` have their meaning in `buildpacks`.
    pub buildpack: Option<String>,
    pub health: Health,
    pub build: Build,
    /// `uv` or `pip`, instead of what the server has.
    pub python_installer: Option<String>,
    /// Directory inside the tree that a static site is served from; relative, without `..`.
    pub static_root: Option<String>,
    pub data: Data,
    /// What hooks from deploy on and the `release:` line reach; never more than the server allows.
    pub network: Option<Network>,
    /// `[[task]]`, in their order.
    pub tasks: Vec<Task>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// Begins with `/`; `None`: the port answers.
    pub path: Option<String>,
    pub timeout: Option<Duration>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Build {
    pub env: BuildVariables,
    pub timeout: Option<Duration>,
    pub memory: Option<u64>,
}

/// What happens to `data/` around a deployment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Data {
    pub backup: BackupPolicy,
    /// Patterns relative to `data/`: neither copied nor, when data is put back, removed.
    pub exclude: Vec<String>,
    /// Instead of what the release's hooks say.
    pub rollback: Option<RollbackClass>,
}

/// What is kept of data before a deployment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BackupPolicy {
    /// A copy of `data/`, and what the hook `backup` writes.
    #[default]
    Full,
    /// What the hook `backup` writes.
    Hooks,
    Nothing,
}

impl BackupPolicy {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "full" => Some(BackupPolicy::Full),
            "hooks" => Some(BackupPolicy::Hooks),
            "none" => Some(BackupPolicy::Nothing),
            _ => None,
        }
    }
}

/// Which variables of the pillar a build gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BuildVariables {
    All,
    Named(Vec<String>),
}

impl Default for ProjectConfig {
    fn default() -> Self {
        Self {
            mode: None,
            buildpack: None,
            health: Health { path: None, timeout: None },
            build: Build { env: BuildVariables::All, timeout: None, memory: None },
            python_installer: None,
            static_root: None,
            data: Data::default(),
            network: None,
            tasks: Vec::new(),
        }
    }
}

impl ProjectConfig {
    /// Reads the file's text; `file_name` begins each error. Errors are `bad-config` and name file, line and key.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, Failure> {
        let from = Settings::read(text, file_name, &schema())?;
        let defaults = Self::default();
        Ok(Self {
            mode: from.maybe("mode", kinds::word("editable, cooking or final", Mode::parse))?,
            buildpack: from.maybe("buildpack", buildpack())?,
            health: Health {
                path: from.maybe("health.path", health_path())?,
                timeout: from.maybe("health.timeout", duration(100, 3_600_000))?,
            },
            build: Build {
                env: from.maybe("build.env", build_variables())?.unwrap_or(defaults.build.env),
                timeout: from.maybe("build.timeout", duration(1_000, 7 * 86_400_000))?,
                memory: from.maybe("build.memory", memory())?,
            },
            python_installer: from.maybe("python.installer", installer())?,
            static_root: from.maybe("static.root", inner_path())?,
            data: Data {
                backup: from.maybe("data.backup", backup())?.unwrap_or_default(),
                exclude: from.maybe("data.exclude", patterns())?.unwrap_or_default(),
                rollback: from.maybe("data.rollback", rollback())?,
            },
            network: from.maybe("network.deployment", network())?,
            tasks: tasks::read(&from)?,
        })
    }
}

impl BuildVariables {
    /// Whether a build gets the variable of this name.
    pub fn gives(&self, name: &str) -> bool {
        match self {
            BuildVariables::All => true,
            BuildVariables::Named(names) => names.iter().any(|given| given == name),
        }
    }
}

/// A path that a health check may ask for: begins with `/`, printable ASCII without spaces.
pub(super) fn is_health_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 1_000 && text.bytes().all(|b| b.is_ascii_graphic())
}

fn schema() -> Schema {
    Schema {
        keys: KEYS.map(String::from).into(),
        open: &[],
        families: &[],
        lists: &[tasks::LIST],
        code: Code::BadConfig,
    }
}

fn installer() -> Kind<String> {
    text("uv or pip", |name| ["uv", "pip"].contains(&name))
}

fn buildpack() -> Kind<String> {
    text("the name of a buildpack, such as \"python\"", |name| {
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        plain && name.len() <= 40 && name.starts_with(|c: char| c.is_ascii_lowercase())
    })
}

fn health_path() -> Kind<String> {
    text("a path that begins with /, without spaces", is_health_path)
}

fn inner_path() -> Kind<String> {
    text("a directory inside the project, without ..", |path| {
        let plain = path.split('/').all(|part| !part.is_empty() && part != "..");
        plain && !path.chars().any(char::is_control)
    })
}

fn backup() -> Kind<BackupPolicy> {
    kinds::word("full, hooks or none", BackupPolicy::parse)
}

fn rollback() -> Kind<RollbackClass> {
    kinds::word("code, code+data or forbidden", RollbackClass::parse)
}

/// What the patterns mean is `trees::exclude`'s.
fn patterns() -> Kind<Vec<String>> {
    kinds::list("a list of patterns relative to data/, such as \"cache/**\"", |pattern| {
        let inside = !pattern.starts_with('/') && pattern.split('/').all(|part| part != "..");
        let plain = pattern.len() <= 1_000 && !pattern.chars().any(char::is_control);
        !pattern.is_empty() && inside && plain && globset::Glob::new(pattern).is_ok()
    })
}

fn build_variables() -> Kind<BuildVariables> {
    let should = "\"*\" or a list of names of variables";
    let all = kinds::word(should, |word| (word == "*").then_some(BuildVariables::All));
    let names = kinds::list(should, |name| name == "*" || kinds::is_variable_name(name));
    let named = kinds::mapped(names, |names| {
        if names.iter().any(|name| name == "*") { BuildVariables::All } else { BuildVariables::Named(names) }
    });
    kinds::either(should, all, named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> String {
        let failure = ProjectConfig::parse(text, ".commis/project.toml").unwrap_err();
        assert_eq!(failure.code, Code::BadConfig);
        failure.what
    }

    /// The example with the keys that are off switched on.
    fn everything_on() -> String {
        let switched = TEMPLATE.lines().map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => key,
            _ => line,
        });
        switched.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_example_is_the_defaults() {
        assert_eq!(ProjectConfig::parse(TEMPLATE, "project.toml").unwrap(), ProjectConfig::default());
        assert_eq!(ProjectConfig::parse("", "project.toml").unwrap(), ProjectConfig::default());
    }

    #[test]
    fn the_example_has_every_key() {
        assert_eq!(Settings::keys_of(&everything_on()), schema().keys);
        let config = ProjectConfig::parse(&everything_on(), "project.toml").unwrap();
        assert_eq!(config.mode, Some(Mode::Cooking));
        assert_eq!(config.buildpack.as_deref(), Some("python"));
        assert_eq!(config.health.path.as_deref(), Some("/health"));
        assert_eq!(config.health.timeout, Some(Duration::from_secs(30)));
        assert_eq!(config.build.timeout, Some(Duration::from_secs(1_800)));
        assert_eq!(config.build.memory, Some(2_000_000_000));
        assert_eq!(config.data.exclude, ["cache/**", "**/*.tmp"]);
        assert_eq!(config.data.rollback, Some(RollbackClass::Code));
    }

    #[test]
    fn mistakes_name_file_line_and_key() {
        assert_eq!(
            error("[health]\npath = \"health\""),
            ".commis/project.toml line 2: health.path: should be a path that begins with /, without spaces, found \"health\""
        );
        assert_eq!(
            error("mode = \"final\"\nbuildpak = \"x\""),
            ".commis/project.toml line 2: buildpak: unknown key; did you mean buildpack?"
        );
        assert!(error("mode = \"prod\"").contains("mode: should be editable, cooking or final, found \"prod\""));
        assert!(error("buildpack = \"../x\"").contains("buildpack: should be the name of a buildpack"));
        assert!(error("health = 3").contains("health: should be a section, found 3"));
    }

    #[test]
    fn a_build_gets_all_variables_or_the_named_ones() {
        let read = |env: &str| ProjectConfig::parse(&format!("build.env = {env}"), "project.toml").unwrap().build.env;
        assert_eq!(read("\"*\""), BuildVariables::All);
        assert_eq!(read("[\"*\"]"), BuildVariables::All);
        let named = read("[\"NPM_TOKEN\"]");
        assert!(named.gives("NPM_TOKEN") && !named.gives("SECRET"));
        assert!(error("build.env = [\"A B\"]").contains("build.env: should be \"*\" or a list of names"));
        assert!(error("build.env = \"NPM_TOKEN\"").contains("build.env: should be"));
    }

    #[test]
    fn data_has_a_policy_patterns_and_a_class() {
        let read = |text: &str| ProjectConfig::parse(&format!("[data]\n{text}"), "project.toml").unwrap().data;
        assert_eq!(read("backup = \"hooks\"").backup, BackupPolicy::Hooks);
        assert_eq!(read("backup = \"none\"").backup, BackupPolicy::Nothing);
        assert_eq!(read("rollback = \"code+data\"").rollback, Some(RollbackClass::CodeAndData));
        assert!(error("data.backup = \"all\"").contains("data.backup: should be full, hooks or none"));
        for bad in ["/etc/*", "../x", "a/../b", "", "a[", "{a"] {
            assert!(error(&format!("data.exclude = [\"{bad}\"]")).contains("data.exclude: should be a list"), "{bad}");
        }
    }

    #[test]
    fn a_static_root_stays_inside_the_project() {
        let read = |root: &str| ProjectConfig::parse(&format!("static.root = \"{root}\""), "project.toml");
        assert_eq!(read("dist/site").unwrap().static_root.as_deref(), Some("dist/site"));
        assert_eq!(read(".").unwrap().static_root.as_deref(), Some("."));
        for bad in ["", "/etc", "../x", "a/../../x", "a//b", "a\\u0000"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([a-z]{1,3} = |\\[[a-z.]{0,9}\\]\n|[\"'.,=#{}\\[\\] \n\\\\a-c0-9é_-]|health|path){0,40}") {
            let _ = ProjectConfig::parse(&text, "project.toml");
            let _ = crate::config::ServerConfig::parse(&text, "commis.toml");
            let _ = crate::config::AppJson::parse(&text);
        }
    }
}
