//! A backup of `data/` and its way back. The application may write while it is copied: a file is as it was when it was
//! read, and what must be of one moment is for the hook `backup` to dump.
//!
//! Kept are content, names, owners, modes, times of change, attributes, links inside; files that did not change since the
//! backup before are shared with it. Left out are what a pattern excludes, mounts, pipes, sockets, devices, and other users'
//! files under one more name. Whether and when is decided in `pipeline`; nothing here is durable before the caller has synced.

use super::content::{self, Copied, Sums};
use super::duplicate::{Duplicate, duplicate};
use super::inventory::{Inventory, Item, Moment, Sum, Traits};
pub use super::known::Known;
use super::purpose::{Keeping, Purpose};
use super::tour::{Passed, Place, Visitor, tour};
use super::{traits, unchanged};
use crate::model::{Code, Failure};
use crate::system::mount_table;
use crate::system::reflink::reflink;
use crate::system::{UserIds, clock, files};
pub use crate::trees::exclude::Exclude;
use crate::trees::faults::machine;
use crate::trees::{clear, names, walk};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, renameat2};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, statfs};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Clocks of files are coarse.
const MARGIN: i64 = 1;
/// Room for the list, directories and names.
const AIR: u64 = 16 << 20;

/// Where one backup is.
pub struct Shelf {
    pub data: PathBuf,
    pub inventory: PathBuf,
}

/// What a backup would take.
pub struct Survey {
    /// Files, directories and links that would be copied.
    pub entries: u64,
    /// Bytes that would have to be written.
    pub bytes: u64,
    /// Bytes that a copy of everything takes.
    pub whole: u64,
    /// One of the files.
    sample: Option<File>,
}

/// Room that a copy needs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Room {
    pub bytes: u64,
    pub inodes: u64,
}

/// What a backup took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackedUp {
    pub files: u64,
    /// Of content; also of what is shared with an earlier backup.
    pub bytes: u64,
    /// `uploads/x is a socket`
    pub passed: Vec<String>,
}

/// Looks at what there is to copy.
pub fn survey(data: &Path, exclude: &Exclude, earlier: Option<&Known>) -> Result<Survey, Failure> {
    let mut looking = Looking { earlier, survey: Survey { entries: 0, bytes: 0, whole: 0, sample: None } };
    tour(walk::open_directory(data)?, exclude, &mut looking)?;
    Ok(looking.survey)
}

/// An earlier backup, if it is there and whole.
pub fn known(shelf: &Shelf) -> Option<Known> {
    inventory(shelf).and_then(|inventory| Known::new(&shelf.data, inventory)).ok()
}

/// What a copy needs in `place`: a fifth more than it takes; of bytes little where blocks can be shared.
pub fn needed(survey: &Survey, place: &Path) -> Room {
    let names = survey.entries.saturating_mul(1 << 10).saturating_add(AIR);
    let inodes = survey.entries.saturating_add(survey.entries / 5);
    match survey.sample.as_ref().is_some_and(|sample| can_share(sample, place)) {
        true => Room { bytes: names, inodes },
        false => Room { bytes: survey.bytes.saturating_add(survey.bytes / 5).saturating_add(names), inodes },
    }
}

fn can_share(sample: &File, place: &Path) -> bool {
    // Without a name, nothing of it can be left behind.
    let probe = OpenOptions::new().write(true).mode(0o600).custom_flags(nix::libc::O_TMPFILE).open(place);
    probe.and_then(|file| reflink(sample, &file)).is_ok()
}

/// Copies `data` into `shelf`, whose directory `data` is there and empty. What shares its blocks with data has no sum yet:
/// [`complete`] takes it.
pub fn back_up(
    data: &Path,
    shelf: &Shelf,
    (exclude, owner): (&Exclude, UserIds),
    known: Option<&Known>,
) -> Result<BackedUp, Failure> {
    let purpose = Purpose::Backup(Keeping { owner, known, settled: settled(data)? });
    let made = duplicate((data, &shelf.data), exclude, &purpose)?;
    let during = |error| machine(format!("write {}", shelf.inventory.display()), error);
    std::fs::write(&shelf.inventory, made.inventory.to_text()).map_err(during)?;
    Ok(backed_up(&made))
}

/// Everything that was written until the answer is on the disk, and later writes show in the times of their files. `None`
/// where they do not: in memory, for one, what is written through a mapping leaves no time.
fn settled(data: &Path) -> Result<Option<Moment>, Failure> {
    let told = statfs(data).map_err(|error| machine(format!("look at {}", data.display()), error))?;
    if ![EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC].contains(&told.filesystem_type()) {
        return Ok(None);
    }
    let now = clock::now().0;
    files::sync_file_system(data)?;
    Ok(Some(Moment(now.div_euclid(1_000) - MARGIN, 0)))
}

/// Takes the sums that are still to be taken, so that damage is seen in years to come. Until then the backup is as good: it
/// is root's alone, and what it shares is the very block that data was in. How many were taken.
///
/// # Errors
/// `VerifyFailed` for a file that is not there any more, or not of its size.
pub fn complete(shelf: &Shelf) -> Result<usize, Failure> {
    let mut listed = inventory(shelf)?;
    let tree = walk::open_directory(&shelf.data)?;
    let mut buffer = vec![0; content::BUFFER];
    let mut taken = 0;
    for entry in &mut listed.entries {
        let Item::File(_, content) = &mut entry.item else { continue };
        if content.sum != Sum::Later {
            continue;
        }
        let during = |error: std::io::Error| machine(format!("read {}", names::escape(&entry.path)), error);
        let (parent, name) = traits::openings(&tree, &entry.path)?;
        let file = walk::open_below(parent.as_fd(), &name, OFlag::empty()).map_err(|error| during(error.into()))?;
        let Copied { size, sum } = content::sum(&File::from(file), &mut buffer).map_err(during)?;
        if size != content.size {
            return Err(damaged(&names::escape(&entry.path)));
        }
        content.sum = sum;
        taken += 1;
    }
    if taken > 0 {
        files::write_durably(&shelf.inventory, listed.to_text().as_bytes(), 0o600)?;
    }
    Ok(taken)
}

/// Whether `data` is what its backup says, without reading it.
///
/// # Errors
/// The first thing that is, or may be, not as it was.
pub fn compare(data: &Path, shelf: &Shelf, owner: UserIds) -> Result<(), Failure> {
    unchanged::compare(data, inventory(shelf)?, owner)
}

fn backed_up(made: &Duplicate) -> BackedUp {
    let is_file = |item: &Item| matches!(item, Item::File(..));
    BackedUp {
        files: made.inventory.entries.iter().filter(|entry| is_file(&entry.item)).count() as u64,
        bytes: made.bytes,
        passed: made.passed.iter().map(|(path, why)| format!("{path} {}", why.words())).collect(),
    }
}

/// Copies a backup into an empty directory (or one that was [`clear`]ed), and makes sure that it is what was kept.
///
/// # Errors
/// `VerifyFailed` for a backup that is not what it was.
pub fn copy_back(shelf: &Shelf, target: &Path) -> Result<BackedUp, Failure> {
    let expected = inventory(shelf)?;
    // Those that were never taken have nothing to be compared with.
    let sums = if expected.owes_sums() { Sums::Passing } else { Sums::All };
    let made = duplicate((&shelf.data, target), &Exclude::default(), &Purpose::Return(sums))?;
    match difference(&expected, &made.inventory) {
        Some(path) => Err(damaged(&path)),
        None => Ok(backed_up(&made)),
    }
}

fn damaged(path: &str) -> Failure {
    Failure::new(Code::VerifyFailed, format!("the backup is damaged: {path}"))
}

/// The patterns that a backup was made with.
pub fn excluded(shelf: &Shelf) -> Result<Exclude, Failure> {
    Exclude::new(&inventory(shelf)?.excluded)
}

fn inventory(shelf: &Shelf) -> Result<Inventory, Failure> {
    let read = std::fs::read_to_string(&shelf.inventory);
    Inventory::parse(&read.map_err(|error| machine(format!("read {}", shelf.inventory.display()), error))?)
}

/// The first path at which two lists differ; sums that were not taken differ from none.
fn difference(expected: &Inventory, found: &Inventory) -> Option<String> {
    let alike = |one: &Item, other: &Item| match (one, other) {
        (Item::File(traits, content), Item::File(also_traits, also)) => {
            let sums = match (content.sum, also.sum) {
                (Sum::Of(one), Sum::Of(other)) => one == other,
                (Sum::Of(_) | Sum::Holes | Sum::Later, _) => true,
            };
            traits == also_traits && content.size == also.size && sums
        }
        (one, other) => one == other,
    };
    let length = expected.entries.len().max(found.entries.len());
    (0..length).find_map(|at| match (expected.entries.get(at), found.entries.get(at)) {
        (Some(one), Some(other)) if one.path == other.path && alike(&one.item, &other.item) => None,
        (Some(entry), _) | (None, Some(entry)) => Some(names::escape(&entry.path)),
        (None, None) => None,
    })
}

/// Mount points at and below a directory.
pub fn mounts_in(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let place = std::fs::canonicalize(directory);
    let place = place.map_err(|error| machine(format!("look at {}", directory.display()), error))?;
    Ok(mount_table::at_or_below(&place)?)
}

/// Empties a directory but for what is excluded or mounted.
pub fn clear(directory: &Path, exclude: &Exclude) -> Result<(), Failure> {
    clear::clear(directory, exclude)
}

/// Copies what is in `from` into `to`, an empty directory, whoever owns it.
pub fn put_aside(from: &Path, to: &Path, exclude: &Exclude) -> Result<(), Failure> {
    duplicate((from, to), exclude, &Purpose::Aside).map(drop)
}

/// Makes an empty directory like `like`, itself without what is in it.
pub fn empty_like(like: &Path, directory: &Path) -> Result<(), Failure> {
    let during = |error: Errno| machine(format!("make {}", directory.display()), error);
    let given = traits::of_open(walk::open_directory(like)?.as_fd()).map_err(during)?;
    std::fs::create_dir(directory).map_err(|error| machine(format!("make {}", directory.display()), error))?;
    traits::give(walk::open_directory(directory)?.as_fd(), &given).map_err(during)
}

/// Moves what is excluded from one directory to the same places in another, where they are not there yet.
pub fn carry_over(from: &Path, to: &Path, exclude: &Exclude) -> Result<(), Failure> {
    let mut carrying = Carrying { to: walk::open_directory(to)?, parents: Vec::new() };
    tour(walk::open_directory(from)?, exclude, &mut carrying)
}

struct Looking<'a> {
    earlier: Option<&'a Known>,
    survey: Survey,
}

impl Visitor for Looking<'_> {
    fn file(&mut self, place: &Place<'_>) -> Result<(), Failure> {
        let Ok(stat) = fstatat(place.parent, place.name, AtFlags::AT_SYMLINK_NOFOLLOW) else { return Ok(()) };
        self.survey.entries += 1;
        let bytes = stat.st_size.max(0).min(stat.st_blocks.saturating_mul(512).max(4096)) as u64;
        self.survey.whole = self.survey.whole.saturating_add(bytes);
        if self.earlier.is_some_and(|earlier| earlier.has(&stat)) {
            return Ok(());
        }
        self.survey.bytes = self.survey.bytes.saturating_add(bytes);
        if self.survey.sample.is_none() && bytes > 0 {
            self.survey.sample = walk::open_below(place.parent, place.name, OFlag::empty()).ok().map(File::from);
        }
        Ok(())
    }

    fn link(&mut self, _: &Place<'_>) -> Result<(), Failure> {
        self.survey.entries += 1;
        Ok(())
    }

    fn enter(&mut self, _: &Place<'_>, _: BorrowedFd<'_>) -> Result<(), Failure> {
        self.survey.entries += 1;
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn pass(&mut self, _: &Place<'_>, _: Passed) -> Result<(), Failure> {
        Ok(())
    }
}

struct Carrying {
    to: OwnedFd,
    /// Directories on the way to where the tour is.
    parents: Vec<(Vec<u8>, Traits)>,
}

impl Carrying {
    /// Makes what is missing of the directories around a path.
    fn make_parents(&self) -> Result<(), Failure> {
        for (path, given) in &self.parents {
            let (parent, name) = traits::openings(&self.to, path)?;
            let during = |error: Errno| machine(format!("make {}", names::escape(path)), error);
            match mkdirat(&parent, name.as_c_str(), Mode::S_IRWXU) {
                Ok(()) => traits::retouch(&self.to, path, given)?,
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(during(error)),
            }
        }
        Ok(())
    }
}

impl Visitor for Carrying {
    fn file(&mut self, _: &Place<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn link(&mut self, _: &Place<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn enter(&mut self, place: &Place<'_>, directory: BorrowedFd<'_>) -> Result<(), Failure> {
        let given = traits::of_open(directory).map_err(|error| walk::opening(place.path, error))?;
        self.parents.push((place.path.to_vec(), given));
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Failure> {
        self.parents.pop();
        Ok(())
    }

    fn pass(&mut self, place: &Place<'_>, passed: Passed) -> Result<(), Failure> {
        if passed != Passed::Excluded {
            return Ok(());
        }
        self.make_parents()?;
        let (parent, _) = traits::openings(&self.to, place.path)?;
        let during = |error: Errno| machine(format!("move {}", names::escape(place.path)), error);
        let kept = traits::of_open(parent.as_fd()).map_err(during)?;
        match renameat2(place.parent, place.name, &parent, place.name, RenameFlags::RENAME_NOREPLACE) {
            // The directory's own time is what the backup says.
            Ok(()) => traits::give(parent.as_fd(), &kept).map_err(during),
            Err(Errno::EEXIST | Errno::ENOENT) => Ok(()),
            Err(error) => Err(during(error)),
        }
    }
}
