//! What can only be shown with real mounts.
#![allow(clippy::disallowed_methods)]

mod removing;
