//! The router over real sockets: a recording application behind it, raw clients in front of it.

mod balancing;
mod counting;
mod encrypted;
mod front;
mod serving;
mod support;
