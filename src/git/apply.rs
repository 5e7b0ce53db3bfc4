//! Changes a directory that people work in to what a commit has, file by file: only what is asked for, each file written
//! beside and renamed, below an open directory that is never left. Which files those are is decided elsewhere.

use super::failed::GitError;
use super::names::shown;
use super::objects::{oid_of, store};
use super::tree::{Entry, Kind};
use crate::model::{Code, Failure};
use crate::system::UserIds;
use git2::Odb;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, symlinkat, unlinkat};
use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Name of a file that is not whole yet; one that a crash left is written anew.
const GROWING: &CStr = c".commis-growing";

/// What is to change. Paths are relative, `/`-separated.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Applying {
    /// Files and links that go; directories that become empty go with them.
    pub remove: Vec<String>,
    /// Directories that must be there, each after the one that holds it.
    pub directories: Vec<String>,
    /// Files and links that are written.
    pub write: Vec<Entry>,
}

/// Does it. What is written is `owner`'s: files 0644 or 0755, directories 0755. Nothing is synced.
///
/// # Errors
/// `Refused` when a directory stands where a file must, or the other way round: somebody put it there.
pub fn apply(repository: &Path, applying: &Applying, (root, owner): (&Path, UserIds)) -> Result<(), Failure> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let place = Place { root: nix::fcntl::open(root, flags, Mode::empty()).map_err(failed("."))?, owner };
    for path in &applying.remove {
        place.remove(path).map_err(failed(path))?;
    }
    for path in &applying.directories {
        place.directory(path)?;
    }
    let odb = store(repository)?;
    applying.write.iter().try_for_each(|entry| place.write(entry, &odb))
}

struct Place {
    root: OwnedFd,
    owner: UserIds,
}

impl Place {
    /// Opens a directory; no part of its path may be a link, a mount, or lead out.
    fn open(&self, directory: &str) -> nix::Result<OwnedFd> {
        let path = if directory.is_empty() { "." } else { directory };
        let stay = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        openat2(&self.root, path, OpenHow::new().flags(flags).resolve(stay))
    }

    fn remove(&self, path: &str) -> nix::Result<()> {
        let (parent, name) = split(path);
        let directory = match self.open(parent) {
            Ok(directory) => directory,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(()),
            Err(error) => return Err(error),
        };
        match unlinkat(&directory, name, UnlinkatFlags::NoRemoveDir) {
            // A directory in its place is somebody's own.
            Ok(()) | Err(Errno::ENOENT | Errno::EISDIR) => {}
            Err(error) => return Err(error),
        }
        let mut empty = parent;
        while !empty.is_empty() {
            let (above, name) = split(empty);
            if unlinkat(&self.open(above)?, name, UnlinkatFlags::RemoveDir).is_err() {
                break;
            }
            empty = above;
        }
        Ok(())
    }

    fn directory(&self, path: &str) -> Result<(), Failure> {
        let (parent, name) = split(path);
        let above = self.open(parent).map_err(failed(parent))?;
        match mkdirat(&above, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => {}
            Err(Errno::EEXIST) => {
                return match self.open(path) {
                    Ok(_) => Ok(()),
                    Err(Errno::ENOTDIR | Errno::ELOOP) => Err(in_the_way(path, "a file", "a directory")),
                    Err(error) => Err(failed(path)(error)),
                };
            }
            Err(error) => return Err(failed(path)(error)),
        }
        let (uid, gid) = self.ids();
        self.open(path).and_then(|made| fchown(&made, uid, gid)).map_err(failed(path))
    }

    fn write(&self, entry: &Entry, odb: &Odb<'_>) -> Result<(), Failure> {
        let (parent, name) = split(&entry.path);
        let directory = self.open(parent).map_err(failed(parent))?;
        match unlinkat(&directory, GROWING, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(failed(&entry.path)(error)),
        }
        match &entry.kind {
            Kind::File { executable } => self.grow(&directory, entry, (*executable, odb))?,
            Kind::Symlink { target } => {
                let (uid, gid) = self.ids();
                symlinkat(target.as_str(), &directory, GROWING)
                    .and_then(|()| fchownat(&directory, GROWING, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW))
                    .map_err(failed(&entry.path))?;
            }
        }
        match renameat(&directory, GROWING, &directory, name) {
            // An empty directory is nobody's work.
            Err(Errno::EISDIR) => unlinkat(&directory, name, UnlinkatFlags::RemoveDir)
                .and_then(|()| renameat(&directory, GROWING, &directory, name))
                .map_err(|_| in_the_way(&entry.path, "a directory", "a file")),
            renamed => renamed.map_err(failed(&entry.path)),
        }
    }

    fn grow(&self, directory: &OwnedFd, entry: &Entry, (executable, odb): (bool, &Odb<'_>)) -> Result<(), Failure> {
        let path = shown(entry.path.as_bytes());
        let blob = oid_of(entry.id).and_then(|id| odb.read(id)).map_err(GitError::object(path))?;
        let grow = || {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mut file = File::from(openat(directory, GROWING, flags, Mode::from_bits_truncate(0o600))?);
            file.write_all(blob.data())?;
            let (uid, gid) = self.ids();
            fchown(&file, uid, gid)?;
            fchmod(&file, Mode::from_bits_truncate(if executable { 0o755 } else { 0o644 }))?;
            Ok(())
        };
        grow().map_err(|error| io_failed(&entry.path, error))
    }

    fn ids(&self) -> (Option<Uid>, Option<Gid>) {
        let root = nix::unistd::geteuid().is_root();
        (root.then(|| Uid::from_raw(self.owner.uid)), root.then(|| Gid::from_raw(self.owner.gid)))
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn in_the_way(path: &str, there: &str, wanted: &str) -> Failure {
    let path = shown(path.as_bytes());
    Failure::new(Code::Refused, format!("{path}: {there} is in the way of {wanted} of the commit"))
        .hint("nobody but you knows what it is: move it away on the server, then push again")
}

fn failed(path: &str) -> impl Fn(Errno) -> Failure {
    move |errno| io_failed(path, errno.into())
}

fn io_failed(path: &str, error: std::io::Error) -> Failure {
    let error = GitError::Io { what: "cannot write", path: shown(path.as_bytes()).into(), source: error };
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn applied(root: &Path, applying: &Applying) -> Result<(), Failure> {
        let repository = tempfile::tempdir().unwrap();
        fs::create_dir(repository.path().join("objects")).unwrap();
        apply(repository.path(), applying, (root, UserIds::of(29_871)))
    }

    fn removing(paths: &[&str]) -> Applying {
        Applying { remove: paths.iter().map(ToString::to_string).collect(), ..Applying::default() }
    }

    #[test]
    fn a_removed_file_takes_its_empty_directories_along_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("a/b/c")).unwrap();
        fs::write(place.path().join("a/b/c/file"), "").unwrap();
        fs::write(place.path().join("a/mine"), "").unwrap();
        applied(place.path(), &removing(&["a/b/c/file", "gone/file"])).unwrap();
        assert!(!place.path().join("a/b").exists() && place.path().join("a/mine").exists());
    }

    #[test]
    fn nothing_outside_is_reached_through_a_link() {
        let (place, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("file"), "precious").unwrap();
        symlink(outside.path(), place.path().join("a")).unwrap();
        applied(place.path(), &removing(&["a/file"])).unwrap();
        let link = |path: &str| Entry {
            path: path.into(),
            kind: Kind::Symlink { target: "x".into() },
            id: super::super::tree::ObjectId([0; 20]),
            size: 1,
        };
        let written = applied(place.path(), &Applying { write: vec![link("a/file")], ..Applying::default() });
        assert!(written.is_err());
        let made = applied(place.path(), &Applying { directories: vec!["a".into()], ..Applying::default() });
        assert_eq!(made.unwrap_err().code, Code::Refused);
        assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "precious");
        // A link is replaced, never written through.
        applied(place.path(), &Applying { write: vec![link("a")], ..Applying::default() }).unwrap();
        assert_eq!(fs::read_link(place.path().join("a")).unwrap(), Path::new("x"));
    }

    #[test]
    fn a_directory_with_something_in_it_is_not_replaced_by_a_file() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("mine")).unwrap();
        fs::write(place.path().join("mine/file"), "precious").unwrap();
        let entry = Entry {
            path: "mine".into(),
            kind: Kind::Symlink { target: "x".into() },
            id: super::super::tree::ObjectId([0; 20]),
            size: 1,
        };
        let applying = Applying { write: vec![entry], ..Applying::default() };
        assert_eq!(applied(place.path(), &applying).unwrap_err().code, Code::Refused);
        fs::remove_file(place.path().join("mine/file")).unwrap();
        applied(place.path(), &applying).unwrap();
        assert!(place.path().join("mine").is_symlink());
    }
}
