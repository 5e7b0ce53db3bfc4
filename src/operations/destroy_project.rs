//! `project destroy`: stop, unmount, move to the trash. Each move has its row first, so that an interrupted destruction
//! is finished at the next start; what comes back and what is purged is in `trash`.

use super::Platform;
use super::authorize::{Action, authorize};
use super::records::Reply;
use crate::backups::backup::{self, Exclude};
use crate::layouts::ProjectPlaces;
use crate::model::{Actor, Code, Failure, ProjectName, Time};
use crate::notify::clean_line;
use crate::pipeline::bound::{self, Wanted};
use crate::pipeline::desk::Closed;
use crate::pipeline::execute::{self, revive};
use crate::pipeline::room;
use crate::store::{DestroyedRecord, ProjectRecord, Trashed};
use crate::system::privileged::{self, Operation};
use crate::system::{UserIds, clock, mount_table, mounts};
use crate::trees;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const DAY: i64 = 86_400_000;

/// What was asked.
pub(super) struct Destroying<'a> {
    pub name: &'a str,
    /// The name once more.
    pub confirm: Option<&'a str>,
    pub keep: Keep,
}

/// What happens with what was destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keep {
    ForAWhile,
    Nothing,
}

impl Platform {
    pub(super) async fn destroy_project(&self, actor: &Actor, asked: Destroying<'_>) -> Result<Reply, Failure> {
        let project = match self.project(actor, Action::ManageProjects, asked.name) {
            Ok(project) => project,
            Err(failure) => return self.purge_destroyed(actor, &asked, failure).await,
        };
        let name = &project.name;
        if asked.confirm != Some(name.as_str()) {
            return Err(not_confirmed(name, asked.confirm));
        }
        let _closed = self.close_when_tidied(name, "destroy").await?;
        let _making = self.making.lock().await;
        let _lock = self.lock(name)?;
        let places = self.context.project_places(name);
        // Ours: it is made again with the project. Before anything ends, because it may be in use.
        tokio::task::block_in_place(|| bound::settle(&places, Wanted::Unbound))?;
        self.stop_serving(name).await;
        let mounted = mounted_below(&places)?;
        if asked.keep == Keep::ForAWhile
            && let Err(failure) = tokio::task::block_in_place(|| keep_mounted_data(&project, &places, &mounted))
        {
            self.serve_again(&project).await;
            return Err(failure.hint(format!("nothing was removed; without a last copy of data: --now, for {name}")));
        }
        let record = self.intention(&project, &mounted);
        self.context.store.intend_destruction(&record)?;
        if let Err(failure) = tokio::task::block_in_place(|| take_mounts_away(&mounted)) {
            self.context.store.forget_destroyed(&record.directory)?;
            self.serve_again(&project).await;
            return Err(failure.hint(format!("nothing was removed; {} is as it was", project.name)));
        }
        tokio::task::block_in_place(|| self.put_into_trash(&record))?;
        let done = match asked.keep {
            Keep::Nothing => self.purge_now(&record).map(|_| format!("destroyed {name}"))?,
            Keep::ForAWhile => {
                let back = format!("{} until {}", name, clock::rfc3339(record.purge_at));
                format!("destroyed {name}; commis undestroy {back} brings it back")
            }
        };
        Ok(Reply::Done { done, changed: true })
    }

    /// Of one that is destroyed already: the same words with `--now` remove what is left of it.
    async fn purge_destroyed(&self, actor: &Actor, asked: &Destroying<'_>, other: Failure) -> Result<Reply, Failure> {
        let may = authorize(actor, Action::ManageProjects, None).is_ok();
        if !may || other.code != Code::NotFound || asked.keep != Keep::Nothing {
            return Err(other);
        }
        let _making = self.making.lock().await;
        let Some(record) = self.purgeable(asked.name)? else { return Err(other) };
        if asked.confirm != Some(record.name.as_str()) {
            return Err(not_confirmed(&record.name, asked.confirm));
        }
        self.purge_now(&record)
    }

    /// Takes the project's turn; one that only tidies up after its verdict is waited for.
    pub(super) async fn close_when_tidied(&self, name: &ProjectName, title: &str) -> Result<Closed, Failure> {
        let mut changes = self.desk.changes();
        loop {
            changes.borrow_and_update();
            if let Some(closed) = self.desk.close(name, title) {
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

    async fn stop_serving(&self, name: &ProjectName) {
        self.one_offs.end(Some(name)).await;
        self.task_desk.end_all(Some(name), "the project was stopped").await;
        if let Err(error) = self.context.router.remove(name) {
            tracing::error!(project = %name, %error, "the routes stay for now");
        }
        if let Some(live) = self.context.set_live(name, None) {
            self.context.supervisor.stop_set(live.set).await;
        }
        self.context.supervisor.stop_others(name, None).await;
    }

    /// What was live before a destruction that came to nothing; what does not start again is trouble. Nothing starts on
    /// data that is half put back.
    pub(super) async fn serve_again(&self, project: &ProjectRecord) {
        let name = &project.name;
        self.show_what_is_edited(name);
        let started = match (project.live, self.is_half_restored(project)) {
            (_, Err(failure)) => Err(failure),
            (Some(version), Ok(false)) => revive::revive(&self.context, project, version).await,
            (None, _) | (_, Ok(true)) => self.context.point_router_at(name, None),
        };
        if let Err(failure) = started {
            tracing::error!(project = %name, "not started again: {failure}");
            let _ = self.context.store.set_trouble(name, Some(&format!("not started again: {failure}")));
        }
    }

    fn intention(&self, project: &ProjectRecord, mounted: &[PathBuf]) -> DestroyedRecord {
        let root = self.context.project_places(&project.name).root().canonicalize().unwrap_or_default();
        let below = |point: &PathBuf| point.strip_prefix(&root).unwrap_or(point).display().to_string();
        let now = clock::now();
        let days = i64::from(self.context.config().trash.days);
        DestroyedRecord {
            directory: self.free_directory(&project.name, now),
            name: project.name.clone(),
            destroyed_at: now,
            purge_at: Time(now.0.saturating_add(days.saturating_mul(DAY))),
            state: Trashed::Destroying,
            build_uid: project.build_user.uid,
            mounted: mounted.iter().map(below).collect(),
        }
    }

    /// `blog-20261120T104107Z`; with a number when one was destroyed in the same second.
    fn free_directory(&self, name: &ProjectName, now: Time) -> String {
        let first = format!("{name}-{}", clock::compact(now));
        let others = (2..1_000).map(|number| format!("{first}-{number}"));
        let is_free = |directory: &String| self.context.places.trashed(directory).symlink_metadata().is_err();
        std::iter::once(first.clone()).chain(others).find(is_free).unwrap_or(first)
    }

    /// Everything after the intention; recovery calls it for one that was interrupted. Nothing is mounted below.
    pub(super) fn put_into_trash(&self, record: &DestroyedRecord) -> Result<(), Failure> {
        let places = self.context.project_places(&record.name);
        let all = &self.context.places;
        move_once(places.root(), &all.trashed(&record.directory))?;
        move_once(places.logs(), &all.trashed_logs(&record.directory))?;
        trees::remove_tree(places.runtime())?;
        Ok(self.context.store.finish_destruction(record)?)
    }
}

fn not_confirmed(name: &ProjectName, said: Option<&str>) -> Failure {
    let what = match said {
        None => format!("destroying {name} takes its code, releases and data away"),
        Some(said) => format!("--confirm says \"{}\", which is not {name}", clean_line(said.as_bytes())),
    };
    Failure::new(Code::Usage, what).hint(format!("to go on: commis project destroy {name} --confirm {name}"))
}

/// Renames, unless it was renamed already.
pub(super) fn move_once(from: &Path, to: &Path) -> Result<(), Failure> {
    if from.symlink_metadata().is_err() || to.symlink_metadata().is_ok() {
        return Ok(());
    }
    // Only the trash is ever missing; what is there keeps its owner and mode.
    if let Some(parent) = to.parent().filter(|parent| !parent.is_dir()) {
        let path = parent.to_owned();
        privileged::perform(&Operation::MakeDirectory { path, owner: UserIds::of(0), mode: 0o700 })?;
    }
    privileged::perform(&Operation::Rename { from: from.to_owned(), to: to.to_owned() })
}

/// Mounts at or below the project's root, the deepest first.
pub(super) fn mounted_below(places: &ProjectPlaces) -> Result<Vec<PathBuf>, Failure> {
    let Ok(root) = places.root().canonicalize() else { return Ok(Vec::new()) };
    let mut points = mount_table::at_or_below(&root)?;
    // Of two at one place the later covers the other, and goes first.
    points.reverse();
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    Ok(points)
}

/// Data that lies in the project's directory goes to the trash with it. Data that is mounted stays where its file system
/// is: then a last copy of it goes to the trash.
fn keep_mounted_data(project: &ProjectRecord, places: &ProjectPlaces, mounted: &[PathBuf]) -> Result<(), Failure> {
    let data = places.data();
    if !data.canonicalize().is_ok_and(|data| mounted.contains(&data)) {
        return Ok(());
    }
    let (last, partial) = (places.last_archive(), places.last_archive_partial());
    trees::remove_tree(&partial)?;
    let everything = Exclude::default();
    let survey = backup::survey(&data, &everything, None)?;
    room::copy_fits(&survey, &places.archives(), "make a last copy of data")?;
    let shelf = execute::shelf(places, &partial);
    for path in [&partial, &shelf.data] {
        let path = path.clone();
        privileged::perform(&Operation::MakeDirectory { path, owner: UserIds::of(0), mode: 0o700 })?;
    }
    backup::back_up(&data, &shelf, (&everything, project.app_user), None)?;
    backup::complete(&shelf)?;
    privileged::perform(&Operation::SyncFileSystem { path: places.archives() })?;
    trees::remove_tree(&last)?;
    privileged::perform(&Operation::Rename { from: partial, to: last })
}

/// Unmounts everything below the project, or nothing: what cannot be unmounted puts the others back.
fn take_mounts_away(points: &[PathBuf]) -> Result<(), Failure> {
    let mut taken: Vec<(&Path, OwnedFd)> = Vec::new();
    for point in points {
        match take_away(point) {
            Ok(kept) => taken.push((point, kept)),
            Err(failure) => {
                for (point, kept) in taken.iter().rev() {
                    put_back(point, kept);
                }
                return Err(failure);
            }
        }
    }
    Ok(())
}

fn take_away(point: &Path) -> Result<OwnedFd, Failure> {
    let during = |error: std::io::Error| Failure::internal(&format!("hold on to {}", point.display()), &error);
    let kept = mounts::pin(point).and_then(|place| mounts::clone_mount(&place)).map_err(during)?;
    privileged::perform(&Operation::Unmount { path: point.to_owned() })?;
    Ok(kept)
}

fn put_back(point: &Path, kept: &OwnedFd) {
    if let Err(error) = mounts::pin(point).and_then(|place| mounts::attach(kept, place)) {
        tracing::error!(point = %point.display(), %error, "not mounted again");
    }
}
