//! The only room that touches the kernel beyond plain reading and writing of files: processes, users, mounts,
//! cgroups, durable writes, the clock, random numbers.
//!
//! What needs root is a value of [`privileged::Operation`], a closed list of serialisable requests, carried out by
//! one match. It runs in this process today; it is shaped to cross a socket to a helper of its own later.

pub mod attributes;
pub mod binding;
pub mod cgroups;
pub mod clock;
pub mod command;
pub mod descent;
pub mod entropy;
pub mod failpoint;
pub mod files;
pub mod job;
pub mod memory;
pub mod mount_table;
pub mod mounts;
pub mod network;
pub mod own_key;
pub mod ownership;
pub mod passing;
pub mod powers;
pub mod privileged;
pub mod reading;
pub mod reflink;
pub mod removal;
pub mod terminal;
pub mod tools;
pub mod users;
pub mod volumes;

pub use cgroups::{Cgroups, Group, GroupLimits};
pub use job::{Access, Bind, Identity, Job, Limits, Network, Privacy, View};
pub use users::UserIds;
