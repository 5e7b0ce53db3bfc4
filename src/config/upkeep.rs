//! The sections of the server's configuration about what it does by itself: enlarging, housekeeping, trash.
//!
//! Pure. What a key means to people stands in `server.toml`; the sections of everything else are in `sections`.

use super::kinds::{count, duration, percent, size};
use super::settings::Settings;
use crate::model::Failure;
use std::time::Duration;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Storage {
    /// Parts of a hundred.
    pub low: u32,
    pub step: u64,
    pub max: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Housekeeping {
    pub every: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trash {
    pub days: u32,
}

const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;
const MEGABYTE: u64 = 1_000_000;

impl Storage {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            low: from.need("storage.low", percent(1, 90))?,
            step: from.need("storage.step", size(MEGABYTE, 1_000_000 * MEGABYTE))?,
            max: from.need("storage.max", size(MEGABYTE, 100_000_000 * MEGABYTE))?,
        })
    }
}

impl Housekeeping {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self { every: from.need("housekeeping.every", duration(SECOND, 7 * DAY))? })
    }
}

impl Trash {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self { days: from.need("trash.days", count(0, 10_000))? })
    }
}
