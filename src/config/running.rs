//! The sections of the server's configuration about what runs beside applications: one-off commands and scheduled tasks.
//!
//! Pure. What a key means to people stands in `server.toml`.

use super::kinds::{count, duration, size};
use super::settings::Settings;
use crate::model::Failure;
use std::time::Duration;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// One-off commands and shells of one project at the same time.
    pub at_once: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tasks {
    /// Scheduled tasks of one project at the same time.
    pub at_once: u32,
    /// Longest run of those that name no time.
    pub timeout: Duration,
    /// Bytes of the log of one run.
    pub log_max: u64,
    /// Runs of each task that are remembered.
    pub keep: u32,
}

impl Tasks {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            at_once: from.need("tasks.at_once", count(1, 10_000))?,
            timeout: from.need("tasks.timeout", duration(1_000, 7 * 86_400_000))?,
            log_max: from.need("tasks.log_max", size(1_000, 1_000_000_000))?,
            keep: from.need("tasks.keep", count(1, 100_000))?,
        })
    }
}

impl Run {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self { at_once: from.need("run.at_once", count(1, 10_000))? })
    }
}
