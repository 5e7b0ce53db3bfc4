//! Looking at files of others without being led astray: never through a final symlink, never a device, never more than
//! was asked for. And small things that the server's own files need.

use super::files::FileError;
use crate::model::Time;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::libc::{O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The bytes of a regular file. A link, a device, a directory or a file of more than `max` bytes is an error.
pub fn read_regular(path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let opened = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC).open(path);
    read_opened(opened, path, max)
}

/// The same for a file in a tree that a user filled: no link is followed on the whole way from `root`, and no mount left.
pub fn read_beneath(root: &Path, path: &str, max: u64) -> Result<Vec<u8>, FileError> {
    let stay = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).resolve(stay);
    let open = || Ok(File::from(openat2(File::open(root)?, path, how)?));
    read_opened(open(), &root.join(path), max)
}

/// Which boot of this machine this is.
pub fn boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn read_opened(opened: std::io::Result<File>, path: &Path, max: u64) -> Result<Vec<u8>, FileError> {
    let failed = |error: std::io::Error| FileError::new("read", path, error);
    let file = opened.map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() || meta.len() > max {
        let why = if meta.is_file() { "too large" } else { "not a regular file" };
        return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidData, why)));
    }
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// What this machine calls itself.
pub fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned())
}

/// Whether a name names a regular file that may be executed, itself and not by a link.
pub fn is_program(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o100 != 0)
}

/// The inode of what a name names, a final link itself.
pub fn inode(path: &Path) -> Result<u64, FileError> {
    std::fs::symlink_metadata(path).map(|meta| meta.ino()).map_err(|error| FileError::new("look at", path, error))
}

/// Whether this is that directory, root's, and nobody else can put anything into it.
pub fn is_directory_of_root(path: &Path, inode: u64) -> bool {
    let found = std::fs::symlink_metadata(path);
    found.is_ok_and(|meta| meta.is_dir() && meta.ino() == inode && meta.uid() == 0 && meta.mode() & 0o022 == 0)
}

/// When a directory got or lost a name, or a file was written.
pub fn changed(path: &Path) -> Result<Time, FileError> {
    let found = std::fs::symlink_metadata(path).map_err(|error| FileError::new("look at", path, error))?;
    Ok(Time(found.mtime().saturating_mul(1_000)))
}

/// The file system that a directory is on, as a number.
pub fn device(path: &Path) -> Result<u64, FileError> {
    std::fs::metadata(path).map(|meta| meta.dev()).map_err(|error| FileError::new("look at", path, error))
}

/// When something was changed last: an opaque number that grows.
pub fn modified(path: &Path) -> Result<i64, FileError> {
    std::fs::symlink_metadata(path).map(|meta| meta.mtime()).map_err(|error| FileError::new("look at", path, error))
}

/// Names in a directory, sorted; those that are not UTF-8 are left out. A directory that is not there has none.
pub fn names(path: &Path) -> Result<Vec<String>, FileError> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| FileError::new("list", path, error))?,
    };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Whether a directory has anything in it, whatever its names are made of. One that is not there has nothing.
pub fn has_any(path: &Path) -> Result<bool, FileError> {
    match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        entries => Ok(entries.map_err(|error| FileError::new("list", path, error))?.next().is_some()),
    }
}

/// Whether a directory is there and has nothing in it.
pub fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// A log file for appending, empty at first, 0640, its directory 0750.
pub fn create_log(path: &Path) -> std::io::Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
        std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o750))?;
    }
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).custom_flags(O_NOFOLLOW).open(path)
}

/// A log file that is there, for more lines.
pub fn open_log(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)
}

/// A socket that only root can open, in the place of one that a dead server left.
pub fn bind_private_socket(path: &Path) -> std::io::Result<tokio::net::UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Bound under a private name first: between bind and chmod nobody else can reach it.
    let hidden = path.with_extension("new");
    let _ = std::fs::remove_file(&hidden);
    let listener = tokio::net::UnixListener::bind(&hidden)?;
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&hidden, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_a_fifo_and_a_giant_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read_regular(&path("file"), 4).unwrap(), b"text");
        assert!(read_regular(&path("file"), 3).is_err());
        assert!(read_regular(&path("link"), 10).is_err());
        assert_eq!(read_beneath(dir.path(), "file", 4).unwrap(), b"text");
        std::os::unix::fs::symlink(".", path("round")).unwrap();
        for led in ["link", "round/file", "../file", "fifo"] {
            assert!(read_beneath(dir.path(), led, 10).is_err(), "{led}");
        }
        assert_eq!(read_beneath(dir.path(), "absent", 4).unwrap_err().kind(), std::io::ErrorKind::NotFound);
        assert!(read_regular(&path("fifo"), 10).is_err());
        assert_eq!(names(&path("absent")).unwrap(), Vec::<String>::new());
    }
}
