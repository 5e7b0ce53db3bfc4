//! Scheduled tasks: which are due, and what is kept of what they say. How a project declares them is `config::tasks`';
//! rows are the store's, and starting them is `operations`'.

pub mod due;
pub mod log;

pub use due::{Act, Because, Cause, Decision, Held, Known, Readiness, decide};
pub use log::BoundedLog;
