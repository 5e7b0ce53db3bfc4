//! Whether data is still what a backup of it says, told without reading it: by names, by what a stat says, and by the time
//! that only the kernel sets (see [`super::known`]). In doubt it is changed: a file that was just being written when it was
//! kept, anything on a file system whose times are no sign, anything that moves meanwhile.

use super::inventory::{Entry, Inventory, Item, Traits};
use super::purpose::{Keeping, Names, Purpose};
use super::tour::{Passed, Place, Visitor, tour};
use super::traits::{of_open, of_stat, source_of};
use crate::model::{Code, Failure};
use crate::system::UserIds;
use crate::trees::exclude::Exclude;
use crate::trees::names;
use crate::trees::walk;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::{FileStat, fstatat};
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Compares `data` with the list of its backup; nothing is opened but directories.
///
/// # Errors
/// The first thing that is, or may be, not as it was.
pub fn compare(data: &Path, inventory: Inventory, owner: UserIds) -> Result<(), Failure> {
    let exclude = Exclude::new(&inventory.excluded)?;
    let root = walk::open_directory(data)?;
    let purpose = Purpose::Backup(Keeping { owner, known: None, settled: None });
    let mut comparing = Comparing { expected: inventory.entries.into_iter(), purpose, first: HashMap::new() };
    comparing.directory(b".", root.as_fd())?;
    tour(root, &exclude, &mut comparing)?;
    comparing.expected.next().map_or(Ok(()), |entry| Err(changed(&entry.path)))
}

struct Comparing<'a> {
    expected: std::vec::IntoIter<Entry>,
    purpose: Purpose<'a>,
    /// First name of each file that has several.
    first: HashMap<(u64, u64), Vec<u8>>,
}

impl Comparing<'_> {
    fn next(&mut self, path: &[u8]) -> Result<Item, Failure> {
        let next = self.expected.next().filter(|entry| entry.path == path);
        next.map(|entry| entry.item).ok_or_else(|| changed(path))
    }

    fn directory(&mut self, path: &[u8], directory: BorrowedFd<'_>) -> Result<(), Failure> {
        let now = Item::Directory(of_open(directory).map_err(|error| walk::opening(path, error))?);
        if self.next(path)? == now { Ok(()) } else { Err(changed(path)) }
    }
}

impl Visitor for Comparing<'_> {
    fn file(&mut self, place: &Place<'_>) -> Result<(), Failure> {
        let stat = stat(place)?;
        if self.purpose.names(&stat) == Names::Foreign {
            return Ok(());
        }
        let named = (stat.st_dev, stat.st_ino);
        let same = match self.next(place.path)? {
            Item::File(traits, content) => {
                let now = Traits { attributes: traits.attributes.clone(), ..of_stat(&stat) };
                let size = stat.st_size.max(0) as u64;
                traits == now && content.size == size && content.source == Some(source_of(&stat))
            }
            Item::Name(first) => self.first.get(&named) == Some(&first),
            Item::Directory(_) | Item::Link(..) => false,
        };
        if stat.st_nlink > 1 {
            self.first.entry(named).or_insert_with(|| place.path.to_vec());
        }
        if same { Ok(()) } else { Err(changed(place.path)) }
    }

    fn link(&mut self, place: &Place<'_>) -> Result<(), Failure> {
        let target = readlinkat(place.parent, place.name).map_err(|error| walk::opening(place.path, error))?;
        let now = Item::Link(of_stat(&stat(place)?), target.into_encoded_bytes());
        if self.next(place.path)? == now { Ok(()) } else { Err(changed(place.path)) }
    }

    fn enter(&mut self, place: &Place<'_>, directory: BorrowedFd<'_>) -> Result<(), Failure> {
        self.directory(place.path, directory)
    }

    fn leave(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// What is in no backup is not put back either.
    fn pass(&mut self, _: &Place<'_>, _: Passed) -> Result<(), Failure> {
        Ok(())
    }

    fn gone(&mut self, place: &Place<'_>, _: Errno) -> Result<(), Failure> {
        Err(changed(place.path))
    }
}

fn stat(place: &Place<'_>) -> Result<FileStat, Failure> {
    fstatat(place.parent, place.name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|error| walk::opening(place.path, error))
}

fn changed(path: &[u8]) -> Failure {
    Failure::new(Code::Refused, format!("{} is not as it was, or may not be", names::escape(path)))
}
