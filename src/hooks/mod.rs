//! Scripts of a project that run around the phases: when ([`moment`]), which ([`find`](mod@find)), and what they are told and
//! what their end means ([`contract`]). All pure; `sandbox/` runs them and `pipeline/` says in which step.

pub mod contract;
pub mod find;
pub mod moment;

pub use contract::{HookContext, environment, failure};
pub use find::{DIRECTORY, Entry, Kind, find};
pub use moment::{Hook, Who};
