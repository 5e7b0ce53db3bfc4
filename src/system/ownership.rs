//! Giving a whole tree to a user, while that user may be changing it: by file descriptors, never by paths, never
//! through a symbolic link, never into another mount. Asked for through [`super::privileged`].

use super::UserIds;
use super::files::FileError;
use nix::dir::{Dir, OwningIter};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{Gid, Uid, fchownat};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Deepest tree; each level keeps one descriptor open.
const DEEPEST: usize = 512;

/// Gives `top` and everything below to `owner`, without crossing mounts. Answers what was left alone: devices, and
/// files with several names that are not the owner's yet, since another name may be somebody else's file.
pub fn give_tree(top: &Path, owner: UserIds) -> Result<Vec<PathBuf>, FileError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: Errno| FileError::new("give away", &path, error)
    };
    let root = open(top, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed(top))?;
    let mut left_alone = Vec::new();
    let mut levels = Vec::new();
    let mut here = top.to_owned();
    levels.extend(visit(root, &here, owner, &mut left_alone).map_err(failed(&here))?);
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.next_name().map_err(failed(&here))? else {
            levels.pop();
            here.pop();
            continue;
        };
        let path = here.join(OsStr::from_bytes(&name));
        let Some(entry) = level.open(&name).map_err(failed(&path))? else { continue };
        if let Some(below) = visit(entry, &path, owner, &mut left_alone).map_err(failed(&path))? {
            if levels.len() >= DEEPEST {
                return Err(failed(&path)(Errno::ELOOP));
            }
            levels.push(below);
            here = path;
        }
    }
    Ok(left_alone)
}

/// An open directory and what is still to be seen in it.
struct Level {
    directory: OwnedFd,
    entries: OwningIter,
}

impl Level {
    fn new(place: &OwnedFd) -> nix::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = openat(place, ".", flags, Mode::empty())?;
        let entries = Dir::openat(place, ".", flags, Mode::empty())?.into_iter();
        Ok(Self { directory, entries })
    }

    fn next_name(&mut self) -> nix::Result<Option<Vec<u8>>> {
        for entry in self.entries.by_ref() {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// `None`: gone meanwhile, or another mount.
    fn open(&self, name: &[u8]) -> nix::Result<Option<OwnedFd>> {
        let stay = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_BENEATH;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat2(&self.directory, OsStr::from_bytes(name), OpenHow::new().flags(flags).resolve(stay)) {
            Ok(entry) => Ok(Some(entry)),
            Err(Errno::ENOENT | Errno::EXDEV) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Gives one thing away; a directory is then gone through.
fn visit(entry: OwnedFd, path: &Path, owner: UserIds, left_alone: &mut Vec<PathBuf>) -> nix::Result<Option<Level>> {
    let found = fstat(&entry)?;
    if !may_be_given(&found, owner) {
        left_alone.push(path.to_owned());
        return Ok(None);
    }
    if (found.st_uid, found.st_gid) != (owner.uid, owner.gid) {
        fchownat(&entry, "", Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)), AtFlags::AT_EMPTY_PATH)?;
    }
    if kind(&found) == SFlag::S_IFDIR { Level::new(&entry).map(Some) } else { Ok(None) }
}

fn may_be_given(found: &FileStat, owner: UserIds) -> bool {
    match kind(found) {
        SFlag::S_IFBLK | SFlag::S_IFCHR => false,
        SFlag::S_IFDIR => true,
        _ => found.st_nlink == 1 || found.st_uid == owner.uid,
    }
}

fn kind(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::mount::{MsFlags, mount, umount};
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    const USER: UserIds = UserIds { uid: 29_871, gid: 29_871 };

    fn owner(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }

    #[test]
    fn a_tree_is_given_with_its_links_but_not_what_they_point_to() {
        let scratch = tempfile::tempdir().unwrap();
        let (tree, outside) = (scratch.path().join("tree"), scratch.path().join("outside"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/file"), "").unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "").unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        assert!(give_tree(&tree, USER).unwrap().is_empty());
        for name in ["", "a", "a/b", "a/b/file", "link"] {
            assert_eq!(owner(&tree.join(name)), USER.uid, "{name}");
        }
        assert_eq!((owner(&outside), owner(&outside.join("file"))), (0, 0));
    }

    #[test]
    fn somebody_elses_file_is_not_given_away_through_a_hard_link() {
        let scratch = tempfile::tempdir().unwrap();
        let tree = scratch.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(scratch.path().join("shadow"), "").unwrap();
        fs::hard_link(scratch.path().join("shadow"), tree.join("mine")).unwrap();
        assert_eq!(give_tree(&tree, USER).unwrap(), [tree.join("mine")]);
        assert_eq!(owner(&scratch.path().join("shadow")), 0);
    }

    #[test]
    fn another_mount_below_is_not_touched() {
        let scratch = tempfile::tempdir().unwrap();
        let (tree, data) = (scratch.path().join("tree"), scratch.path().join("data"));
        fs::create_dir_all(tree.join("data")).unwrap();
        fs::create_dir(&data).unwrap();
        fs::write(data.join("file"), "").unwrap();
        mount(Some(&data), &tree.join("data"), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let given = give_tree(&tree, USER);
        umount(&tree.join("data")).unwrap();
        given.unwrap();
        assert_eq!((owner(&tree), owner(&data), owner(&data.join("file"))), (USER.uid, 0, 0));
    }

    #[test]
    fn a_tree_that_is_too_deep_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let deep: PathBuf = std::iter::repeat_n("d", DEEPEST + 2).collect();
        fs::create_dir_all(scratch.path().join(deep)).unwrap();
        assert!(give_tree(scratch.path(), USER).is_err());
    }
}
