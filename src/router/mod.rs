//! Names to processes: the HTTP front of every application. One owner per host name, strict about what is a request,
//! and nothing of an application is ever wired to a public port directly. Starting and checking processes is
//! `runtime/`; deciding which instances a host leads to is the pipeline's.
//!
//! Built on hyper and not on pingora, measured and read: pingora needs cmake and a C library even without TLS, calls its
//! rustls experimental, cannot change certificates while it runs, brings 167 more crates, and had three smuggling
//! advisories in a year. What hyper leaves to us (fields, retries, limits, what is a request at all) are the files here.

mod access_log;
mod account;
mod acme;
mod admin;
mod board;
mod certificate_files;
mod certificates;
mod challenges;
mod chunks;
mod connection;
mod connection_h2;
mod control;
mod ejection;
mod encryption;
mod exchange;
mod front;
mod guard;
pub mod handle;
mod headers;
mod instance;
mod keeper;
mod launch;
mod link;
mod metrics;
pub mod names;
mod origin;
mod pages;
mod patience;
mod pool;
pub mod process;
mod proxy;
mod proxy_protocol;
mod renewal;
pub mod server;
pub mod settings;
mod snapshot;
mod strict;
mod strict_h2;
pub mod table;
#[cfg(test)]
mod tests;
mod tunnel;
mod wire;

pub use acme::AcmePlan;
pub use board::{DrainLimits, Drained, InstanceLoad};
pub use certificate_files::CertificateFiles;
pub use handle::{Addresses, Router};
pub use instance::Load;
pub use launch::Plan;
pub use names::{Host, Name, Prefix};
pub use settings::{ProxyProtocol, RouterConfig};
pub use table::{Encryption, Entry, InstanceAddress, Maintenance, RouteRefused, Routes, Table, Target};
