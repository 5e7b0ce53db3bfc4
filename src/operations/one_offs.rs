//! Which one-off commands run: so many of one project at a time, each with a number of its own, and all of them ended
//! when their project or the server ends. What one of them does is `one_off`'s.

use crate::model::{Code, Failure, ProjectName};
use crate::sandbox::Cancel;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Cheap to clone; every clone knows the same ones.
#[derive(Clone)]
pub(super) struct OneOffs(Arc<Inner>);

struct Inner {
    running: Mutex<HashMap<ProjectName, BTreeMap<u32, Cancel>>>,
    changes: watch::Sender<()>,
    serial: AtomicU64,
}

impl Default for OneOffs {
    fn default() -> Self {
        let inner = Inner { running: Mutex::default(), changes: watch::channel(()).0, serial: AtomicU64::new(1) };
        Self(Arc::new(inner))
    }
}

/// One that may run. Dropping it makes room.
pub(super) struct Place {
    one_offs: OneOffs,
    project: ProjectName,
    /// From 1; the smallest that is free: `run.1`.
    pub(super) index: u32,
    /// Different from that of every other one since the server started.
    pub(super) serial: u64,
    /// Told when it must end.
    pub(super) cancel: Cancel,
}

impl OneOffs {
    /// # Errors
    /// `Busy` when there are enough.
    pub(super) fn take(&self, project: &ProjectName, most: u32) -> Result<Place, Failure> {
        let mut running = self.lock();
        let own = running.entry(project.clone()).or_default();
        let Some(index) = (1..=most).find(|index| !own.contains_key(index)) else {
            let what = format!("{} one-off commands of {project} run already", own.len());
            return Err(Failure::new(Code::Busy, what).hint("wait for one of them; the limit is [run] at_once"));
        };
        let cancel = Cancel::default();
        own.insert(index, cancel.clone());
        let serial = self.0.serial.fetch_add(1, Ordering::Relaxed);
        Ok(Place { one_offs: self.clone(), project: project.clone(), index, serial, cancel })
    }

    /// Ends those of a project, or all; returns when none of them is left.
    pub(super) async fn end(&self, project: Option<&ProjectName>) {
        let mut changes = self.0.changes.subscribe();
        loop {
            let left: Vec<Cancel> = self.of(project);
            if left.is_empty() {
                return;
            }
            left.iter().for_each(Cancel::cancel);
            // The sender lives in `self`.
            let _ = changes.changed().await;
        }
    }

    fn of(&self, project: Option<&ProjectName>) -> Vec<Cancel> {
        let running = self.lock();
        let meant = running.iter().filter(|(name, _)| project.is_none_or(|project| project == *name));
        meant.flat_map(|(_, own)| own.values().cloned()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ProjectName, BTreeMap<u32, Cancel>>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut running = self.one_offs.lock();
        if let Some(own) = running.get_mut(&self.project) {
            own.remove(&self.index);
            if own.is_empty() {
                running.remove(&self.project);
            }
        }
        drop(running);
        self.one_offs.0.changes.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProjectName {
        ProjectName::parse(text).unwrap()
    }

    #[test]
    fn each_has_a_number_and_there_are_so_many() {
        let (one_offs, blog) = (OneOffs::default(), name("blog"));
        let first = one_offs.take(&blog, 2).unwrap();
        let second = one_offs.take(&blog, 2).unwrap();
        assert_eq!((first.index, second.index), (1, 2));
        assert_eq!(one_offs.take(&blog, 2).err().map(|failure| failure.code), Some(Code::Busy));
        assert!(one_offs.take(&name("wiki"), 2).is_ok());
        drop(first);
        let third = one_offs.take(&blog, 2).unwrap();
        assert!(third.index == 1 && third.serial > second.serial);
    }

    #[tokio::test]
    async fn the_end_of_a_project_waits_for_its_own() {
        let (one_offs, blog) = (OneOffs::default(), name("blog"));
        let (mine, other) = (one_offs.take(&blog, 2).unwrap(), one_offs.take(&name("wiki"), 2).unwrap());
        let working = tokio::spawn(async move {
            mine.cancel.cancelled().await;
        });
        one_offs.end(Some(&blog)).await;
        working.await.unwrap();
        assert!(!other.cancel.is_cancelled());
    }
}
