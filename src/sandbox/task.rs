//! What the server asks the sandbox for: a job with its group and its time. Pure.

use crate::system::{GroupLimits, Job};
use std::time::Duration;

/// One thing to run.
#[derive(Clone)]
pub struct Task {
    /// Name of its cgroup, unique on this server: `blog.build.42`. Characters `[a-z0-9.-]`.
    pub name: String,
    /// `cgroups` of the job are filled in by the sandbox.
    pub job: Job,
    pub group: GroupLimits,
    /// Longest time it may run; everything in its cgroup is killed then. Used by [`super::Sandbox::run`] only.
    pub deadline: Option<Duration>,
}

/// Where a line was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stream {
    Out,
    Err,
}
