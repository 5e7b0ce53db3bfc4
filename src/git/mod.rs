//! Repositories and the pack protocol: making them, receiving pushes through `proc-receive`, reading and checking
//! trees, writing them out, moving refs.
//!
//! git itself runs only as a numeric user of its own, with an empty environment and fixed settings, and never inside
//! somebody's work tree. What a push *means* (which branch deploys, who may) is decided in `pipeline/` and
//! `operations/`; the SSH side of a push is in `ssh/`.

pub mod apply;
pub mod at_work;
pub mod checkout;
pub mod commit;
pub mod conversation;
pub mod failed;
pub mod install;
pub mod names;
pub mod objects;
pub mod patch;
pub mod pktline;
pub mod proc_receive;
pub mod refs;
pub mod relay;
pub mod report;
pub mod repository;
pub mod text;
pub mod transport;
pub mod tree;

#[cfg(test)]
mod scratch;

pub use checkout::{CheckoutStats, checkout};
pub use conversation::{HookConversation, HookListener, HookWriter};
pub use failed::GitError;
pub use objects::{Objects, open};
pub use proc_receive::{PushCommand, Received, Verdict};
pub use repository::Git;
pub use tree::{Entry, Kind, ObjectId, Tree, TreeLimits};
