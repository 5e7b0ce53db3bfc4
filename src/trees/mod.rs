//! Trees of files, by descriptors: walking, looking, removing, settling. Whoever may write in a tree can rename things while
//! we are in it and still leads us nowhere else: no link is followed and no mount entered. What a tree is for (a release, data,
//! what people edit) is known to the rooms above.

pub mod exclude;
pub mod names;
pub mod removal;
pub mod settle;
pub mod stamps;
pub mod standing;
pub mod walk;

pub(crate) mod clear;
pub(crate) mod faults;

#[cfg(test)]
mod tests;

pub use removal::{TreeSize, remove_tree, tree_size};
pub use settle::sync;
