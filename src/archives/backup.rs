//! A backup of `data/` and its way back. The application may write while it is copied: a file is as it was when it was
//! read, and what must be of one moment is for the hook `backup` to dump.
//!
//! Kept are content, names, owners, modes, times of change, links inside; files that did not change since the backup before
//! are shared with it. Left out are what a pattern excludes, mounts, pipes, sockets, devices, and other users' files under
//! one more name. Whether and when is decided in `pipeline`; nothing here is durable before the caller has synced.

use super::content::Sums;
use super::duplicate::{Duplicate, Manner, duplicate};
pub use super::exclude::Exclude;
use super::faults::machine;
use super::inventory::{Inventory, Item, Moment};
pub use super::known::Known;
use super::tour::{Passed, Place, Visitor, tour};
use super::{clear, names, traits, walk};
use crate::model::{Code, Failure};
use crate::system::mount_table;
use crate::system::reflink::reflink;
use crate::system::{UserIds, clock, files};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, renameat2};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Smaller data is copied again each time: finding out what did not change costs a sync of the disk.
const WORTH_KNOWING: u64 = 64 << 20;
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
    /// One of the files.
    sample: Option<File>,
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
    let mut looking = Looking { earlier, survey: Survey { entries: 0, bytes: 0, sample: None } };
    tour(walk::open_directory(data)?, exclude, &mut looking)?;
    Ok(looking.survey)
}

/// An earlier backup, if there is one of some size.
pub fn known(shelf: &Shelf) -> Option<Known> {
    let text = std::fs::read_to_string(&shelf.inventory).ok()?;
    let inventory = Inventory::parse(&text).ok()?;
    let size = |item: &Item| if let Item::File(_, content) = item { content.size } else { 0 };
    let bytes: u64 = inventory.entries.iter().map(|entry| size(&entry.item)).sum();
    (bytes >= WORTH_KNOWING).then(|| Known::new(&shelf.data, inventory).ok()).flatten()
}

/// Free bytes that a backup needs in `place`: a fifth more than it copies, little where blocks can be shared.
pub fn needed(survey: &Survey, place: &Path) -> u64 {
    let names = survey.entries.saturating_mul(1 << 10).saturating_add(AIR);
    match survey.sample.as_ref().is_some_and(|sample| can_share(sample, place)) {
        true => names,
        false => survey.bytes.saturating_add(survey.bytes / 5).saturating_add(names),
    }
}

fn can_share(sample: &File, place: &Path) -> bool {
    // Without a name, nothing of it can be left behind.
    let probe = OpenOptions::new().write(true).mode(0o600).custom_flags(nix::libc::O_TMPFILE).open(place);
    probe.and_then(|file| reflink(sample, &file)).is_ok()
}

/// Copies `data` into `shelf`, whose directory `data` is there and empty.
pub fn back_up(
    data: &Path,
    shelf: &Shelf,
    (exclude, owner): (&Exclude, UserIds),
    (survey, earlier): (&Survey, Option<&Known>),
) -> Result<BackedUp, Failure> {
    let worth = survey.bytes >= WORTH_KNOWING || earlier.is_some();
    let settled = if worth { Some(settled(data)?) } else { None };
    let manner = Manner { exclude, owner: Some(owner), known: earlier, settled, sums: Sums::All };
    let made = duplicate(data, &shelf.data, &manner)?;
    let during = |error| machine(format!("write {}", shelf.inventory.display()), error);
    std::fs::write(&shelf.inventory, made.inventory.to_text()).map_err(during)?;
    Ok(backed_up(&made))
}

/// Everything that was written until the answer is on the disk, and later writes show in the times of their files.
fn settled(data: &Path) -> Result<Moment, Failure> {
    let now = clock::now().0;
    files::sync_file_system(data)?;
    Ok(Moment(now.div_euclid(1_000) - MARGIN, 0))
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
    let nothing = Exclude::default();
    let manner = Manner { exclude: &nothing, owner: None, known: None, settled: None, sums: Sums::Passing };
    let made = duplicate(&shelf.data, target, &manner)?;
    match difference(&expected, &made.inventory) {
        Some(path) => Err(Failure::new(Code::VerifyFailed, format!("the backup is damaged: {path}"))),
        None => Ok(backed_up(&made)),
    }
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
            let sums = content.sum.zip(also.sum).is_none_or(|(one, other)| one == other);
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
    let manner = Manner { exclude, owner: None, known: None, settled: None, sums: Sums::Passing };
    duplicate(from, to, &manner).map(drop)
}

/// Makes an empty directory like `like`, itself without what is in it.
pub fn empty_like(like: &Path, directory: &Path) -> Result<(), Failure> {
    let during = |error: Errno| machine(format!("make {}", directory.display()), error);
    let found = fstat(walk::open_directory(like)?).map_err(during)?;
    std::fs::create_dir(directory).map_err(|error| machine(format!("make {}", directory.display()), error))?;
    traits::give(walk::open_directory(directory)?.as_fd(), &traits::of_stat(&found)).map_err(during)
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
        if self.earlier.is_some_and(|earlier| earlier.has(&stat)) {
            return Ok(());
        }
        let bytes = stat.st_size.max(0).min(stat.st_blocks.saturating_mul(512).max(4096)) as u64;
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
    parents: Vec<(Vec<u8>, super::inventory::Traits)>,
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
        let stat = fstat(directory).map_err(|error| walk::opening(place.path, error))?;
        self.parents.push((place.path.to_vec(), traits::of_stat(&stat)));
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
        let kept = traits::of_stat(&fstat(&parent).map_err(during)?);
        match renameat2(place.parent, place.name, &parent, place.name, RenameFlags::RENAME_NOREPLACE) {
            // The directory's own time is what the backup says.
            Ok(()) => traits::give(parent.as_fd(), &kept).map_err(during),
            Err(Errno::EEXIST | Errno::ENOENT) => Ok(()),
            Err(error) => Err(during(error)),
        }
    }
}
