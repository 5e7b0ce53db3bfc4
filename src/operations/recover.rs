//! After a start: what an earlier life left unfinished is brought to an end, and every live release serves again.
//!
//! Before the switch a deployment is undone; from the switch on it is finished when its branch moved, else undone. The
//! same is done for one deployment whose task broke down, or whose end could not be written, while the server lives.

use super::Platform;
use super::authorize::no_project;
use super::going_on::may_change_under;
use crate::git::{self, refs};
use crate::model::{
    Code, CommitId, DeploymentNumber, Failure, ProjectName, RefName, ReleaseVersion, Remote, Repository, Time, Trigger,
};
use crate::notify::DeploymentLog;
use crate::pipeline::desk::Closed;
use crate::pipeline::execute::{self, revive};
use crate::pipeline::{self, Goal, Manner, Mover, Order, kept};
use crate::store::{DataState, DeploymentRecord, InPlace, ProjectRecord, Status, Switch};
use crate::system::privileged::{self, Operation};
use crate::system::{clock, files, reading};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedRwLockReadGuard;

/// How often a git of an earlier life is waited for, and how long each time.
const GIT_ENDS: (u32, Duration) = (40, Duration::from_millis(50));

/// What was done about one project.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    pub project: String,
    pub what: String,
}

impl Recovered {
    fn of(project: &ProjectName, what: impl Into<String>) -> Self {
        Self { project: project.to_string(), what: what.into() }
    }
}

/// What a start found: projects whose turn is taken until they are recovered.
pub struct Recovery {
    projects: Vec<(ProjectRecord, Closed)>,
    unfinished: Vec<DeploymentRecord>,
    report: Vec<Recovered>,
    _running: OwnedRwLockReadGuard<()>,
}

/// Projects that are recovered at the same time.
const SIDE_BY_SIDE: usize = 16;

impl Platform {
    /// Looks at what an earlier life left, and takes the turn of every project: what comes through the doors meanwhile
    /// waits for the project's recovery, and each host answers that nothing serves yet. To be called before the doors
    /// are open; [`Self::recover`] does the work while they are.
    pub fn begin_recovery(&self) -> Result<Recovery, Failure> {
        let mut report = Vec::new();
        let settled = self.settle_trash()?;
        report.extend(settled.into_iter().map(|(name, what)| Recovered::of(&name, what)));
        let running = self.tasks.clone().try_read_owned().map_err(|_| Failure::new(Code::Busy, "stopping"))?;
        self.context.store.interrupt_task_runs(clock::now(), super::timekeeper::SERVER_GONE)?;
        let mut projects = Vec::new();
        let unfinished = self.context.store.unfinished_deployments()?;
        for project in self.context.store.projects()? {
            self.route_meanwhile(&project, &unfinished)?;
            // Nobody is handing anything in yet.
            if let Err(failure) = self.sweep_incoming(&project.name) {
                report.push(Recovered::of(&project.name, format!("incoming/ not swept: {failure}")));
            }
            let closed = self.desk.close(&project.name, "recovery");
            projects.extend(closed.map(|closed| (project, closed)));
        }
        let names = projects.iter().map(|(project, _)| project.name.clone()).collect();
        self.recovering.send_replace(names);
        Ok(Recovery { projects, unfinished, report, _running: running })
    }

    /// Ends what is unfinished and starts what is live, several projects at a time; those that only have to be started
    /// come first. What is wrong with one project is reported and keeps no other from being served.
    pub async fn recover(&self, recovery: Recovery) -> Vec<Recovered> {
        let Recovery { mut projects, unfinished, mut report, _running } = recovery;
        self.context.supervisor.end_strays().await;
        let known: Vec<&ProjectName> = projects.iter().map(|(project, _)| &project.name).collect();
        self.stop_the_unknown(&known).await;
        let interrupted = |project: &ProjectRecord| unfinished.iter().any(|row| row.project == project.name);
        projects.sort_by_key(|(project, _)| interrupted(project));
        let unfinished = Arc::new(unfinished);
        let all = projects.into_iter().map(|(project, closed)| {
            let (platform, unfinished) = (self.clone(), unfinished.clone());
            async move { tokio::spawn(platform.recover_and_report(project, closed, unfinished)).await }
        });
        let found: Vec<_> = futures_util::stream::iter(all).buffered(SIDE_BY_SIDE).collect().await;
        report.extend(found.into_iter().filter_map(Result::ok).flatten());
        report
    }

    /// Returns when a project's recovery, if it has one to wait for, is over: its repositories are left alone till then.
    pub(super) async fn recovered(&self, name: &ProjectName) {
        // The sender is the platform's own.
        let _ = self.recovering.subscribe().wait_for(|projects| !projects.contains(name)).await;
    }

    async fn recover_and_report(
        self,
        project: ProjectRecord,
        closed: Closed,
        unfinished: Arc<Vec<DeploymentRecord>>,
    ) -> Vec<Recovered> {
        let mut report = Vec::new();
        if let Err(failure) = self.recover_project(&project, &unfinished, &mut report).await {
            report.push(Recovered::of(&project.name, format!("not recovered: {failure}")));
        }
        self.recovering.send_if_modified(|names| names.remove(&project.name));
        drop(closed);
        report
    }

    async fn recover_project(
        &self,
        project: &ProjectRecord,
        unfinished: &[DeploymentRecord],
        report: &mut Vec<Recovered>,
    ) -> Result<(), Failure> {
        let name = &project.name;
        let _lock = self.lock(name)?;
        if project.live.is_none() {
            // One that was half made is whole afterwards.
            self.make_places(project).await?;
        }
        self.clear_repositories(project).await?;
        let interrupted: Vec<&DeploymentRecord> = unfinished.iter().filter(|row| row.project == *name).collect();
        if interrupted.iter().any(|row| may_change_under(row)) {
            self.context.supervisor.stop_others(name, None).await;
        }
        for row in &interrupted {
            report.push(Recovered::of(name, format!("{}: {}", row.number, self.end(row).await)));
        }
        let project = self.context.store.project(name)?.unwrap_or_else(|| project.clone());
        // Before its processes start, and whether or not they do.
        let settled = self.settle_bound(&project).map_err(|failure| format!("needs an admin: {failure}"));
        let swept = self.sweep(name).map_err(|failure| format!("not swept: {failure}"));
        report.extend([settled, swept].into_iter().filter_map(Result::err).map(|what| Recovered::of(name, what)));
        let since = interrupted.iter().filter_map(|row| row.started_at).min();
        self.bring_up(&project, since, report).await
    }

    /// What is live serves on, or again.
    async fn bring_up(
        &self,
        project: &ProjectRecord,
        since: Option<Time>,
        report: &mut Vec<Recovered>,
    ) -> Result<(), Failure> {
        let name = &project.name;
        let Some(version) = project.live.filter(|_| !project.stopped) else {
            self.context.supervisor.stop_others(name, None).await;
            return Ok(());
        };
        if self.is_half_restored(project)? {
            self.context.supervisor.stop_others(name, None).await;
            report.push(Recovered::of(name, format!("{version} not started: data is half put back")));
            return Ok(());
        }
        let what = match self.run_again(project, version, since).await {
            Ok(what) => format!("{version} {what}"),
            Err(failure) => {
                let what = format!("{version} did not start: {failure}");
                self.context.store.set_trouble(name, Some(&what))?;
                what
            }
        };
        report.push(Recovered::of(name, what));
        // It serves meanwhile: looking may take its time.
        let confirmed = tokio::task::block_in_place(|| kept::confirm_left(&self.context, name, version));
        report.extend(confirmed.err().map(|failure| Recovered::of(name, format!("needs an admin: {failure}"))));
        Ok(())
    }

    async fn clear_repositories(&self, project: &ProjectRecord) -> Result<(), Failure> {
        let kinds = match project.remote {
            Remote::Git => &[Repository::Project, Repository::Pillar][..],
            Remote::Nothing => &[],
        };
        for kind in kinds {
            self.clear_repository(&project.name, *kind).await?;
        }
        Ok(())
    }

    /// A git that was moving refs when its server died comes to its end first; then what dead ones left goes.
    async fn clear_repository(&self, name: &ProjectName, kind: Repository) -> Result<(), Failure> {
        let path = self.context.project_places(name).repository(kind);
        let failed = |error: std::io::Error| Failure::internal("clear the repository", &error);
        for _ in 0..GIT_ENDS.0 {
            if !refs::has_locks(&path).map_err(failed)? {
                break;
            }
            tokio::time::sleep(GIT_ENDS.1).await;
        }
        refs::clear_left_overs(&path).map_err(failed)
    }

    /// `blog recovery` of every project that is not recovered yet.
    pub(super) fn in_recovery(&self) -> Vec<String> {
        self.recovering.borrow().iter().map(|name| format!("{name} recovery")).collect()
    }

    /// What became of it, in words.
    async fn end(&self, row: &DeploymentRecord) -> String {
        let what = match self.end_unfinished(row).await {
            Ok(what) => what.to_owned(),
            Err(failure) => {
                if let Err(error) = self.context.store.set_trouble(&row.project, Some(&failure.what)) {
                    tracing::error!(project = %row.project, %error, "trouble could not be noted");
                }
                format!("needs an admin: {failure}")
            }
        };
        let path = self.context.project_places(&row.project).deployment_log(row.number);
        // For whoever reads it later; the record says the same.
        let _ = DeploymentLog::append(&path, &format!("error: the server stopped in the middle; {what}"));
        what
    }

    async fn end_unfinished(&self, row: &DeploymentRecord) -> Result<&'static str, Failure> {
        let now = clock::now();
        if matches!(row.in_place, InPlace::Saved | InPlace::Restoring) {
            return self.end_in_place(row);
        }
        let touched = matches!(row.data.state, DataState::Touched | DataState::Restoring);
        let live = row.switch != Switch::Undoing && self.is_exchanged(row)? && self.branch_moved(row)?;
        if !live {
            self.take_from_project(row)?;
        }
        if touched && !live {
            self.put_data_back(row).await?;
            self.forget_release(row)?;
            self.note_interrupted(row, now)?;
            return Ok("undone: what was live before is live, with its data");
        }
        if matches!(row.switch, Switch::Switching | Switch::Switched | Switch::Undoing) && self.is_exchanged(row)? {
            if row.switch != Switch::Undoing && self.branch_moved(row)? {
                let version = row
                    .version
                    .ok_or_else(|| Failure::new(Code::Internal, "a switched deployment without a release"))?;
                self.context.store.finish_live(&row.project, row.number, version, now)?;
                return Ok("finished: its release is live");
            }
            let places = self.context.project_places(&row.project);
            let tree = places.deployed(row.tree.as_deref().unwrap_or_default());
            self.context.store.note_switch(&row.project, row.number, Switch::Undoing)?;
            privileged::perform(&Operation::Exchange { a: tree, b: places.run() })?;
            self.context.store.note_switch(&row.project, row.number, Switch::Undone)?;
        }
        self.forget_release(row)?;
        self.note_interrupted(row, now)?;
        Ok("undone: what was live before is live")
    }

    /// What worked in `run/` itself is finished when its branch has moved; else `run/` is made what it was.
    fn end_in_place(&self, row: &DeploymentRecord) -> Result<&'static str, Failure> {
        let version = row.version.filter(|_| row.in_place == InPlace::Saved);
        if let Some(version) = version
            && self.branch_moved(row)?
        {
            self.context.store.finish_live(&row.project, row.number, version, clock::now())?;
            return Ok("finished: what it made is live");
        }
        let places = self.context.project_places(&row.project);
        execute::restore(&self.context.store, &row.project, (&places, row.number))?;
        self.forget_release(row)?;
        self.note_interrupted(row, clock::now())?;
        Ok("undone: what was live before is live")
    }

    /// Data that the deployment touched goes back with its code. When it cannot, the deployment is over as one whose
    /// rollback failed: nothing starts on what is there until an admin has chosen.
    async fn put_data_back(&self, row: &DeploymentRecord) -> Result<(), Failure> {
        let name = &row.project;
        let project = self.context.store.project(name)?.ok_or_else(|| no_project(name.as_str()))?;
        let path = self.context.project_places(name).deployment_log(row.number);
        let log = DeploymentLog::resume(&path).map_err(|error| Failure::internal("open the log", &error))?;
        let undone = pipeline::undo_interrupted(&self.context, &interrupted_order(project, row), row, &log).await;
        let Err(failure) = undone else { return Ok(()) };
        let end = (Status::Error, Code::RollbackFailed, failure.what.as_str());
        self.context.store.finish_not_live(name, row.number, end, clock::now())?;
        Err(failure)
    }

    /// Whether nothing may start: data is neither what it was nor what the live release needs.
    pub(super) fn is_half_restored(&self, project: &ProjectRecord) -> Result<bool, Failure> {
        let troubled = self.troubled(project)?.filter(|_| project.trouble.is_some());
        Ok(troubled.is_some_and(|row| row.data.state == DataState::Restoring))
    }

    /// A release that this deployment made and that never served is none.
    fn forget_release(&self, row: &DeploymentRecord) -> Result<(), Failure> {
        let Some(version) = row.version else { return Ok(()) };
        match self.context.store.release(&row.project, version)? {
            Some(release) if release.served.is_none() && !release.is_from_elsewhere() => {
                Ok(self.context.store.prune_release(&row.project, version)?)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn note_interrupted(&self, row: &DeploymentRecord, now: Time) -> Result<(), Failure> {
        let reason = "the server stopped in the middle; what was live before is live";
        self.context.store.finish_not_live(&row.project, row.number, (Status::Error, Code::Internal, reason), now)?;
        Ok(())
    }

    /// Whether the new tree is in `run/`: the inode that was written down before the exchange tells.
    fn is_exchanged(&self, row: &DeploymentRecord) -> Result<bool, Failure> {
        let run = self.context.project_places(&row.project).run();
        let inode = reading::inode(&run).map_err(|error| Failure::internal("look at run/", &error))?;
        Ok(row.tree_inode == Some(inode))
    }

    fn branch_moved(&self, row: &DeploymentRecord) -> Result<bool, Failure> {
        let branch = row.reference.as_deref().and_then(RefName::parse);
        let commit = row.commit.as_deref().and_then(CommitId::parse);
        let (Some(branch), Some(commit), "push") = (branch, commit, row.trigger.as_str()) else { return Ok(false) };
        let path = self.context.project_places(&row.project).repository(Repository::Project);
        let objects = git::open(&path).map_err(Failure::from)?;
        Ok(objects.resolve(&branch).map_err(Failure::from)? == Some(commit))
    }
}

/// The order of a deployment that was interrupted, as far as undoing it needs that.
fn interrupted_order(project: ProjectRecord, row: &DeploymentRecord) -> Order {
    let commit = row.commit.as_deref().and_then(CommitId::parse);
    let branch = row.reference.as_deref().and_then(RefName::parse);
    let goal = match commit.zip(branch) {
        Some((commit, branch)) => Goal::Commit { commit, previous: None, branch, mover: Mover::Nobody },
        None => Goal::Release(row.version.unwrap_or(ReleaseVersion(0))),
    };
    Order {
        project,
        number: row.number,
        trigger: Trigger::parse(&row.trigger).unwrap_or(Trigger::Redeploy),
        goal,
        subject: row.subject.clone(),
        with_data: row.data.asked,
        manner: Manner::default(),
    }
}

/// The same while the server lives.
impl Platform {
    /// The project's lock: nobody else on this machine deploys it meanwhile.
    pub(super) fn lock(&self, name: &ProjectName) -> Result<files::FileLock, Failure> {
        let places = self.context.project_places(name);
        // After a reboot nothing is left of the runtime directory.
        files::create_directory(places.runtime(), 0o711, None)?;
        let lock = files::FileLock::try_lock(&places.deploy_lock())?;
        lock.ok_or_else(|| Failure::new(Code::Busy, format!("{name} is locked by another server on this machine")))
    }

    /// Deployments that ended while the state could not be written. For the holder of the turn.
    pub(super) async fn end_forgotten(&self, name: &ProjectName) -> Result<(), Failure> {
        for row in self.forgotten(name)? {
            let what = self.end(&row).await;
            tracing::warn!(project = %name, number = %row.number, "recovered: {what}");
        }
        Ok(())
    }

    /// Rows in progress or queued that nobody has anything to do with, also not somebody who is just getting in line.
    fn forgotten(&self, name: &ProjectName) -> Result<Vec<DeploymentRecord>, Failure> {
        let _still = self.desk.hold_arrivals();
        let mut rows = self.context.store.unfinished_deployments()?;
        rows.retain(|row| row.project == *name && self.desk.handle(name, row.number).is_none());
        Ok(rows)
    }

    /// After a fault of ours in the middle of a deployment: its row is ended, and what the rows then say is live is
    /// made to run. For the holder of the turn.
    pub(super) async fn pick_up(&self, name: &ProjectName, number: DeploymentNumber) -> Result<(), Failure> {
        let row = self.context.store.deployment(name, number)?.filter(|row| !row.status.is_finished());
        if let Some(row) = row {
            let what = self.end(&row).await;
            tracing::error!(project = %name, %number, "broke down: {what}");
        }
        let Some(project) = self.context.store.project(name)? else { return Ok(()) };
        if self.is_half_restored(&project)? {
            return Ok(());
        }
        let serving = self.context.live(name).filter(|live| Some(live.version) == project.live);
        self.context.supervisor.stop_others(name, serving.map(|live| live.set)).await;
        match (serving, project.live.filter(|_| !project.stopped)) {
            (None, Some(version)) => revive::revive(&self.context, &project, version).await?,
            (serving, _) => {
                self.context.set_live(name, serving);
                self.context.point_router_at(name, serving)?;
            }
        }
        tokio::task::block_in_place(|| self.sweep(name))
    }
}
