//! What was destroyed: listed, brought back until its day, purged after it. A purge removes nothing that is mounted.

use super::Platform;
use super::authorize::{Action, authorize, no_project};
use super::destroy_project::{mounted_below, move_once};
use super::records::{Destroyed, Reply};
use crate::model::{Actor, Code, Failure, ProjectName, Time};
use crate::store::{DestroyedRecord, Trashed};
use crate::system::clock::rfc3339;
use crate::trees;

impl Platform {
    pub(super) fn list_trash(&self, actor: &Actor) -> Result<Reply, Failure> {
        authorize(actor, Action::ManageProjects, None)?;
        let rows = self.context.store.destroyed()?;
        let destroyed = rows.iter().map(|row| Destroyed {
            project: row.name.to_string(),
            directory: row.directory.clone(),
            state: row.state.as_str().to_owned(),
            destroyed_at: rfc3339(row.destroyed_at),
            purge_at: rfc3339(row.purge_at),
        });
        Ok(Reply::Trash { destroyed: destroyed.collect() })
    }

    /// Brings the latest project of a name back, or one by its directory in the trash.
    pub(super) async fn undestroy(&self, actor: &Actor, asked: &str) -> Result<Reply, Failure> {
        authorize(actor, Action::ManageProjects, None)?;
        let record = self.in_trash(asked)?;
        let name = record.name.clone();
        let _closed = self.close_when_tidied(&name, "undestroy").await?;
        let _making = self.making.lock().await;
        if self.context.store.project(&name)?.is_some() {
            let failure = Failure::new(Code::Exists, format!("another {name} was made meanwhile"));
            return Err(failure.hint(format!("destroy that one first: commis project destroy {name} --confirm {name}")));
        }
        let _lock = self.lock(&name)?;
        self.context.store.note_trashed(&record.directory, Trashed::Returning)?;
        if let Err(failure) = tokio::task::block_in_place(|| self.take_from_trash(&record)) {
            if self.context.places.trashed(&record.directory).symlink_metadata().is_ok() {
                self.context.store.note_trashed(&record.directory, Trashed::Destroyed)?;
            }
            return Err(failure);
        }
        let project = self.context.store.project(&name)?.ok_or_else(|| no_project(asked))?;
        self.make_places(&project).await?;
        if let Some(first) = record.mounted.first() {
            let what =
                format!("{first} was a mount when {name} was destroyed: mount it, then commis rescue {name} --accept");
            self.context.store.set_trouble(&name, Some(&what))?;
            self.context.point_router_at(&name, None)?;
            return Ok(Reply::Done { done: format!("{name} is back, but not started: {what}"), changed: true });
        }
        self.serve_again(&project).await;
        let trouble = self.context.store.project(&name)?.and_then(|project| project.trouble);
        let how = match (trouble, project.live) {
            (Some(trouble), _) => format!("it needs an admin: {trouble} (commis rescue {name})"),
            (None, Some(version)) => format!("{version} is live again"),
            (None, None) => "nothing was live".to_owned(),
        };
        Ok(Reply::Done { done: format!("{name} is back; {how}"), changed: true })
    }

    fn in_trash(&self, asked: &str) -> Result<DestroyedRecord, Failure> {
        let rows = self.context.store.destroyed()?;
        let wanted = |row: &&DestroyedRecord| row.name.as_str() == asked || row.directory == asked;
        let found = rows.iter().rev().find(|row| wanted(row) && row.state == Trashed::Destroyed);
        found.cloned().ok_or_else(|| {
            let shown = crate::notify::clean_line(asked.as_bytes());
            let goes = rows.iter().any(|row| wanted(&row) && row.state == Trashed::Purging);
            let what = if goes {
                format!("{shown} is being purged: half of it is gone")
            } else {
                format!("no \"{shown}\" in the trash")
            };
            Failure::new(Code::NotFound, what).hint("commis trash lists what is there")
        })
    }

    /// Everything after the intention to return; recovery calls it for one that was interrupted.
    pub(super) fn take_from_trash(&self, record: &DestroyedRecord) -> Result<(), Failure> {
        let places = self.context.project_places(&record.name);
        let all = &self.context.places;
        move_once(&all.trashed(&record.directory), places.root())?;
        move_once(&all.trashed_logs(&record.directory), places.logs())?;
        Ok(self.context.store.finish_return(record)?)
    }

    /// Removes what is left of a project for good; done again it goes on where it stopped.
    pub(super) fn purge(&self, record: &DestroyedRecord) -> Result<(), Failure> {
        self.context.store.note_trashed(&record.directory, Trashed::Purging)?;
        let all = &self.context.places;
        trees::remove_tree(&all.trashed(&record.directory))?;
        trees::remove_tree(&all.trashed_logs(&record.directory))?;
        Ok(self.context.store.forget_destroyed(&record.directory)?)
    }

    /// Purges what somebody wants gone before its day, or what an earlier purge could not remove.
    pub(super) fn purge_now(&self, record: &DestroyedRecord) -> Result<Reply, Failure> {
        let name = &record.name;
        tokio::task::block_in_place(|| self.purge(record)).map_err(|failure| {
            let again = format!("commis project destroy {0} --confirm {name} --now", record.directory);
            failure.hint(format!("to go on: {again}; the hourly round tries it too"))
        })?;
        Ok(Reply::Done { done: format!("{} is purged", record.directory), changed: true })
    }

    /// What stands in the trash under a name and may go for good.
    pub(super) fn purgeable(&self, asked: &str) -> Result<Option<DestroyedRecord>, Failure> {
        let rows = self.context.store.destroyed()?;
        let wanted = |row: &DestroyedRecord| row.name.as_str() == asked || row.directory == asked;
        let may_go = |row: &DestroyedRecord| matches!(row.state, Trashed::Destroyed | Trashed::Purging);
        Ok(rows.into_iter().rev().find(|row| wanted(row) && may_go(row)))
    }

    /// Purges whatever is due; what could not go, with the reason.
    pub(super) fn purge_due(&self, now: Time) -> Result<Vec<(String, Option<Failure>)>, Failure> {
        let rows = self.context.store.destroyed()?;
        let due = rows.iter().filter(|row| is_due(row, now));
        Ok(due.map(|row| (row.directory.clone(), self.purge(row).err())).collect())
    }

    /// Brings what an earlier life began to its end: `what` was done about which project.
    pub(super) fn settle_trash(&self) -> Result<Vec<(ProjectName, String)>, Failure> {
        let mut report = Vec::new();
        for row in self.context.store.destroyed()? {
            let what = match row.state {
                Trashed::Destroyed => continue,
                Trashed::Destroying => self.settle_destruction(&row),
                Trashed::Returning => self.take_from_trash(&row).map(|()| "came back from the trash"),
                Trashed::Purging => self.purge(&row).map(|()| "purged"),
            };
            let what = what.map_or_else(|failure| format!("the trash is not settled: {failure}"), str::to_owned);
            report.push((row.name, what));
        }
        Ok(report)
    }

    /// Forward, unless something is mounted below again: then it never was destroyed.
    fn settle_destruction(&self, row: &DestroyedRecord) -> Result<&'static str, Failure> {
        let places = self.context.project_places(&row.name);
        let moved = self.context.places.trashed(&row.directory).symlink_metadata().is_ok();
        let mounted = mounted_below(&places)?;
        if !moved && !mounted.is_empty() {
            self.context.store.forget_destroyed(&row.directory)?;
            let missing = row.mounted.iter().find(|name| !mounted.iter().any(|point| point.ends_with(name)));
            if let Some(missing) = missing {
                let what = format!("{missing} was unmounted by a destruction that was interrupted: mount it again");
                self.context.store.set_trouble(&row.name, Some(&what))?;
            }
            return Ok("not destroyed: something is mounted below it");
        }
        self.put_into_trash(row)?;
        Ok("destroyed")
    }
}

/// Pure. A clock that went back purges nothing early.
fn is_due(row: &DestroyedRecord, now: Time) -> bool {
    row.state == Trashed::Purging || row.state == Trashed::Destroyed && row.purge_at <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_destroyed_is_purged_on_its_day_and_not_before() {
        let row = |state| DestroyedRecord {
            directory: "blog-1".into(),
            name: ProjectName::parse("blog").unwrap(),
            destroyed_at: Time(0),
            purge_at: Time(100),
            state,
            build_uid: 1,
            mounted: Vec::new(),
        };
        assert!(is_due(&row(Trashed::Destroyed), Time(100)) && !is_due(&row(Trashed::Destroyed), Time(99)));
        assert!(is_due(&row(Trashed::Purging), Time(0)), "what was begun is finished");
        for state in [Trashed::Destroying, Trashed::Returning] {
            assert!(!is_due(&row(state), Time(1_000)), "{state:?} belongs to recovery");
        }
    }
}
