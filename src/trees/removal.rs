//! Removing and measuring whole trees. A removal never crosses a mount and never follows a link: what is bound below a tree
//! is somebody's data. A tree that is too deep to be released can still be removed.

use super::faults::machine;
use super::names;
use super::walk::{self, Kind, Name};
use crate::model::{Code, Failure};
use crate::system::{failpoint, mount_table};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a tree takes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TreeSize {
    pub files: u64,
    pub directories: u64,
    /// Links, and whatever cannot stand in a release.
    pub others: u64,
    /// Bytes of content; hard links count each time, as they would in an archive.
    pub bytes: u64,
}

/// Counts; refuses nothing but a mount below and a depth that no release has.
pub fn tree_size(path: &Path) -> Result<TreeSize, Failure> {
    let mut size = TreeSize::default();
    walk::walk(walk::open_directory(path)?, &mut |found| {
        match found.kind {
            Kind::Directory => size.directories += 1,
            Kind::Link | Kind::Strange(_) => size.others += 1,
            Kind::File => {
                let stat = fstatat(found.parent, found.name, AtFlags::AT_SYMLINK_NOFOLLOW);
                size.bytes += stat.map_err(|error| walk::opening(found.path, error))?.st_size.max(0) as u64;
                size.files += 1;
            }
        }
        Ok(())
    })?;
    Ok(size)
}

/// Removes a tree (or a file, or a link); what is not there is removed already. Looks at the mount table first and
/// refuses before anything is lost; a mount that comes later stops the removal at its mount point.
pub fn remove_tree(path: &Path) -> Result<(), Failure> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Failure::new(Code::Internal, format!("remove {}: it has no name", path.display())));
    };
    let during = |error| machine(format!("remove {}", path.display()), error);
    let place = match std::fs::canonicalize(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(during)?,
    };
    refuse_mounts(&place.join(name))?;
    failpoint::reach(|| "archives.remove-tree.before".into())?;
    let parent = walk::open_directory(&place)?;
    let name = CString::new(name.as_bytes()).map_err(|error| during(error.into()))?;
    match walk::open_below(parent.as_fd(), &name, OFlag::O_DIRECTORY) {
        Ok(root) => {
            let _ = fchmod(&root, Mode::S_IRWXU);
            empty(root, path)?;
            unlinkat(&parent, name.as_c_str(), UnlinkatFlags::RemoveDir).map_err(|error| during(error.into()))
        }
        Err(Errno::ENOENT) => Ok(()),
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            unlinkat(&parent, name.as_c_str(), UnlinkatFlags::NoRemoveDir).map_err(|error| during(error.into()))
        }
        Err(error) => Err(walk::opening(path.as_os_str().as_bytes(), error)),
    }
}

fn refuse_mounts(path: &Path) -> Result<(), Failure> {
    match mount_table::at_or_below(path)?.first() {
        Some(point) => Err(walk::mounted(&names::escape(point.as_os_str().as_bytes()))),
        None => Ok(()),
    }
}

/// Directories this deep are moved up to the root of the tree first: descriptors stay few however deep a tree is.
const DEEP: usize = 64;

struct Emptying {
    fd: OwnedFd,
    names: Vec<Name>,
    /// How its parent calls it.
    name: CString,
}

pub(super) fn empty(root: OwnedFd, path: &Path) -> Result<(), Failure> {
    let mut shown = PathBuf::from(path);
    let mut moved = 0u64;
    let mut levels = vec![emptying(root, c"".to_owned(), &shown)?];
    while let Some(mut top) = levels.pop() {
        let Some(next) = top.names.pop() else {
            let Some(parent) = levels.last() else { return Ok(()) };
            remove_name(&parent.fd, &top.name, UnlinkatFlags::RemoveDir, &shown)?;
            shown.pop();
            continue;
        };
        if next.kind != Kind::Directory {
            remove_name(&top.fd, &next.text, UnlinkatFlags::NoRemoveDir, &shown.join(os(&next.text)))?;
            levels.push(top);
            continue;
        }
        let below = shown.join(os(&next.text));
        let fd = open_for_removal(&top.fd, &next.text)
            .map_err(|error| walk::opening(below.as_os_str().as_bytes(), error))?;
        if levels.len() < DEEP {
            levels.push(top);
            levels.push(emptying(fd, next.text, &below)?);
            shown = below;
            continue;
        }
        let name = CString::new(format!(".commis-removing-{moved}")).unwrap_or_default();
        moved += 1;
        if let Some(root) = levels.first_mut() {
            nix::fcntl::renameat(&top.fd, next.text.as_c_str(), &root.fd, name.as_c_str())
                .map_err(|error| machine(format!("remove {}", escaped(&below)), error))?;
            root.names.push(Name { text: name, kind: Kind::Directory });
        }
        levels.push(top);
    }
    Ok(())
}

fn emptying(fd: OwnedFd, name: CString, shown: &Path) -> Result<Emptying, Failure> {
    let names = walk::names_of(fd.as_fd()).map_err(|error| machine(format!("read {}", escaped(shown)), error))?;
    Ok(Emptying { fd, names, name })
}

/// Directories without permissions stop nobody but a server that is not root; then the owner's bits help.
fn open_for_removal(parent: &OwnedFd, name: &CString) -> nix::Result<OwnedFd> {
    let fd = match walk::open_below(parent.as_fd(), name, OFlag::O_DIRECTORY) {
        Err(Errno::EACCES) => {
            let path = walk::open_below(parent.as_fd(), name, OFlag::O_DIRECTORY | OFlag::O_PATH)?;
            let by_number = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&path));
            nix::sys::stat::fchmodat(
                nix::fcntl::AT_FDCWD,
                by_number.as_str(),
                Mode::S_IRWXU,
                nix::sys::stat::FchmodatFlags::FollowSymlink,
            )?;
            walk::open_below(parent.as_fd(), name, OFlag::O_DIRECTORY)?
        }
        other => other?,
    };
    if fstat(&fd)?.st_mode & 0o300 != 0o300 {
        let _ = fchmod(&fd, Mode::S_IRWXU);
    }
    Ok(fd)
}

fn remove_name(parent: &OwnedFd, name: &CString, flag: UnlinkatFlags, shown: &Path) -> Result<(), Failure> {
    match unlinkat(parent, name.as_c_str(), flag) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EBUSY) => Err(walk::mounted(&escaped(shown))),
        Err(Errno::EPERM) => Err(immutable(&escaped(shown))),
        Err(error) => Err(machine(format!("remove {}", escaped(shown)), error)),
    }
}

/// To root nothing else is not permitted.
fn immutable(shown: &str) -> Failure {
    let what = format!("remove {shown}: not permitted: it, or the directory it is in, is immutable or append-only");
    Failure::new(Code::Refused, what).hint(format!("lsattr shows it; chattr -i -a {shown}, then try again"))
}

fn os(name: &CString) -> &std::ffi::OsStr {
    std::ffi::OsStr::from_bytes(name.as_bytes())
}

fn escaped(path: &Path) -> String {
    names::escape(path.as_os_str().as_bytes())
}
