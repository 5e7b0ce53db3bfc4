//! `project/` shows `run/` where that is edited: kept so at each start, before and after each deployment.

use super::Platform;
use crate::model::{Failure, ProjectName};
use crate::pipeline::bound::{self, Settled, Wanted};
use crate::pipeline::execute;
use crate::store::{DeploymentRecord, InPlace, ProjectRecord};
use crate::system::reading;

impl Platform {
    /// Makes the mounts of a project what its row says; a project for which that cannot be done needs an admin.
    pub(super) fn settle_bound(&self, project: &ProjectRecord) -> Result<(), Failure> {
        let places = self.context.project_places(&project.name);
        // Another tree may have taken the place of the one that was edited.
        let edited = project.filled.is_some_and(|inode| reading::inode(&places.run()).is_ok_and(|run| run == inode));
        let wanted = if edited { Wanted::Bound } else { Wanted::Unbound };
        match tokio::task::block_in_place(|| bound::settle(&places, wanted)) {
            Ok(Settled { mounted: 0, unmounted: 0 }) => Ok(()),
            Ok(done) => {
                tracing::info!(project = %project.name, ?done, ?wanted, "project/ was put right");
                Ok(())
            }
            Err(failure) => {
                // What to do is said wherever the trouble is shown.
                let hint = failure.hints.first().map(|hint| format!(": {hint}")).unwrap_or_default();
                self.context.store.set_trouble(&project.name, Some(&format!("{}{hint}", failure.what)))?;
                Err(failure.hint(format!("then: commis rescue {} --accept", project.name)))
            }
        }
    }

    /// After a deployment, which may have ended the editing.
    pub(super) fn show_what_is_edited(&self, name: &ProjectName) {
        let settled = match self.context.store.project(name) {
            Ok(Some(project)) => self.settle_bound(&project),
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(failure) = settled {
            tracing::error!(project = %name, "{failure}");
        }
    }

    /// What a first tree that was never finished did to `project/` is undone.
    pub(super) fn take_from_project(&self, row: &DeploymentRecord) -> Result<(), Failure> {
        if row.in_place != InPlace::Fresh {
            return Ok(());
        }
        let places = self.context.project_places(&row.project);
        bound::settle(&places, Wanted::Unbound)?;
        execute::refill(&places, row.number)
    }
}
