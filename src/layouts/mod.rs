//! The shape of a project on disk. Every path that Commis builds is built in [`places`]; nobody else joins strings.

pub mod catalogue;
pub mod places;
mod router_places;
pub mod spelled;

pub use places::{Places, ProjectPlaces};
