//! What is known of scheduled tasks while the server lives: which run, which wait and for what, and what each live
//! release declares. What must outlive the server has rows.

use crate::config::Task;
use crate::model::{ProjectName, ReleaseVersion, TaskName};
use crate::sandbox::Cancel;
use crate::store::ReleaseRecord;
use crate::tasks::Held;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Cheap to clone; every clone knows the same.
#[derive(Clone)]
pub(super) struct TaskDesk(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

type Key = (ProjectName, TaskName);
/// A release and the deployment that made it live: the same again is read again.
type Source = (ReleaseVersion, Option<u32>);

#[derive(Default)]
struct State {
    running: HashMap<Key, Running>,
    held: HashMap<Key, Held>,
    declared: HashMap<ProjectName, (Source, Arc<Vec<Task>>)>,
}

struct Running {
    cancel: Cancel,
    why: Option<&'static str>,
}

/// A run that goes on. Dropping it is its end.
pub(super) struct RunPlace {
    desk: TaskDesk,
    key: Key,
    /// Told when it must end; [`RunPlace::why`] says why.
    pub(super) cancel: Cancel,
}

impl Default for TaskDesk {
    fn default() -> Self {
        Self(Arc::new(Inner { state: Mutex::default(), changes: watch::channel(()).0 }))
    }
}

impl TaskDesk {
    /// A run begins. Its row says that it is the only one.
    pub(super) fn begin(&self, project: &ProjectName, task: &TaskName) -> RunPlace {
        let (key, cancel) = ((project.clone(), task.clone()), Cancel::default());
        let mut state = self.lock();
        state.held.remove(&key);
        state.running.insert(key.clone(), Running { cancel: cancel.clone(), why: None });
        RunPlace { desk: self.clone(), key, cancel }
    }

    pub(super) fn runs(&self, project: &ProjectName, task: &TaskName) -> bool {
        self.lock().running.contains_key(&(project.clone(), task.clone()))
    }

    pub(super) fn count(&self, project: &ProjectName) -> usize {
        self.lock().running.keys().filter(|(name, _)| name == project).count()
    }

    pub(super) fn hold(&self, project: &ProjectName, task: &TaskName, held: Held) {
        self.lock().held.insert((project.clone(), task.clone()), held);
    }

    pub(super) fn let_go(&self, project: &ProjectName, task: &TaskName) {
        self.lock().held.remove(&(project.clone(), task.clone()));
    }

    pub(super) fn held(&self, project: &ProjectName, task: &TaskName) -> Option<Held> {
        self.lock().held.get(&(project.clone(), task.clone())).cloned()
    }

    /// Tells the run of a task to end.
    pub(super) fn end(&self, project: &ProjectName, task: &TaskName, why: &'static str) {
        if let Some(running) = self.lock().running.get_mut(&(project.clone(), task.clone())) {
            running.why.get_or_insert(why);
            running.cancel.cancel();
        }
    }

    /// Ends those of a project, or all; returns when none of them is left.
    pub(super) async fn end_all(&self, project: Option<&ProjectName>, why: &'static str) {
        let mut changes = self.changes();
        loop {
            let left: Vec<Key> = {
                let state = self.lock();
                state
                    .running
                    .keys()
                    .filter(|(name, _)| project.is_none_or(|project| project == name))
                    .cloned()
                    .collect()
            };
            if left.is_empty() {
                return;
            }
            left.iter().for_each(|(project, task)| self.end(project, task, why));
            // The sender lives in `self`.
            let _ = changes.changed().await;
        }
    }

    /// What a release declares, when that was read since it became live.
    pub(super) fn declared(&self, project: &ProjectName, release: &ReleaseRecord) -> Option<Arc<Vec<Task>>> {
        let state = self.lock();
        let (source, tasks) = state.declared.get(project)?;
        (*source == source_of(release)).then(|| tasks.clone())
    }

    pub(super) fn remember(&self, project: &ProjectName, release: &ReleaseRecord, tasks: Arc<Vec<Task>>) {
        self.lock().declared.insert(project.clone(), (source_of(release), tasks));
    }

    /// Told when a run has ended.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn source_of(release: &ReleaseRecord) -> Source {
    (release.version, release.served.map(|number| number.0))
}

impl RunPlace {
    /// Why it was told to end.
    pub(super) fn why(&self) -> Option<&'static str> {
        self.desk.lock().running.get(&self.key).and_then(|running| running.why)
    }
}

impl Drop for RunPlace {
    fn drop(&mut self) {
        self.desk.lock().running.remove(&self.key);
        self.desk.0.changes.send_replace(());
    }
}
