//! Keep what runs equal to what is wanted: processes are started, watched, started again, checked and stopped here.
//! How one process is put into its place is `sandbox/`'s; which release runs and where requests go is decided elsewhere.
//!
//! Each instance has a shim, a small process of its own that is its parent (`shim.rs`, `instance.rs`, `reporting.rs`), so that
//! it outlives the server. The server keeps shims as shims keep processes (`supervisor.rs`, `keeper.rs`, `link.rs`), by the
//! same machine (`machine.rs`). What they say to each other is in `wire.rs`.

pub mod follow;
pub mod health;
mod instance;
mod keeper;
mod link;
pub mod logs;
pub mod machine;
pub mod ports;
mod reporting;
pub mod shim;
pub mod static_site;
pub mod status;
pub mod supervisor;
mod wire;
mod words;

pub use health::{HealthCheck, HealthKind, Healthy, Unhealthy};
pub use machine::{RestartPolicy, Restarts};
pub use ports::free_port;
pub use status::{Condition, InstanceStatus, SetStatus};
pub use supervisor::{InstanceSpec, SetId, Supervisor};
pub use wire::Crash;
