//! The switch: the branch is prepared, `run/` exchanged, the new processes started beside the old ones and checked,
//! the router turned, the branch moved. Each effect that recovery must know about has its row first.

use super::{Done, Execution, as_root, cancelled, missing};
use crate::git;
use crate::git::refs::PreparedUpdate;
use crate::model::{Because, Code, CommitId, Exit, Failure, Remote, Repository};
use crate::notify::words::Stage;
use crate::pipeline::context::LiveSet;
use crate::pipeline::facts::Place;
use crate::pipeline::health::{self, Exits};
use crate::pipeline::instances::{self, Running};
use crate::pipeline::step::Step;
use crate::runtime::{Restarts, Unhealthy};
use crate::store::{DataState, Switch};
use crate::system::privileged::Operation;
use crate::system::reading;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What `deploy/current` says: the live tree is always in `run/`.
const CURRENT: &str = "../run";
/// Lines of a process that a failure repeats.
const LAST_LINES: usize = 10;

impl Execution<'_> {
    pub(super) async fn prepare_ref(&mut self) -> Result<Done, Failure> {
        let (commit, branch, previous) = self.order.goal.branch().ok_or_else(|| missing("a branch"))?;
        let repository = self.places.repository(Repository::Project);
        let old = previous.cloned().unwrap_or_else(CommitId::zero);
        let prepared =
            PreparedUpdate::prepare(&self.context.git, &repository, &[(branch.clone(), old, commit.clone())]).await;
        self.work.prepared = Some(prepared.map_err(|error| {
            Failure::new(Code::Stale, format!("{branch} cannot move: {error}")).hint("fetch, then push again")
        })?);
        Done::quietly()
    }

    /// From here on nobody cancels, and everything is undone by `ExchangeBack`.
    pub(super) fn exchange(&mut self) -> Result<Done, Failure> {
        self.control.pass_the_gate().map_err(|_| cancelled())?;
        let (name, number) = (&self.order.project.name, self.order.number);
        self.make_durable()?;
        let inode = reading::inode(&self.work.tree).map_err(|error| Failure::internal("switch", &error))?;
        self.work.old_restarts = self.restarts_of_old();
        self.context.store.intend_switch(name, number, inode)?;
        self.work.inode = Some(inode);
        as_root(&Operation::Exchange { a: self.work.tree.clone(), b: self.places.run() })?;
        self.work.tree = self.places.run();
        self.note_switch(Switch::Switched);
        as_root(&Operation::Link { path: self.places.current(), text: PathBuf::from(CURRENT) })?;
        Done::quietly()
    }

    pub(super) fn restarts_of_old(&self) -> u32 {
        let old = self.context.live(&self.order.project.name);
        old.map_or(0, |old| self.context.supervisor.restarts(old.set))
    }

    /// Where the trees are is told by their inodes; this row is for people, and may be missing on a full disk.
    pub(super) fn note_switch(&self, switch: Switch) {
        if let Err(error) = self.context.store.note_switch(&self.order.project.name, self.order.number, switch) {
            tracing::error!(project = %self.order.project.name, %error, "the switch could not be noted");
        }
    }

    /// Everything that was made so far: pushed objects, archive, tree, and what scripts did to data. Mostly one file system,
    /// so one call. Of a tree that was taken nothing was made, and what the disk still has to do for others is not waited for.
    pub(super) fn make_durable(&self) -> Result<(), Failure> {
        let mut made = Vec::new();
        if !self.begun.contains(&Step::Take) {
            made.extend([self.work.tree.clone(), self.places.releases()]);
            let remote = self.order.project.remote == Remote::Git;
            made.extend(remote.then(|| self.places.repository(Repository::Project)));
        }
        made.extend((self.work.data.state != DataState::Untouched).then(|| self.places.data()));
        sync_each(made)
    }

    pub(super) async fn start(&mut self) -> Result<Done, Failure> {
        let version = self.work.version.ok_or_else(|| missing("a release number"))?;
        let manifest = self.work.manifest.as_ref().ok_or_else(|| missing("a manifest"))?;
        let specs = instances::specs(self.context, &self.running()?, manifest)?;
        let old = self.order.project.live.map_or("nothing".to_owned(), |version| version.to_string());
        match self.gathered.facts.place {
            Place::Beside | Place::Fresh(_) => self.close_stage(Stage::Switch, &format!("{old} -> {version}")),
            Place::InPlace => self.tell_detail(&format!("{old} -> {version}")),
        }
        let count = specs.len();
        let release = (&self.order.project.name, version);
        let set = self.context.supervisor.start_set(release, specs, Restarts::Never).await;
        self.work.new = Some(LiveSet { set, version });
        Ok(Done::Did(format!("{count} processes")))
    }

    pub(super) async fn check(&mut self) -> Result<Done, Failure> {
        let live = self.work.new.ok_or_else(|| missing("processes"))?;
        let asked =
            health::spec(&self.work.tree, &self.context.host_of(&self.order.project.name), &self.gathered.config)?;
        let runs = self.work.manifest.as_ref().is_some_and(|manifest| instances::kinds(manifest).next().is_some());
        if !runs && asked.path.is_none() {
            self.close_stage(Stage::Check, "no process type: nothing to check");
            return Ok(Done::Skipped(Because::NothingDeclared));
        }
        match health::probe(self.context, (live, Exits::EndTheWait), &asked, &self.gathered.config).await {
            Ok(well) => {
                let note = asked.words(&well, self.context.web_ports(live.set).len());
                self.close_stage(Stage::Check, &note);
                Ok(Done::Did(note))
            }
            Err(unhealthy) => {
                self.close_stage(Stage::Check, &unhealthy.to_string());
                let said = self.context.supervisor.recent_output(live.set, LAST_LINES).await;
                Err(self.unhealthy(&unhealthy, live, said))
            }
        }
    }

    /// The router sends new requests to the new processes; they may restart from here on.
    pub(super) fn route(&mut self) -> Result<Done, Failure> {
        let live = self.work.new.ok_or_else(|| missing("processes"))?;
        self.context.supervisor.keep_running(live.set);
        self.point_router_at(Some(live))?;
        self.note_up();
        Done::quietly()
    }

    /// After this there is no way back. A branch that has moved although git or the disk complained has moved: then an
    /// admin is told, and nothing is undone.
    pub(super) async fn move_ref(&mut self) -> Result<Done, Failure> {
        self.before_the_end()?;
        let prepared = self.work.prepared.take().ok_or_else(|| missing("a prepared branch"))?;
        // Durable on return; the objects have been since the exchange.
        let moved = prepared.commit().await.map_err(|error| Failure::internal("move the branch", &error));
        let repository = self.places.repository(Repository::Project);
        match moved {
            Ok(()) => Done::quietly(),
            Err(failure) if self.branch_moved(&repository) => {
                let what = format!("the branch moved, but may not survive a power cut: {}", failure.what);
                tracing::error!(project = %self.order.project.name, "{what}");
                self.work.doubt = Some(what.clone());
                Ok(Done::Did(what))
            }
            Err(failure) => Err(failure),
        }
    }

    fn branch_moved(&self, repository: &Path) -> bool {
        let Some((commit, branch, _)) = self.order.goal.branch() else { return false };
        let now = git::open(repository).and_then(|objects| objects.resolve(branch));
        now.is_ok_and(|now| now.as_ref() == Some(commit))
    }

    pub(super) fn point_router_at(&self, live: Option<LiveSet>) -> Result<(), Failure> {
        self.context.point_router_at(&self.order.project.name, live)
    }

    /// Where the tree that starts is: in `run/` since the exchange.
    pub(super) fn live_tree(&self) -> PathBuf {
        self.work.tree.clone()
    }

    /// What of the new release runs, for process recipes.
    pub(super) fn running(&self) -> Result<Running<'_>, Failure> {
        Ok(Running {
            project: &self.order.project,
            places: &self.places,
            version: self.work.version.ok_or_else(|| missing("a release number"))?,
            commit: self.commit_text(),
            mode: self.gathered.mode,
            environment: self.work.environment.clone(),
            tree: self.work.tree.clone(),
            standing: Vec::new(),
        })
    }

    fn unhealthy(&self, unhealthy: &Unhealthy, live: LiveSet, said: Vec<String>) -> Failure {
        let version = live.version;
        let what = match unhealthy {
            Unhealthy::Exited { process, exit } => format!("{version}: {process} ended at once: {exit}"),
            other => format!("{version} did not become healthy: {other}"),
        };
        let mut failure = Failure::new(Code::Unhealthy, what);
        for line in said {
            failure = failure.detail(self.redactor.redact(&line));
        }
        match unhealthy {
            Unhealthy::SomebodyElse { .. } => {
                failure.hint("another program took the port first; deploy again, it will be another one")
            }
            Unhealthy::WrongPort { .. } => {
                failure.hint("listen on 127.0.0.1:$PORT; the variable changes with each start")
            }
            Unhealthy::NobodyToAsk { .. } => failure
                .hint("a hook build without a buildpack in .commis/project.toml makes no process: name one")
                .hint("else: a web line in the Procfile, or no [health] path"),
            Unhealthy::NoAnswer { .. } => {
                failure.hint("if it only needs longer: [health] timeout in .commis/project.toml")
            }
            Unhealthy::Exited { exit: Exit::OutOfMemory { .. }, .. } => {
                failure.hint("the limit is [apps] memory in commis.toml")
            }
            Unhealthy::Exited { .. } => failure,
        }
    }
}

/// The file systems of these, each once.
pub(super) fn sync_each(paths: Vec<PathBuf>) -> Result<(), Failure> {
    let mut synced = BTreeSet::new();
    for path in paths {
        let device = reading::device(&path).map_err(|error| Failure::internal("sync", &error))?;
        if synced.insert(device) {
            as_root(&Operation::SyncFileSystem { path })?;
        }
    }
    Ok(())
}
