//! What a pack's scripts are given (arguments, environment, directory) and what `bin/release` answers. Pure: calls
//! are data that `sandbox/` carries out. Which pack is in [`super::detect`].

use super::detect::Tree;
use super::pack::{Compile, Pack};
use crate::model::{Code, CommitId, DeploymentNumber, Failure, Mode, ProcessType, ProjectName, ReleaseVersion};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Paths of one build, as the scripts see them.
#[derive(Clone, Copy, Debug)]
pub struct BuildPaths<'a> {
    /// Directory that holds `bin/` of the pack. For `inline` this is the tree itself.
    pub pack: &'a Path,
    /// The tree at work: the run path of the project.
    pub build: &'a Path,
    /// Persists between builds of the project. `<cache>/home` is the home directory.
    pub cache: &'a Path,
    /// One file per configuration variable: its name, its bytes, no line end added.
    pub env_dir: &'a Path,
}

/// What the scripts are told about the deployment.
#[derive(Clone, Copy)]
pub struct BuildContext<'a> {
    pub project: &'a ProjectName,
    pub mode: Mode,
    pub deployment: DeploymentNumber,
    pub release: Option<ReleaseVersion>,
    pub commit: &'a CommitId,
    /// Bundle of certificates that programs should trust, when it is not the one they bring.
    pub certificates: Option<&'a Path>,
    /// Settings of the project as variables: `COMMIS_STATIC_ROOT`, `COMMIS_INSTALLER`.
    pub settings: &'a [(String, String)],
    /// The server's: `PATH`, `COMMIS_UV`, mirrors. Stronger than everything else here.
    pub platform: &'a [(String, String)],
}

/// One call of a script. No `Debug`: the environment may hold tokens of mirrors.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub directory: PathBuf,
}

/// What `bin/release` said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReleaseInfo {
    /// Used for process types that the Procfile does not have.
    pub processes: BTreeMap<ProcessType, String>,
    /// Defaults; the pillar's own variables are stronger.
    pub config_vars: BTreeMap<String, String>,
}

/// `bin/detect BUILD`. Exit 0 means that the pack applies. Only for packs that are not built in: for those
/// [`super::choose`] has decided already.
pub fn detect_call(paths: BuildPaths<'_>, context: &BuildContext<'_>) -> Call {
    call("detect", &[paths.build], paths, context)
}

/// `bin/compile BUILD CACHE ENV`. Anything but exit 0 fails the build.
pub fn compile_call(paths: BuildPaths<'_>, context: &BuildContext<'_>) -> Call {
    call("compile", &[paths.build, paths.cache, paths.env_dir], paths, context)
}

/// `bin/release BUILD`. Standard output is for [`parse_release`]. A pack may do without the script.
pub fn release_call(paths: BuildPaths<'_>, context: &BuildContext<'_>) -> Call {
    call("release", &[paths.build], paths, context)
}

/// What compile and release of a pack would come to, when that is known without starting them: nothing to build, and
/// none of `variables` (names of settings and configuration) steers the scripts.
pub fn without_process(pack: &Pack, tree: Tree<'_>, variables: &[&str]) -> Option<ReleaseInfo> {
    let steered = pack.steered_by.iter().any(|name| variables.contains(&name.as_str()));
    if pack.compile == Compile::Script || steered {
        return None;
    }
    let rule = pack.release.iter().find(|rule| (tree.exists)(&rule.file));
    if rule.is_none() && !pack.release.is_empty() {
        return None;
    }
    let processes = rule.map(|rule| (ProcessType::web(), rule.web.clone())).into_iter().collect();
    Some(ReleaseInfo { processes, config_vars: BTreeMap::new() })
}

fn call(script: &str, arguments: &[&Path], paths: BuildPaths<'_>, context: &BuildContext<'_>) -> Call {
    let program = paths.pack.join("bin").join(script);
    let argv = std::iter::once(program.as_path()).chain(arguments.iter().copied()).map(text).collect();
    Call { argv, env: environment(paths, context), directory: paths.build.to_path_buf() }
}

/// Later sources replace earlier ones; nothing of git's gets in.
fn environment(paths: BuildPaths<'_>, context: &BuildContext<'_>) -> Vec<(String, String)> {
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("PATH", "/usr/local/bin:/usr/bin:/bin".into());
    set("HOME", text(&paths.cache.join("home")));
    set("LANG", "C.UTF-8".into());
    set("STACK", "heroku-24".into());
    set("SOURCE_VERSION", context.commit.to_string());
    set("COMMIS_PROJECT", context.project.to_string());
    set("COMMIS_MODE", context.mode.as_str().into());
    set("COMMIS_PHASE", "build".into());
    set("COMMIS_DEPLOYMENT", context.deployment.0.to_string());
    if let Some(release) = context.release {
        set("COMMIS_RELEASE", release.to_string());
    }
    set("COMMIS_RUN", text(paths.build));
    if let Some(bundle) = context.certificates {
        for name in CERTIFICATE_VARIABLES {
            set(name, text(bundle));
        }
    }
    for (name, value) in context.settings.iter().chain(context.platform) {
        set(name, value.clone());
    }
    env.retain(|name, _| !name.starts_with("GIT_") || name == "GIT_SSL_CAINFO");
    env.into_iter().collect()
}

/// How the usual tools are told which certificates to trust: each has a variable of its own.
const CERTIFICATE_VARIABLES: [&str; 7] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
    "GIT_SSL_CAINFO",
];

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Reads what `bin/release` printed: YAML, possibly nothing. Keys that are not ours (`addons`) are passed over.
///
/// Errors: [`Code::BuildFailed`] with the place, for what is not YAML or not of this shape.
pub fn parse_release(text: &str) -> Result<ReleaseInfo, Failure> {
    let bare = text.lines().all(|line| line.trim().is_empty() || line.trim() == "---");
    let written = if bare {
        WrittenRelease::default()
    } else {
        let read: Result<Option<WrittenRelease>, _> = serde_saphyr::from_str(text);
        read.map_err(|error| refuse(one_line(&error.to_string())))?.unwrap_or_default()
    };
    let mut processes = BTreeMap::new();
    for (name, command) in written.default_process_types.unwrap_or_default() {
        let kind = ProcessType::parse(&name).ok_or_else(|| refuse(format!("'{name}' is not a process type")))?;
        let command = command.trim().to_owned();
        if command.is_empty() || command.contains('\0') || command.contains('\n') {
            return Err(refuse(format!("the command of '{name}' is not one line")));
        }
        processes.insert(kind, command);
    }
    let mut config_vars = BTreeMap::new();
    for (name, value) in written.config_vars.unwrap_or_default() {
        if !is_variable(&name) {
            return Err(refuse(format!("'{name}' is not the name of a variable")));
        }
        config_vars.insert(name, value.text());
    }
    Ok(ReleaseInfo { processes, config_vars })
}

#[derive(Default, Deserialize)]
struct WrittenRelease {
    default_process_types: Option<BTreeMap<String, String>>,
    config_vars: Option<BTreeMap<String, Scalar>>,
}

/// `WEB_CONCURRENCY: 4` is a number to YAML and text to everybody else.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

impl Scalar {
    fn text(self) -> String {
        match self {
            Scalar::Bool(value) => value.to_string(),
            Scalar::Integer(value) => value.to_string(),
            Scalar::Float(value) => value.to_string(),
            Scalar::Text(value) => value,
        }
    }
}

fn is_variable(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    plain && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn refuse(why: impl std::fmt::Display) -> Failure {
    Failure::new(Code::BuildFailed, format!("bin/release of the buildpack: {why}"))
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches(['.', ':']).to_owned()
}

#[cfg(test)]
#[path = "contract_tests.rs"]
mod tests;
