//! `doctor`: the machine as Commis needs it, checked for real; each line says what is there, or what to do.

use super::Platform;
use super::authorize::{Action, authorize};
use super::records::{Check, Reply};
use crate::config::server::{Network, Upstream};
use crate::model::{Actor, Exit, Failure};
use crate::notify::{clean_line, words};
use crate::sandbox::{Cancel, Stream, Task};
use crate::storage::limits;
use crate::system::cgroups::{Enforcer, GroupLimits};
use crate::system::{Job, Limits, Privacy, View, files};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Less free space than this is worth a warning.
const LITTLE: u64 = 1 << 30;
/// A program that takes longer to say its version is not well.
const PATIENCE: Duration = Duration::from_secs(10);
const PROGRAM_DIRECTORIES: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
/// Programs, and who needs them.
const PROGRAMS: [(&str, &str); 5] = [
    ("bash", "every Procfile"),
    ("python3", "Python projects"),
    ("node", "Node.js projects"),
    ("npm", "Node.js projects"),
    ("cargo", "Rust projects"),
];

impl Platform {
    pub(super) async fn doctor(&self, actor: &Actor) -> Result<Reply, Failure> {
        authorize(actor, Action::Inspect, None)?;
        let places = &self.context.places;
        let mut checks = vec![self.check_git().await];
        checks.extend([("projects", &places.projects), ("state", &places.state)].map(|(name, path)| space(name, path)));
        checks.push(self.check_sandbox().await);
        checks.extend(self.check_limits());
        let programs = PROGRAMS.map(|(name, whose)| self.check_program(name, whose));
        checks.extend(futures_util::future::join_all(programs).await);
        checks.push(self.check_uv());
        checks.extend(self.context.config().builds.toolchains.iter().map(|path| toolchain(path)));
        checks.push(certificates());
        checks.push(self.check_limits_of_data());
        checks.push(self.check_housekeeping());
        checks.extend(self.check_final());
        checks.extend(self.check_projects()?);
        Ok(Reply::Doctor { checks })
    }

    /// What there is of mode final.
    fn check_final(&self) -> Vec<Check> {
        let config = self.context.config();
        let reach = match config.finals.network {
            Network::None => line(
                "ok",
                "network in mode final",
                "scripts of a deployment reach a loopback of their own and sockets with a path",
            ),
            Network::Host => line(
                "warning",
                "network in mode final",
                "scripts of a deployment reach the machine's network ([final] network)",
            ),
        };
        let upstream = |(name, at): (&String, &Upstream)| {
            line("ok", &format!("upstream {name}"), &format!("{}:{}, host key pinned", at.host, at.port))
        };
        std::iter::once(reach).chain(config.upstreams.iter().map(upstream)).collect()
    }

    async fn check_git(&self) -> Check {
        match self.context.git.version().await {
            Ok((major, minor, patch)) => {
                let found = format!("{major}.{minor}.{patch} at {}", self.context.git.program.display());
                let verdict = if (major, minor) >= (2, 29) { "ok" } else { "error" };
                line(verdict, "git", &found)
            }
            Err(error) => line("error", "git", &error.to_string()),
        }
    }

    /// Does what every build does: another user, a place of its own.
    async fn check_sandbox(&self) -> Check {
        match self.ask("sandbox", &["/bin/true"]).await {
            (Exit::Code(0), _) => {
                line("ok", "sandbox", "private mounts and /tmp, a user of its own, no new privileges")
            }
            (exit, _) => line("error", "sandbox", &format!("{exit}: nothing can be built or started")),
        }
    }

    fn check_limits(&self) -> Vec<Check> {
        let enforced = self.context.sandbox.cgroups().enforced().into_iter();
        let check = |limit: crate::system::cgroups::Enforcement| {
            let (verdict, by) = match &limit.by {
                Enforcer::CgroupV1 => ("ok", "by cgroup v1".to_owned()),
                Enforcer::CgroupV2 => ("ok", "by cgroup v2".to_owned()),
                Enforcer::Nobody(why) => ("warning", format!("not enforced: {why}")),
            };
            line(verdict, &format!("limit {:?}", limit.limit).to_lowercase(), &by)
        };
        enforced.map(check).collect()
    }

    /// A program as a build user would find and start it.
    async fn check_program(&self, name: &str, whose: &str) -> Check {
        let config = self.context.config();
        let mut toolchains = config.builds.toolchains.iter().map(|path| path.join("bin").join(name));
        if let Some(path) = toolchains.find(|path| path.is_file()) {
            return line("ok", name, &format!("{} (a toolchain of [builds])", path.display()));
        }
        let Some(path) =
            PROGRAM_DIRECTORIES.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file())
        else {
            let hint = if name == "cargo" { "; for one of root's alone: [builds] toolchains" } else { "" };
            return line("warning", name, &format!("not installed: {whose} will not build{hint}"));
        };
        let path = path.display().to_string();
        match self.ask(name, &[&path, "--version"]).await {
            (Exit::Code(0), said) => line("ok", name, &format!("{said} at {path}")),
            (exit, said) => line("warning", name, &format!("{path} does not start: {exit} {said}")),
        }
    }

    /// Runs something harmless as git's user; how it ended, and its first line.
    async fn ask(&self, name: &str, words: &[&str]) -> (Exit, String) {
        let job = Job {
            argv: words.iter().map(|word| (*word).to_owned()).collect(),
            env: vec![("PATH".into(), PROGRAM_DIRECTORIES.join(":")), ("HOME".into(), "/tmp".into())],
            directory: PathBuf::from("/tmp"),
            user: self.context.git.user,
            view: View { tmp: Privacy::Private, ..View::default() },
            limits: Limits::default(),
            cgroups: Vec::new(),
        };
        let unique = crate::system::entropy::hex(4).unwrap_or_default();
        let name = format!("doctor.{unique}.{name}");
        let task = Task { name, job, group: GroupLimits::default(), deadline: Some(PATIENCE) };
        let mut said = String::new();
        let mut listen = |_: Stream, raw: &[u8]| {
            if said.is_empty() {
                said = clean_line(raw);
            }
        };
        let exit = self.context.sandbox.run(task, &mut listen, &Cancel::default()).await;
        (exit, said)
    }

    fn check_uv(&self) -> Check {
        let configured = self.context.config().builds.tools.clone();
        let path = configured.unwrap_or_else(|| self.context.places.tools()).join("uv");
        if path.is_file() {
            return line("ok", "uv", &path.display().to_string());
        }
        line("warning", "uv", &format!("not at {}: Python projects are built with pip, slower", path.display()))
    }

    /// Whether file systems hold limits of data by themselves.
    fn check_limits_of_data(&self) -> Check {
        match limits::would_hold(&self.context.places.projects) {
            Ok(words) => line("ok", "limits of data", &words),
            Err(failure) => line("warning", "limits of data", &failure.what),
        }
    }

    fn check_housekeeping(&self) -> Check {
        let Some(round) = self.housekeeping() else { return line("ok", "housekeeping", "no round yet") };
        let verdict = if round.warnings.is_empty() { "ok" } else { "warning" };
        let busy = if round.busy.is_empty() { String::new() } else { format!(", {} busy", round.busy.len()) };
        let found = format!("{} projects{busy} at {}", round.projects, round.at);
        match round.warnings.first() {
            Some(first) => line(verdict, "housekeeping", &format!("{found}; {first}")),
            None => line(verdict, "housekeeping", &found),
        }
    }

    fn check_projects(&self) -> Result<Vec<Check>, Failure> {
        let projects = self.context.store.projects()?;
        let troubled = projects.iter().filter_map(|project| {
            project.trouble.as_ref().map(|why| line("error", &format!("project {}", project.name), why))
        });
        Ok(troubled.collect())
    }
}

fn space(name: &str, path: &Path) -> Check {
    let check = format!("free space {name}");
    match files::free_bytes(path) {
        Ok(free) => {
            let verdict = if free < LITTLE { "warning" } else { "ok" };
            line(verdict, &check, &format!("{} below {}", words::size(free), path.display()))
        }
        Err(error) => line("error", &check, &error.to_string()),
    }
}

fn toolchain(path: &Path) -> Check {
    if path.join("bin").is_dir() {
        return line("ok", "toolchain", &path.display().to_string());
    }
    line("error", "toolchain", &format!("{}: no bin/ in it; see [builds] toolchains", path.display()))
}

fn certificates() -> Check {
    let path = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if path.is_file() {
        return line("ok", "certificates", &path.display().to_string());
    }
    line("warning", "certificates", "none: builds that download will fail; apt-get install ca-certificates")
}

fn line(verdict: &str, check: &str, found: &str) -> Check {
    Check { verdict: verdict.to_owned(), check: check.to_owned(), found: found.to_owned() }
}
