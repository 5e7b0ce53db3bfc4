//! Names to processes: the HTTP front of every application. One owner per host name, strict about what is a request,
//! and nothing of an application is ever wired to a public port directly. Starting and checking processes is
//! `runtime/`; deciding which port a host points at is the pipeline's.

mod chunks;
mod connection;
mod exchange;
mod front;
mod guard;
pub mod handle;
mod headers;
mod pages;
mod patience;
mod pool;
mod proxy;
pub mod server;
mod strict;
pub mod table;
#[cfg(test)]
mod tests;
mod tunnel;

pub use handle::Router;
pub use server::{RouterConfig, Server, bind};
pub use table::{Host, Route, RouteRefused, Table, Target};
