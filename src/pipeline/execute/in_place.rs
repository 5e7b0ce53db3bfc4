//! Working in the tree that people edit: it is filled, saved, brought to a commit, listed, shown at `project/`; and all of
//! that undone. What is written over has been saved before, in `archives/` or on a branch.

use super::{Done, Execution, as_root, cancelled, missing, undo};
use crate::backups::twin;
use crate::git;
use crate::git::commit::{Changed, Commit, commit_changes};
use crate::layouts::ProjectPlaces;
use crate::layouts::catalogue;
use crate::model::{Because, Code, DeploymentNumber, Failure, Mode, ProjectName, RefName, Repository};
use crate::notify::words::{self, Stage};
use crate::pipeline::bound::{self, Wanted};
use crate::pipeline::edits::{self, Built};
use crate::pipeline::facts::{From, Place};
use crate::pipeline::standing::Ground;
use crate::pipeline::step::{Edit, Step};
use crate::pipeline::{Goal, OnEdits, permissions, survey};
use crate::store::{InPlace, Store};
use crate::system::privileged::Operation;
use crate::system::{UserIds, clock};
use crate::trees;
use std::path::{Path, PathBuf};

/// Files that a line is printed for; the rest is counted.
const NAMED: usize = 10;

impl Execution<'_> {
    pub(super) async fn edit(&mut self, step: Edit) -> Result<Done, Failure> {
        match step {
            Edit::Fill => self.fill(),
            Edit::KeepEdits => self.keep_edits().await,
            Edit::Snapshot => self.snapshot(),
            Edit::Apply => self.apply(),
            Edit::ListBuilt => self.list_built(),
            Edit::Describe => self.describe().await,
            Edit::Stay => self.stay(),
            Edit::Empty => self.empty_project(),
            Edit::Bind => self.bind(),
            Edit::Unbind => self.unbind(),
            Edit::Refill => self.refill_project(),
            Edit::RestoreRun => self.restore_run(),
        }
    }

    /// The tree that hooks and buildpacks work on.
    pub(super) fn workshop(&self) -> PathBuf {
        match self.gathered.facts.place {
            Place::Beside => self.places.build(),
            Place::Fresh(_) | Place::InPlace => self.work.tree.clone(),
        }
    }

    /// What stood in `project/`, but for what no copy has; that stays where the rest is kept.
    fn fill_from_project(&self) -> Result<u64, Failure> {
        let copied = twin::copy(&self.places.project(), &self.work.tree)?;
        permissions::give_edited(self.context, &self.order.project, self.work.tree.clone())?;
        if !copied.passed.is_empty() {
            let left = format!("archives/{}.left/project", self.order.number.0);
            let paths = words::some_of(&copied.passed, NAMED);
            self.tell_warning(&format!("pipes, sockets and devices are not copied, and stay in {left}: {paths}"));
        }
        Ok(copied.written)
    }

    fn fill(&mut self) -> Result<Done, Failure> {
        let owner = permissions::edited_owner(&self.order.project);
        self.context.store.note_in_place(&self.order.project.name, self.order.number, InPlace::Fresh)?;
        let files = tokio::task::block_in_place(|| match self.gathered.facts.place {
            Place::Fresh(From::Directory) => self.fill_from_project(),
            _ => {
                let source = self.gathered.source.as_ref().ok_or_else(|| missing("a commit"))?;
                let repository = self.places.repository(Repository::Project);
                let threads = super::prepare::WRITERS;
                let stats = git::checkout(&repository, &source.tree, &self.work.tree, owner, threads)?;
                Ok(stats.files as u64)
            }
        })?;
        let mode = catalogue::directories(Mode::Editable).into_iter().find(|spec| spec.name == "run");
        let mode = mode.map_or(0o750, |spec| spec.mode);
        as_root(&Operation::MakeDirectory { path: self.work.tree.clone(), owner, mode })?;
        Ok(Done::Did(format!("{files} files")))
    }

    /// On `edits/<UTC datetime>`, on top of the commit that they were made to.
    async fn keep_edits(&mut self) -> Result<Done, Failure> {
        let (name, number) = (&self.order.project.name, self.order.number);
        let ground = self.ground()?;
        let repository = self.places.repository(Repository::Project);
        let branch = free_branch(&repository, &clock::compact(clock::now()), number)?;
        let by = self.context.store.deployment(name, number)?.map(|row| row.actor).unwrap_or_default();
        let message = format!("edited in place in {name} before deploy {number}");
        let commit = Commit { branch: branch.clone(), parent: Some(&ground.commit), message: &message, author: &by };
        keep(&self.context.git, &repository, commit, (&self.places.run(), &ground.edits)).await?;
        let short = branch.branch().unwrap_or_default();
        let count = ground.edits.len();
        let kept =
            if count == 1 { "1 edited file is kept".to_owned() } else { format!("{count} edited files are kept") };
        self.tell_detail(&format!("{kept} on the branch {short}"));
        self.ground()?.unnameable.iter().for_each(|what| self.tell_warning(what));
        if self.order.manner.on_edits == OnEdits::Commit {
            let remote = self.context.remote_of(name);
            self.tell_detail(&format!("to merge them: git pull --no-rebase {remote} {short}"));
        }
        Ok(Done::Did(format!("{} on {short}", words::files(count as u64))))
    }

    fn ground(&self) -> Result<&Ground, Failure> {
        self.gathered.ground.as_ref().ok_or_else(|| missing("an edited tree"))
    }

    /// The copy is whole and durable before its row, and the row is before the first change.
    fn snapshot(&mut self) -> Result<Done, Failure> {
        let (name, number) = (&self.order.project.name, self.order.number);
        let (run, half) = (self.places.run(), self.places.half_archived(number));
        self.work.old_restarts = self.restarts_of_old();
        let copied = tokio::task::block_in_place(|| {
            permissions::give_edited(self.context, &self.order.project, run.clone())?;
            trees::remove_tree(&half)?;
            as_root(&Operation::MakeDirectory { path: half.clone(), owner: UserIds::of(0), mode: 0o750 })?;
            let copied = twin::copy(&run, &self.places.half_archived_run(number))?;
            as_root(&Operation::SyncFileSystem { path: half.clone() })?;
            as_root(&Operation::Rename { from: half.clone(), to: self.places.archived(number) })?;
            Ok::<_, Failure>(copied)
        })?;
        let built = self.gathered.ground.as_ref().map_or(Built::default(), |ground| ground.built.clone());
        survey::write_built(&self.places.archived_built_list(number), &built)?;
        self.context.store.note_in_place(name, number, InPlace::Saved)?;
        Ok(Done::Did(format!("{} files", copied.written)))
    }

    /// What was edited since it was looked at stops this: it is in nobody's copy.
    fn apply(&mut self) -> Result<Done, Failure> {
        let source = self.gathered.source.as_ref().ok_or_else(|| missing("a commit"))?;
        let ground = self.ground()?;
        let (run, owner) = (self.places.run(), permissions::edited_owner(&self.order.project));
        let written = tokio::task::block_in_place(|| {
            let found = survey::survey(&run, &ground.tree)?;
            let edited = survey::read_all(&run, edits::edits(&found, &ground.built, Some(&source.tree)))?;
            let edited = edits::lost_in(edited, &source.tree);
            if edited != ground.edits {
                let failure = edits::refuse(self.order.project.name.as_str(), &edited);
                let what = format!("{}, while this was being deployed", failure.what);
                return Err(Failure { what, ..failure });
            }
            let applying = edits::applying(&ground.tree, &source.tree, (&found, &ground.edits));
            git::apply::apply(&self.places.repository(Repository::Project), &applying, (&run, owner))?;
            Ok((applying.write.len(), applying.remove.len()))
        })?;
        Ok(Done::Did(format!("{} files written, {} removed", written.0, written.1)))
    }

    /// Everything that differs from the commit now and was not an edit before is the build's.
    fn list_built(&mut self) -> Result<Done, Failure> {
        let (commit, before) = match (&self.order.goal, &self.gathered.ground, &self.gathered.source) {
            (Goal::Commit { .. }, _, Some(source)) => (&source.tree, Vec::new()),
            (_, Some(ground), _) => (&ground.tree, ground.edits.clone()),
            (_, None, Some(source)) => return self.list_what_came(&source.tree),
            (_, None, None) => return Ok(Done::Skipped(Because::NothingDeclared)),
        };
        let left = tokio::task::block_in_place(|| survey::survey(&self.work.tree, commit))?;
        let built = edits::built(&before, &left);
        survey::write_built(&self.places.built_list(), &built)?;
        // Whoever edits while something is being built is told what was taken for the build's.
        let changed = built.changed();
        for path in changed.iter().take(NAMED) {
            self.tell_detail(&format!("changed during the build, and so not taken for an edit: {path}"));
        }
        if changed.len() > NAMED {
            self.tell_detail(&format!("and {} more files of the commit", changed.len() - NAMED));
        }
        Ok(Done::Did(format!("{} files", built.0.len())))
    }

    /// Without a commit to compare with: what was not there before is the build's, and so is what was so before.
    fn list_what_came(&self, before: &git::Tree) -> Result<Done, Failure> {
        let built = tokio::task::block_in_place(|| {
            let known = match self.gathered.facts.place {
                Place::InPlace => survey::read_built(&self.places.built_list())?,
                Place::Beside | Place::Fresh(_) => Built::default(),
            };
            Ok::<_, Failure>(edits::came(before, &survey::listed(&self.work.tree)?, &known))
        })?;
        survey::write_built(&self.places.built_list(), &built)?;
        Ok(Done::Did(format!("{} files", built.0.len())))
    }

    /// The counterpart of the exchange.
    fn stay(&mut self) -> Result<Done, Failure> {
        self.control.pass_the_gate().map_err(|_| cancelled())?;
        self.make_durable()?;
        if !self.begun.contains(&Step::Edit(Edit::Snapshot)) {
            self.work.old_restarts = self.restarts_of_old();
        }
        self.close_stage(Stage::Switch, &words::skipped(Because::EditedInPlace));
        Done::quietly()
    }

    fn empty_project(&mut self) -> Result<Done, Failure> {
        let number = self.order.number;
        let (from, to) = (self.places.project(), self.places.archived_project(number));
        let root = UserIds::of(0);
        as_root(&Operation::MakeDirectory { path: self.places.left(number), owner: root, mode: 0o750 })?;
        as_root(&Operation::Rename { from: from.clone(), to })?;
        as_root(&Operation::MakeDirectory { path: from, owner: root, mode: 0o700 })?;
        self.tell_detail(&format!("what stood in project/ is kept in archives/{}.left/project", number.0));
        self.tell_detail(&self.days_words());
        Done::quietly()
    }

    fn bind(&mut self) -> Result<Done, Failure> {
        bound::settle(&self.places, Wanted::Bound)?;
        self.tell_detail(&format!("edit it in {}", self.places.project().display()));
        Done::quietly()
    }

    fn unbind(&mut self) -> Result<Done, Failure> {
        bound::settle(&self.places, Wanted::Unbound)?;
        Done::quietly()
    }

    fn refill_project(&mut self) -> Result<Done, Failure> {
        refill(&self.places, self.order.number)?;
        Done::quietly()
    }

    fn restore_run(&mut self) -> Result<Done, Failure> {
        drop(self.work.prepared.take());
        let name = &self.order.project.name;
        let aside =
            tokio::task::block_in_place(|| restore(&self.context.store, name, (&self.places, self.order.number)))?;
        if aside > 0 {
            self.tell_detail(&format!("what was in run/ until now is kept in archives/{}.failed", self.order.number.0));
        }
        Done::quietly()
    }
}

/// Puts back what stood in `project/`, where the deployment took it away.
pub fn refill(places: &ProjectPlaces, number: DeploymentNumber) -> Result<(), Failure> {
    let kept = places.archived_project(number);
    if kept.symlink_metadata().is_err() {
        return Ok(());
    }
    // In the place of the empty directory that it left.
    as_root(&Operation::Rename { from: kept, to: places.project() })?;
    undo::discard(places, &places.left(number))
}

/// Makes `run/` again what the deployment found, in place; how much of what it found now was put aside. May be repeated.
pub fn restore(
    store: &Store,
    name: &ProjectName,
    (places, number): (&ProjectPlaces, DeploymentNumber),
) -> Result<u64, Failure> {
    trees::remove_tree(&places.half_archived(number))?;
    let saved = places.archived_run(number);
    if !saved.is_dir() {
        return Ok(0);
    }
    note(store, (name, number), InPlace::Restoring);
    let aside =
        (0..).map(|attempt| places.failed_in_place(number, attempt)).find(|path| path.symlink_metadata().is_err());
    let aside = aside.ok_or_else(|| missing("a place for what goes"))?;
    let done = twin::make_like(&places.run(), &saved, &aside)?;
    let list = places.archived_built_list(number);
    if list.is_file() {
        survey::write_built(&places.built_list(), &survey::read_built(&list)?)?;
    }
    as_root(&Operation::SyncFileSystem { path: places.run() })?;
    note(store, (name, number), InPlace::Restored);
    undo::discard(places, &places.archived(number))?;
    Ok(done.aside)
}

/// The trees say what is to be done; this row is for people, and may be missing on a full disk.
fn note(store: &Store, (name, number): (&ProjectName, DeploymentNumber), word: InPlace) {
    if let Err(error) = store.note_in_place(name, number, word) {
        tracing::error!(project = %name, %error, "what is done in place could not be noted");
    }
}

/// Commits edits of the tree at `root`.
pub async fn keep(
    git: &git::Git,
    repository: &Path,
    commit: Commit<'_>,
    (root, edits): (&Path, &[edits::Difference]),
) -> Result<crate::model::CommitId, Failure> {
    let changes: Vec<(String, Changed)> = edits.iter().map(|edit| (edit.path.clone(), edit.change())).collect();
    let mut read = |path: &str| {
        let content = crate::trees::standing::content(root, Path::new(path), survey::CONTENT_MAX)?;
        content.ok_or_else(|| Failure::new(Code::Refused, format!("{path} was changed while it was read")))
    };
    commit_changes(git, repository, commit, (&changes, &mut read)).await
}

/// `edits/<UTC datetime>`, or with the number behind it when two come in one second.
fn free_branch(repository: &Path, time: &str, number: DeploymentNumber) -> Result<RefName, Failure> {
    let objects = git::open(repository).map_err(Failure::from)?;
    let name = |text: String| RefName::parse(&text).ok_or_else(|| missing("a name for the branch"));
    let first = name(format!("refs/heads/edits/{time}"))?;
    match objects.resolve(&first).map_err(Failure::from)? {
        None => Ok(first),
        Some(_) => name(format!("refs/heads/edits/{time}-{}", number.0)),
    }
}
