//! Emptying a directory in which some things stay: what is excluded, what is mounted, and the directories around both.

use super::exclude::Exclude;
use super::faults::machine;
use super::names::{self, MAX_DEPTH};
use super::walk::{self, Kind, Name};
use crate::model::{Code, Failure};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

struct Level {
    fd: OwnedFd,
    names: std::vec::IntoIter<Name>,
    /// How its parent calls it.
    name: CString,
    path: usize,
}

/// Removes everything below `directory` but what stays.
pub fn clear(directory: &Path, exclude: &Exclude) -> Result<(), Failure> {
    let mut path: Vec<u8> = Vec::with_capacity(256);
    let mut levels = vec![level(walk::open_directory(directory)?, c"", &path)?];
    while let Some(mut top) = levels.pop() {
        path.truncate(top.path);
        let Some(next) = top.names.next() else {
            let Some(parent) = levels.last() else { return Ok(()) };
            remove(&parent.fd, &top.name, UnlinkatFlags::RemoveDir, &path)?;
            continue;
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(next.text.as_bytes());
        let below = if exclude.matches(&path) { None } else { take(&top.fd, &next, &path)? };
        levels.push(top);
        if let Some(below) = below {
            levels.push(level(below, &next.text, &path)?);
        }
        if levels.len() > MAX_DEPTH {
            return Err(Failure::new(Code::Refused, format!("{}: {}", names::escape(&path), names::BadName::Deep)));
        }
    }
    Ok(())
}

/// Removes one name; a directory comes back open, to be emptied first.
fn take(parent: &OwnedFd, next: &Name, path: &[u8]) -> Result<Option<OwnedFd>, Failure> {
    if next.kind != Kind::Directory {
        return remove(parent, &next.text, UnlinkatFlags::NoRemoveDir, path).map(|()| None);
    }
    match walk::open_below(parent.as_fd(), &next.text, OFlag::O_DIRECTORY) {
        Ok(below) => Ok(Some(below)),
        Err(Errno::EXDEV | Errno::ENOENT) => Ok(None),
        Err(error) => Err(walk::opening(path, error)),
    }
}

/// What is mounted, or has something left in it, stays.
fn remove(parent: &OwnedFd, name: &CStr, flag: UnlinkatFlags, path: &[u8]) -> Result<(), Failure> {
    match unlinkat(parent, name, flag) {
        Ok(()) | Err(Errno::ENOENT | Errno::EBUSY | Errno::ENOTEMPTY | Errno::EEXIST) => Ok(()),
        Err(error) => Err(machine(format!("remove {}", names::escape(path)), error)),
    }
}

fn level(fd: OwnedFd, name: &CStr, path: &[u8]) -> Result<Level, Failure> {
    let names = walk::names_of(fd.as_fd());
    let names = names.map_err(|error| machine(format!("read the directory {}", names::escape(path)), error))?;
    Ok(Level { fd, names: names.into_iter(), name: name.to_owned(), path: path.len() })
}
