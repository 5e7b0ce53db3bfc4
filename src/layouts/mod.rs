//! The shape of a project on disk. Every path that Commis builds is built in [`places`]; nobody else joins strings.

pub mod catalogue;
pub mod places;
#[cfg(test)]
mod places_tests;

pub use places::{Places, ProjectPlaces};
