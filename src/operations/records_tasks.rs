//! What the verbs about scheduled tasks answer. Documented in `docs/json.md`.

use crate::config::Task;
use crate::model::Time;
use crate::store::TaskRunRecord;
use crate::system::clock::rfc3339;
use serde::{Deserialize, Serialize};

/// A scheduled task of the live release.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScheduledTask {
    pub task: String,
    /// The line of bash.
    pub run: String,
    pub schedule: String,
    pub timezone: String,
    pub overlap: String,
    pub missed: String,
    pub timeout_seconds: u64,
    pub next: Option<String>,
    pub last: Option<TaskRun>,
}

/// One run, or one that was left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskRun {
    pub id: u32,
    pub project: String,
    pub task: String,
    /// schedule, missed or manual.
    pub cause: String,
    pub actor: Option<String>,
    pub due_at: Option<String>,
    pub started_at: String,
    pub finished_at: Option<String>,
    pub seconds: Option<f64>,
    pub release: Option<String>,
    /// running, ended, skipped or interrupted.
    pub state: String,
    pub exit: Option<u8>,
    pub note: String,
}

impl ScheduledTask {
    pub fn of(task: &Task, timeout: u64, (now, last): (Time, Option<TaskRun>)) -> Self {
        Self {
            task: task.name.to_string(),
            run: task.run.clone(),
            schedule: task.schedule.line().to_owned(),
            timezone: task.schedule.zone_name().to_owned(),
            overlap: task.overlap.as_str().to_owned(),
            missed: task.missed.as_str().to_owned(),
            timeout_seconds: timeout,
            next: task.schedule.next_after(now).map(rfc3339),
            last,
        }
    }
}

impl TaskRun {
    pub fn of(row: &TaskRunRecord) -> Self {
        let finished = row.state.finished_at();
        Self {
            id: row.id,
            project: row.project.to_string(),
            task: row.task.clone(),
            cause: row.cause.clone(),
            actor: row.actor.clone(),
            due_at: row.due_at.map(rfc3339),
            started_at: rfc3339(row.started_at),
            finished_at: finished.map(rfc3339),
            seconds: finished.map(|end| end.seconds_since(row.started_at)),
            release: row.version.map(|version| version.to_string()),
            state: row.state.as_str().to_owned(),
            exit: row.state.exit(),
            note: row.note.clone(),
        }
    }
}
