//! The door with real clients: OpenSSH for what people do, russh's own client for what only a program would try.
//! Parsers, keys and queues are tested beside their code.

#![allow(clippy::disallowed_methods)]

mod bytes;
mod refusals;
mod strangers;
mod world;
