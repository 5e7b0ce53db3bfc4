//! `project destroy`: stop, then remove code, releases, data and rows of a project.

use super::Platform;
use super::authorize::Action;
use super::records::Reply;
use crate::archives::trees;
use crate::layouts::ProjectPlaces;
use crate::model::{Actor, Code, Failure, ProjectName};
use crate::pipeline::desk::Closed;
use crate::system::privileged::{self, Operation};

impl Platform {
    pub(super) async fn destroy_project(
        &self,
        actor: &Actor,
        name: &str,
        confirm: Option<&str>,
    ) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::ManageProjects, name)?;
        if confirm != Some(name) {
            let failure = Failure::new(Code::Usage, format!("destroying {name} deletes its code, releases and data"));
            return Err(failure.hint(format!("to go on: commis project destroy {name} --confirm {name}")));
        }
        let _closed = self.close_when_tidied(&project.name).await?;
        let _making = self.making.lock().await;
        let _lock = self.lock(&project.name)?;
        let places = self.context.project_places(&project.name);
        self.context.router.remove(&self.context.host_of(&project.name));
        if let Some(live) = self.context.set_live(&project.name, None) {
            self.context.supervisor.stop_set(live.set).await;
        }
        self.context.supervisor.stop_others(&project.name, None).await;
        tokio::task::block_in_place(|| set_aside(&places))?;
        tokio::task::block_in_place(|| self.bury(&project.name))?;
        Ok(Reply::Done { done: format!("destroyed {name}"), changed: true })
    }

    /// Takes the project's turn; one that only tidies up after its verdict is waited for.
    async fn close_when_tidied(&self, name: &ProjectName) -> Result<Closed, Failure> {
        let mut changes = self.desk.changes();
        loop {
            changes.borrow_and_update();
            if let Some(closed) = self.desk.close(name, "destroy") {
                return Ok(closed);
            }
            let has_ended = self.desk.foremost(name).is_none_or(|handle| handle.verdict.borrow().is_some());
            if !has_ended {
                let failure = Failure::new(Code::Busy, format!("{name} is being deployed"));
                return Err(failure.hint(format!("wait, or: commis cancel {name}")));
            }
            let _ = changes.changed().await;
        }
    }

    /// The rest of a destruction, from the rename of the root on; recovery calls it for one that was interrupted.
    pub(super) fn bury(&self, name: &ProjectName) -> Result<(), Failure> {
        let places = self.context.project_places(name);
        trees::remove_tree(places.logs())?;
        trees::remove_tree(places.runtime())?;
        self.context.store.remove_project(name)?;
        trees::remove_tree(&places.doomed())
    }
}

/// By rename: from here on nothing looks like a project any more, and a crash in what follows is recognised.
fn set_aside(places: &ProjectPlaces) -> Result<(), Failure> {
    let doomed = places.doomed();
    trees::remove_tree(&doomed)?;
    if places.root().symlink_metadata().is_err() {
        return Ok(());
    }
    privileged::perform(&Operation::Rename { from: places.root().to_owned(), to: doomed })
}
