//! Putting data back from a backup. The copy is made beside `data/`, and they change places in one step that a power cut
//! cannot halve; where that cannot be (something is mounted in `data/`, or it is a file system of its own), data is put aside
//! and filled in place, which is repeated from the start when it was interrupted. The backup itself stays as it is.

use super::data::shelf;
use super::{Done, Execution, as_root, missing};
use crate::backups::backup::{self, Exclude, Shelf};
use crate::model::{Code, DeploymentNumber, Failure, Time};
use crate::notify::words;
use crate::pipeline::room;
use crate::pipeline::step::Archive;
use crate::store::Backup;
use crate::system::privileged::Operation;
use crate::system::{UserIds, clock, reading};
use crate::trees;
use std::path::PathBuf;

/// A backup on its way back.
struct Source {
    number: DeploymentNumber,
    /// Later writes are not in it.
    at: Time,
    /// `None`: there was nothing, and nothing shall be there again.
    shelf: Option<Shelf>,
    exclude: Exclude,
}

impl Execution<'_> {
    pub(super) fn copy_data(&mut self, archive: Archive) -> Result<Done, Failure> {
        let source = self.source(archive)?;
        if self.changed_places(source.number) {
            return Done::quietly();
        }
        if archive == Archive::Own && self.order.with_data.is_some_and(|asked| self.changed_places(asked)) {
            // What a rollback found in data/ may still lie where the copy is to be made.
            let asked = self.source(Archive::Asked)?;
            tokio::task::block_in_place(|| self.settle_restored(&asked, Archive::Asked))?;
        }
        tokio::task::block_in_place(|| self.has_room_for(&source))?;
        if self.in_place()? {
            return Ok(Done::Did("in place".into()));
        }
        tokio::task::block_in_place(|| self.copy_beside(&source)).inspect_err(|_| {
            // What is left of it is of no use, and its absence no news.
            let _ = trees::remove_tree(&self.places.restoring(self.order.number));
        })
    }

    /// Asked before anything is stopped. In place it is what is there now that is copied.
    fn has_room_for(&self, source: &Source) -> Result<(), Failure> {
        let (data, nothing) = (self.places.data(), Exclude::default());
        let survey = match (&source.shelf, self.in_place()?) {
            (_, true) => backup::survey(&data, &source.exclude, None)?,
            (Some(shelf), false) => backup::survey(&shelf.data, &nothing, None)?,
            (None, false) => return Ok(()),
        };
        room::copy_fits(&survey, &self.places.archives(), "put data back")
    }

    fn copy_beside(&self, source: &Source) -> Result<Done, Failure> {
        let directory = self.places.restoring(self.order.number);
        trees::remove_tree(&directory)?;
        as_root(&Operation::MakeDirectory { path: directory.clone(), owner: UserIds::of(0), mode: 0o700 })?;
        let beside = self.places.archived_data(&directory);
        let Some(shelf) = &source.shelf else {
            backup::empty_like(&self.places.data(), &beside)?;
            return Done::quietly();
        };
        as_root(&Operation::MakeDirectory { path: beside.clone(), owner: UserIds::of(0), mode: 0o700 })?;
        let copied = backup::copy_back(shelf, &beside)?;
        as_root(&Operation::SyncFileSystem { path: beside })?;
        Ok(Done::Did(words::size(copied.bytes)))
    }

    /// Nothing runs now.
    pub(super) fn restore_data(&mut self, archive: Archive) -> Result<Done, Failure> {
        let source = self.source(archive)?;
        if !self.changed_places(source.number) {
            match self.in_place()? {
                true => self.fill_in_place(&source, archive)?,
                false => self.change_places(&source)?,
            }
        }
        tokio::task::block_in_place(|| self.settle_restored(&source, archive))?;
        if archive == Archive::Own && !self.has_own_dumps() {
            self.data_is_back()?;
        }
        Ok(Done::Did(format!("from archives/{}", source.number.0)))
    }

    fn source(&self, archive: Archive) -> Result<Source, Failure> {
        let number = self.archive_of(archive)?;
        let row = self.context.store.deployment(&self.order.project.name, number)?.ok_or_else(|| missing("a row"))?;
        let at = row.data.backup_at.unwrap_or(row.queued_at);
        match row.data.backup {
            Backup::Done => {
                let shelf = shelf(&self.places, &self.places.archived(number));
                let exclude = backup::excluded(&shelf)?;
                Ok(Source { number, at, shelf: Some(shelf), exclude })
            }
            Backup::Empty => {
                Ok(Source { number, at, shelf: None, exclude: Exclude::new(&self.settings.data.exclude)? })
            }
            Backup::None | Backup::Begun => {
                Err(Failure::new(Code::NotFound, format!("archives/{} has no backup of data", number.0)))
            }
        }
    }

    /// Whether the copy is in `data/` already.
    fn changed_places(&self, from: DeploymentNumber) -> bool {
        let Some((number, Some(inode))) = self.work.data.from else { return false };
        number == from && reading::inode(&self.places.data()).is_ok_and(|data| data == inode)
    }

    fn in_place(&self) -> Result<bool, Failure> {
        let (data, archives) = (self.places.data(), self.places.archives());
        Ok(!backup::mounts_in(&data)?.is_empty() || reading::device(&data)? != reading::device(&archives)?)
    }

    fn change_places(&mut self, source: &Source) -> Result<(), Failure> {
        let beside = self.places.archived_data(&self.places.restoring(self.order.number));
        let inode = reading::inode(&beside)?;
        self.intend(source, Some(inode))?;
        as_root(&Operation::Exchange { a: beside, b: self.places.data() })
    }

    fn intend(&mut self, source: &Source, inode: Option<u64>) -> Result<(), Failure> {
        let (name, number) = (&self.order.project.name, self.order.number);
        let discarded = (source.at, self.work.data.stopped.unwrap_or_else(clock::now));
        self.context.store.intend_restore(name, number, (source.number, inode), discarded)?;
        self.work.data.discarded = Some(discarded);
        self.work.data.from = Some((source.number, inode));
        Ok(())
    }

    fn fill_in_place(&mut self, source: &Source, archive: Archive) -> Result<(), Failure> {
        self.intend(source, None)?;
        let (data, aside) = (self.places.data(), self.aside(archive)?);
        tokio::task::block_in_place(|| {
            if aside.symlink_metadata().is_err() {
                let partial = self.places.archived_data(&self.places.restoring(self.order.number));
                trees::remove_tree(&self.places.restoring(self.order.number))?;
                as_root(&Operation::MakeDirectory { path: partial.clone(), owner: UserIds::of(0), mode: 0o700 })?;
                backup::put_aside(&data, &partial, &source.exclude)?;
                as_root(&Operation::SyncFileSystem { path: partial.clone() })?;
                as_root(&Operation::Rename { from: partial, to: aside })?;
            }
            backup::clear(&data, &source.exclude)?;
            source.shelf.iter().try_for_each(|shelf| backup::copy_back(shelf, &data).map(drop))
        })
    }

    /// What was in `data/` is put aside, but for what is excluded: that stays where it was.
    fn settle_restored(&self, source: &Source, archive: Archive) -> Result<(), Failure> {
        let directory = self.places.restoring(self.order.number);
        let (data, beside, aside) = (self.places.data(), self.places.archived_data(&directory), self.aside(archive)?);
        if beside.symlink_metadata().is_ok() {
            backup::carry_over(&beside, &data, &source.exclude)?;
            as_root(&Operation::SyncFileSystem { path: data.clone() })?;
            // It is there when data was filled in place first, and a start found nothing mounted any more.
            if aside.symlink_metadata().is_err() {
                as_root(&Operation::Rename { from: beside, to: aside })?;
            }
        }
        as_root(&Operation::SyncFileSystem { path: data })?;
        trees::remove_tree(&directory)
    }

    /// Where the data goes that is not wanted any more: for a while, somebody may ask for it.
    fn aside(&self, archive: Archive) -> Result<PathBuf, Failure> {
        let path = match archive {
            Archive::Own => self.places.failed_run(self.order.number),
            Archive::Asked => self.places.left(self.order.number),
        };
        as_root(&Operation::MakeDirectory { path: path.clone(), owner: UserIds::of(0), mode: 0o750 })?;
        Ok(self.places.archived_data(&path))
    }
}
