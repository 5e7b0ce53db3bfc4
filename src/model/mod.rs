//! The words of Commis, as types: projects, pushes, modes, phases, deployments, releases, processes, failures.
//!
//! Pure: no input or output, no clock, no serialisation. Formats live at the edges (`config`, `store`,
//! `archives::manifest`, `verbs`). Nothing here uses another room.

pub mod actor;
pub mod deployment;
pub mod failure;
pub mod mode;
pub mod phase;
pub mod process;
pub mod project;
pub mod push;
pub mod release;
pub mod task;
pub mod terminal;
pub mod time;
pub mod words;

pub use actor::{Actor, Door};
pub use deployment::{DeploymentNumber, Outcome, Trigger};
pub use failure::{Code, Failure, Heard, chain};
pub use mode::{Because, Mode, Verdict};
pub use phase::Phase;
pub use process::{Exit, ProcessName, ProcessType};
pub use project::{ProjectName, Remote, Repository};
pub use push::{CommitId, RefName};
pub use release::{ReleasePart, ReleaseVersion, RollbackClass};
pub use task::{Missed, Overlap, TaskName};
pub use terminal::Window;
pub use time::Time;
