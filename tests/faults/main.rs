//! Proof by faults: servers that are killed, starved, cut off and lied to, and a checker that asks afterwards whether
//! the promises still hold. `bin/test` runs a quick part; `bin/faults` the long one. What it found is in docs/faults.md.

// Tests start programs as people do.
#![allow(clippy::disallowed_methods)]

mod apps;
mod chance;
mod checker;
mod children;
mod controls;
mod expected;
mod full;
mod ground;
mod halves;
mod kills;
mod long;
mod machine;
mod model;
mod options;
mod powercut;
mod remains;
mod scene;
mod session;
mod soak;
mod staging;
mod standing;
mod syscalls;
mod tally;
mod walk;
mod weather;
mod wishing;
