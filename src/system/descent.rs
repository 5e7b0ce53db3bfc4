//! Going through a tree that its owner may be changing meanwhile: by file descriptors, never through a symbolic link,
//! never into another mount. Directories are opened anew from the top by their path below it, so that few descriptors
//! are open however deep a tree is, and whoever renames things leads us nowhere else. What is done is the visitor's.

use super::files::FileError;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, Mode, fstatat};
use std::ffi::CStr;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// One name below the top.
pub struct Entry<'a> {
    directory: BorrowedFd<'a>,
    name: &'a CStr,
    /// Below the top; empty for the top itself.
    pub path: &'a Path,
}

/// Whether a directory is gone into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Onward {
    Into,
    Past,
}

impl Entry<'_> {
    /// A descriptor that names it, for looking and for changing owner. `None`: gone meanwhile, or another mount.
    pub fn pin(&self) -> nix::Result<Option<OwnedFd>> {
        match openat2(self.directory, self.name, how(OFlag::O_PATH | OFlag::O_NOFOLLOW)) {
            Ok(entry) => Ok(Some(entry)),
            Err(Errno::ENOENT | Errno::EXDEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What it is, a link itself. `None`: gone meanwhile.
    pub fn look(&self) -> nix::Result<Option<FileStat>> {
        match fstatat(self.directory, self.name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Shows `visit` the top and everything below it, each directory before what is in it. Answers what could not be
/// reached: names of more than four kilobytes. A top that is not there, or is a link, is an error.
pub fn descend(
    top: &Path,
    visit: &mut dyn FnMut(&Entry<'_>) -> nix::Result<Onward>,
) -> Result<Vec<PathBuf>, FileError> {
    let failed = |path: &Path| {
        let path = top.join(path);
        move |error: Errno| FileError::new("go through", &path, error)
    };
    let flags = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(top);
    let root = OwnedFd::from(opened.map_err(|error| FileError::new("go through", top, error))?);
    let itself = Path::new("");
    let mut out_of_reach = Vec::new();
    let mut waiting = Vec::new();
    let first = visit(&Entry { directory: root.as_fd(), name: c".", path: itself }).map_err(failed(itself))?;
    if first == Onward::Into {
        waiting.push(PathBuf::new());
    }
    while let Some(path) = waiting.pop() {
        match open_below(&root, &path) {
            Ok(directory) => {
                go_through(&directory, &path, visit, &mut waiting).map_err(failed(&path))?;
            }
            // Changed meanwhile: what is there now is not what was seen, or it is another mount.
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENOTDIR | Errno::EXDEV) => {}
            Err(Errno::ENAMETOOLONG) => out_of_reach.push(path),
            Err(error) => return Err(failed(&path)(error)),
        }
    }
    Ok(out_of_reach)
}

fn go_through(
    directory: &OwnedFd,
    path: &Path,
    visit: &mut dyn FnMut(&Entry<'_>) -> nix::Result<Onward>,
    waiting: &mut Vec<PathBuf>,
) -> nix::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listed = Dir::openat(directory, c".", flags, Mode::empty())?;
    for entry in listed.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let path = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        if visit(&Entry { directory: directory.as_fd(), name, path: &path })? == Onward::Into {
            waiting.push(path);
        }
    }
    Ok(())
}

fn open_below(root: &OwnedFd, path: &Path) -> nix::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    openat2(root, path, how(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW))
}

fn how(flags: OFlag) -> OpenHow {
    let stay = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_BENEATH;
    OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(stay)
}
