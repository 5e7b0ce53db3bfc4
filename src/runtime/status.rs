//! What is known about running instances, as values for whoever asks. Pure.

use crate::model::{Exit, ProcessName, ReleaseVersion, Time};
use serde::{Deserialize, Serialize};

/// What an instance is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    Starting,
    Running,
    /// Ended on probation; it is not started again by itself.
    Exited,
    /// Ended, and waits to be started again.
    BackingOff,
    Stopping,
    Stopped,
}

impl Condition {
    /// The word that people and scripts see.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Starting => "starting",
            Condition::Running => "running",
            Condition::Exited => "exited",
            Condition::BackingOff => "restarting",
            Condition::Stopping => "stopping",
            Condition::Stopped => "stopped",
        }
    }
}

/// One instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InstanceStatus {
    pub process: ProcessName,
    pub release: ReleaseVersion,
    pub condition: Condition,
    /// Of the main process, while it runs.
    pub pid: Option<u32>,
    /// Starts after the first.
    pub restarts: u32,
    /// How it ended last, if it ever did.
    pub last_exit: Option<Exit>,
    pub port: Option<u16>,
    /// Since when it is in this condition.
    pub since: Time,
    /// When its present or last process was started.
    pub started: Time,
    /// Whether it is started again when it ends.
    pub kept: bool,
}

/// The instances of one set, in the order they were given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SetStatus {
    pub instances: Vec<InstanceStatus>,
}

impl SetStatus {
    /// The first instance that ended and how, whether or not it was started again.
    pub fn first_exit(&self) -> Option<(&ProcessName, &Exit)> {
        self.instances.iter().find_map(|instance| Some((&instance.process, instance.last_exit.as_ref()?)))
    }

    pub fn is_running(&self) -> bool {
        self.instances.iter().all(|instance| instance.condition == Condition::Running)
    }
}
