//! `doctor`: the machine as Commis needs it, checked for real; each line says what is there, or what to do.

use super::Platform;
use super::authorize::{Action, authorize};
use super::records::{Check, Reply};
use crate::model::{Actor, Failure};
use crate::notify::words;
use crate::system::cgroups::Enforcer;
use crate::system::files;

/// Less free space than this is worth a warning.
const LITTLE: u64 = 1 << 30;

impl Platform {
    pub(super) async fn doctor(&self, actor: &Actor) -> Result<Reply, Failure> {
        authorize(actor, Action::Inspect, None)?;
        let mut checks = vec![self.check_git().await, self.check_space()];
        checks.extend(self.context.sandbox.cgroups().enforced().into_iter().map(|limit| {
            let (verdict, by) = match &limit.by {
                Enforcer::CgroupV1 => ("ok", "by cgroup v1".to_owned()),
                Enforcer::CgroupV2 => ("ok", "by cgroup v2".to_owned()),
                Enforcer::Nobody(why) => ("warning", format!("not enforced: {why}")),
            };
            line(verdict, &format!("limit {:?}", limit.limit).to_lowercase(), &by)
        }));
        checks.extend(["python3", "node", "npm", "cargo"].map(check_program));
        checks.push(self.check_uv());
        checks.extend(self.check_projects()?);
        Ok(Reply::Doctor { checks })
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

    fn check_space(&self) -> Check {
        let path = &self.context.places.projects;
        match files::free_bytes(path) {
            Ok(free) => {
                let verdict = if free < LITTLE { "warning" } else { "ok" };
                line(verdict, "free space", &format!("{} below {}", words::size(free), path.display()))
            }
            Err(error) => line("error", "free space", &error.to_string()),
        }
    }

    fn check_uv(&self) -> Check {
        let configured = self.context.config().builds.tools.clone();
        let path = configured.unwrap_or_else(|| self.context.places.tools()).join("uv");
        if path.is_file() {
            return line("ok", "uv", &path.display().to_string());
        }
        let found =
            format!("not at {}; Python projects are built with pip: pip install --target gives uv", path.display());
        line("warning", "uv", &found)
    }

    fn check_projects(&self) -> Result<Vec<Check>, Failure> {
        let projects = self.context.store.projects()?;
        let troubled = projects.iter().filter_map(|project| {
            project.trouble.as_ref().map(|why| line("error", &format!("project {}", project.name), why))
        });
        Ok(troubled.collect())
    }
}

fn check_program(name: &str) -> Check {
    let places = ["/usr/local/bin", "/usr/bin", "/bin"];
    let found = places.iter().map(|place| std::path::Path::new(place).join(name)).find(|path| path.is_file());
    match found {
        Some(path) => line("ok", name, &path.display().to_string()),
        None => line("warning", name, "not installed: projects that need it will not build"),
    }
}

fn line(verdict: &str, check: &str, found: &str) -> Check {
    Check { verdict: verdict.to_owned(), check: check.to_owned(), found: found.to_owned() }
}
