//! A copy of a tree that people edit, as it is. And the way back: making a tree again what its copy says, in place. Both by
//! descriptors; nothing is followed, no mount is entered, and nothing that differs is destroyed: it is put aside.

use super::content::{BUFFER, Copier, Extent, Sums};
use super::duplicate::duplicate;
use super::inventory::{Item, Traits};
use super::purpose::Purpose;
use super::traits::{give, give_link, of_open, of_stat};
use crate::model::{Code, Failure};
use crate::trees::exclude::Exclude;
use crate::trees::faults::machine;
use crate::trees::names;
use crate::trees::walk::{self, Kind, Name};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, readlinkat, renameat2};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Name of a file that is not whole yet; one that a crash left is written anew.
const GROWING: &CStr = c".commis-growing";

/// What was done.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Twinned {
    /// Files and links that were written.
    pub written: u64,
    /// Files, links and whole directories that were put aside.
    pub aside: u64,
    /// Paths of sockets, pipes and devices that a copy has not, printable.
    pub passed: Vec<String>,
}

/// Copies the tree `from` to `to`, which must not exist. Sockets, pipes and devices are left out. Nothing is synced.
pub fn copy(from: &Path, to: &Path) -> Result<Twinned, Failure> {
    std::fs::create_dir(to).map_err(|error| machine(format!("create {}", to.display()), error))?;
    let copied = duplicate((from, to), &Exclude::default(), &Purpose::Edited)?;
    let is_written = |item: &Item| !matches!(item, Item::Directory(_));
    let written = copied.inventory.entries.iter().filter(|entry| is_written(&entry.item)).count() as u64;
    let passed = copied.passed.into_iter().map(|(path, _)| path).collect();
    Ok(Twinned { written, aside: 0, passed })
}

/// Makes `to` what `from` is, touching only what differs. What is in the way or too much is moved to `aside`, a new
/// directory on the same file system, under its path; `aside` is made only when there is something to put there.
pub fn make_like(to: &Path, from: &Path, aside: &Path) -> Result<Twinned, Failure> {
    let copier = Copier::new(Sums::Unasked, Purpose::Edited.shares_from());
    let mut work = Work { aside: aside.to_owned(), path: Vec::new(), copier, done: Twinned::default() };
    work.directory(walk::open_directory(from)?, walk::open_directory(to)?)?;
    Ok(work.done)
}

struct Work {
    aside: PathBuf,
    /// Names from the root to where the work is.
    path: Vec<CString>,
    copier: Copier,
    done: Twinned,
}

impl Work {
    /// Brings one directory, and all below it, into line.
    fn directory(&mut self, from: OwnedFd, to: OwnedFd) -> Result<(), Failure> {
        if self.path.len() > names::MAX_DEPTH {
            return Err(Failure::new(Code::Refused, format!("{}: {}", self.shown(None), names::BadName::Deep)));
        }
        let wanted: Vec<Name> = self.names(&from)?.into_iter().filter(|name| !is_strange(name)).collect();
        let mut there: BTreeMap<CString, Kind> =
            self.names(&to)?.into_iter().map(|name| (name.text, name.kind)).collect();
        let keep: BTreeMap<&CString, Kind> = wanted.iter().map(|name| (&name.text, name.kind)).collect();
        let too_much: Vec<CString> = there
            .iter()
            .filter(|(name, kind)| is_in_the_way(**kind, keep.get(name)))
            .map(|(name, _)| name.clone())
            .collect();
        for name in too_much {
            there.remove(&name);
            self.put_aside(&to, &name)?;
        }
        for Name { text, kind } in wanted {
            match kind {
                Kind::Directory => self.below(&from, &to, &text)?,
                Kind::Link => self.link(&from, &to, &text)?,
                Kind::File => self.file(&from, &to, &text)?,
                Kind::Strange(_) => {}
            }
        }
        set_traits(&from, &to, Kind::Directory).map_err(|error| self.failed("restore", None, error))
    }

    fn below(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CString) -> Result<(), Failure> {
        match mkdirat(to, name.as_c_str(), Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(self.failed("create", Some(name), error)),
        }
        let open = |parent: &OwnedFd| walk::open_below(parent.as_fd(), name, OFlag::O_DIRECTORY);
        let opened = open(from).and_then(|from| Ok((from, open(to)?)));
        let (from, to) = opened.map_err(|error| walk::opening(self.shown(Some(name)).as_bytes(), error))?;
        self.path.push(name.clone());
        let done = self.directory(from, to);
        self.path.pop();
        done
    }

    fn link(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CString) -> Result<(), Failure> {
        let during = |error| self.failed("link", Some(name), error);
        let target = readlinkat(from, name.as_c_str()).map_err(during)?;
        if readlinkat(to, name.as_c_str()).is_ok_and(|there| there == target) {
            return Ok(());
        }
        self.put_aside(to, name)?;
        let during = |error| self.failed("link", Some(name), error);
        let make = || {
            let stat = fstatat(from, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
            symlinkat(target.as_os_str(), to, name.as_c_str())?;
            give_link(to, name, &of_stat(&stat))
        };
        make().map_err(during)?;
        self.done.written += 1;
        Ok(())
    }

    fn file(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CString) -> Result<(), Failure> {
        let during = |error: io::Error| machine(format!("copy {}", self.shown(Some(name))), error);
        let opened = walk::open_below(from.as_fd(), name, OFlag::empty());
        let source = opened.map(File::from);
        let source = source.map_err(|error| walk::opening(self.shown(Some(name)).as_bytes(), error))?;
        if let Ok(there) = walk::open_below(to.as_fd(), name, OFlag::empty()) {
            let there = File::from(there);
            if is_same(&source, &there).map_err(during)? {
                return set_traits(&source, &there, Kind::File).map_err(|error| during(error.into()));
            }
        }
        let write = || {
            match unlinkat(to, GROWING, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(error) => return Err(error.into()),
            }
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let new = File::from(openat(to, GROWING, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
            self.copier.copy(&source, &new, Extent::of(&fstat(&source)?), &mut vec![0; BUFFER])?;
            set_traits(&source, &new, Kind::File)?;
            Ok::<_, io::Error>(())
        };
        write().map_err(during)?;
        self.put_aside(to, name)?;
        renameat2(to, GROWING, to, name.as_c_str(), RenameFlags::RENAME_NOREPLACE)
            .map_err(|error| self.failed("rename", Some(name), error))?;
        self.done.written += 1;
        Ok(())
    }

    /// Moves what stands under a name out of the tree; what is not there need not be moved.
    fn put_aside(&mut self, from: &OwnedFd, name: &CString) -> Result<(), Failure> {
        if name.as_c_str() == GROWING {
            return unlinkat(from, GROWING, UnlinkatFlags::NoRemoveDir)
                .map_err(|error| self.failed("remove", Some(name), error));
        }
        if let Err(Errno::ENOENT) = fstatat(from, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            return Ok(());
        }
        let failed = |error: io::Error| machine(format!("put {} aside", self.shown(Some(name))), error);
        let place = self.path.iter().fold(self.aside.clone(), |place, part| place.join(os(part)));
        std::fs::create_dir_all(&place).map_err(failed)?;
        let place = walk::open_directory(&place)?;
        renameat2(from, name.as_c_str(), &place, name.as_c_str(), RenameFlags::RENAME_NOREPLACE)
            .map_err(|error| failed(error.into()))?;
        self.done.aside += 1;
        Ok(())
    }

    fn names(&self, directory: &OwnedFd) -> Result<Vec<Name>, Failure> {
        walk::names_of(directory.as_fd()).map_err(|error| self.failed("read", None, error))
    }

    fn failed(&self, during: &str, name: Option<&CString>, error: Errno) -> Failure {
        machine(format!("{during} {}", self.shown(name)), error)
    }

    fn shown(&self, name: Option<&CString>) -> String {
        let parts: Vec<&[u8]> = self.path.iter().chain(name).map(|part| part.as_bytes()).collect();
        if parts.is_empty() { ".".to_owned() } else { names::escape(&parts.join(&b'/')) }
    }
}

/// Sockets, pipes and devices are in no copy, and may stay where no file is to be.
fn is_in_the_way(there: Kind, wanted: Option<&Kind>) -> bool {
    match wanted {
        Some(wanted) => *wanted != there,
        None => !matches!(there, Kind::Strange(_)),
    }
}

fn is_strange(name: &Name) -> bool {
    matches!(name.kind, Kind::Strange(_)) || name.text.as_c_str() == GROWING
}

fn is_same(one: &File, other: &File) -> io::Result<bool> {
    let (a, b) = (one.metadata()?, other.metadata()?);
    if a.len() != b.len() || !b.is_file() {
        return Ok(false);
    }
    let (mut one, mut other) =
        (io::BufReader::with_capacity(128 << 10, one), io::BufReader::with_capacity(128 << 10, other));
    loop {
        let (left, right) = (io::BufRead::fill_buf(&mut one)?, io::BufRead::fill_buf(&mut other)?);
        let both = left.len().min(right.len());
        if left.get(..both) != right.get(..both) {
            return Ok(false);
        }
        if both == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        io::BufRead::consume(&mut one, both);
        io::BufRead::consume(&mut other, both);
    }
}

/// The copy's traits are what the tree had, but for what never travels.
fn set_traits(from: &impl AsFd, to: &impl AsFd, kind: Kind) -> nix::Result<()> {
    let traits = of_open(from.as_fd())?;
    give(to.as_fd(), &Traits { mode: traits.mode & Purpose::Edited.bits(kind), ..traits })
}

fn os(name: &CString) -> &std::ffi::OsStr {
    std::ffi::OsStr::from_bytes(name.as_bytes())
}
