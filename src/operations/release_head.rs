//! The record of `release head`: what one server tells another of a release. Read by `upstream`. Pure.

use super::records::Artifact;
use serde::{Deserialize, Serialize};

/// A release as another server asks for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReleaseHead {
    pub project: String,
    pub release: String,
    pub commit: String,
    /// Where it was cooked.
    pub environment: String,
    pub live: bool,
    /// When it was live, and well, where it was cooked.
    pub tested_at: Option<String>,
    pub created_at: String,
    /// Content of all files of its tree.
    pub tree_bytes: u64,
    /// Where it runs on the server that answers.
    pub runs_at: String,
    /// The archive first, then the files beside it.
    pub artifacts: Vec<Artifact>,
}
