//! Shapes of `--json` about the disk, the trash and housekeeping: see `records`.

use serde::{Deserialize, Serialize};

/// What projects take.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disk {
    pub disks: Vec<ProjectDisk>,
    pub total_bytes: u64,
    /// Where the projects are.
    pub free_bytes: u64,
    pub free_inodes: Option<u64>,
    /// Where projects and their data are.
    pub volumes: Vec<DiskVolume>,
}

/// A file system.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiskVolume {
    pub mounted_on: String,
    pub size_bytes: u64,
    pub free_bytes: u64,
    pub free_inodes: Option<u64>,
}

/// What one project takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProjectDisk {
    pub project: String,
    pub kinds: Vec<DiskKind>,
    pub bytes: u64,
    /// Most bytes of its data.
    pub limit: Option<u64>,
    /// Who sees to it.
    pub limit_by: String,
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DiskKind {
    pub kind: String,
    pub bytes: u64,
    pub inodes: u64,
}

/// Something that went, or may go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trimmed {
    pub project: String,
    pub what: String,
    pub why: String,
    pub bytes: u64,
    /// Why it stayed; `None`: it went, or would.
    pub stayed: Option<String>,
}

/// A project in the trash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Destroyed {
    pub project: String,
    pub directory: String,
    pub state: String,
    pub destroyed_at: String,
    pub purge_at: String,
}

/// What a round of housekeeping came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Round {
    pub at: String,
    /// Projects that were looked at; others were busy.
    pub projects: usize,
    pub busy: Vec<String>,
    /// What was put right or removed.
    pub done: Vec<String>,
    pub warnings: Vec<String>,
}
