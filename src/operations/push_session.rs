//! A push whose git is running: who pushes, to what, and what a Ctrl-C of theirs means.

use crate::git::Verdict as RefVerdict;
use crate::model::{Actor, ProjectName, Repository};
use crate::pipeline::Handle;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One push, from its connection to the end of its git; cheap to clone.
#[derive(Clone)]
pub struct PushSession {
    pub actor: Actor,
    pub project: ProjectName,
    pub repository: Repository,
    /// The client's history is cut off: git itself must move the refs.
    pub shallow: Arc<AtomicBool>,
    watched: Arc<Mutex<Watched>>,
}

/// What a Ctrl-C of the pusher means.
#[derive(Default)]
enum Watched {
    /// Nothing was set off yet.
    #[default]
    Nothing,
    Deployment(Handle),
    /// It came already: what is set off from now on is cancelled at once.
    Interrupted,
}

impl PushSession {
    pub fn new(actor: &Actor, project: &ProjectName, repository: Repository) -> Self {
        Self {
            actor: actor.clone(),
            project: project.clone(),
            repository,
            shallow: Arc::default(),
            watched: Arc::default(),
        }
    }

    /// The pusher pressed Ctrl-C. Too late is fine: then the deployment runs to its end without a viewer.
    pub fn interrupt(&self) {
        let before = std::mem::replace(&mut *self.watched(), Watched::Interrupted);
        if let Watched::Deployment(handle) = before {
            let _ = handle.control.cancel();
        }
    }

    pub(super) fn watch(&self, handle: &Handle) {
        let mut watched = self.watched();
        if matches!(*watched, Watched::Interrupted) {
            let _ = handle.control.cancel();
        } else {
            *watched = Watched::Deployment(handle.clone());
        }
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_shallow(&self) -> bool {
        self.shallow.load(Ordering::SeqCst)
    }

    /// Who is to move a ref that we allow to move.
    pub(super) fn moved(&self) -> RefVerdict {
        if self.is_shallow() { RefVerdict::GitMoves } else { RefVerdict::Ok }
    }
}
