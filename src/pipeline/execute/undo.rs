//! The steps that put everything back. Each may be reached with its counterpart done, half done or not done.

use super::{Done, Execution, as_root, missing};
use crate::archives::{shelf, trees};
use crate::git::{self, refs};
use crate::layouts::ProjectPlaces;
use crate::model::{Code, CommitId, Failure, Repository};
use crate::pipeline::Goal;
use crate::pipeline::health::{self, Exits};
use crate::store::Switch;
use crate::system::UserIds;
use crate::system::privileged::Operation;
use crate::system::reading;
use std::path::Path;

impl Execution<'_> {
    /// The branch gets its old value again, when it has the new one.
    pub(super) async fn move_ref_back(&mut self) -> Result<Done, Failure> {
        let Goal::Commit { commit, previous, branch, .. } = &self.order.goal else { return Done::quietly() };
        let repository = self.places.repository(Repository::Project);
        let now = git::open(&repository).and_then(|objects| objects.resolve(branch)).map_err(Failure::from)?;
        if now.as_ref() != Some(commit) || previous.as_ref() == Some(commit) {
            return Done::quietly();
        }
        let old = previous.clone().unwrap_or_else(CommitId::zero);
        refs::update(&self.context.git, &repository, &[(branch.clone(), commit.clone(), old)])
            .await
            .map_err(|error| Failure::internal("move the branch back", &error))?;
        Done::quietly()
    }

    pub(super) fn route_back(&mut self) -> Result<Done, Failure> {
        self.point_router_at(self.context.live(&self.order.project.name))?;
        Done::quietly()
    }

    pub(super) async fn stop_new(&mut self) -> Result<Done, Failure> {
        if let Some(live) = self.work.new.take() {
            self.context.supervisor.stop_set(live.set).await;
        }
        Done::quietly()
    }

    /// `run/` gets the old tree again, when the exchange really happened.
    pub(super) fn exchange_back(&mut self) -> Result<Done, Failure> {
        let (name, number) = (&self.order.project.name, self.order.number);
        drop(self.work.prepared.take());
        let record = self.context.store.deployment(name, number)?;
        let Some(inode) = record.and_then(|record| record.tree_inode) else { return Done::quietly() };
        let run = reading::inode(&self.places.run()).map_err(|error| Failure::internal("look at run/", &error))?;
        if run == inode {
            // A journal that cannot be written must not keep the old version away: after a crash the branch, which did
            // not move, says the same.
            if let Err(error) = self.context.store.note_switch(name, number, Switch::Undoing) {
                tracing::error!(project = %name, %error, "undoing without a journal");
            }
            let other = self.places.deployed(&self.work.tree_name);
            as_root(&Operation::Exchange { a: other, b: self.places.run() })?;
        }
        self.context.store.note_switch(name, number, Switch::Undone)?;
        self.work.tree = self.places.deployed(&self.work.tree_name);
        Done::quietly()
    }

    /// The tree that did not work can be looked at for a while.
    pub(super) fn keep_failed(&mut self) -> Result<Done, Failure> {
        let kept = self.places.failed_run(self.order.number);
        if !self.work.tree.is_dir() || self.work.tree == self.places.run() {
            return Done::quietly();
        }
        as_root(&Operation::MakeDirectory { path: kept.clone(), owner: UserIds::of(0), mode: 0o750 })?;
        as_root(&Operation::Rename { from: self.work.tree.clone(), to: kept.join("run") })?;
        self.tell_detail(&format!("the failed tree is kept in archives/{}.failed", self.order.number.0));
        Done::quietly()
    }

    /// The old processes were never stopped; one that died meanwhile is the supervisor's to restart.
    pub(super) async fn start_old(&mut self) -> Result<Done, Failure> {
        match self.context.live(&self.order.project.name) {
            Some(live) => {
                self.context.supervisor.keep(live.set);
                Done::quietly()
            }
            None => Err(Failure::new(Code::RollbackFailed, "the previous release does not run")),
        }
    }

    pub(super) async fn check_old(&mut self) -> Result<Done, Failure> {
        let live = self.context.live(&self.order.project.name).ok_or_else(|| missing("a previous release"))?;
        if live.port.is_none() {
            return Done::quietly();
        }
        let host = self.context.host_of(&self.order.project.name);
        let asked = health::spec(&self.places.run(), &host, &self.gathered.config)?;
        match health::probe(self.context, (live, Exits::AreRestarted), &asked, &self.gathered.config).await {
            Ok(well) => {
                let note = asked.words(&well);
                self.tell_detail(&note);
                Ok(Done::Did(note))
            }
            Err(unhealthy) => {
                let what = format!("the previous release {} is not well: {unhealthy}", live.version);
                Err(Failure::new(Code::RollbackFailed, what))
            }
        }
    }

    pub(super) fn discard_tree(&mut self) -> Result<Done, Failure> {
        tokio::task::block_in_place(|| discard(&self.places, &self.work.tree))?;
        Done::quietly()
    }

    pub(super) fn discard_release(&mut self) -> Result<Done, Failure> {
        let name = &self.order.project.name;
        let Some(version) = self.work.version else { return Done::quietly() };
        self.context.store.prune_release(name, version)?;
        let Some(commit) = self.commit() else { return Done::quietly() };
        let file_name = crate::layouts::places::release_file_name(name, version, commit.short());
        shelf::remove(&self.places.release(&file_name))?;
        Done::quietly()
    }

    pub(super) fn clean_build(&mut self) -> Result<Done, Failure> {
        super::prepare::empty(&self.places.build(), self.order.project.build_user)?;
        trees::remove_tree(&self.places.env_dir(self.order.number))?;
        trees::remove_tree(&self.places.common_dir(self.order.number))?;
        Done::quietly()
    }
}

/// Removes a tree under a name that nobody takes for anything: a crash in the middle leaves only trash.
pub fn discard(places: &ProjectPlaces, path: &Path) -> Result<(), Failure> {
    let Some(name) = path.file_name().filter(|_| path.symlink_metadata().is_ok()) else { return Ok(()) };
    as_root(&Operation::MakeDirectory { path: places.trash(), owner: UserIds::of(0), mode: 0o700 })?;
    let trash = places.trash().join(name);
    trees::remove_tree(&trash)?;
    as_root(&Operation::Rename { from: path.to_owned(), to: trash.clone() })?;
    trees::remove_tree(&trash)
}
