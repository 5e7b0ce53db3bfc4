//! A release that was cooked elsewhere, as a goal: which one, where it comes from, what is demanded of it. Pure but for
//! the handle on the server that has it.

use super::Mover;
use super::release_policy::Insistence;
use crate::model::{CommitId, RefName, ReleaseVersion};
use crate::upstream::{Head, Upstream};

/// What is to be deployed, to the byte.
#[derive(Clone)]
pub struct Promotion {
    pub version: ReleaseVersion,
    pub commit: CommitId,
    /// Of the archive, lower-case hex.
    pub sha256: String,
    /// Name of the archive.
    pub file_name: String,
    pub source: Source,
    /// Whose key must have signed: an environment, as allowed_signers calls it.
    pub environment: String,
    /// What may be although it is mostly a mistake.
    pub insistence: Insistence,
    /// The branch that names the release, when it was pushed.
    pub branch: Option<Branch>,
}

/// Where it is now.
#[derive(Clone)]
pub enum Source {
    Shelf,
    Upstream(Box<Upstream>, Head),
}

/// A branch that moves with the success.
#[derive(Clone)]
pub struct Branch {
    pub name: RefName,
    /// What it says now.
    pub previous: Option<CommitId>,
    pub mover: Mover,
}
