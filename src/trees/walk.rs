//! Walking a tree by descriptors, in order, without ever following a link or entering a mount: whoever owns the tree may
//! rename things meanwhile and still leads us nowhere else. What is done with an entry is the visitor's; removing is in
//! `removal.rs`, because a tree that is too deep to be released must still be removable.

use super::faults::machine;
use super::names::{self, MAX_DEPTH};
use crate::model::{Code, Failure};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What stands behind a name, not following links.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Directory,
    File,
    Link,
    Strange(&'static str),
}

/// One name of one directory.
pub struct Name {
    pub text: CString,
    pub kind: Kind,
}

/// An entry on the way through a tree.
pub struct Found<'a> {
    /// From the root of the tree.
    pub path: &'a [u8],
    pub name: &'a CStr,
    pub kind: Kind,
    pub parent: BorrowedFd<'a>,
    /// Who owns the directory it stands in.
    pub parent_uid: u32,
}

struct Level {
    fd: OwnedFd,
    uid: u32,
    names: std::vec::IntoIter<Name>,
    /// Length of the path of this directory.
    path: usize,
}

/// Visits every entry below `root` in the order of [`names::order`].
pub fn walk(root: OwnedFd, visit: &mut dyn FnMut(&Found<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut path: Vec<u8> = Vec::with_capacity(256);
    let mut levels = vec![level(root, &path)?];
    while let Some(top) = levels.last_mut() {
        path.truncate(top.path);
        let Some(Name { text, kind }) = top.names.next() else {
            levels.pop();
            continue;
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(text.as_bytes());
        let parent = top.fd.as_fd();
        visit(&Found { path: &path, name: &text, kind, parent, parent_uid: top.uid })?;
        if kind == Kind::Directory {
            let below = open_below(parent, &text, OFlag::O_DIRECTORY).map_err(|error| opening(&path, error))?;
            levels.push(level(below, &path)?);
        }
        if levels.len() > MAX_DEPTH {
            return Err(Failure::new(Code::Refused, format!("{}: {}", names::escape(&path), names::BadName::Deep)));
        }
    }
    Ok(())
}

/// A directory by its path; the last part may not be a symbolic link.
pub fn open_directory(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    opened.map(File::into).map_err(|error| machine(format!("open {}", path.display()), error))
}

/// Opens one name of a directory: `ELOOP` when it is a link, `EXDEV` when something is mounted there.
pub fn open_below(parent: BorrowedFd<'_>, name: &CStr, flags: OFlag) -> nix::Result<OwnedFd> {
    let always = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(parent, name, OpenHow::new().flags(always | flags).resolve(resolve))
}

/// Why a name that was just seen cannot be opened.
pub fn opening(path: &[u8], error: Errno) -> Failure {
    let shown = names::escape(path);
    match error {
        Errno::EXDEV => mounted(&shown),
        Errno::ELOOP | Errno::ENOENT | Errno::ENOTDIR => {
            Failure::new(Code::Refused, format!("{shown} was changed while it was read"))
        }
        other => machine(format!("open {shown}"), other),
    }
}

/// Nothing of ours goes through a mount.
pub fn mounted(shown: &str) -> Failure {
    Failure::new(Code::Refused, format!("something is mounted on {shown}"))
        .hint("unmount it; a tree that is packed, checked or removed has no mounts in it")
}

/// The names of a directory, sorted by their bytes, without `.` and `..`.
pub fn names_of(directory: BorrowedFd<'_>) -> nix::Result<Vec<Name>> {
    let mut reader =
        Dir::openat(directory, c".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    for entry in reader.iter() {
        let entry = entry?;
        let text = entry.file_name();
        if text == c"." || text == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            Some(kind) => kind_of_type(kind),
            None => kind_of_mode(fstatat(directory, text, AtFlags::AT_SYMLINK_NOFOLLOW)?.st_mode),
        };
        names.push(Name { text: text.to_owned(), kind });
    }
    names.sort_by(|left, right| left.text.cmp(&right.text));
    Ok(names)
}

fn level(fd: OwnedFd, path: &[u8]) -> Result<Level, Failure> {
    let during = || format!("read the directory {}", names::escape(path));
    let names = names_of(fd.as_fd()).map_err(|error| machine(during(), error))?;
    let uid = fstat(&fd).map_err(|error| machine(during(), error))?.st_uid;
    Ok(Level { fd, uid, names: names.into_iter(), path: path.len() })
}

fn kind_of_type(kind: nix::dir::Type) -> Kind {
    use nix::dir::Type;
    match kind {
        Type::Directory => Kind::Directory,
        Type::File => Kind::File,
        Type::Symlink => Kind::Link,
        Type::Fifo => Kind::Strange("a named pipe"),
        Type::Socket => Kind::Strange("a socket"),
        Type::CharacterDevice => Kind::Strange("a character device"),
        Type::BlockDevice => Kind::Strange("a block device"),
    }
}

fn kind_of_mode(mode: u32) -> Kind {
    match SFlag::from_bits_truncate(mode) & SFlag::S_IFMT {
        SFlag::S_IFDIR => Kind::Directory,
        SFlag::S_IFREG => Kind::File,
        SFlag::S_IFLNK => Kind::Link,
        SFlag::S_IFIFO => Kind::Strange("a named pipe"),
        SFlag::S_IFSOCK => Kind::Strange("a socket"),
        _ => Kind::Strange("a device"),
    }
}
