//! Owner, mode, time and attributes of things, by descriptors: read from an original, given to its copy.
//!
//! Of the extended attributes those are kept that belong to users (`user.`) and access control lists. Powers
//! (`security.capability`) are not: data is no place for programs with powers, and a tree that people edit is none either.
//! What else there is belongs to the machine.

use super::inventory::{Attributes, Moment, Source, Traits};
use crate::model::Failure;
use crate::system::attributes;
use crate::trees::faults::machine;
use crate::trees::{names, walk};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, Mode, UtimensatFlags, fchmod, fstat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// All but the attributes, which no stat tells.
pub fn of_stat(stat: &FileStat) -> Traits {
    Traits {
        attributes: Attributes::new(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: Moment(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// All of a file or directory that is open.
pub fn of_open(directory: BorrowedFd<'_>) -> nix::Result<Traits> {
    let stat = fstat(directory)?;
    Ok(Traits { attributes: attributes_of(directory)?, ..of_stat(&stat) })
}

/// By what a file is known again.
pub fn source_of(stat: &FileStat) -> Source {
    Source { device: stat.st_dev, inode: stat.st_ino, changed: Moment(stat.st_ctime, stat.st_ctime_nsec) }
}

/// The attributes that are kept of something.
pub fn attributes_of(file: BorrowedFd<'_>) -> nix::Result<Attributes> {
    let mut found = Attributes::new();
    for name in attributes::names(file)?.into_iter().filter(|name| is_kept(name)) {
        if let Some(value) = attributes::get(file, &name)? {
            found.insert(name.into_bytes(), value);
        }
    }
    Ok(found)
}

/// The owner first: giving a file away takes its set-uid bit. Then the attributes, since a list of who may do what
/// changes the mode. What is new is often right already, and looking writes nothing.
pub fn give(file: BorrowedFd<'_>, traits: &Traits) -> nix::Result<()> {
    let found = fstat(file)?;
    let is_owned = (found.st_uid, found.st_gid) == (traits.uid, traits.gid);
    if !is_owned {
        fchown(file, Some(Uid::from_raw(traits.uid)), Some(Gid::from_raw(traits.gid)))?;
    }
    let lists = give_attributes(file, &traits.attributes)?;
    if !is_owned || lists == Lists::Touched || found.st_mode & 0o7777 != traits.mode {
        fchmod(file, Mode::from_bits_truncate(traits.mode))?;
    }
    futimens(file, &TimeSpec::UTIME_OMIT, &time(traits.modified))
}

/// Whether attributes were given or taken away, which may have changed the mode.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lists {
    Untouched,
    Touched,
}

/// Those and no others: what is new inherits a list from the directory that it is made in.
fn give_attributes(file: BorrowedFd<'_>, wanted: &Attributes) -> nix::Result<Lists> {
    let mut lists = Lists::Untouched;
    for name in attributes::names(file)? {
        if is_kept(&name) && !wanted.contains_key(name.as_bytes()) {
            attributes::remove(file, &name)?;
            lists = Lists::Touched;
        }
    }
    for (name, value) in wanted {
        let name = CString::new(name.as_slice()).map_err(|_| Errno::EINVAL)?;
        attributes::set(file, &name, value)?;
        lists = Lists::Touched;
    }
    Ok(lists)
}

fn is_kept(name: &CStr) -> bool {
    let name = name.to_bytes();
    name.starts_with(b"user.") || [&b"system.posix_acl_access"[..], b"system.posix_acl_default"].contains(&name)
}

/// A symbolic link has no mode and no attributes.
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
