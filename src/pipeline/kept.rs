//! The tree of a replaced release, kept in `archives/<n>/run` as it was when it served, so that a rollback need not unpack
//! it again.
//!
//! Why it may be taken: it was unpacked by us, verified against its digest on the way, and belongs to root; builds do not
//! see it, and applications and hooks see it read-only as another user. What `stat(2)` said of all of it right after its
//! verdict stands in the row of its deployment, beside the inode of its root. Between the question and the verdict only the
//! root is looked at; afterwards [`confirm`] looks at everything, and what differs is read. What the disk itself forgot shows
//! in no time of change: for that there is `commis deploy`, or a rollback after the archive's `run` is gone, which unpack.

use super::context::Context;
use super::execute::discard;
use crate::archives::Manifest;
use crate::archives::compare::{self, Difference};
use crate::layouts::ProjectPlaces;
use crate::model::{Code, DeploymentNumber, Failure, ProjectName, ReleaseVersion};
use crate::notify::DeploymentLog;
use crate::store::{DeploymentRecord, InPlace, ReleaseRecord};
use crate::system::privileged::{self, Operation};
use crate::system::reading;
use crate::trees::stamps::{self, Stamp};
use std::path::{Path, PathBuf};

/// A tree that may be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Whose archive it is in: the deployment that replaced it.
    pub archive: DeploymentNumber,
    /// The deployment that had put it into `run/`.
    pub made: DeploymentNumber,
}

/// The kept tree of a release, when there is one that nobody but root can have changed.
pub fn look(context: &Context, project: &ProjectName, release: &ReleaseRecord) -> Result<Option<Kept>, Failure> {
    let Some(made) = release.served else { return Ok(None) };
    let row = context.store.deployment(project, made)?.filter(|row| row.kept.stamp.is_some());
    let Some(inode) = row.and_then(|row| row.tree_inode) else { return Ok(None) };
    let Some(archive) = context.store.successor(project, made)? else { return Ok(None) };
    let path = context.project_places(project).archived_run(archive);
    Ok(reading::is_directory_of_root(&path, inode).then_some(Kept { archive, made }))
}

/// Puts a tree that was taken back to where it was kept; says where it is. One that has no place there any more goes: its
/// archive is on the shelf.
pub fn put_back(places: &ProjectPlaces, tree: &Path, archive: DeploymentNumber) -> Result<PathBuf, Failure> {
    let home = places.archived_run(archive);
    if tree == home {
        return Ok(home);
    }
    let is_free = home.symlink_metadata().is_err() && places.archived(archive).is_dir();
    if is_free {
        privileged::perform(&Operation::Rename { from: tree.to_owned(), to: home.clone() })?;
    } else {
        discard(places, tree)?;
    }
    Ok(home)
}

/// Looks at the tree that a deployment put into `run/`, after its verdict. One that was just unpacked is remembered as it is.
/// One that was taken is compared; where it is not its release, the project needs an admin. For the holder of its lock.
///
/// # Errors
/// `VerifyFailed` for a tree that is not its release; or why nobody could look.
pub fn confirm(context: &Context, project: &ProjectName, number: DeploymentNumber) -> Result<(), Failure> {
    let run = context.project_places(project).run();
    let row = context.store.deployment(project, number)?;
    let is_it = |row: &DeploymentRecord| row.tree_inode.is_some() && row.tree_inode == reading::inode(&run).ok();
    // What is edited in place is no release, and a deployment of steps puts nothing there.
    let Some(row) = row.filter(|row| row.in_place == InPlace::No && is_it(row)) else { return Ok(()) };
    let now = stamps::take(&run);
    match (&row.kept.stamp, row.kept.taken) {
        (_, None) => Ok(context.store.note_stamp(project, number, Some(&now?.0))?),
        (Some(then), Some(_)) if now.as_ref().is_ok_and(|now| now.0 == *then) => {
            Ok(context.store.note_stamp(project, number, Some(then))?)
        }
        (_, Some(_)) => judge(context, &row, (&run, now.ok())),
    }
}

/// What a server that died before it could look left to be compared.
pub fn confirm_left(context: &Context, project: &ProjectName, live: ReleaseVersion) -> Result<(), Failure> {
    let served = context.store.release(project, live)?.and_then(|release| release.served);
    let row = served.map(|number| context.store.deployment(project, number)).transpose()?.flatten();
    match row.filter(|row| row.kept.taken.is_some()) {
        Some(row) => confirm(context, project, row.number),
        None => Ok(()),
    }
}

/// Something changed since it was kept; every byte is read, and that decides.
fn judge(context: &Context, row: &DeploymentRecord, (run, now): (&Path, Option<Stamp>)) -> Result<(), Failure> {
    let project = &row.project;
    let release = row.version.map(|version| context.store.release(project, version)).transpose()?.flatten();
    let release = release.ok_or_else(|| Failure::new(Code::Internal, "a live deployment without a release"))?;
    let manifest = Manifest::parse(release.manifest.as_bytes())?;
    let Err(difference) = compare::verify_tree(run, &manifest) else {
        return Ok(context.store.note_stamp(project, row.number, now.as_ref().map(|now| now.0.as_str()))?);
    };
    let failure = strange(project, release.version, &difference);
    // First the alarm; a tree that is looked at twice is alarming twice.
    context.store.set_trouble(project, Some(&failure.what))?;
    context.store.note_stamp(project, row.number, None)?;
    let log = context.project_places(project).deployment_log(row.number);
    // For whoever reads it later.
    let _ = DeploymentLog::append(&log, &format!("error: {}", failure.what));
    Err(failure)
}

fn strange(project: &ProjectName, version: ReleaseVersion, difference: &Difference) -> Failure {
    let what = format!("what runs is not {version}: its tree was changed while it was kept: {difference}");
    Failure::new(Code::VerifyFailed, what).hint(format!("commis rescue {project} --old unpacks it from its archive"))
}
