//! Files that are still there after a power cut, locks, and free space. Every error names its path. What needs another
//! user's power, or hands things to one, is asked for through [`super::privileged`].

use super::{UserIds, entropy};
use crate::model::{Code, Failure};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Gid, Uid, fchown, syncfs};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A failed operation on a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {during} {}", path.display())]
pub struct FileError {
    /// `write`, `sync`: reads well after "cannot".
    during: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    pub fn new(during: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self { during, path: path.to_owned(), source: source.into() }
    }

    /// No space, no inodes or no quota left.
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
    }

    pub fn kind(&self) -> ErrorKind {
        self.source.kind()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A full disk is [`Code::DiskFull`] and says how much is free; everything else is ours.
impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        if !error.is_full() {
            return Failure::new(Code::Internal, crate::model::failure::chain(&error));
        }
        let nearest = error.path.ancestors().find_map(|place| free_bytes(place).ok());
        let free = nearest.map_or("an unknown number of".to_owned(), |bytes| bytes.to_string());
        Failure::new(Code::DiskFull, format!("{error}: no space left, {free} bytes free"))
    }
}

/// Whether a write must survive a power cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Durability {
    Durable,
    /// For directories in memory.
    Volatile,
}

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    pub mode: u32,
    /// `None` leaves it ours.
    pub owner: Option<UserIds>,
    pub durability: Durability,
}

/// Puts a file in place as a whole: readers, and the time after a power cut, see the old content or the new one.
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    write(path, bytes, Placement { mode, owner: None, durability: Durability::Durable })
}

/// [`write_durably`] with everything to choose.
pub fn write(path: &Path, bytes: &[u8], placement: Placement) -> Result<(), FileError> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(FileError::new("write", path, ErrorKind::InvalidInput));
    };
    let random = entropy::hex(8).map_err(|error| FileError::new("write", path, error))?;
    let temporary = directory.join(format!(".{}.{random}.new", name.to_string_lossy()));
    let written = fill(&temporary, bytes, placement).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(FileError::new("write", path, error));
    }
    match placement.durability {
        Durability::Durable => sync_directory(directory),
        Durability::Volatile => Ok(()),
    }
}

/// Makes sure of a file that only its owner reads, whatever the umask; what it holds stays.
pub fn create_private(path: &Path) -> Result<(), FileError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    let file = options.open(path).map_err(|error| FileError::new("open", path, error))?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(|error| FileError::new("protect", path, error))
}

/// Makes names that were created, renamed or removed in `path` survive a power cut.
pub fn sync_directory(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| FileError::new("sync", path, error))
}

/// Makes everything on the file system of `path` survive a power cut: for whole trees, once.
pub fn sync_file_system(path: &Path) -> Result<(), FileError> {
    let sync = || Ok(syncfs(File::open(path)?)?);
    sync().map_err(|error: io::Error| FileError::new("sync the file system of", path, error))
}

/// Bytes that may still be written there without root's reserve.
pub fn free_bytes(path: &Path) -> Result<u64, FileError> {
    let found = statvfs(path).map_err(|error| FileError::new("ask for the free space of", path, error))?;
    Ok(found.blocks_available() * found.fragment_size())
}

/// Whether nothing can be written in a directory: an admin made its file system read-only, or the kernel after an error
/// of the disk, which only an attempt tells. Nothing is left of that.
pub fn is_read_only(directory: &Path) -> bool {
    let attempt = OpenOptions::new().write(true).mode(0o600).custom_flags(nix::libc::O_TMPFILE).open(directory);
    attempt.is_err_and(|error| error.kind() == ErrorKind::ReadOnlyFilesystem)
}

/// Makes a directory, and missing ones above it (0755, ours). One that is there gets the mode and the owner; a symbolic
/// link in its place is an error. Parents must not be writable by others.
pub fn create_directory(path: &Path, mode: u32, owner: Option<UserIds>) -> Result<(), FileError> {
    let create = || {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let flags = nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW;
        let directory = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        give(&directory, owner)?;
        directory.set_permissions(Permissions::from_mode(mode))
    };
    create().map_err(|error| FileError::new("make directory", path, error))
}

/// A lock that goes away with its holder, also when that is killed. The file stays for ever: a lock on a file that
/// may be unlinked can have two holders.
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// `None`: somebody else holds it. The directory must exist.
    pub fn try_lock(path: &Path) -> Result<Option<Self>, FileError> {
        let failed = |error| FileError::new("lock", path, error);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
        let file = options.open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

fn fill(path: &Path, bytes: &[u8], placement: Placement) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    give(&file, placement.owner)?;
    file.set_permissions(Permissions::from_mode(placement.mode))?;
    match placement.durability {
        Durability::Durable => file.sync_all(),
        Durability::Volatile => Ok(()),
    }
}

fn give(file: &File, owner: Option<UserIds>) -> io::Result<()> {
    let Some(owner) = owner else { return Ok(()) };
    Ok(fchown(file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nothing_else_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        write_durably(&path, b"one", 0o644).unwrap();
        write_durably(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_file() {
        let error = write_durably(Path::new("/no/where/state"), b"x", 0o600).unwrap_err();
        assert_eq!(error.to_string(), "cannot write /no/where/state");
        let failure = Failure::from(error);
        assert_eq!(failure.code, Code::Internal);
        assert!(failure.what.contains("No such file"), "{failure}");
    }

    #[test]
    fn a_full_disk_is_called_one() {
        let full = nix::errno::Errno::ENOSPC;
        let failure = Failure::from(FileError::new("write", Path::new("/tmp/absent/file"), full));
        assert_eq!(failure.code, Code::DiskFull);
        assert!(failure.what.starts_with("cannot write /tmp/absent/file: no space left, "), "{failure}");
        assert!(!failure.what.contains("unknown"), "{failure}");
    }

    #[test]
    fn a_directory_is_made_once_and_corrected_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        create_directory(&path, 0o700, None).unwrap();
        create_directory(&path, 0o750, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o750);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("a", &link).unwrap();
        assert!(create_directory(&link, 0o777, None).is_err());
    }

    #[test]
    fn a_lock_has_one_holder() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = FileLock::try_lock(&path).unwrap();
        assert!(first.is_some());
        assert!(FileLock::try_lock(&path).unwrap().is_none());
        drop(first);
        assert!(FileLock::try_lock(&path).unwrap().is_some());
        assert!(path.exists());
    }

    #[test]
    fn free_space_is_a_number_of_bytes() {
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
        sync_file_system(Path::new("/tmp")).unwrap();
    }
}
