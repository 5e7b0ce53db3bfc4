//! Telling people what happens: the live log of a deployment, its words, and the filter for what scripts print.
//!
//! Nothing here decides what happens, and a deployment never fails or waits because somebody could not be told.
//! Mail, webhooks and journald will stand beside `live`, and take what [`events`] has.

pub mod events;
pub mod filter;
pub mod live;
pub mod words;

pub use filter::{Redactor, clean_line};
pub use live::{DeploymentLog, LogReader};
