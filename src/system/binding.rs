//! Showing one directory under a second name, and ending that: both ends lie beneath one directory of ours and are opened
//! without following any link. Asked for through [`super::privileged`]; when it is to be done is decided elsewhere.

use super::files::FileError;
use super::mounts::{self, Depth, Writing};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Shows `beneath/source` at `beneath/target`, an empty directory: writable, without set-uid and devices, private.
pub fn bind(beneath: &Path, (source, target): (&Path, &Path)) -> Result<(), FileError> {
    let failed = |error: io::Error| FileError::new("bind", &beneath.join(target), error);
    let root = open_root(beneath).map_err(|error| failed(error.into()))?;
    let from = inside(&root, source).map_err(|error| FileError::new("bind", &beneath.join(source), error))?;
    let onto = inside(&root, target).map_err(|error| failed(error.into()))?;
    let attach = || {
        if holds_something(&onto)? {
            return Err(Errno::ENOTEMPTY.into());
        }
        let tree = mounts::clone_mount(&from)?;
        mounts::restrict(&tree, Writing::Allowed, Depth::This)?;
        mounts::attach(&tree, &onto)?;
        // A mount that is attached below a shared one becomes shared.
        mounts::make_private(&tree)
    };
    attach().map_err(failed)
}

/// Takes what is mounted on top of `beneath/target` away.
pub fn unbind(beneath: &Path, target: &Path) -> Result<(), FileError> {
    let failed = |error: io::Error| FileError::new("unmount", &beneath.join(target), error);
    let root = open_root(beneath).map_err(|error| failed(error.into()))?;
    mounts::detach(&root, target).map_err(failed)
}

fn open_root(path: &Path) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

/// A directory of ours: no link, no other mount on the way.
fn inside(root: &OwnedFd, name: &Path) -> nix::Result<OwnedFd> {
    let stay = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_BENEATH;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat2(root, name, OpenHow::new().flags(flags).resolve(stay))
}

fn holds_something(directory: &OwnedFd) -> io::Result<bool> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut entries = nix::dir::Dir::openat(directory, ".", flags, Mode::empty())?;
    for entry in entries.iter() {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn places() -> tempfile::TempDir {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("run")).unwrap();
        fs::create_dir(scratch.path().join("project")).unwrap();
        fs::write(scratch.path().join("run/file"), "edited").unwrap();
        scratch
    }

    #[test]
    fn one_directory_has_two_names_until_it_is_unbound() {
        let scratch = places();
        let names = (Path::new("run"), Path::new("project"));
        bind(scratch.path(), names).unwrap();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let point = scratch.path().join("project").display().to_string();
        let line = table.lines().find(|line| line.contains(&point)).map(str::to_owned);
        let read = fs::read_to_string(scratch.path().join("project/file"));
        let twice = bind(scratch.path(), names);
        let busy = fs::File::open(scratch.path().join("project/file")).unwrap();
        let while_busy = unbind(scratch.path(), names.1);
        drop(busy);
        unbind(scratch.path(), names.1).unwrap();
        let line = line.unwrap();
        assert!(line.contains("nosuid,nodev") && !line.contains("shared:"), "{line}");
        assert_eq!(read.unwrap(), "edited");
        assert!(twice.is_err(), "what is bound is another mount already");
        assert_eq!(while_busy.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(fs::read_dir(scratch.path().join("project")).unwrap().count(), 0);
        assert!(unbind(scratch.path(), names.1).is_err());
    }

    #[test]
    fn neither_end_is_a_link_and_nothing_is_hidden() {
        let scratch = places();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), scratch.path().join("link")).unwrap();
        let refused = |names: (&str, &str)| bind(scratch.path(), (Path::new(names.0), Path::new(names.1))).is_err();
        let before = fs::metadata(outside.path()).unwrap().ino();
        assert!(refused(("run", "link")) && refused(("link", "project")) && refused(("run", "../x")));
        assert!(refused(("project", "run")), "run/ is not empty");
        assert!(refused(("run", "absent")));
        assert_eq!(fs::metadata(outside.path()).unwrap().ino(), before);
        assert!(unbind(scratch.path(), Path::new("link")).is_err());
    }
}
