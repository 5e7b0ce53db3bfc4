//! Where deployments stand in line: the queues of all projects, and the handles of what runs or waits.

use super::control::Handle;
use super::queue::{Joined, Queue, Standing, Ticket};
use crate::model::{DeploymentNumber, ProjectName};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// All queues; cheap to clone.
#[derive(Clone)]
pub struct Desk {
    state: Arc<Mutex<State>>,
    arriving: Arc<Mutex<()>>,
    changes: Arc<watch::Sender<u64>>,
}

/// Deployments are numbered from 1.
const NOBODY: DeploymentNumber = DeploymentNumber(0);

/// Nobody deploys the project while this is held.
pub struct Closed {
    desk: Desk,
    project: ProjectName,
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.desk.leave(&self.project, NOBODY);
    }
}

#[derive(Default)]
struct State {
    queues: HashMap<ProjectName, Queue>,
    handles: HashMap<(ProjectName, DeploymentNumber), (Handle, String)>,
}

impl Default for Desk {
    fn default() -> Self {
        Self { state: Arc::default(), arriving: Arc::default(), changes: Arc::new(watch::channel(0).0) }
    }
}

impl Desk {
    /// While this is held nobody is between the row that was made and the line.
    pub fn hold_arrivals(&self) -> MutexGuard<'_, ()> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets in line.
    pub fn join(&self, project: &ProjectName, ticket: Ticket, handle: Handle) -> Joined {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.handles.insert((project.clone(), ticket.number), (handle, ticket.title.clone()));
        let joined = state.queues.entry(project.clone()).or_default().join(ticket);
        drop(state);
        self.changes.send_modify(|count| *count += 1);
        joined
    }

    /// Leaves the line, and lets the next one in.
    pub fn leave(&self, project: &ProjectName, number: DeploymentNumber) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.handles.remove(&(project.clone(), number));
        if let Some(queue) = state.queues.get_mut(project) {
            queue.leave(number);
            if queue.is_idle() {
                state.queues.remove(project);
            }
        }
        drop(state);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Takes the turn of a project that nobody wants to deploy; whoever comes meanwhile waits. `None`: somebody does.
    pub fn close(&self, project: &ProjectName, title: &str) -> Option<Closed> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = state.queues.entry(project.clone()).or_default();
        if !queue.is_idle() {
            return None;
        }
        queue.join(Ticket { number: NOBODY, key: None, title: title.to_owned() });
        Some(Closed { desk: self.clone(), project: project.clone() })
    }

    pub fn standing(&self, project: &ProjectName, number: DeploymentNumber) -> Standing {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.queues.get(project).map_or(Standing::Gone, |queue| queue.standing(number))
    }

    /// Told at every change of any queue.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub fn handle(&self, project: &ProjectName, number: DeploymentNumber) -> Option<Handle> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.handles.get(&(project.clone(), number)).map(|(handle, _)| handle.clone())
    }

    /// The one that runs, or waits first; one that only tidies up after its verdict is neither.
    pub fn foremost(&self, project: &ProjectName) -> Option<Handle> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let going = |handle: &Handle| handle.verdict.borrow().is_none();
        let of_project = state.handles.iter().filter(|((name, _), (handle, _))| name == project && going(handle));
        let number = of_project.map(|((_, number), _)| *number).min()?;
        state.handles.get(&(project.clone(), number)).map(|(handle, _)| handle.clone())
    }

    /// `blog #44 by alice` of everything that runs or waits.
    pub fn titles(&self) -> Vec<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut titles: Vec<String> =
            state.handles.iter().map(|((project, _), (_, title))| format!("{project} {title}")).collect();
        titles.sort();
        titles
    }

    pub fn is_idle(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).handles.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_project_is_closed_once_and_open_again_afterwards() {
        let (desk, blog) = (Desk::default(), ProjectName::parse("blog").unwrap());
        let closed = desk.close(&blog, "destroy").unwrap();
        assert!(desk.close(&blog, "destroy").is_none());
        drop(closed);
        assert!(desk.close(&blog, "destroy").is_some());
    }
}
