//! Looking at what stands in a directory that people work in: every file and link below it, by descriptors. What it means
//! is decided elsewhere; nothing is changed here.

use super::faults::machine;
use super::names;
use super::walk::{self, Found, Kind};
use crate::model::{Code, Failure};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::fstat;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Most files and links that are looked at.
const MOST: usize = 2_000_000;

/// A file or a link. Directories are where their files are; sockets, pipes and devices are not looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// From the root of the tree, `/`-separated, as the bytes on the disk are.
    pub path: Vec<u8>,
    pub what: What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    File { executable: bool, size: u64 },
    Link { target: Vec<u8> },
}

/// A file that is being looked at; open only when its content is asked for.
pub struct Content<'a>(&'a File);

impl Content<'_> {
    /// A name under which this very file can be opened again, for as long as this lives.
    pub fn name(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// What is done with each; links have no content.
type Visit<'a> = &'a mut dyn FnMut(Standing, Option<Content<'_>>) -> Result<(), Failure>;

/// Visits every file and link below a directory, in the order of a walk.
pub fn each(root: &Path, visit: Visit<'_>) -> Result<(), Failure> {
    let mut seen = 0;
    walk::walk(walk::open_directory(root)?, &mut |found| {
        seen += 1;
        if seen > MOST {
            let what = format!("more than {MOST} files below {}", root.display());
            return Err(Failure::new(Code::Refused, what));
        }
        one(found, visit)
    })
}

fn one(found: &Found<'_>, visit: Visit<'_>) -> Result<(), Failure> {
    let path = found.path.to_vec();
    match found.kind {
        Kind::Directory | Kind::Strange(_) => Ok(()),
        Kind::Link => match readlinkat(found.parent, found.name) {
            Ok(target) => visit(Standing { path, what: What::Link { target: target.into_vec() } }, None),
            Err(Errno::ENOENT | Errno::EINVAL) => Ok(()),
            Err(error) => Err(walk::opening(found.path, error)),
        },
        Kind::File => {
            let file = match walk::open_below(found.parent, found.name, OFlag::empty()) {
                Ok(file) => File::from(file),
                // Editors write beside and rename: what is gone now is not there.
                Err(Errno::ENOENT) => return Ok(()),
                Err(error) => return Err(walk::opening(found.path, error)),
            };
            let stat = fstat(&file).map_err(|error| walk::opening(found.path, error))?;
            let what = What::File { executable: stat.st_mode & 0o100 != 0, size: stat.st_size.max(0) as u64 };
            visit(Standing { path, what }, Some(Content(&file)))
        }
    }
}

/// The content of one file of a tree, or the target of one link; `None` when there is neither at that path. More than
/// `max` bytes is an error.
pub fn content(root: &Path, path: &Path, max: u64) -> Result<Option<Vec<u8>>, Failure> {
    let shown = names::escape(path.as_os_str().as_bytes());
    let failed = |error: std::io::Error| machine(format!("read {shown}"), error);
    let place = match open(root, path) {
        Ok(place) => place,
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
        Err(Errno::ELOOP) => return link(root, path),
        Err(error) => return Err(walk::opening(path.as_os_str().as_bytes(), error)),
    };
    let file = File::from(place);
    let data = file.metadata().map_err(failed)?;
    if !data.is_file() {
        return Ok(None);
    }
    if data.len() > max {
        return Err(Failure::new(Code::Refused, format!("{shown} is larger than {max} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

fn open(root: &Path, path: &Path) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    openat2(directory(root)?, path, OpenHow::new().flags(flags).resolve(resolve))
}

fn link(root: &Path, path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(resolve);
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let read = || readlinkat(openat2(directory(root)?, above, how)?, path.file_name().unwrap_or_default());
    match read() {
        Ok(target) => Ok(Some(target.into_vec())),
        Err(Errno::ENOENT | Errno::EINVAL | Errno::ELOOP | Errno::ENOTDIR) => Ok(None),
        Err(error) => Err(walk::opening(path.as_os_str().as_bytes(), error)),
    }
}

fn directory(root: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_PATH;
    nix::fcntl::open(root, flags, nix::sys::stat::Mode::empty())
}
