//! What people who are not looking may want to hear of. Today it goes to the server's log; mail and webhooks take it
//! from here, and nothing that happens waits for them.

use crate::model::ProjectName;

/// One thing worth telling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A scheduled task ended, and not well.
    TaskFailed {
        project: ProjectName,
        task: String,
        /// Number of the run: `commis task log PROJECT TASK RUN`.
        run: u32,
        /// `exit 3`, `killed: ran longer than 600 s`.
        what: String,
    },
}

/// Tells it to whoever there is to tell.
pub fn raise(event: &Event) {
    match event {
        Event::TaskFailed { project, task, run, what } => {
            tracing::warn!(%project, task, run, "a scheduled task failed: {what}");
        }
    }
}
