//! `project destroy`: stop, then remove code, releases, data and rows of a project.

use super::Platform;
use super::authorize::Action;
use super::records::Reply;
use crate::archives::trees;
use crate::model::{Actor, Code, Failure};
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
        if self.desk.foremost(&project.name).is_some() {
            let failure = Failure::new(Code::Busy, format!("{name} is being deployed"));
            return Err(failure.hint(format!("wait, or: commis cancel {name}")));
        }
        self.context.router.remove(&self.context.host_of(&project.name));
        if let Some(live) = self.context.set_live(&project.name, None) {
            self.context.supervisor.stop_set(live.set).await;
        }
        let places = self.context.project_places(&project.name);
        tokio::task::block_in_place(|| {
            // By rename first: a crash in the middle leaves nothing that looks like a project.
            destroy_root(&places)?;
            trees::remove_tree(places.logs())?;
            trees::remove_tree(places.runtime())
        })?;
        self.context.store.remove_project(&project.name)?;
        Ok(Reply::Done { done: format!("destroyed {name}"), changed: true })
    }
}

fn destroy_root(places: &crate::layouts::ProjectPlaces) -> Result<(), Failure> {
    let doomed = places.doomed();
    trees::remove_tree(&doomed)?;
    privileged::perform(&Operation::Rename { from: places.root().to_owned(), to: doomed.clone() })?;
    trees::remove_tree(&doomed)
}
