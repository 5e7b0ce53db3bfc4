//! Everything Commis does as root besides starting jobs: a closed list of requests, as data, and one match that carries
//! them out. A new power is a new variant. Nothing is decided here, and no path is built here.

use super::UserIds;
use super::binding;
use super::failpoint;
use super::files::{self, Durability, FileError, Placement};
use super::ownership::{self, Enforced, Rule};
use super::tools::{self, Tool};
use super::volumes;
use crate::model::{Code, Failure};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::mount::{MntFlags, umount2};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// One request. Paths are absolute and have no `..`. Contents may be secret, hence no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub enum Operation {
    /// Makes a directory, or corrects mode and owner of the one that is there.
    MakeDirectory { path: PathBuf, owner: UserIds, mode: u32 },
    /// Swaps two names in one step that survives a power cut.
    Exchange { a: PathBuf, b: PathBuf },
    /// Renames, and makes it survive a power cut. An existing file or empty directory in the way is replaced.
    Rename { from: PathBuf, to: PathBuf },
    /// Makes everything on the file system of `path` survive a power cut.
    SyncFileSystem { path: PathBuf },
    /// Puts a file in place as a whole.
    WriteFile { path: PathBuf, content: Content, owner: UserIds, mode: u32, durability: Durability },
    /// Makes a symbolic link with this text; one that is there already stays as it is.
    Link { path: PathBuf, text: PathBuf },
    /// Removes a file; one that is gone already is no error.
    RemoveFile { path: PathBuf },
    /// Takes a mount away, at once and wholly, or not at all: whoever uses it keeps it.
    Unmount { path: PathBuf },
    /// Makes the file behind a loop device larger, with its space, and tells the device.
    GrowLoop { device: PathBuf, file: PathBuf, to: u64 },
    /// Shows a directory below `beneath` at another name there, which must be empty.
    Bind { beneath: PathBuf, source: PathBuf, target: PathBuf },
    /// Ends that. What is in use stays: [`Code::Busy`].
    Unbind { beneath: PathBuf, target: PathBuf },
}

impl Operation {
    fn name(&self) -> &'static str {
        match self {
            Operation::MakeDirectory { .. } => "make-directory",
            Operation::Exchange { .. } => "exchange",
            Operation::Rename { .. } => "rename",
            Operation::SyncFileSystem { .. } => "sync-file-system",
            Operation::WriteFile { .. } => "write-file",
            Operation::Link { .. } => "link",
            Operation::RemoveFile { .. } => "remove-file",
            Operation::Unmount { .. } => "unmount",
            Operation::GrowLoop { .. } => "grow-loop",
            Operation::Bind { .. } => "bind",
            Operation::Unbind { .. } => "unbind",
        }
    }
}

/// Bytes that nobody may read in a log.
#[derive(Clone, Serialize, Deserialize)]
pub struct Content(pub Vec<u8>);

/// Carries one operation out. A full disk is [`Code::DiskFull`], everything else [`Code::Internal`] with the path.
pub fn perform(operation: &Operation) -> Result<(), Failure> {
    failpoint::reach(|| format!("operation.{}.before", operation.name()))?;
    carry_out(operation)?;
    failpoint::reach(|| format!("operation.{}.after", operation.name()))
}

fn carry_out(operation: &Operation) -> Result<(), Failure> {
    match operation {
        Operation::MakeDirectory { path, owner, mode } => {
            files::create_directory(checked(path)?, *mode, Some(*owner))?;
        }
        Operation::Exchange { a, b } => rename(checked(a)?, checked(b)?, RenameFlags::RENAME_EXCHANGE)?,
        Operation::Rename { from, to } => rename(checked(from)?, checked(to)?, RenameFlags::empty())?,
        Operation::SyncFileSystem { path } => files::sync_file_system(checked(path)?)?,
        Operation::WriteFile { path, content, owner, mode, durability } => {
            let placement = Placement { mode: *mode, owner: Some(*owner), durability: *durability };
            files::write(checked(path)?, &content.0, placement)?;
        }
        Operation::Link { path, text } => link(checked(path)?, text)?,
        Operation::RemoveFile { path } => remove_file(checked(path)?)?,
        Operation::Unmount { path } => unmount(checked(path)?)?,
        Operation::GrowLoop { device, file, to } => volumes::grow_loop(checked(device)?, checked(file)?, *to)?,
        Operation::Bind { beneath, source, target } => binding::bind(checked(beneath)?, (source, target))?,
        Operation::Unbind { beneath, target } => unbind(checked(beneath)?, target)?,
    }
    Ok(())
}

/// Puts owners and modes of a tree right: see [`super::ownership`] for what is left alone.
pub fn enforce(rule: &Rule) -> Result<Enforced, Failure> {
    checked(&rule.path)?;
    Ok(ownership::enforce(rule)?)
}

/// Runs one of the file systems' own programs.
pub async fn run(tool: &Tool) -> Result<(), Failure> {
    tools::run(tool).await
}

/// Requests may one day come over a socket: what no caller of ours would ask for is refused.
fn checked(path: &Path) -> Result<&Path, Failure> {
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if plain && path.is_absolute() && path.parent().is_some() {
        return Ok(path);
    }
    Err(Failure::new(Code::Internal, format!("not an absolute path without ..: {}", path.display())))
}

fn unbind(beneath: &Path, target: &Path) -> Result<(), Failure> {
    let place = beneath.join(target);
    binding::unbind(beneath, target).map_err(|error| match error.kind() {
        ErrorKind::ResourceBusy => Failure::new(Code::Busy, format!("{} is in use", place.display()))
            .hint(format!("somebody works there; fuser -vm {} shows who", place.display())),
        _ => error.into(),
    })
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> Result<(), FileError> {
    let during = if flags.is_empty() { "rename" } else { "exchange" };
    renameat2(AT_FDCWD, from, AT_FDCWD, to, flags).map_err(|error| FileError::new(during, from, error))?;
    let parents = [from.parent(), to.parent()];
    parents.into_iter().flatten().try_for_each(files::sync_directory)
}

fn link(path: &Path, text: &Path) -> Result<(), FileError> {
    match std::os::unix::fs::symlink(text, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(FileError::new("link", path, error)),
        Ok(()) => path.parent().map_or(Ok(()), files::sync_directory),
    }
}

/// Never lazily: a mount that is only hidden still has its users.
fn unmount(path: &Path) -> Result<(), Failure> {
    match umount2(path, MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::EBUSY) => Err(Failure::new(Code::Busy, format!("{} is mounted and in use", path.display()))
            .hint(format!("who uses it: fuser -vm {}", path.display()))),
        Err(error) => Err(FileError::new("unmount", path, error).into()),
    }
}

fn remove_file(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::new("remove", path, error)),
        Ok(()) => path.parent().map_or(Ok(()), files::sync_directory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::mount::{MsFlags, mount, umount};
    use std::os::unix::fs::MetadataExt;

    const USER: UserIds = UserIds { uid: 29_871, gid: 29_871 };

    #[test]
    fn two_directories_change_places() {
        let scratch = tempfile::tempdir().unwrap();
        let (a, b) = (scratch.path().join("run"), scratch.path().join("next"));
        fs::create_dir(&a).unwrap();
        fs::create_dir(&b).unwrap();
        fs::write(b.join("new"), "").unwrap();
        perform(&Operation::Exchange { a: a.clone(), b: b.clone() }).unwrap();
        assert!(a.join("new").exists() && !b.join("new").exists());
        perform(&Operation::Rename { from: b.clone(), to: scratch.path().join("old") }).unwrap();
        assert!(!b.exists());
        let failure = perform(&Operation::Exchange { a, b }).unwrap_err();
        assert!(failure.code == Code::Internal && failure.what.starts_with("cannot exchange /"), "{failure}");
    }

    #[test]
    fn a_secret_file_is_its_users_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("dir/env");
        perform(&Operation::MakeDirectory { path: scratch.path().join("dir"), owner: USER, mode: 0o750 }).unwrap();
        let write = |durability| Operation::WriteFile {
            path: path.clone(),
            content: Content(b"hush".to_vec()),
            owner: USER,
            mode: 0o400,
            durability,
        };
        perform(&write(Durability::Volatile)).unwrap();
        perform(&write(Durability::Durable)).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777, found.len()), (USER.uid, 0o400, 4));
        perform(&Operation::RemoveFile { path: path.clone() }).unwrap();
        perform(&Operation::RemoveFile { path: path.clone() }).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_climbs_is_refused() {
        for path in ["relative", "/srv/../etc/passwd", "/"] {
            assert!(perform(&Operation::RemoveFile { path: path.into() }).is_err(), "{path}");
        }
    }

    #[test]
    fn a_full_disk_is_said_with_what_is_free() {
        let scratch = tempfile::tempdir().unwrap();
        mount(Some("tmpfs"), scratch.path(), Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
        let content = Content(vec![1; 100_000]);
        let path = scratch.path().join("big");
        let write = Operation::WriteFile { path, content, owner: USER, mode: 0o600, durability: Durability::Durable };
        let failed = perform(&write);
        let left = fs::read_dir(scratch.path()).unwrap().count();
        umount(scratch.path()).unwrap();
        let failure = failed.unwrap_err();
        assert_eq!(failure.code, Code::DiskFull, "{failure}");
        assert_eq!(left, 0, "no partial file stays");
    }
}
