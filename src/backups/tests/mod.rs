//! The copier on real file systems.
#![allow(clippy::disallowed_methods)]

mod backing_up;
mod keeping;
mod twins;
mod volumes;
