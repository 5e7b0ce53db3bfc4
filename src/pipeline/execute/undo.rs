//! The steps that put everything back. Each may be reached with its counterpart done, half done or not done.

use super::{Done, Execution, as_root, missing, revive};
use crate::archives::shelf;
use crate::layouts::ProjectPlaces;
use crate::model::{Code, Failure};
use crate::pipeline::health::{self, Exits};
use crate::store::Switch;
use crate::system::UserIds;
use crate::system::privileged::Operation;
use crate::trees;
use std::path::Path;

impl Execution<'_> {
    pub(super) fn route_back(&mut self) -> Result<Done, Failure> {
        self.point_router_at(self.context.live(&self.order.project.name))?;
        Done::quietly()
    }

    /// Requests may have gone to them for a while.
    pub(super) async fn stop_new(&mut self) -> Result<Done, Failure> {
        if let Some(live) = self.work.new.take() {
            self.context.end_set(&self.order.project.name, live.set).await;
        }
        Done::quietly()
    }

    /// `run/` gets the old tree again, when the exchange really happened. The journal may be full; this goes on.
    pub(super) fn exchange_back(&mut self) -> Result<Done, Failure> {
        drop(self.work.prepared.take());
        let other = self.places.deployed(&self.work.tree_name);
        if self.is_exchanged() {
            self.note_switch(Switch::Undoing);
            as_root(&Operation::Exchange { a: other.clone(), b: self.places.run() })?;
        }
        self.note_switch(Switch::Undone);
        self.work.tree = other;
        Done::quietly()
    }

    /// The tree that did not work can be looked at for a while.
    pub(super) fn keep_failed(&mut self) -> Result<Done, Failure> {
        let kept = self.places.failed_run(self.order.number);
        if !self.work.tree.is_dir() || self.work.tree == self.places.run() {
            return Done::quietly();
        }
        as_root(&Operation::MakeDirectory { path: kept.clone(), owner: UserIds::of(0), mode: 0o750 })?;
        let to = kept.join("run");
        as_root(&Operation::Rename { from: self.work.tree.clone(), to: to.clone() })?;
        self.work.tree = to;
        self.tell_detail(&format!("the failed tree is kept in archives/{}.failed", self.order.number.0));
        Done::quietly()
    }

    /// The old processes were never stopped. Those that the supervisor started again meanwhile may have got the new
    /// tree, which was in `run/`: then all of them start once more.
    pub(super) async fn start_old(&mut self) -> Result<Done, Failure> {
        let project = &self.order.project;
        if project.stopped {
            return Ok(Done::Did("it was stopped".into()));
        }
        match (self.context.live(&project.name), project.live) {
            (Some(live), Some(version)) if self.restarts_of_old() != self.work.old_restarts => {
                revive::revive(self.context, project, version).await?;
                self.context.end_set(&project.name, live.set).await;
                Ok(Done::Did("started again".into()))
            }
            (Some(live), _) => {
                self.context.supervisor.keep_running(live.set);
                Done::quietly()
            }
            (None, Some(version)) => {
                revive::revive(self.context, project, version).await?;
                Ok(Done::Did("started".into()))
            }
            (None, None) => Err(Failure::new(Code::RollbackFailed, "the previous release does not run")),
        }
    }

    pub(super) async fn check_old(&mut self) -> Result<Done, Failure> {
        if self.order.project.stopped {
            return Done::quietly();
        }
        let live = self.context.live(&self.order.project.name).ok_or_else(|| missing("a previous release"))?;
        let asked_ports = self.context.web_ports(live.set).len();
        if asked_ports == 0 {
            health::stay_up(self.context, live).await.map_err(|process| {
                let what = format!("the previous release {} is not well: {process} does not stay up", live.version);
                Failure::new(Code::RollbackFailed, what)
            })?;
            self.note_up();
            return Done::quietly();
        }
        let host = self.context.host_of(&self.order.project.name);
        let asked = health::spec(&self.places.run(), &host, &self.gathered.config)?;
        match health::probe(self.context, (live, Exits::AreRestarted), &asked, &self.gathered.config).await {
            Ok(well) => {
                let note = asked.words(&well, asked_ports);
                self.note_up();
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
        trees::remove_tree(&self.places.backup_partial(self.order.number))?;
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
