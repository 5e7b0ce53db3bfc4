//! Releases made portable and kept: a tree becomes one deterministic `tar.zst` with its manifest, and comes back from it
//! exactly, or not at all.
//!
//! An archive is `commis-release.json` (what it is), `tree/` (what runs), `commis-files.txt` (the digest of each file) and
//! `commis-tree.json` (what must have come), in the one order and the one spelling that [`pack`](mod@pack) writes, compressed in
//! independent frames. [`unpack`](mod@unpack) accepts nothing else. How a tree is walked and removed is in `trees`.
//! Paths come in as arguments: places are named in `layouts`. What a release may do is decided in `pipeline`.

pub mod carton;
pub mod compare;
pub mod listed;
pub mod manifest;
pub mod pack;
pub mod retention;
pub mod shelf;
pub mod signers;
pub mod signing;
pub mod statement;
pub mod unpack;
pub mod verify;

mod compress;
mod contents;
mod destinations;
mod expand;
mod frames;
mod header;
mod listing;
mod plant;
mod remembered;
mod siblings;

#[cfg(test)]
mod tests;

pub use manifest::{Buildpack, Manifest, ManifestBase};
pub use pack::{Effort, Packed, pack};
pub use remembered::Identity;
pub use unpack::{Expect, Links, UnpackLimits, Unpacked, inspect, unpack};
pub use verify::{Expected, Verified, verify_release};
