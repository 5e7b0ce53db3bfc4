//! Owner, mode and time of things, by descriptors: read from an original, given to its copy.

use super::faults::machine;
use super::inventory::{Moment, Traits};
use super::{names, walk};
use crate::model::Failure;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, Mode, UtimensatFlags, fchmod, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

pub fn of_stat(stat: &FileStat) -> Traits {
    Traits {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: Moment(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// The owner first: giving a file away takes its set-uid bit.
pub fn give(file: BorrowedFd<'_>, traits: &Traits) -> nix::Result<()> {
    fchown(file, Some(Uid::from_raw(traits.uid)), Some(Gid::from_raw(traits.gid)))?;
    fchmod(file, Mode::from_bits_truncate(traits.mode))?;
    futimens(file, &TimeSpec::UTIME_OMIT, &time(traits.modified))
}

/// A symbolic link has no mode.
pub fn give_link(parent: &OwnedFd, name: &CStr, traits: &Traits) -> nix::Result<()> {
    let (user, group) = (Uid::from_raw(traits.uid), Gid::from_raw(traits.gid));
    fchownat(parent, name, Some(user), Some(group), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let (unchanged, modified) = (TimeSpec::UTIME_OMIT, time(traits.modified));
    utimensat(parent, name, &unchanged, &modified, UtimensatFlags::NoFollowSymlink)
}

/// Gives a directory below `top` (or `.`, itself) what it should have.
pub fn retouch(top: &OwnedFd, path: &[u8], traits: &Traits) -> Result<(), Failure> {
    let done = open_directory(top, path).and_then(|directory| give(directory.as_fd(), traits));
    done.map_err(|error| machine(format!("finish {}", names::escape(path)), error))
}

/// The open parent of a path below `top`, and its last name.
pub fn openings(top: &OwnedFd, path: &[u8]) -> Result<(OwnedFd, CString), Failure> {
    let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (&b"."[..], path),
    };
    let parent = open_directory(top, above).map_err(|error| walk::opening(path, error))?;
    let name = CString::new(name).map_err(|_| walk::opening(path, Errno::EINVAL))?;
    Ok((parent, name))
}

/// A directory below `top` by its path, through no link and no mount.
pub fn open_directory(top: &OwnedFd, path: &[u8]) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat2(top, OsStr::from_bytes(path), OpenHow::new().flags(flags).resolve(resolve))
}

fn time(moment: Moment) -> TimeSpec {
    TimeSpec::new(moment.0, moment.1)
}
