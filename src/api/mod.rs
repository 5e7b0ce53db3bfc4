//! The control API on a local socket: HTTP with JSON, for `commis VERB` on the server itself. Only root can open it.
//!
//! `POST /v1/verbs` takes a [`wire::Call`] and answers a stream of [`wire::Frame`]s, one JSON object per line, the
//! last of which holds the exit code. What verbs do stands in `operations/`.

pub mod answer;
pub mod server;
pub mod wire;

pub use answer::answer;
