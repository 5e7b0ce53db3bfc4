//! `ps`, `scale`, `restart`, `stop`, `start`: what runs of a project, more or less of it, anew, or nothing.

use super::Platform;
use super::authorize::Action;
use super::records::{Instance, Ps, Reply};
use crate::archives::Manifest;
use crate::model::{Actor, Code, Failure, ProcessType, ProjectName, ReleaseVersion};
use crate::pipeline::desk::Closed;
use crate::pipeline::execute::revive;
use crate::pipeline::instances::{self, Formation};
use crate::pipeline::{health, rolling};
use crate::store::ProjectRecord;
use crate::system::clock;
use crate::system::files::FileLock;
use crate::verbs::ProcessVerb;
use std::collections::BTreeMap;

/// Most instances of one process type.
const MOST: u32 = 100;

/// One word of `scale`: a number, or what the project itself says.
type Count = (ProcessType, Option<u32>);

impl Platform {
    pub(super) async fn processes(&self, actor: &Actor, verb: ProcessVerb) -> Result<Reply, Failure> {
        match verb {
            ProcessVerb::Ps { project } => self.ps(actor, &project),
            ProcessVerb::Scale { project, counts } if counts.is_empty() => self.ps(actor, &project),
            ProcessVerb::Scale { project, counts } => self.scale(actor, &project, &counts).await,
            ProcessVerb::Restart { project } => self.restart(actor, &project).await,
            ProcessVerb::Stop { project } => self.stop(actor, &project).await,
            ProcessVerb::Start { project } => self.start(actor, &project).await,
        }
    }

    fn ps(&self, actor: &Actor, name: &str) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Read, name)?;
        let instances = self.context.supervisor.status(&project.name);
        let rows = instances.into_iter().map(|one| Instance {
            process: one.process.to_string(),
            state: one.condition.as_str().to_owned(),
            release: one.release.to_string(),
            pid: one.pid,
            port: one.port,
            restarts: one.restarts,
            since: clock::rfc3339(one.since),
            last_exit: one.last_exit.map(|exit| exit.to_string()),
        });
        let formation = match project.live {
            Some(version) => self.formation(&project, version)?,
            None => BTreeMap::new(),
        };
        let formation = formation.into_iter().map(|(kind, count)| (kind.to_string(), count)).collect();
        let stopped = project.stopped;
        Ok(Reply::Ps(Box::new(Ps { project: project.name.to_string(), stopped, formation, processes: rows.collect() })))
    }

    /// How many of each process type of a release there should be.
    fn formation(&self, project: &ProjectRecord, version: ReleaseVersion) -> Result<Formation, Failure> {
        let release = self.context.store.release(&project.name, version)?;
        let release = release.ok_or_else(|| Failure::new(Code::NotFound, format!("{version} is not there")))?;
        let manifest = Manifest::parse(release.manifest.as_bytes())?;
        let asked = self.context.store.formation(&project.name)?;
        let run = self.context.project_places(&project.name).run();
        let declared = health::app_json(&run)?.map(|app| app.formation).unwrap_or_default();
        let kinds = instances::kinds(&manifest);
        Ok(kinds.map(|(kind, _)| (kind.clone(), instances::quantity(kind, &asked, &declared))).collect())
    }

    async fn scale(&self, actor: &Actor, name: &str, words: &[String]) -> Result<Reply, Failure> {
        let counts = words.iter().map(|word| count(word)).collect::<Result<Vec<Count>, _>>()?;
        let project = self.project(actor, Action::Deploy, name)?;
        let _turn = self.turn(&project.name)?;
        let project = self.project(actor, Action::Deploy, name)?;
        let before = self.context.store.formation(&project.name)?;
        if let Some(version) = project.live {
            let known = self.formation(&project, version)?;
            if let Some((kind, _)) = counts.iter().find(|(kind, _)| !known.contains_key(kind)) {
                let names: Vec<&str> = known.keys().map(ProcessType::as_str).collect();
                let failure = Failure::new(Code::NotFound, format!("{name} has no process type {kind}"));
                return Err(failure.hint(format!("it has: {}", names.join(", "))));
            }
        }
        let mut after = before.clone();
        for (kind, quantity) in &counts {
            match quantity {
                Some(quantity) => drop(after.insert(kind.clone(), *quantity)),
                None => drop(after.remove(kind)),
            }
        }
        self.context.store.set_formation(&project.name, &after)?;
        if let Some(live) = self.context.live(&project.name)
            && let Err(failure) = rolling::scale(&self.context, &project, live).await
        {
            self.context.store.set_formation(&project.name, &before)?;
            return Err(failure);
        }
        self.ps(actor, name)
    }

    async fn restart(&self, actor: &Actor, name: &str) -> Result<Reply, Failure> {
        let (project, version) = self.live_project(actor, name)?;
        let _turn = self.turn(&project.name)?;
        if project.stopped {
            let failure = Failure::new(Code::Refused, format!("{name} is stopped"));
            return Err(failure.hint(format!("commis start {name}")));
        }
        rolling::restart(&self.context, &project, version).await?;
        Ok(Reply::Done { done: format!("{name} {version} was started anew"), changed: true })
    }

    async fn stop(&self, actor: &Actor, name: &str) -> Result<Reply, Failure> {
        let (project, version) = self.live_project(actor, name)?;
        let _turn = self.turn(&project.name)?;
        self.context.store.set_stopped(&project.name, true)?;
        self.context.point_router_at(&project.name, None)?;
        self.context.set_live(&project.name, None);
        self.context.end_others(&project.name, None).await;
        let done = format!("{name} {version} is stopped; commis start {name} starts it again");
        Ok(Reply::Done { done, changed: !project.stopped })
    }

    async fn start(&self, actor: &Actor, name: &str) -> Result<Reply, Failure> {
        let (project, version) = self.live_project(actor, name)?;
        let _turn = self.turn(&project.name)?;
        if self.context.live(&project.name).is_some() {
            return Ok(Reply::Done { done: format!("{name} {version} runs"), changed: false });
        }
        self.context.store.set_stopped(&project.name, false)?;
        revive::revive(&self.context, &project, version).await?;
        Ok(Reply::Done { done: format!("{name} {version} is started"), changed: true })
    }

    fn live_project(&self, actor: &Actor, name: &str) -> Result<(ProjectRecord, ReleaseVersion), Failure> {
        let project = self.project(actor, Action::Deploy, name)?;
        if let Some(trouble) = &project.trouble {
            let failure = Failure::new(Code::NeedsAdmin, format!("{name} needs an admin first: {trouble}"));
            return Err(failure.hint(format!("commis rescue {name} shows what can be done")));
        }
        match project.live {
            Some(version) => Ok((project, version)),
            None => {
                let failure = Failure::new(Code::NotFound, format!("nothing of {name} is live"));
                Err(failure.hint(format!("git push {} HEAD:refs/heads/main", self.context.remote_of(&project.name))))
            }
        }
    }

    /// Nobody deploys meanwhile.
    fn turn(&self, name: &ProjectName) -> Result<(Closed, FileLock), Failure> {
        let busy = || Failure::new(Code::Busy, format!("{name} is being deployed")).hint(format!("commis show {name}"));
        let closed = self.desk.close(name, "processes").ok_or_else(busy)?;
        Ok((closed, self.lock(name)?))
    }
}

/// Reads `web=3` or `web=default`.
fn count(word: &str) -> Result<Count, Failure> {
    let wrong = || {
        let shown = crate::notify::clean_line(word.as_bytes());
        let what = format!("\"{shown}\" is not TYPE=NUMBER, with a number from 0 to {MOST}");
        Failure::new(Code::Usage, what).hint("commis scale blog web=3 worker=1")
    };
    let (kind, quantity) = word.split_once('=').ok_or_else(wrong)?;
    let kind = ProcessType::parse(kind).filter(|kind| !kind.is_release()).ok_or_else(wrong)?;
    match quantity {
        "default" => Ok((kind, None)),
        number => {
            let number = number.parse().ok().filter(|number| *number <= MOST).ok_or_else(wrong)?;
            Ok((kind, Some(number)))
        }
    }
}
