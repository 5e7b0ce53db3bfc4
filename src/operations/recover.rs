//! After a start: what an earlier life left unfinished is brought to an end, and every live release serves again.
//!
//! Before the switch a deployment is undone; from the switch on it is finished when its branch moved, else undone.

use super::Platform;
use crate::archives::{shelf, trees};
use crate::git;
use crate::model::{Code, CommitId, Failure, RefName, ReleaseVersion, Repository, Time};
use crate::pipeline::execute::revive;
use crate::store::{DeploymentRecord, ProjectRecord, Status, Switch};
use crate::system::privileged::{self, Operation};
use crate::system::{clock, reading};

/// How long the processes of an earlier life may take to die.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// What was done about one project.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    pub project: String,
    pub what: String,
}

impl Platform {
    /// Ends what is unfinished, then starts what is live. Runs before the doors are announced as ready.
    pub async fn recover(&self) -> Result<Vec<Recovered>, Failure> {
        let mut report = Vec::new();
        for name in self.context.sandbox.cgroups().leftovers() {
            let group = self.context.sandbox.cgroups().group(&name);
            if group.kill().is_ok() && group.wait_empty(PATIENCE).await {
                let _ = group.remove();
            }
        }
        for row in self.context.store.unfinished_deployments()? {
            let what = match self.end_unfinished(&row) {
                Ok(what) => what,
                Err(failure) => {
                    self.context.store.set_trouble(&row.project, Some(&failure.what))?;
                    format!("needs an admin: {failure}")
                }
            };
            report.push(Recovered { project: row.project.to_string(), what: format!("{}: {what}", row.number) });
        }
        let revived = self.context.store.projects()?.into_iter().map(|project| self.sweep_and_revive(project));
        report.extend(futures_util::future::join_all(revived).await.into_iter().flatten());
        Ok(report)
    }

    /// One project among many at the same time: its trouble is its own.
    async fn sweep_and_revive(&self, project: ProjectRecord) -> Vec<Recovered> {
        let mut report = Vec::new();
        let swept = tokio::task::block_in_place(|| self.sweep(&project).and_then(|()| self.sweep_shelf(&project)));
        if let Err(failure) = swept {
            let what = format!("leftovers could not be removed: {failure}");
            report.push(Recovered { project: project.name.to_string(), what });
        }
        // Until its processes are up, and when it has none, the host answers that nothing serves.
        if let Err(failure) = self.context.point_router_at(&project.name, None) {
            report.push(Recovered { project: project.name.to_string(), what: failure.to_string() });
        }
        if let Some(version) = project.live {
            let result = revive::revive(&self.context, &project, version).await;
            report.push(self.revived(&project, version, result));
        }
        report
    }

    fn revived(&self, project: &ProjectRecord, version: ReleaseVersion, result: Result<(), Failure>) -> Recovered {
        let what = match result {
            Ok(()) => format!("{version} started"),
            Err(failure) => format!("{version} did not start: {failure}"),
        };
        Recovered { project: project.name.to_string(), what }
    }

    fn end_unfinished(&self, row: &DeploymentRecord) -> Result<String, Failure> {
        let now = clock::now();
        if matches!(row.switch, Switch::Switching | Switch::Switched | Switch::Undoing) && self.is_exchanged(row)? {
            if row.switch != Switch::Undoing && self.branch_moved(row)? {
                let version = row
                    .version
                    .ok_or_else(|| Failure::new(Code::Internal, "a switched deployment without a release"))?;
                self.context.store.finish_live(&row.project, row.number, version, now)?;
                return Ok(format!("finished: {version} is live"));
            }
            let places = self.context.project_places(&row.project);
            let tree = places.deployed(row.tree.as_deref().unwrap_or_default());
            self.context.store.note_switch(&row.project, row.number, Switch::Undoing)?;
            privileged::perform(&Operation::Exchange { a: tree, b: places.run() })?;
            self.context.store.note_switch(&row.project, row.number, Switch::Undone)?;
        }
        self.forget_release(row)?;
        self.note_interrupted(row, now)?;
        Ok("undone: the server stopped in the middle".into())
    }

    /// A release that this deployment made and that never served is none.
    fn forget_release(&self, row: &DeploymentRecord) -> Result<(), Failure> {
        let Some(version) = row.version else { return Ok(()) };
        match self.context.store.release(&row.project, version)? {
            Some(release) if release.served.is_none() => Ok(self.context.store.prune_release(&row.project, version)?),
            Some(_) | None => Ok(()),
        }
    }

    fn note_interrupted(&self, row: &DeploymentRecord, now: Time) -> Result<(), Failure> {
        let reason = "the server stopped in the middle; nothing was changed";
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

    /// Trees and files that no deployment owns any more.
    fn sweep(&self, project: &ProjectRecord) -> Result<(), Failure> {
        let places = self.context.project_places(&project.name);
        let list = |path: &std::path::Path| reading::names(path).unwrap_or_default();
        for name in list(&places.deploy()) {
            if name != "current" {
                trees::remove_tree(&places.deployed(&name))?;
            }
        }
        for name in list(places.runtime()) {
            if name.ends_with(".env") || name.ends_with(".common") {
                trees::remove_tree(&places.runtime().join(&name))?;
            }
        }
        for name in list(&places.releases()) {
            if name.ends_with(".partial") {
                shelf::remove(&places.release(&name))?;
            }
        }
        let build = places.build();
        for name in list(&build) {
            trees::remove_tree(&build.join(&name))?;
        }
        for repository in [Repository::Project, Repository::Pillar] {
            git::refs::clear_left_overs(&places.repository(repository))
                .map_err(|error| Failure::internal("clear locks of git", &error))?;
        }
        trees::remove_tree(&places.trash())
    }

    /// Archives that the ledger does not know: those of deployments that were undone.
    fn sweep_shelf(&self, project: &ProjectRecord) -> Result<(), Failure> {
        let releases = self.context.project_places(&project.name).releases();
        let known = self.context.store.releases(&project.name)?;
        for archive in shelf::list(&releases, &project.name)? {
            if !known.iter().any(|release| release.version == archive.version) {
                shelf::remove(&archive.path)?;
            }
        }
        Ok(())
    }
}
