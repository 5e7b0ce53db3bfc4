//! `rescue`: what a project in trouble is like, and the ways out. Each way is a deployment like any other, with a backup of
//! its own first, but for accepting things as they are.

use super::Platform;
use super::authorize::{Action, authorize, no_project};
use super::deploy::Wish;
use super::records::{Choice, Kept, Reply, Rescue};
use super::{Talk, records};
use crate::model::{Actor, Code, DeploymentNumber, Failure, ProjectName, ReleaseVersion, Trigger};
use crate::pipeline::execute::{self, revive};
use crate::pipeline::{Goal, Manner, recall};
use crate::store::{DataState, DeploymentRecord, ProjectRecord, Status};
use crate::system::{clock, reading};
use crate::verbs::RescueWords;

/// The way that was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WayOut {
    /// None yet: only look.
    Look,
    /// The release that should be live, with its data.
    Old,
    /// The release that failed.
    Forward,
    /// The release that should be live, with the data of this backup.
    Data(u32),
    /// As it is.
    Accept,
}

/// How far back a troubled deployment is looked for.
const RECENT: u32 = 50;

impl WayOut {
    fn of(words: &RescueWords) -> Self {
        match (words.old, words.forward, words.data, words.accept) {
            (true, ..) => WayOut::Old,
            (_, true, ..) => WayOut::Forward,
            (_, _, Some(number), _) => WayOut::Data(number),
            (.., true) => WayOut::Accept,
            _ => WayOut::Look,
        }
    }
}

impl Platform {
    pub(super) async fn rescue(&self, actor: &Actor, words: &RescueWords, talk: &Talk) -> Result<Reply, Failure> {
        let (name, way) = (words.project.as_str(), WayOut::of(words));
        let project = self.project(actor, Action::Read, name)?;
        let look = || self.look_at_trouble(&project).map(|rescue| Reply::Rescue(Box::new(rescue)));
        if way == WayOut::Look {
            return look();
        }
        authorize(actor, Action::Rescue, Some(&project.name))?;
        needs_an_admin(&project)?;
        let (version, with_data) = match way {
            WayOut::Look => return look(),
            WayOut::Accept => return self.accept(&project).await,
            WayOut::Old if project.filled.is_some() => return self.restore_edited(&project).await,
            WayOut::Old => (live(&project)?, self.data_to_put_back(&project)?),
            WayOut::Data(number) => (live(&project)?, Some(DeploymentNumber(number))),
            WayOut::Forward => (self.failed_release(&project)?, None),
        };
        let wish = Wish {
            project,
            trigger: Trigger::Rescue,
            goal: Goal::Release(version),
            with_data,
            manner: Manner::default(),
        };
        let handle = self.launch(actor, wish)?;
        self.follow(name, handle, talk).await
    }

    /// Trouble is over by decree; what is in `run/` is live.
    async fn accept(&self, project: &ProjectRecord) -> Result<Reply, Failure> {
        let name = &project.name;
        let _closed = self.desk.close(name, "rescue").ok_or_else(|| busy(name))?;
        let _lock = self.lock(name)?;
        let project = &self.still_troubled(name)?;
        self.settle_bound(project)?;
        let in_run = self.in_run(project)?.and_then(|row| row.version).or(project.live);
        if let Some(row) = self.troubled(project)?.filter(|row| row.data.state == DataState::Restoring) {
            self.context.store.note_data_state(name, row.number, DataState::Touched)?;
        }
        let Some(version) = in_run else {
            self.context.store.set_trouble(name, None)?;
            return Ok(Reply::Done { done: format!("{name} is as it is; nothing is live"), changed: true });
        };
        let serving = self.context.live(name).filter(|live| live.version == version);
        self.context.supervisor.stop_others(name, serving.map(|live| live.set)).await;
        self.context.store.accept_live(name, version)?;
        match serving {
            // Requests may still go where the failed one was.
            Some(_) => self.context.point_router_at(name, serving)?,
            None => revive::revive(&self.context, project, version).await?,
        }
        Ok(Reply::Done { done: format!("{name} is as it is: {version} is live"), changed: true })
    }

    /// Behind what is edited in place is no release, but the copy that the troubled deployment made of it: `run/` becomes
    /// that again, and what it is now is put aside.
    async fn restore_edited(&self, project: &ProjectRecord) -> Result<Reply, Failure> {
        let name = &project.name;
        let _closed = self.desk.close(name, "rescue").ok_or_else(|| busy(name))?;
        let _lock = self.lock(name)?;
        let project = &self.still_troubled(name)?;
        let (version, number) = (live(project)?, self.snapshot(project)?);
        let number = number.ok_or_else(|| {
            let what = format!("no copy of {name} as it was edited is kept");
            Failure::new(Code::NotFound, what).hint(format!("commis rescue {name} --accept"))
        })?;
        self.context.supervisor.stop_others(name, None).await;
        // Should this end here, the next try finds nothing that it could take for serving.
        self.context.set_live(name, None);
        let places = self.context.project_places(name);
        let restored = || execute::restore(&self.context.store, name, (&places, number));
        tokio::task::block_in_place(restored)?;
        self.settle_bound(project)?;
        self.context.store.accept_live(name, version)?;
        revive::revive(&self.context, project, version).await?;
        let done = format!("{name} is again what it was before deploy {}: {version} is live", number.0);
        Ok(Reply::Done { done, changed: true })
    }

    /// Another admin may have been quicker.
    fn still_troubled(&self, name: &ProjectName) -> Result<ProjectRecord, Failure> {
        let project = self.context.store.project(name)?.ok_or_else(|| no_project(name.as_str()))?;
        needs_an_admin(&project)?;
        Ok(project)
    }

    /// The troubled deployment, where the copy that it made of what is edited is still kept.
    fn snapshot(&self, project: &ProjectRecord) -> Result<Option<DeploymentNumber>, Failure> {
        let places = self.context.project_places(&project.name);
        let kept = |number: &DeploymentNumber| places.archived_run(*number).is_dir();
        Ok(self.troubled(project)?.map(|row| row.number).filter(kept))
    }

    /// The deployment that needs an admin: the newest whose undoing failed. What went well since ended earlier trouble.
    pub(super) fn troubled(&self, project: &ProjectRecord) -> Result<Option<DeploymentRecord>, Failure> {
        let rows = self.context.store.deployments(&project.name, RECENT)?;
        let mut since = rows.into_iter().take_while(|row| row.status != Status::Success);
        Ok(since.find(|row| row.code == Some(Code::RollbackFailed)))
    }

    /// The deployment that made the tree in `run/`.
    fn in_run(&self, project: &ProjectRecord) -> Result<Option<DeploymentRecord>, Failure> {
        let Ok(inode) = reading::inode(&self.context.project_places(&project.name).run()) else { return Ok(None) };
        let rows = self.context.store.deployments(&project.name, RECENT)?;
        // What is edited in place stays the same directory over all deployments.
        let edited = project.filled == Some(inode);
        let made =
            |row: &DeploymentRecord| if edited { row.version == project.live } else { row.tree_inode == Some(inode) };
        Ok(rows.into_iter().find(made))
    }

    /// The backup of the troubled deployment, as long as data is not what it holds.
    fn data_to_put_back(&self, project: &ProjectRecord) -> Result<Option<DeploymentNumber>, Failure> {
        let row = self.troubled(project)?;
        let wanting = |row: &DeploymentRecord| matches!(row.data.state, DataState::Touched | DataState::Restoring);
        Ok(row.filter(|row| wanting(row) && row.data.backup.is_whole()).map(|row| row.number))
    }

    fn failed_release(&self, project: &ProjectRecord) -> Result<ReleaseVersion, Failure> {
        let version = self.troubled(project)?.and_then(|row| row.version);
        let release = version.map(|version| self.context.store.release(&project.name, version)).transpose()?.flatten();
        release.map(|release| release.version).ok_or_else(|| {
            let what = format!("the release of {} that failed is not kept", project.name);
            Failure::new(Code::NotFound, what).hint(format!("commis rescue {}", project.name))
        })
    }

    fn look_at_trouble(&self, project: &ProjectRecord) -> Result<Rescue, Failure> {
        let places = self.context.project_places(&project.name);
        let mut kept = Vec::new();
        for number in recall::backups(&places)? {
            kept.extend(self.backup_of(project, number)?);
        }
        let mut failed = Vec::new();
        for name in reading::names(&places.archives())?.into_iter().filter(|name| is_aside(name)) {
            let path = places.archives().join(&name);
            let data = places.archived_data(&path).is_dir();
            failed.push(Kept { archive: name, tree: path.join("run").is_dir(), data });
        }
        let in_run = self.in_run(project)?.and_then(|row| row.version);
        let processes = self.project_record(project)?.processes;
        Ok(Rescue {
            project: project.name.to_string(),
            trouble: project.trouble.clone(),
            live: project.live.map(|version| version.to_string()),
            run: in_run.map(|version| version.to_string()),
            data: self.troubled(project)?.map_or_else(|| "as it was".to_owned(), |row| words_of_data(&row)),
            processes,
            choices: self.choices(project, &kept)?,
            backups: kept,
            failed,
        })
    }

    fn choices(&self, project: &ProjectRecord, backups: &[records::Backup]) -> Result<Vec<Choice>, Failure> {
        if project.trouble.is_none() {
            return Ok(Vec::new());
        }
        let choice = |flag: &str, what: String| Choice { command: format!("rescue {} {flag}", project.name), what };
        let mut choices = Vec::new();
        // Behind what is edited in place is no release that could be deployed.
        let released = project.filled.is_none();
        if !released && let Some(number) = self.snapshot(project)? {
            choices.push(choice("--old", format!("make run/ what it was before deploy {}", number.0)));
        }
        if let Some(live) = project.live.filter(|_| released) {
            let data = self.data_to_put_back(project)?;
            let data = data.map_or_else(String::new, |number| format!(" with data from archives/{}", number.0));
            choices.push(choice("--old", format!("try {live} again{data}")));
            for backup in backups {
                let what = format!("{live} with data of {}", backup.at);
                choices.push(choice(&format!("--data {}", backup.deployment), what));
            }
        }
        if let Ok(version) = self.failed_release(project)
            && released
        {
            choices.push(choice("--forward", format!("try {version} again, with data as it is")));
        }
        choices.push(choice("--accept", "take everything as it is".to_owned()));
        Ok(choices)
    }
}

fn live(project: &ProjectRecord) -> Result<ReleaseVersion, Failure> {
    project.live.ok_or_else(|| {
        let what = format!("no release of {} was ever live", project.name);
        Failure::new(Code::NotFound, what).hint(format!("commis rescue {} --accept, then push again", project.name))
    })
}

fn needs_an_admin(project: &ProjectRecord) -> Result<(), Failure> {
    let name = &project.name;
    if project.trouble.is_some() {
        return Ok(());
    }
    let failure = Failure::new(Code::Refused, format!("{name} does not need an admin"));
    Err(failure.hint(format!("commis deploy {name}, or: commis rollback {name}")))
}

fn busy(name: &ProjectName) -> Failure {
    Failure::new(Code::Busy, format!("{name} is being deployed")).hint(format!("commis show {name}"))
}

fn is_aside(name: &str) -> bool {
    name.ends_with(".failed") || name.ends_with(".left") || name.ends_with(".restore")
}

fn words_of_data(row: &DeploymentRecord) -> String {
    let number = row.number;
    let from = row.data.backup_at.map(|at| format!(", whose backup is of {}", clock::rfc3339(at))).unwrap_or_default();
    match row.data.state {
        DataState::Untouched => "as it was".to_owned(),
        DataState::Touched => format!("as {number} left it{from}"),
        DataState::Restoring => format!("half put back after {number}{from}"),
        DataState::Restored => format!("put back to before {number}"),
    }
}
