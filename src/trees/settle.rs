//! Making a finished file or tree appear under its name, whole or not at all, and durable. Nothing here knows what is in it.

use super::faults::machine;
use super::walk;
use crate::model::{Code, Failure};
use crate::system::failpoint;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Where something grows until it is whole: a sibling, so that the last rename stays on one file system.
pub fn partial(path: &Path) -> PathBuf {
    suffixed(path, ".partial")
}

/// `<path><suffix>`.
pub fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Renames, never replacing anything.
pub fn reveal(partial: &Path, path: &Path) -> Result<(), Failure> {
    failpoint::reach(|| "archives.reveal.before".into())?;
    match renameat2(AT_FDCWD, partial, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => failpoint::reach(|| "archives.reveal.after".into()),
        Err(Errno::EEXIST) => Err(Failure::new(Code::Exists, format!("{} is there already", path.display()))),
        Err(error) => Err(machine(format!("rename {}", partial.display()), error)),
    }
}

/// A small file that is there with all its bytes, or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    failpoint::reach(|| "archives.write-whole.before".into())?;
    let partial = partial(path);
    let during = |error| machine(format!("write {}", path.display()), error);
    let written = std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        // A half of it takes room on a disk that may have none.
        let _ = std::fs::remove_file(&partial);
    }
    written.map_err(during)
}

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> Result<(), Failure> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| machine(format!("sync {}", path.display()), error))
}

/// Everything that was written to the file system of `path` becomes durable: one call for a whole tree.
pub fn sync(path: &Path) -> Result<(), Failure> {
    nix::unistd::syncfs(walk::open_directory(path)?).map_err(|error| machine(format!("sync {}", path.display()), error))
}
