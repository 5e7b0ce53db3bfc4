//! Data around a deployment: kept before it, put back when it comes to nothing or when a rollback says so. What has been
//! begun stands in the deployment's row first, and where `data/` is now is told by its inode; so each step can be repeated.

use super::{Done, Execution, as_root, missing};
use crate::backups::backup::{self, Exclude, Shelf};
use crate::config::project::BackupPolicy;
use crate::hooks::Hook;
use crate::layouts::ProjectPlaces;
use crate::model::{Because, Code, DeploymentNumber, Failure, ProcessType, Time};
use crate::notify::words::{self, Stage};
use crate::pipeline::data::{self, Restorer};
use crate::pipeline::step::{Archive, Step};
use crate::pipeline::{Goal, OnUnkept, recall, room};
use crate::store::{Backup, DataRow, DataState, Kept};
use crate::system::privileged::Operation;
use crate::system::{UserIds, clock, reading};
use crate::trees;
use std::path::{Path, PathBuf};

/// What the steps leave for later steps.
#[derive(Default)]
pub(super) struct DataWork {
    /// What can be put back.
    pub kept: Option<Kept>,
    pub state: DataState,
    /// When the hook `backup` began.
    pub dumped: Option<Time>,
    /// Whose backup is being put back, and the directory that becomes `data/`.
    pub from: Option<(DeploymentNumber, Option<u64>)>,
    /// From when until when writes were put aside.
    pub discarded: Option<(Time, Time)>,
    /// When the last process that served was told to stop.
    pub stopped: Option<Time>,
    /// Milliseconds.
    pub downtime: Option<i64>,
    /// What an undoing puts back.
    pub undoing: Option<Archive>,
}

impl DataWork {
    /// As an earlier life left it.
    pub fn of(row: &DataRow) -> Self {
        let kept = row.backup_at.filter(|_| row.backup.is_whole());
        Self {
            kept: kept.map(|at| Kept { backup: row.backup, at, bytes: row.backup_bytes }),
            state: row.state,
            from: row.from.map(|from| (from, row.inode)),
            discarded: row.discarded,
            ..Self::default()
        }
    }
}

impl Execution<'_> {
    /// An empty place for what the hook `backup` writes, the application's own for that time.
    pub(super) fn prepare_dumps(&mut self) -> Result<(), Failure> {
        let now = clock::now();
        self.begin_backup(now)?;
        let path = self.places.dumps(&self.places.backup_partial(self.order.number));
        as_root(&Operation::MakeDirectory { path, owner: self.order.project.app_user, mode: 0o700 })?;
        self.work.data.dumped = Some(now);
        Ok(())
    }

    fn begin_backup(&self, at: Time) -> Result<(), Failure> {
        let path = self.places.backup_partial(self.order.number);
        trees::remove_tree(&path)?;
        self.context.store.begin_backup(&self.order.project.name, self.order.number, at)?;
        as_root(&Operation::MakeDirectory { path, owner: UserIds::of(0), mode: 0o700 })
    }

    pub(super) fn back_up(&mut self) -> Result<Done, Failure> {
        let policy = self.facts.data.policy;
        let dumped = self.work.data.dumped;
        let copied = match (policy, dumped) {
            (BackupPolicy::Full, _) => match tokio::task::block_in_place(|| self.copy_aside()) {
                Err(failure) => return self.without_backup(failure),
                Ok(copied) => copied,
            },
            (_, Some(_)) => Some(0),
            (BackupPolicy::Hooks, None) => return self.no_backup(Because::NoBackupHook),
            (BackupPolicy::Nothing, None) => return self.no_backup(Because::NoBackupPolicy),
        };
        let Some(bytes) = copied else {
            self.work.data.kept = Some(Kept { backup: Backup::Empty, at: clock::now(), bytes: 0 });
            return self.no_backup(Because::DataIsEmpty);
        };
        let partial = self.places.backup_partial(self.order.number);
        let dumps = dumped.map(|_| trees::tree_size(&self.places.dumps(&partial))).transpose()?;
        self.settle_backup(bytes + dumps.map_or(0, |size| size.bytes))?;
        let mut note = Vec::new();
        note.extend((policy == BackupPolicy::Full).then(|| format!("data {}", words::size(bytes))));
        note.extend(dumps.map(|size| format!("hook backup {}", words::size(size.bytes))));
        let note = note.join(", ");
        self.close_stage(Stage::BackUp, &note);
        Ok(Done::Did(note))
    }

    /// What is in data can be in the way of its copy: too deep, or too large for the disk. Code alone can still go back,
    /// unless a script of it may change what there is no copy of.
    fn without_backup(&mut self, failure: Failure) -> Result<Done, Failure> {
        let Goal::Release(version) = self.order.goal else { return Err(failure) };
        if let Some(script) = self.script_that_touches() {
            return Err(
                failure.hint(format!("{script} may change data, so {version} is not deployed without a backup"))
            );
        }
        let is_of_data = matches!(failure.code, Code::Refused | Code::DiskFull);
        if !is_of_data || self.order.manner.on_unkept == OnUnkept::Refuse {
            let command = format!("commis rollback {} {version} --code-only", self.order.project.name);
            return Err(failure.hint(format!("{command} goes back without a backup of data")));
        }
        trees::remove_tree(&self.places.backup_partial(self.order.number))?;
        // Nothing is there to be put back, should this come to nothing.
        self.facts.data.policy = BackupPolicy::Nothing;
        self.tell_warning(&format!("data is not backed up: {}", failure.what));
        self.no_backup(Because::NoCopyPossible)
    }

    fn script_that_touches(&self) -> Option<String> {
        let declared = |step| data::touches(step, None);
        let hook = self.facts.hooks.iter().find(|hook| declared(Step::Hook(**hook)));
        let manifest = self.work.manifest.as_ref();
        let has_line = manifest.is_some_and(|manifest| manifest.base.processes.keys().any(ProcessType::is_release));
        hook.map(|hook| format!("hook {}", hook.name())).or(has_line.then(|| "its release command".to_owned()))
    }

    fn no_backup(&mut self, because: Because) -> Result<Done, Failure> {
        self.close_stage(Stage::BackUp, &words::skipped(because));
        Ok(Done::Skipped(because))
    }

    /// The copy of `data/`, in bytes. `None`: there is nothing to copy.
    fn copy_aside(&mut self) -> Result<Option<u64>, Failure> {
        let exclude = self.exclude()?;
        let (data, archives) = (self.places.data(), self.places.archives());
        let earlier = earlier_backup(&self.places)?;
        let survey = backup::survey(&data, &exclude, earlier.as_ref())?;
        if survey.entries == 0 && self.work.data.dumped.is_none() {
            return Ok(None);
        }
        room::copy_fits(&survey, &archives, "back data up")
            .map_err(|failure| failure.hint("or see [data] in .commis/project.toml"))?;
        let partial = self.places.backup_partial(self.order.number);
        if self.work.data.dumped.is_none() {
            self.begin_backup(clock::now())?;
        }
        let shelf = shelf(&self.places, &partial);
        as_root(&Operation::MakeDirectory { path: shelf.data.clone(), owner: UserIds::of(0), mode: 0o700 })?;
        let owner = self.order.project.app_user;
        let made = backup::back_up(&data, &shelf, (&exclude, owner), earlier.as_ref())?;
        for passed in &made.passed {
            self.tell_detail(&format!("not backed up: data/{passed}"));
        }
        Ok(Some(made.bytes))
    }

    fn exclude(&self) -> Result<Exclude, Failure> {
        Exclude::new(&self.settings.data.exclude)
    }

    /// The backup is whole: on the disk first, then under its name, then in the row.
    fn settle_backup(&mut self, bytes: u64) -> Result<(), Failure> {
        let (name, number) = (&self.order.project.name, self.order.number);
        let row = self.context.store.deployment(name, number)?.ok_or_else(|| missing("a row"))?;
        let at = row.data.backup_at.ok_or_else(|| missing("a backup that was begun"))?;
        as_root(&Operation::SyncFileSystem { path: self.places.archives() })?;
        let (from, to) = (self.places.backup_partial(number), self.places.archived(number));
        as_root(&Operation::Rename { from, to })?;
        let kept = Kept { backup: Backup::Done, at, bytes };
        self.context.store.finish_backup(name, number, kept)?;
        self.work.data.kept = Some(kept);
        Ok(())
    }

    /// A hook that is not there touches nothing.
    pub(super) fn touch_before(&mut self, step: Step) -> Result<(), Failure> {
        let is_there = !matches!(step, Step::Hook(hook) if !self.has_hook(hook));
        if is_there && data::touches(step, self.facts.data.declared) { self.touch() } else { Ok(()) }
    }

    /// Before the first step that may change data.
    pub(super) fn touch(&mut self) -> Result<(), Failure> {
        if self.work.data.state != DataState::Untouched {
            return Ok(());
        }
        tokio::task::block_in_place(|| self.can_be_undone())?;
        let empty = self.work.data.kept.filter(|kept| kept.backup == Backup::Empty);
        self.context.store.touch_data(&self.order.project.name, self.order.number, empty)?;
        self.work.data.state = DataState::Touched;
        Ok(())
    }

    /// What is changed must fit beside what was kept. The way back is not closed by that.
    fn can_be_undone(&self) -> Result<(), Failure> {
        let copied = self.facts.data.policy == BackupPolicy::Full && !self.facts.trigger.goes_back();
        match self.work.data.kept {
            Some(Kept { backup: Backup::Done, .. }) if copied => {
                let shelf = shelf(&self.places, &self.places.archived(self.order.number));
                let survey = backup::survey(&shelf.data, &Exclude::default(), None)?;
                room::copy_fits(&survey, &self.places.archives(), "put data back if this fails")
            }
            _ => Ok(()),
        }
    }

    /// What may have happened to data, once nothing of the new version runs any more.
    pub fn data_state(&self) -> DataState {
        self.work.data.state
    }

    /// Looks whether what may have changed data did: what is as its backup says need not be put back, and nobody has to be
    /// stopped for it. The old version may write all the while: what it writes stays. A dump is another matter: what it is
    /// of need not lie in `data/`.
    pub fn look_at_data(&mut self) {
        let data = &self.work.data;
        let may_be_as_it_was =
            data.state == DataState::Touched && data.dumped.is_none() && self.order.with_data.is_none();
        let Some(kept) = data.kept.filter(|_| may_be_as_it_was) else { return };
        let place = self.places.data();
        let unchanged = tokio::task::block_in_place(|| match kept.backup {
            Backup::Empty => reading::is_empty(&place),
            Backup::Done => {
                let shelf = shelf(&self.places, &self.places.archived(self.order.number));
                let compared = backup::compare(&place, &shelf, self.order.project.app_user);
                compared.inspect_err(|differs| tracing::debug!("data was changed: {differs}")).is_ok()
            }
            Backup::None | Backup::Begun => false,
        });
        if !unchanged {
            return;
        }
        let (name, number) = (&self.order.project.name, self.order.number);
        // A row that cannot be written says that data was touched: then it is put back.
        match self.context.store.note_data_state(name, number, DataState::Untouched) {
            Ok(()) => {
                self.work.data.state = DataState::Untouched;
                self.tell_detail("data is as it was: nothing of it has to be put back");
            }
            Err(error) => tracing::error!(project = %name, %error, "data is as it was, but that could not be noted"),
        }
    }

    pub(super) fn archive_of(&self, archive: Archive) -> Result<DeploymentNumber, Failure> {
        match archive {
            Archive::Own => Ok(self.order.number),
            Archive::Asked => self.order.with_data.ok_or_else(|| missing("a backup to put back")),
        }
    }

    /// Nothing serves and nothing writes from here on.
    pub(super) async fn stop_old(&mut self) -> Result<Done, Failure> {
        let name = &self.order.project.name;
        self.work.data.stopped.get_or_insert_with(clock::now);
        self.point_router_at(None)?;
        self.context.set_live(name, None);
        self.context.end_others(name, None).await;
        Done::quietly()
    }

    /// Something serves again.
    pub(super) fn note_up(&mut self) {
        let Some(stopped) = self.work.data.stopped.take() else { return };
        let downtime = (clock::now().0 - stopped.0).max(0);
        self.work.data.downtime = Some(downtime);
        let noted = self.context.store.note_downtime(&self.order.project.name, self.order.number, downtime);
        if let Err(error) = noted {
            tracing::error!(project = %self.order.project.name, %error, "the time in which nothing served is lost");
        }
    }

    /// The backup of this deployment is not needed: data is what it holds, or was never touched.
    pub(super) fn discard_backup(&mut self) -> Result<Done, Failure> {
        self.context.store.forget_backup(&self.order.project.name, self.order.number)?;
        let path = self.places.archived(self.order.number);
        tokio::task::block_in_place(|| super::undo::discard(&self.places, &path))?;
        Done::quietly()
    }

    /// Where the dumps are that a hook writes or reads.
    pub(super) fn dumps_for(&self, hook: Hook) -> Result<Option<PathBuf>, Failure> {
        Ok(match hook {
            Hook::Backup => Some(self.places.dumps(&self.places.backup_partial(self.order.number))),
            Hook::Restore => Some(self.places.dumps(&self.places.archived(self.archive_of(self.putting_back())?))),
            _ => None,
        })
    }

    /// The backup that is being put back: in a plan what was asked for, in its undoing our own.
    fn putting_back(&self) -> Archive {
        self.work.data.undoing.unwrap_or(Archive::Asked)
    }

    /// The tree whose hook `restore` runs.
    pub(super) fn restorer_tree(&self) -> PathBuf {
        match self.facts.data.restorer {
            Some(Restorer::Old) => self.places.run(),
            Some(Restorer::New) | None => self.work.tree.clone(),
        }
    }

    /// From here until the hook `restore` has ended well nothing may start on what is there.
    pub(super) fn intend_reload(&mut self) -> Result<(), Failure> {
        self.touch()?;
        self.context.store.note_data_state(&self.order.project.name, self.order.number, DataState::Restoring)?;
        Ok(())
    }

    /// Dumps are read again: with them data is whole, when it is our own backup.
    pub(super) fn dumps_restored(&mut self) -> Result<(), Failure> {
        if self.putting_back() == Archive::Own { self.data_is_back() } else { Ok(()) }
    }

    pub(super) fn data_is_back(&mut self) -> Result<(), Failure> {
        let (name, number) = (&self.order.project.name, self.order.number);
        self.context.store.note_data_state(name, number, DataState::Restored)?;
        self.work.data.state = DataState::Restored;
        self.tell_restored();
        Ok(())
    }

    /// Whether our own backup has dumps that are read again.
    pub(super) fn has_own_dumps(&self) -> bool {
        data::own(&self.facts).is_ok_and(data::Holds::dumps)
    }
}

/// The newest backup that is there: what did not change since is shared with it.
pub fn earlier_backup(places: &ProjectPlaces) -> Result<Option<backup::Known>, Failure> {
    let newest = recall::backups(places)?.into_iter().rev();
    let mut known = newest.map(|number| backup::known(&shelf(places, &places.archived(number))));
    Ok(known.find_map(|known| known))
}

/// Where the parts of a backup are.
pub fn shelf(places: &ProjectPlaces, archive: &Path) -> Shelf {
    Shelf { data: places.archived_data(archive), inventory: places.inventory(archive) }
}
