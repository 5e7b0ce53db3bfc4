//! Releases made portable and kept: a tree becomes one deterministic `tar.zst` with its manifest, and comes back from it
//! exactly, or not at all.
//!
//! An archive is `commis-release.json` (what it is), `tree/` (what runs), `commis-files.txt` (the digest of each file) and
//! `commis-tree.json` (what must have come), in the
//! one order and the one spelling that [`pack`](mod@pack) writes, compressed in independent frames. [`unpack`](mod@unpack) accepts nothing else.
//! Paths come in as arguments: places are named in `layouts`. What a release may do is decided in `pipeline`.

pub mod backup;
pub mod carton;
pub mod exclude;
pub mod listed;
pub mod manifest;
pub mod pack;
pub mod retention;
pub mod shelf;
pub mod signers;
pub mod signing;
pub mod stamps;
pub mod standing;
pub mod statement;
pub mod trees;
pub mod twin;
pub mod unpack;
pub mod verify;

mod clear;
mod compress;
mod content;
mod contents;
mod destinations;
mod duplicate;
mod expand;
mod faults;
mod frames;
mod header;
mod inventory;
mod known;
mod listing;
mod names;
mod plant;
mod purpose;
mod remembered;
mod settle;
mod siblings;
mod tour;
mod traits;
mod unchanged;
mod walk;

#[cfg(test)]
mod tests;

pub use listing::hex;
pub use manifest::{Buildpack, Manifest, ManifestBase};
pub use pack::{Effort, Packed, pack};
pub use remembered::Identity;
pub use unpack::{Expect, Links, UnpackLimits, Unpacked, inspect, unpack};
pub use verify::{Expected, Verified, verify_release};
