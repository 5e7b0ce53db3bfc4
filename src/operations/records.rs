//! What verbs answer: the shapes of `--json`, the same through every door. Documented in `docs/json.md`.
//!
//! Keys are only ever added. Times are RFC 3339 in UTC, sizes bytes, durations seconds.

pub use super::records_disk::{Destroyed, Disk, DiskKind, DiskVolume, ProjectDisk, Round, Trimmed};
pub use super::records_edits::{Diff, EditedFile};
pub use super::records_key::Key;
pub use super::records_processes::{Domain, Instance, Ps};
pub use super::records_tasks::{ScheduledTask, TaskRun};
pub use super::release_head::ReleaseHead;
use crate::model::Time;
use crate::store::{DataRow, DeploymentRecord, ReleaseRecord, StepRecord};
use crate::system::clock::rfc3339;
use serde::{Deserialize, Serialize};

/// The answer of a verb.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reply {
    Deployment(Box<Deployment>),
    Project(Box<Project>),
    Projects {
        projects: Vec<Project>,
    },
    Keys {
        keys: Vec<Key>,
    },
    Releases {
        releases: Vec<Release>,
    },
    Config {
        project: String,
        variables: Vec<Variable>,
    },
    Doctor {
        checks: Vec<Check>,
    },
    Status(Box<Status>),
    Verified(Box<VerifiedRelease>),
    Signer(Box<Signed>),
    Retention {
        project: String,
        retained: Vec<Retained>,
        /// Bytes of all releases.
        total: u64,
        max_bytes: Option<u64>,
    },
    ReleaseHead(Box<ReleaseHead>),
    Diff(Box<Diff>),
    HostKey {
        known_hosts: String,
        fingerprint: String,
    },
    Done {
        done: String,
        changed: bool,
    },
    Disk(Box<Disk>),
    Trimmed {
        trimmed: Vec<Trimmed>,
        bytes: u64,
        failed_bytes: u64,
        dry_run: bool,
    },
    Fixed {
        project: String,
        changed: u64,
        left_alone: Vec<String>,
    },
    Trash {
        destroyed: Vec<Destroyed>,
    },
    Ps(Box<Ps>),
    Domains {
        domains: Vec<Domain>,
    },
    Rescue(Box<Rescue>),
    Tasks {
        project: String,
        tasks: Vec<ScheduledTask>,
    },
    /// A run of a task: its exit status is the verb's.
    TaskRun(Box<TaskRun>),
    /// A program that was talked with: its exit status is the verb's.
    Ended {
        exit: u8,
    },
    /// Everything was already streamed.
    Nothing {},
}

/// A project and what serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Project {
    pub project: String,
    pub mode: String,
    pub live: Option<String>,
    pub commit: Option<String>,
    pub url: String,
    pub remote: Option<String>,
    /// Where people edit it on the server.
    pub edited_in: Option<String>,
    pub created_at: String,
    /// Why an admin is needed.
    pub trouble: Option<String>,
    pub processes: Vec<Process>,
    /// Newest first; only in `show`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub deployments: Vec<Deployment>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    pub process: String,
    pub state: String,
    pub pid: Option<u32>,
    pub restarts: u32,
    pub release: Option<String>,
}

/// One deployment: the record that every door shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deployment {
    pub id: u32,
    pub project: String,
    pub environment: String,
    pub mode: String,
    pub trigger: String,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    pub commit: Option<String>,
    pub previous: Option<String>,
    pub pillar_commit: Option<String>,
    pub subject: String,
    pub release: Option<String>,
    /// queued, in_progress, success, failure, error or inactive.
    pub status: String,
    pub reason_code: Option<String>,
    pub reason: Option<String>,
    pub rolled_back: bool,
    pub actor: String,
    pub queued_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub seconds: Option<f64>,
    pub steps: Vec<Step>,
    pub artifacts: Vec<Artifact>,
    pub url: Option<String>,
    /// Time in which nothing served; only when that had to be.
    pub downtime_seconds: Option<f64>,
    pub discarded_writes: Option<Discarded>,
    pub data: Data,
}

/// Writes that are not in `data/` any more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Discarded {
    pub from: String,
    pub to: String,
}

/// What became of data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Data {
    /// untouched, touched, restoring or restored.
    pub state: String,
    /// none, begun, done or empty.
    pub backup: String,
    pub bytes: u64,
}

/// A backup of data that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    pub deployment: u32,
    pub at: String,
    pub size: u64,
}

/// A project in trouble.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rescue {
    pub project: String,
    /// Why an admin is needed.
    pub trouble: Option<String>,
    /// The release that should be live.
    pub live: Option<String>,
    /// The release whose tree is in run/, when that is known.
    pub run: Option<String>,
    /// What is in data/, in words.
    pub data: String,
    pub processes: Vec<Process>,
    pub backups: Vec<Backup>,
    pub failed: Vec<Kept>,
    pub choices: Vec<Choice>,
}

/// What was put aside, in archives/.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub archive: String,
    pub tree: bool,
    pub data: bool,
}

/// A way out of trouble.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Choice {
    pub command: String,
    pub what: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    pub phase: String,
    pub name: String,
    pub status: String,
    pub start: String,
    pub seconds: f64,
    pub note: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Artifact {
    pub name: String,
    pub sha256: String,
    pub size: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Release {
    pub release: String,
    pub commit: String,
    pub pillar_commit: Option<String>,
    pub live: bool,
    pub was_live: bool,
    pub created_at: String,
    pub archive: Artifact,
    /// The archive and what stands beside it.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// What leaving it takes: `code`, `code+data`, `forbidden`.
    pub rollback: String,
    /// Data as it was when the release was replaced.
    pub backup: Option<Backup>,
    pub pinned: bool,
    /// `cooked`, or the environment that it came from.
    pub origin: String,
    /// The environment whose key signed it.
    pub signed_by: Option<String>,
    /// When it was live, and well, where it was cooked.
    pub tested_at: Option<String>,
}

/// A release that passed every check.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifiedRelease {
    pub project: String,
    pub release: String,
    pub verified: bool,
    pub sha256: String,
    pub size: u64,
    pub files: u64,
    pub bytes: u64,
    pub tree_sha256: String,
    pub environment: String,
    pub signer: String,
    pub live_at: Option<String>,
}

/// The key that signs what is cooked here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Signed {
    pub allowed_signers: String,
    pub environment: String,
    pub fingerprint: String,
}

/// What becomes of a release.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Retained {
    pub release: String,
    pub size: u64,
    /// `next deployment`, or the first day on which a deployment removes it.
    pub goes: Option<String>,
    pub because: String,
}

/// A configuration variable. The value is there only when it was asked for, hence no `Debug` that shows it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Variable {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<String>,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// One line of `doctor`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    /// ok, warning or error.
    pub verdict: String,
    pub check: String,
    pub found: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub platform: String,
    pub ssh: String,
    pub http: String,
    pub projects: usize,
    pub live: usize,
    pub need_admin: usize,
    /// `blog #42 by jane`, those that run or wait.
    pub deploying: Vec<String>,
    pub free_bytes: u64,
    /// The last round of housekeeping, when there was one.
    pub housekeeping: Option<Round>,
}

impl Deployment {
    /// The record of a row, its steps and what it made.
    pub fn of(row: &DeploymentRecord, steps: &[StepRecord], artifacts: Vec<Artifact>, place: (&str, &str)) -> Self {
        let (platform, url) = place;
        let seconds = row.finished_at.map(|end| end.seconds_since(row.started_at.unwrap_or(row.queued_at)));
        Self {
            id: row.number.0,
            project: row.project.to_string(),
            environment: platform.to_owned(),
            mode: row.mode.clone(),
            trigger: row.trigger.clone(),
            reference: row.reference.clone(),
            commit: row.commit.clone(),
            previous: row.previous.clone(),
            pillar_commit: row.pillar_commit.clone(),
            subject: row.subject.clone(),
            release: row.version.map(|version| version.to_string()),
            status: row.status.as_str().to_owned(),
            reason_code: row.code.map(|code| code.as_str().to_owned()),
            reason: row.reason.clone(),
            rolled_back: row.rolled_back,
            actor: row.actor.clone(),
            queued_at: rfc3339(row.queued_at),
            started_at: row.started_at.map(rfc3339),
            finished_at: row.finished_at.map(rfc3339),
            seconds,
            steps: steps.iter().map(Step::of).collect(),
            artifacts,
            url: (row.status == crate::store::Status::Success).then(|| url.to_owned()),
            downtime_seconds: row.data.downtime.map(|milliseconds| milliseconds as f64 / 1e3),
            discarded_writes: row.data.discarded.map(Discarded::of),
            data: Data::of(&row.data),
        }
    }
}

impl Discarded {
    fn of((from, until): (Time, Time)) -> Self {
        Self { from: rfc3339(from), to: rfc3339(until) }
    }
}

impl Data {
    fn of(row: &DataRow) -> Self {
        Self { state: row.state.as_str().to_owned(), backup: row.backup.as_str().to_owned(), bytes: row.backup_bytes }
    }
}

impl Step {
    fn of(row: &StepRecord) -> Self {
        Self {
            phase: row.phase.clone(),
            name: row.name.clone(),
            status: row.status.clone(),
            start: rfc3339(row.started_at),
            seconds: row.microseconds as f64 / 1e6,
            note: row.note.clone(),
        }
    }
}

impl Artifact {
    pub fn of(release: &ReleaseRecord) -> Self {
        Self { name: release.file_name.clone(), sha256: release.sha256.clone(), size: release.bytes }
    }
}
