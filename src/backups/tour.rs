//! Going through a directory that somebody else is writing to: by descriptors, never through a link, never into a mount.
//! What vanishes meanwhile was not there. What is done with an entry is the visitor's.

use crate::model::{Code, Failure};
use crate::trees::exclude::Exclude;
use crate::trees::faults::machine;
use crate::trees::names::{self, MAX_DEPTH};
use crate::trees::walk::{self, Kind, Name};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where an entry is.
pub struct Place<'a> {
    /// From the root of the tour.
    pub path: &'a [u8],
    pub name: &'a CStr,
    pub parent: BorrowedFd<'a>,
}

/// Why something was passed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passed {
    /// A pattern says so.
    Excluded,
    /// Something is mounted there.
    Mount,
    /// A named pipe, a socket, a device.
    Strange(&'static str),
    /// A file with several names that belongs to somebody else.
    Foreign,
}

impl Passed {
    pub fn words(self) -> &'static str {
        match self {
            Passed::Excluded => "is excluded",
            Passed::Mount => "is a mount point",
            Passed::Strange(what) => what,
            Passed::Foreign => "is another user's file under one more name",
        }
    }
}

/// What a tour meets, parents before what is in them.
pub trait Visitor {
    /// A regular file, by what the directory says of it.
    fn file(&mut self, place: &Place<'_>) -> Result<(), Failure>;
    fn link(&mut self, place: &Place<'_>) -> Result<(), Failure>;
    /// A directory, open; what is in it comes next, then [`Visitor::leave`].
    fn enter(&mut self, place: &Place<'_>, directory: BorrowedFd<'_>) -> Result<(), Failure>;
    fn leave(&mut self) -> Result<(), Failure>;
    fn pass(&mut self, place: &Place<'_>, passed: Passed) -> Result<(), Failure>;
    /// It is not any more what its directory said.
    fn gone(&mut self, _place: &Place<'_>, _error: Errno) -> Result<(), Failure> {
        Ok(())
    }
}

struct Level {
    fd: OwnedFd,
    names: std::vec::IntoIter<Name>,
    path: usize,
}

/// Goes through everything below `root`, names of a directory in the order of their bytes.
///
/// # Errors
/// The visitor's, `Refused` for a tree that is too deep, `Internal` for what cannot be read.
pub fn tour(root: OwnedFd, exclude: &Exclude, visitor: &mut dyn Visitor) -> Result<(), Failure> {
    let mut path: Vec<u8> = Vec::with_capacity(256);
    let mut levels = vec![level(root, &path)?];
    while let Some(top) = levels.last_mut() {
        path.truncate(top.path);
        let Some(Name { text, kind }) = top.names.next() else {
            levels.pop();
            if !levels.is_empty() {
                visitor.leave()?;
            }
            continue;
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(text.as_bytes());
        let place = Place { path: &path, name: &text, parent: top.fd.as_fd() };
        if let Some(below) = meet(&place, kind, exclude, visitor)? {
            let below = level(below, &path)?;
            levels.push(below);
        }
        if levels.len() > MAX_DEPTH {
            return Err(Failure::new(Code::Refused, format!("{}: {}", names::escape(&path), names::BadName::Deep))
                .hint("[data] exclude in .commis/project.toml leaves it out"));
        }
    }
    Ok(())
}

/// Shows one entry to the visitor; a directory that it entered comes back open.
fn meet(
    place: &Place<'_>,
    kind: Kind,
    exclude: &Exclude,
    visitor: &mut dyn Visitor,
) -> Result<Option<OwnedFd>, Failure> {
    if exclude.matches(place.path) {
        return visitor.pass(place, Passed::Excluded).map(|()| None);
    }
    match kind {
        Kind::File => visitor.file(place).map(|()| None),
        Kind::Link => visitor.link(place).map(|()| None),
        Kind::Strange(what) => visitor.pass(place, Passed::Strange(what)).map(|()| None),
        Kind::Directory => match walk::open_below(place.parent, place.name, OFlag::O_DIRECTORY) {
            Ok(below) => visitor.enter(place, below.as_fd()).map(|()| Some(below)),
            Err(Errno::EXDEV) => visitor.pass(place, Passed::Mount).map(|()| None),
            Err(error) if vanished(error) => visitor.gone(place, error).map(|()| None),
            Err(error) => Err(walk::opening(place.path, error)),
        },
    }
}

/// Whether an error says that an entry is not any more what its directory said.
pub fn vanished(error: Errno) -> bool {
    matches!(error, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ESTALE | Errno::ENXIO)
}

fn level(fd: OwnedFd, path: &[u8]) -> Result<Level, Failure> {
    let names = walk::names_of(fd.as_fd());
    let names = names.map_err(|error| machine(format!("read the directory {}", names::escape(path)), error))?;
    Ok(Level { fd, names: names.into_iter(), path: path.len() })
}
