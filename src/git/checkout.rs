//! Writes a checked tree into a fresh directory, file by file, below an open directory that is never left.
//!
//! No work tree, no index, no filters, no attributes, no hooks: only the blobs of the list that `tree` made. Every
//! path is opened beneath the root without following links, every file is made new. Which tree may be written
//! is decided before, in `tree` and `names`.

use super::failed::{GitError, disk_full, is_full};
use super::names::shown;
use super::objects::{oid_of, store};
use super::tree::{Entry, Kind, Tree};
use crate::model::{Code, Failure};
use crate::system::UserIds;
use git2::Odb;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Entries that a thread takes at a time: long enough that their directory is opened once for many.
const BATCH: usize = 64;

/// What was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckoutStats {
    pub files: usize,
    pub directories: usize,
    pub symlinks: usize,
    pub bytes: u64,
}

/// Writes `tree` of the repository at `repository` into `into`, which is made if it is missing and must be empty.
///
/// Files are 0644 or 0755, directories 0755, all of them `owner`'s, directories last, so that nobody else can touch
/// the tree before it is whole. On failure what was written stays, for the caller to remove. Nothing is synced.
pub fn checkout(
    repository: &Path,
    tree: &Tree,
    into: &Path,
    owner: UserIds,
    threads: usize,
) -> Result<CheckoutStats, Failure> {
    let root = root(into)?;
    let place = Place { root: root.as_fd(), owner };
    for directory in &tree.directories {
        place.directory(directory)?;
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let work = || write_batches(&place, store(repository)?, &tree.entries, &next);
        let others: Vec<_> = (1..threads.clamp(1, 8)).map(|_| scope.spawn(work)).collect();
        let mine = work();
        let crashed = || Err(Failure::new(Code::Internal, "checkout: a thread ended unexpectedly"));
        others.into_iter().map(|other| other.join().unwrap_or_else(|_| crashed())).fold(mine, Result::and)
    })?;
    let symlinks = place.symlinks(&tree.entries)?;
    for directory in tree.directories.iter().rev() {
        let opened = place.open(directory).map_err(failed(directory))?;
        place.own(&opened).map_err(failed(directory))?;
    }
    place.own(&root).map_err(failed("."))?;
    let files = tree.entries.len() - symlinks;
    Ok(CheckoutStats { files, directories: tree.directories.len(), symlinks, bytes: tree.bytes })
}

/// The directory under which everything is written.
struct Place<'a> {
    root: BorrowedFd<'a>,
    owner: UserIds,
}

impl Place<'_> {
    /// Opens a directory of the tree; no part of its path may be a link or lead out.
    fn open(&self, directory: &str) -> nix::Result<OwnedFd> {
        let path = if directory.is_empty() { "." } else { directory };
        let how = OpenHow::new()
            .flags(OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV);
        openat2(self.root, path, how)
    }

    fn directory(&self, path: &str) -> Result<(), Failure> {
        let (parent, name) = split(path);
        let make = || mkdirat(self.open(parent)?, name, Mode::from_bits_truncate(0o755));
        make().map_err(failed(path))
    }

    fn file(&self, directory: &OwnedFd, entry: &Entry, mode: u32, odb: &Odb<'_>) -> Result<(), Failure> {
        let blob =
            oid_of(entry.id).and_then(|id| odb.read(id)).map_err(GitError::object(shown(entry.path.as_bytes())))?;
        let (_, name) = split(&entry.path);
        let write = || {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mut file = File::from(openat(directory, name, flags, Mode::from_bits_truncate(0o600))?);
            file.write_all(blob.data())?;
            self.own(&file)?;
            // After the change of owner and whatever the umask is.
            fchmod(&file, Mode::from_bits_truncate(mode))?;
            Ok(())
        };
        write().map_err(|error| io_failed(&entry.path, error))
    }

    fn symlinks(&self, entries: &[Entry]) -> Result<usize, Failure> {
        let (uid, gid) = self.ids();
        let mut made = 0;
        for entry in entries {
            let Kind::Symlink { target } = &entry.kind else { continue };
            let (parent, name) = split(&entry.path);
            let make = || {
                let directory = self.open(parent)?;
                symlinkat(target.as_str(), &directory, name)?;
                fchownat(&directory, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
            };
            make().map_err(failed(&entry.path))?;
            made += 1;
        }
        Ok(made)
    }

    fn own(&self, file: impl AsFd) -> nix::Result<()> {
        let (uid, gid) = self.ids();
        fchown(file, uid, gid)
    }

    fn ids(&self) -> (Option<Uid>, Option<Gid>) {
        let root = nix::unistd::geteuid().is_root();
        (root.then(|| Uid::from_raw(self.owner.uid)), root.then(|| Gid::from_raw(self.owner.gid)))
    }
}

/// The files of a tree, in batches, until none is left; links are left out.
fn write_batches(place: &Place<'_>, odb: Odb<'_>, entries: &[Entry], next: &AtomicUsize) -> Result<(), Failure> {
    let mut opened: Option<(&str, OwnedFd)> = None;
    loop {
        let from = next.fetch_add(BATCH, Ordering::Relaxed);
        let Some(rest) = entries.get(from..).filter(|rest| !rest.is_empty()) else { return Ok(()) };
        for entry in rest.iter().take(BATCH) {
            let Kind::File { executable } = entry.kind else { continue };
            let (parent, _) = split(&entry.path);
            let directory = match opened.take() {
                Some((path, directory)) if path == parent => directory,
                _ => place.open(parent).map_err(failed(parent))?,
            };
            place.file(&directory, entry, if executable { 0o755 } else { 0o644 }, &odb)?;
            opened = Some((parent, directory));
        }
    }
}

fn root(into: &Path) -> Result<OwnedFd, Failure> {
    let what = |error: std::io::Error| match is_full(&error) {
        true => disk_full(&error),
        false => Failure::internal(&format!("checkout into {}", into.display()), &error),
    };
    match fs::create_dir(into) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(what(error)),
        Ok(()) | Err(_) => {}
    }
    if fs::read_dir(into).map_err(what)?.next().is_some() {
        return Err(Failure::new(Code::Internal, format!("checkout into {}: not empty", into.display())));
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = nix::fcntl::open(into, flags, Mode::empty()).map_err(|errno| what(errno.into()))?;
    fchmod(&opened, Mode::from_bits_truncate(0o755)).map_err(|errno| what(errno.into()))?;
    Ok(opened)
}

/// Directory and name of a path of the tree.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn failed(path: &str) -> impl Fn(Errno) -> Failure {
    move |errno| io_failed(path, errno.into())
}

fn io_failed(path: &str, error: std::io::Error) -> Failure {
    let error = GitError::Io { what: "cannot write", path: shown(path.as_bytes()).into(), source: error };
    error.into()
}

#[cfg(test)]
#[path = "checkout_tests.rs"]
mod tests;
