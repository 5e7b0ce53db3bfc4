//! Applications that went on while no server was there: they serve from the first moment of the next one, unless something
//! happens under them.

use super::Platform;
use crate::model::{Failure, ProjectName, ReleaseVersion, Time};
use crate::pipeline::execute::revive;
use crate::pipeline::traffic;
use crate::store::{DataState, DeploymentRecord, InPlace, ProjectRecord};

/// Whether bringing it to an end may change data, or the very tree that processes see: then nothing may run meanwhile.
pub(super) fn may_change_under(row: &DeploymentRecord) -> bool {
    let data = matches!(row.data.state, DataState::Touched | DataState::Restoring);
    data || matches!(row.in_place, InPlace::Saved | InPlace::Restoring)
}

impl Platform {
    /// Where the requests for a project go until it is recovered: to the processes that went on, when nothing happens to
    /// them any more; where they went before, when something was under way that leaves them alone; else to a page.
    pub(super) fn route_meanwhile(
        &self,
        project: &ProjectRecord,
        unfinished: &[DeploymentRecord],
    ) -> Result<(), Failure> {
        self.maintain_as_before(project);
        let name = &project.name;
        let mut own = unfinished.iter().filter(|row| row.project == *name).peekable();
        let is_at_rest = own.peek().is_none();
        if project.stopped || self.is_half_restored(project)? || own.any(may_change_under) {
            return self.context.point_router_at(name, None);
        }
        let standing = project.live.filter(|_| is_at_rest).and_then(|version| {
            // Where something was under way, its end decides what serves.
            revive::standing(&self.context, project, version, None)
        });
        match standing {
            Some(live) => revive::serve(&self.context, project, live),
            None if !is_at_rest && !self.context.supervisor.sets_of(name).is_empty() => Ok(()),
            None => self.context.point_router_at(name, None),
        }
    }

    /// A router that lost what it knew is told again.
    fn maintain_as_before(&self, project: &ProjectRecord) {
        let page = || traffic::maintenance_page(&self.context, project).ok().flatten();
        if let Err(failure) = self.context.maintain(&project.name, project.maintenance.then(page)) {
            tracing::warn!(project = %project.name, "maintenance: {failure}");
        }
    }

    /// Instances of projects that are not there any more.
    pub(super) async fn stop_the_unknown(&self, known: &[&ProjectName]) {
        let supervisor = &self.context.supervisor;
        let mut running = supervisor.projects();
        running.retain(|name| !known.contains(&name));
        futures_util::future::join_all(running.iter().map(|name| supervisor.stop_others(name, None))).await;
    }

    /// Goes on with the processes of a release, or starts them. Those that were started again while a deployment was under
    /// way, since `since`, may have got another tree.
    pub(super) async fn run_again(
        &self,
        project: &ProjectRecord,
        version: ReleaseVersion,
        since: Option<Time>,
    ) -> Result<&'static str, Failure> {
        if let Some(live) = revive::standing(&self.context, project, version, since) {
            revive::take_up(&self.context, project, live).await?;
            return Ok("serves on");
        }
        // What is there answers until others do, whatever it is: nothing changes under it any more.
        let revived = revive::revive(&self.context, project, version).await;
        let new = revived.is_ok().then(|| self.context.live(&project.name)).flatten();
        self.context.end_others(&project.name, new.map(|live| live.set)).await;
        revived.map(|()| "started")
    }
}
