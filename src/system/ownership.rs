//! Who owns a tree, and what its modes allow, put right while its user may be changing it. By file descriptors (see
//! [`super::descent`]), so that nothing has to be stopped meanwhile. Asked for through [`super::privileged`].

use super::UserIds;
use super::descent::{self, Entry, Onward};
use super::files::FileError;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat};
use nix::unistd::{Gid, Uid, fchownat};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// How a tree shall be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// The tree; its top has an owner and a mode of its own in the layout, and is left alone.
    pub path: PathBuf,
    pub owner: UserIds,
    pub modes: Modes,
    /// Numbers of users of which some belong to other projects: from the first up to, not including, the second.
    pub strangers: (u32, u32),
    /// Those of these numbers that are this project's own.
    pub own: Vec<u32>,
}

/// What the modes of files and directories below the top may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Modes {
    /// The owner's business; but no file runs as its owner or group.
    NoSetId,
    /// A release: 0644, or 0755 for directories and what its owner may execute.
    Release,
}

/// What was done to a tree.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Enforced {
    /// Things whose owner or mode was wrong and is right now.
    pub changed: u64,
    /// Wrong, and left as they are: devices, other projects' things, what is immutable, and files with several names that
    /// are not the owner's, since another name may be somebody else's file.
    pub left_alone: Vec<PathBuf>,
}

/// Makes everything below the top of a tree as the rule says, without crossing mounts.
pub fn enforce(rule: &Rule) -> Result<Enforced, FileError> {
    let mut done = Enforced::default();
    let too_deep = descent::descend(&rule.path, &mut |entry| {
        if entry.path.as_os_str().is_empty() {
            return Ok(Onward::Into);
        }
        put_right(entry, rule, &mut done)
    })?;
    done.left_alone.extend(too_deep.into_iter().map(|path| rule.path.join(path)));
    Ok(done)
}

fn put_right(entry: &Entry<'_>, rule: &Rule, done: &mut Enforced) -> nix::Result<Onward> {
    let Some(pinned) = entry.pin()? else { return Ok(Onward::Past) };
    let found = fstat(&pinned)?;
    let onward = if kind(&found) == SFlag::S_IFDIR { Onward::Into } else { Onward::Past };
    let wrong_owner = (found.st_uid, found.st_gid) != (rule.owner.uid, rule.owner.gid);
    let mode = wanted_mode(&found, rule.modes).filter(|mode| *mode != found.st_mode & 0o7777);
    if !wrong_owner && mode.is_none() {
        return Ok(onward);
    }
    if !may_be_changed(&found, rule) {
        done.left_alone.push(rule.path.join(entry.path));
        return Ok(onward);
    }
    // Taking an owner's file away takes its set-id bits, so the mode comes second.
    let given = if wrong_owner { give(&pinned, rule.owner) } else { Ok(()) };
    match given.and_then(|()| mode.map_or(Ok(()), |mode| set_mode(&pinned, mode))) {
        // Not even root may: it is immutable (chattr +i).
        Err(Errno::EPERM) => done.left_alone.push(rule.path.join(entry.path)),
        put => {
            put?;
            done.changed += 1;
        }
    }
    Ok(onward)
}

fn give(pinned: &OwnedFd, owner: UserIds) -> nix::Result<()> {
    fchownat(pinned, "", Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)), AtFlags::AT_EMPTY_PATH)
}

/// By the number of the descriptor: the kernel goes to what is pinned, whatever its name is by now.
fn set_mode(pinned: &OwnedFd, mode: u32) -> nix::Result<()> {
    let by_number = format!("/proc/self/fd/{}", pinned.as_raw_fd());
    fchmodat(AT_FDCWD, by_number.as_str(), Mode::from_bits_truncate(mode), FchmodatFlags::FollowSymlink)
}

/// Pure. `None`: it has no mode that matters.
fn wanted_mode(found: &FileStat, modes: Modes) -> Option<u32> {
    let mode = found.st_mode & 0o7777;
    match (kind(found), modes) {
        (SFlag::S_IFREG, Modes::NoSetId) => Some(mode & !0o6000),
        (SFlag::S_IFREG, Modes::Release) => Some(if mode & 0o100 == 0 { 0o644 } else { 0o755 }),
        (SFlag::S_IFDIR, Modes::Release) => Some(0o755),
        _ => None,
    }
}

/// Pure.
fn may_be_changed(found: &FileStat, rule: &Rule) -> bool {
    let (uid, (first, end)) = (found.st_uid, rule.strangers);
    if (first..end).contains(&uid) && !rule.own.contains(&uid) {
        return false;
    }
    match kind(found) {
        SFlag::S_IFBLK | SFlag::S_IFCHR => false,
        SFlag::S_IFDIR => true,
        _ => found.st_nlink == 1 || uid == rule.owner.uid,
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
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    const USER: UserIds = UserIds { uid: 29_871, gid: 29_871 };

    fn rule(path: &Path) -> Rule {
        let path = path.to_owned();
        Rule { path, owner: USER, modes: Modes::NoSetId, strangers: (29_000, 30_000), own: vec![USER.uid, 29_870] }
    }

    fn owner(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_tree_is_given_with_its_links_but_not_what_they_point_to_and_its_top_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let (tree, outside) = (scratch.path().join("tree"), scratch.path().join("outside"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/file"), "").unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "").unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        let done = enforce(&rule(&tree)).unwrap();
        assert_eq!(done, Enforced { changed: 4, left_alone: Vec::new() });
        for name in ["a", "a/b", "a/b/file", "link"] {
            assert_eq!(owner(&tree.join(name)), USER.uid, "{name}");
        }
        assert_eq!((owner(&tree), owner(&outside), owner(&outside.join("file"))), (0, 0, 0));
        assert_eq!(enforce(&rule(&tree)).unwrap(), Enforced::default(), "what is right stays");
    }

    #[test]
    fn a_file_with_another_name_and_a_file_of_another_project_are_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let tree = scratch.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(scratch.path().join("shadow"), "").unwrap();
        fs::hard_link(scratch.path().join("shadow"), tree.join("mine")).unwrap();
        for (name, uid) in [("stranger", 29_500), ("sibling", 29_870), ("elsewhere", 77)] {
            fs::write(tree.join(name), "").unwrap();
            std::os::unix::fs::chown(tree.join(name), Some(uid), None).unwrap();
        }
        let done = enforce(&rule(&tree)).unwrap();
        let mut left = done.left_alone.clone();
        left.sort();
        assert_eq!(left, [tree.join("mine"), tree.join("stranger")]);
        assert_eq!((owner(&scratch.path().join("shadow")), owner(&tree.join("stranger"))), (0, 29_500));
        assert_eq!((owner(&tree.join("sibling")), owner(&tree.join("elsewhere"))), (USER.uid, USER.uid));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn what_is_immutable_is_left_alone_and_the_rest_is_put_right() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        fs::write(path("pinned"), "").unwrap();
        fs::write(path("rest"), "").unwrap();
        let chattr = |flag: &str| std::process::Command::new("chattr").arg(flag).arg(path("pinned")).status().unwrap();
        assert!(chattr("+i").success(), "this file system has no such flag");
        let done = enforce(&rule(scratch.path()));
        assert!(chattr("-i").success());
        assert_eq!(done.unwrap(), Enforced { changed: 1, left_alone: vec![path("pinned")] });
        assert_eq!((owner(&path("pinned")), owner(&path("rest"))), (0, USER.uid));
    }

    #[test]
    fn set_id_bits_go_and_a_release_has_the_modes_of_one() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        for (name, mode) in [("suid", 0o6755), ("secret", 0o600), ("script", 0o775)] {
            fs::write(path(name), "").unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        enforce(&rule(scratch.path())).unwrap();
        assert_eq!((mode(&path("suid")), mode(&path("secret")), mode(&path("script"))), (0o755, 0o600, 0o775));
        enforce(&Rule { modes: Modes::Release, ..rule(scratch.path()) }).unwrap();
        assert_eq!((mode(&path("secret")), mode(&path("script"))), (0o644, 0o755));
    }

    #[test]
    fn another_mount_below_is_not_touched() {
        let scratch = tempfile::tempdir().unwrap();
        let (tree, data) = (scratch.path().join("tree"), scratch.path().join("data"));
        fs::create_dir_all(tree.join("data")).unwrap();
        fs::create_dir(&data).unwrap();
        fs::write(data.join("file"), "").unwrap();
        mount(Some(&data), &tree.join("data"), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let given = enforce(&rule(&tree));
        umount(&tree.join("data")).unwrap();
        given.unwrap();
        assert_eq!((owner(&data), owner(&data.join("file"))), (0, 0));
    }

    #[test]
    fn a_deep_tree_is_gone_through_with_few_descriptors_until_paths_end() {
        let scratch = tempfile::tempdir().unwrap();
        let deep: PathBuf = std::iter::repeat_n("d", 1_500).collect();
        fs::create_dir_all(scratch.path().join(&deep)).unwrap();
        assert_eq!(enforce(&rule(scratch.path())).unwrap().changed, 1_500);
        let mut at = std::fs::File::open(scratch.path().join(deep)).unwrap().into();
        for _ in 0..1_000 {
            nix::sys::stat::mkdirat(&at, "deeper", Mode::S_IRWXU).unwrap();
            at = nix::fcntl::openat(&at, "deeper", nix::fcntl::OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        }
        drop(at);
        assert_eq!(enforce(&rule(scratch.path())).unwrap().left_alone.len(), 1, "too deep is said, not hidden");
    }
}
