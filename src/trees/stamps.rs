//! What a tree looked like to `stat(2)` when it was last known to be exactly its release: one digest over the inode, size,
//! mode, owner and times of everything in it. The same stamp later means that nobody but root can have changed anything,
//! because no call sets a file's ctime; it costs a look at each entry, and no content is read.
//!
//! A stamp is taken of a tree that was just unpacked and verified. Where it does not match, `compare::verify_tree` reads
//! everything and has the last word; who may rely on it, and when, is in `pipeline::kept`. The root's own times are left out: a rename changes them.

use super::faults::machine;
use super::names;
use super::walk::{self, Kind};
use crate::model::words::hex;
use crate::model::{Code, Failure};
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, fstat, fstatat};
use sha2::{Digest, Sha256};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Threads that look.
const LOOKERS: usize = 2;
/// Deeper trees are no releases.
const DEEPEST: usize = names::MAX_DEPTH + 1;

/// The digest of what `stat(2)` says about a tree; lower-case hex.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stamp(pub String);

/// Looks at a tree.
///
/// # Errors
/// `refused` for a mount below or a tree that changes meanwhile, `internal` when it cannot be read.
pub fn take(tree: &Path) -> Result<Stamp, Failure> {
    let root = walk::open_directory(tree)?;
    let desk = Desk::default();
    desk.lock().waiting.push(Vec::new());
    let looked = std::thread::scope(|scope| {
        let lookers: Vec<_> = (1..LOOKERS).map(|_| scope.spawn(|| look(&root, &desk))).collect();
        let mine = look(&root, &desk);
        let stopped = || Err(Failure::new(Code::Internal, "a thread ended unexpectedly"));
        lookers.into_iter().map(|other| other.join().unwrap_or_else(|_| stopped())).fold(mine, Result::and)
    });
    looked?;
    let mut directories = std::mem::take(&mut desk.lock().done);
    directories.sort_unstable();
    let mut whole = Sha256::new();
    for (path, sum) in directories {
        whole.update((path.len() as u64).to_le_bytes());
        whole.update(&path);
        whole.update(sum);
    }
    Ok(Stamp(hex(&whole.finalize().0)))
}

/// Directories to look at, and what was found in those that were.
#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// Paths from the root.
    waiting: Vec<Vec<u8>>,
    /// Threads that may still find more.
    busy: usize,
    done: Vec<(Vec<u8>, [u8; 32])>,
    failed: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next directory; `None` when there will be no more.
    fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        loop {
            if state.failed {
                return None;
            }
            if let Some(path) = state.waiting.pop() {
                state.busy += 1;
                return Some(path);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, path: Vec<u8>, found: Result<Looked, Failure>) -> Result<(), Failure> {
        let mut state = self.lock();
        state.busy -= 1;
        let result = found.map(|looked| {
            state.done.push((path, looked.sum));
            state.waiting.extend(looked.below);
        });
        state.failed |= result.is_err();
        drop(state);
        self.news.notify_all();
        result
    }
}

struct Looked {
    sum: [u8; 32],
    below: Vec<Vec<u8>>,
}

fn look(root: &OwnedFd, desk: &Desk) -> Result<(), Failure> {
    while let Some(path) = desk.next() {
        let found = directory(root, &path);
        desk.put(path, found)?;
    }
    Ok(())
}

/// One digest for the names of a directory and all that `stat(2)` says about them.
fn directory(root: &OwnedFd, path: &[u8]) -> Result<Looked, Failure> {
    if path.iter().filter(|byte| **byte == b'/').count() > DEEPEST {
        return Err(Failure::new(Code::Refused, format!("{}: {}", names::escape(path), names::BadName::Deep)));
    }
    let fd = open(root, path)?;
    let during = |error| machine(format!("look at {}", names::escape(path)), error);
    let (mut hash, mut below) = (Sha256::new(), Vec::new());
    for name in walk::names_of(fd.as_fd()).map_err(during)? {
        let stat = fstatat(&fd, name.text.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW).map_err(during)?;
        hash.update(name.text.as_bytes_with_nul());
        hash.update(record(&stat));
        if name.kind == Kind::Directory {
            let mut path = path.to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.text.as_bytes());
            below.push(path);
        }
    }
    Ok(Looked { sum: hash.finalize().0, below })
}

fn open(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Failure> {
    let place = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = openat2(root, place, OpenHow::new().flags(flags).resolve(resolve));
    let opened = opened.map_err(|error| walk::opening(path, error))?;
    fstat(&opened).map_err(|error| machine(format!("look at {}", names::escape(path)), error))?;
    Ok(opened)
}

/// What may not change: everything but the time of the last reading and the number of blocks.
fn record(stat: &FileStat) -> [u8; 64] {
    let fields: [u64; 8] = [
        stat.st_dev,
        stat.st_ino,
        u64::from(stat.st_mode) << 32 | stat.st_nlink & 0xffff_ffff,
        u64::from(stat.st_uid) << 32 | u64::from(stat.st_gid),
        stat.st_size as u64,
        (stat.st_mtime as u64).wrapping_mul(1_000_000_000).wrapping_add(stat.st_mtime_nsec as u64),
        (stat.st_ctime as u64).wrapping_mul(1_000_000_000).wrapping_add(stat.st_ctime_nsec as u64),
        0,
    ];
    let mut bytes = [0; 64];
    for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn tree() -> tempfile::TempDir {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("tree");
        for directory in 0..20 {
            let path = root.join(format!("d{directory}/below"));
            fs::create_dir_all(&path).unwrap();
            for file in 0..5 {
                fs::write(path.join(format!("f{file}")), format!("{directory} {file}")).unwrap();
            }
        }
        symlink("d0", root.join("link")).unwrap();
        scratch
    }

    #[test]
    fn a_tree_that_nobody_touched_keeps_its_stamp_under_another_name() {
        let scratch = tree();
        let (path, moved) = (scratch.path().join("tree"), scratch.path().join("moved"));
        let before = take(&path).unwrap();
        assert_eq!(take(&path).unwrap(), before);
        fs::read(path.join("d3/below/f1")).unwrap();
        fs::rename(&path, &moved).unwrap();
        assert_eq!(take(&moved).unwrap(), before);
    }

    #[test]
    fn every_change_changes_it_even_one_that_puts_the_times_back() {
        let scratch = tree();
        let path = scratch.path().join("tree");
        let file = path.join("d7/below/f2");
        let mut seen = vec![take(&path).unwrap()];
        let mut changed = |what: &str| {
            let now = take(&path).unwrap();
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };
        let times = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "7 3").unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
        changed("other content of the same size and mtime");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        changed("mode");
        fs::hard_link(&file, scratch.path().join("outside")).unwrap();
        changed("another name for it elsewhere");
        fs::write(path.join("d9/new"), "").unwrap();
        changed("a new file");
        fs::remove_file(path.join("link")).unwrap();
        changed("a link less");
        fs::create_dir(path.join("empty")).unwrap();
        changed("an empty directory");
    }

    #[test]
    fn what_is_mounted_below_is_not_looked_at_as_if_it_were_the_tree() {
        use nix::mount::{MsFlags, mount, umount};
        let scratch = tree();
        let path = scratch.path().join("tree");
        let other = scratch.path().join("other");
        fs::create_dir(&other).unwrap();
        mount(Some(&other), &path.join("d1"), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let taken = take(&path);
        umount(&path.join("d1")).unwrap();
        assert_eq!(taken.unwrap_err().code, Code::Refused);
    }
}
