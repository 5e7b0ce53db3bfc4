//! How long a step took, for the record.

use crate::model::{Phase, Time};
use crate::store::{StepRecord, StepStatus};
use crate::system::clock;
use tokio::time::Instant;

/// Runs from its making to [`Watch::stop`].
pub struct Watch {
    at: Time,
    since: Instant,
}

impl Watch {
    pub fn start() -> Self {
        Self { at: clock::now(), since: Instant::now() }
    }

    /// The record of what was watched.
    pub fn stop(self, phase: Phase, name: &str, (status, note): (StepStatus, String)) -> StepRecord {
        StepRecord {
            phase: phase.as_str().to_owned(),
            name: name.to_owned(),
            status: status.as_str().to_owned(),
            started_at: self.at,
            microseconds: i64::try_from(self.since.elapsed().as_micros()).unwrap_or(i64::MAX),
            note,
        }
    }
}
