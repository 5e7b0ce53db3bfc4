//! The control API on a local socket: HTTP with JSON, for `commis VERB` on the server itself. Only root can open it.
//!
//! `POST /v1/verbs` takes a [`wire::Call`] and answers a stream of [`wire::Frame`]s, one JSON object per line, the
//! last of which holds the exit code. `POST /v1/streams` takes the call in its first line and input after it: bytes, or what
//! happens at a terminal ([`keyboard`]). What verbs do stands in `operations/`.

pub mod answer;
pub mod keyboard;
pub mod server;
pub mod wire;

pub use answer::answer;
