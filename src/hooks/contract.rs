//! What a hook is told (its environment) and what its end means. Pure. The command is the hook's path alone, its
//! directory the tree at work, its standard input empty.

use super::moment::Hook;
use crate::model::{Code, DeploymentNumber, Exit, Failure, Mode, ProjectName, ReleaseVersion};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What a hook is told. Paths are as the hook sees them.
#[derive(Clone, Copy)]
pub struct HookContext<'a> {
    pub hook: Hook,
    pub project: &'a ProjectName,
    pub mode: Mode,
    pub deployment: DeploymentNumber,
    /// `None` as long as there is no number for what is being made.
    pub release: Option<ReleaseVersion>,
    pub paths: HookPaths<'a>,
    /// The pillar's `env:`, as far as it is for this user. May hold secrets, hence no `Debug`.
    pub pillar: &'a [(String, String)],
    /// The server's: `PATH`, certificates, mirrors. Weaker than the pillar, except for `PATH`.
    pub platform: &'a [(String, String)],
}

#[derive(Clone, Copy, Debug)]
pub struct HookPaths<'a> {
    pub build: &'a Path,
    pub run: &'a Path,
    pub data: &'a Path,
    /// Only for the hooks that write or read them.
    pub dumps: Option<&'a Path>,
    /// JSON file with the variables of this deployment; the hook may change it.
    pub common: &'a Path,
    pub home: &'a Path,
}

/// The whole environment of a hook, sorted by name. `COMMIS_*`, `HOME` and `PATH` are ours whatever the pillar says,
/// and nothing of git's gets in.
pub fn environment(context: HookContext<'_>) -> Vec<(String, String)> {
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    env.insert("LANG".into(), "C.UTF-8".into());
    for (name, value) in context.platform {
        env.insert(name.clone(), value.clone());
    }
    for (name, value) in context.pillar.iter().filter(|(name, _)| !is_ours(name)) {
        env.insert(name.clone(), value.clone());
    }
    env.entry("PATH".into()).or_insert_with(|| "/usr/local/bin:/usr/bin:/bin".into());
    let paths = context.paths;
    for (name, path) in [
        ("HOME", paths.home),
        ("COMMIS_BUILD", paths.build),
        ("COMMIS_RUN", paths.run),
        ("COMMIS_DATA", paths.data),
        ("COMMIS_COMMON", paths.common),
    ] {
        env.insert(name.into(), path.to_string_lossy().into_owned());
    }
    if let Some(dumps) = paths.dumps {
        env.insert("COMMIS_DUMPS".into(), dumps.to_string_lossy().into_owned());
    }
    env.insert("COMMIS_PROJECT".into(), context.project.to_string());
    env.insert("COMMIS_MODE".into(), context.mode.as_str().into());
    env.insert("COMMIS_PHASE".into(), context.hook.name().into());
    env.insert("COMMIS_DEPLOYMENT".into(), context.deployment.0.to_string());
    env.insert("COMMIS_RELEASE".into(), context.release.map(|release| release.to_string()).unwrap_or_default());
    env.retain(|name, _| !name.starts_with("GIT_") || name == "GIT_SSL_CAINFO");
    env.into_iter().collect()
}

fn is_ours(name: &str) -> bool {
    name.starts_with("COMMIS_") || name == "HOME" || name == "PATH"
}

/// What to say about a hook that did not end well: `hook build: exit 3 after 2 s`. What it printed was told already.
pub fn failure(hook: Hook, exit: &Exit, took: Duration) -> Failure {
    let after = match exit {
        Exit::TimedOut { .. } | Exit::NotStarted(_) | Exit::Cancelled => String::new(),
        Exit::Code(_) | Exit::Signal(_) | Exit::OutOfMemory { .. } => format!(" after {}", seconds(took)),
    };
    let failure = Failure::new(code(hook, exit), format!("hook {}: {exit}{after}", hook.name()));
    match hint(hook, exit) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn code(hook: Hook, exit: &Exit) -> Code {
    match (exit, hook) {
        (Exit::Cancelled, _) => Code::Cancelled,
        (_, Hook::PreInstall | Hook::Configure | Hook::Build | Hook::PostBuild | Hook::Bundle) => Code::BuildFailed,
        (_, Hook::Backup | Hook::Deploy | Hook::PostDeploy | Hook::Upgrade | Hook::PostInstall | Hook::Restore) => {
            Code::ReleaseFailed
        }
    }
}

fn seconds(took: Duration) -> String {
    if took < Duration::from_secs(10) {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        format!("{} s", took.as_secs())
    }
}

fn hint(hook: Hook, exit: &Exit) -> Option<String> {
    let path = format!("{}{}", super::find::DIRECTORY, hook.name());
    Some(match exit {
        Exit::Code(126) => format!("{path}: something that it calls is not executable"),
        Exit::Code(127) => {
            format!("{path}: a command that it calls was not found; its PATH is the server's, not yours")
        }
        Exit::Signal(9) => {
            "nobody here asked for this kill: a process of the hook, or the machine short of memory".into()
        }
        Exit::OutOfMemory { .. } => {
            "the limit is [builds] memory in commis.toml, or [build] memory in .commis/project.toml".into()
        }
        Exit::TimedOut { .. } => "the limit is [hooks] timeout in commis.toml".into(),
        Exit::NotStarted(why) => return not_started(&path, why),
        Exit::Code(_) | Exit::Signal(_) | Exit::Cancelled => return None,
    })
}

/// The kernel's three ways of not starting a script, in words of people who write scripts.
fn not_started(path: &str, why: &str) -> Option<String> {
    let why = why.to_ascii_lowercase();
    if why.contains("no such file") || why.contains("enoent") {
        Some(format!("{path}: the program of its first line (#!) is not on this server, or the line ends in CR LF"))
    } else if why.contains("exec format") || why.contains("enoexec") {
        Some(format!("{path}: its first line must name a program, such as #!/bin/sh"))
    } else if why.contains("permission denied") || why.contains("eacces") {
        Some(format!("{path}: it or the program of its first line (#!) is not executable"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env_with(pillar: &[(&str, &str)], platform: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let path = Path::new;
        let environment = environment(HookContext {
            hook: Hook::PostBuild,
            project: &ProjectName::parse("blog").unwrap(),
            mode: Mode::Cooking,
            deployment: DeploymentNumber(42),
            release: None,
            paths: HookPaths {
                build: path("/p/run"),
                run: path("/p/run"),
                data: path("/p/data"),
                dumps: None,
                common: path("/c/common.json"),
                home: path("/h"),
            },
            pillar: &owned(pillar),
            platform: &owned(platform),
        });
        environment.into_iter().collect()
    }

    #[test]
    fn a_hook_is_told_the_project_the_moment_and_the_paths() {
        let env = env_with(&[("DATABASE_URL", "x")], &[]);
        let told: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            told,
            [
                "COMMIS_BUILD=/p/run",
                "COMMIS_COMMON=/c/common.json",
                "COMMIS_DATA=/p/data",
                "COMMIS_DEPLOYMENT=42",
                "COMMIS_MODE=cooking",
                "COMMIS_PHASE=post_build",
                "COMMIS_PROJECT=blog",
                "COMMIS_RELEASE=",
                "COMMIS_RUN=/p/run",
                "DATABASE_URL=x",
                "HOME=/h",
                "LANG=C.UTF-8",
                "PATH=/usr/local/bin:/usr/bin:/bin",
            ]
        );
    }

    #[test]
    fn the_pillar_cannot_say_what_is_ours_and_gits_variables_never_get_in() {
        let pillar =
            [("COMMIS_DATA", "/etc"), ("PATH", "/x"), ("HOME", "/x"), ("GIT_DIR", "/x"), ("LANG", "de_DE.UTF-8")];
        let env = env_with(&pillar, &[("PATH", "/opt/bin:/bin"), ("GIT_QUARANTINE_PATH", "/q"), ("LANG", "C")]);
        assert_eq!(env["COMMIS_DATA"], "/p/data");
        assert_eq!(env["PATH"], "/opt/bin:/bin");
        assert_eq!(env["HOME"], "/h");
        assert_eq!(env["LANG"], "de_DE.UTF-8");
        assert!(!env.keys().any(|name| name.starts_with("GIT_")));
    }

    #[test]
    fn every_end_of_a_hook_has_its_sentence_and_code() {
        let two = Duration::from_millis(2040);
        let said = |hook, exit: Exit| {
            let failure = failure(hook, &exit, two);
            (failure.what, failure.code, failure.hints.len())
        };
        let text = String::from;
        assert_eq!(said(Hook::Build, Exit::Code(3)), (text("hook build: exit 3 after 2.0 s"), Code::BuildFailed, 0));
        assert_eq!(
            said(Hook::Deploy, Exit::Signal(9)),
            (text("hook deploy: killed by signal 9 (SIGKILL) after 2.0 s"), Code::ReleaseFailed, 1)
        );
        assert_eq!(
            said(Hook::Bundle, Exit::TimedOut { after: 1800 }),
            (text("hook bundle: killed: ran longer than 1800 s"), Code::BuildFailed, 1)
        );
        assert_eq!(said(Hook::PostDeploy, Exit::Cancelled), (text("hook post_deploy: cancelled"), Code::Cancelled, 0));
    }

    #[test]
    fn a_script_that_cannot_start_is_told_about_its_first_line() {
        for (why, word) in [
            ("No such file or directory (os error 2)", "CR LF"),
            ("ENOEXEC: Exec format error", "#!/bin/sh"),
            ("Permission denied", "not executable"),
        ] {
            let failure = failure(Hook::Build, &Exit::NotStarted(why.into()), Duration::ZERO);
            assert!(failure.hints[0].contains(word), "{:?}", failure.hints);
        }
        assert!(failure(Hook::Build, &Exit::NotStarted("EAGAIN".into()), Duration::ZERO).hints.is_empty());
    }
}
