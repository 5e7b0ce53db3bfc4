//! Which repositories a git of ours is at work in. A git that is killed leaves its lock files and half-received objects
//! behind; they go when no other one is at work there that could own them.

use super::refs;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By repository: how many are at work, and whether one of them was killed.
static WORK: Mutex<BTreeMap<PathBuf, Work>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Copy, Default)]
struct Work {
    count: usize,
    killed: bool,
}

/// A git at work in a repository, until it is dropped.
pub struct AtWork {
    repository: PathBuf,
}

impl AtWork {
    /// To be called before it is started.
    pub fn begin(repository: &Path) -> Self {
        works().entry(repository.to_owned()).or_default().count += 1;
        Self { repository: repository.to_owned() }
    }

    /// It was ended by a signal: what it held is nobody's.
    pub fn was_killed(&self) {
        works().entry(self.repository.clone()).or_default().killed = true;
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        // Nobody begins meanwhile.
        let mut works = works();
        let Some(work) = works.get_mut(&self.repository) else { return };
        work.count = work.count.saturating_sub(1);
        if work.count > 0 {
            return;
        }
        let killed = work.killed;
        works.remove(&self.repository);
        if killed && let Err(error) = refs::clear_left_overs(&self.repository) {
            tracing::warn!(repository = %self.repository.display(), %error, "what a killed git left stays until the next start");
        }
    }
}

fn works() -> MutexGuard<'static, BTreeMap<PathBuf, Work>> {
    WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_a_killed_git_left_goes_when_nobody_else_is_at_work() {
        let scratch = tempfile::tempdir().unwrap();
        let lock = scratch.path().join("refs/heads/main.lock");
        fs::create_dir_all(scratch.path().join("refs/heads")).unwrap();
        fs::create_dir_all(scratch.path().join("objects/tmp_objdir-incoming-x")).unwrap();
        fs::write(&lock, "").unwrap();
        drop(AtWork::begin(scratch.path()));
        assert!(lock.exists(), "known-bad: one that ended by itself takes nobody's lock away");
        let (killed, other) = (AtWork::begin(scratch.path()), AtWork::begin(scratch.path()));
        killed.was_killed();
        drop(killed);
        assert!(lock.exists(), "it may be the other's");
        drop(other);
        assert!(!lock.exists() && fs::read_dir(scratch.path().join("objects")).unwrap().next().is_none());
    }
}
