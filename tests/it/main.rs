//! The one binary of integration tests: journeys through the real thing. It links once. A file that is not listed
//! here fails `tidy`.

// Tests start programs as people do.
#![allow(clippy::disallowed_methods)]

mod bench;
mod building;
mod clients;
mod golden;
mod hooks;
mod interrupted;
mod job_ends;
mod pushing;
mod queueing;
mod recovering;
mod refs;
mod rejecting;
mod rejecting_apps;
mod rejecting_builds;
mod rejecting_trees;
mod rejecting_when_full;
mod rescuing;
mod running;
mod sandboxing;
mod serving;
mod supervising;
mod support;
mod tidy;
mod undoing_data;
mod verbs;
