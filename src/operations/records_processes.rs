//! What runs, and how it is found, as it is told. Values only.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What runs of a project.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ps {
    pub project: String,
    /// By somebody's word, until `start` or the next deployment.
    pub stopped: bool,
    /// How many there should be, by process type.
    pub formation: BTreeMap<String, u32>,
    pub processes: Vec<Instance>,
}

/// One instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Instance {
    pub process: String,
    pub state: String,
    pub release: String,
    pub pid: Option<u32>,
    pub port: Option<u16>,
    pub restarts: u32,
    /// Since when it is in this state.
    pub since: String,
    /// How it ended last, if it ever did.
    pub last_exit: Option<String>,
}

/// A name by which an application is found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Domain {
    /// `www.example.com`, `example.com/blog`
    pub name: String,
    /// Of the one that the project always has: nothing.
    pub added_at: Option<String>,
    pub added_by: Option<String>,
}
