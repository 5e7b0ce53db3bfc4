//! The sections of the server's configuration about what runs beside applications: one-off commands.
//!
//! Pure. What a key means to people stands in `server.toml`.

use super::kinds::count;
use super::settings::Settings;
use crate::model::Failure;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// One-off commands and shells of one project at the same time.
    pub at_once: u32,
}

impl Run {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self { at_once: from.need("run.at_once", count(1, 10_000))? })
    }
}
