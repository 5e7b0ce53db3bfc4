//! Keep what runs equal to what is wanted: processes are started, watched, started again, checked and stopped here.
//! How one process is put into its place is `sandbox/`'s; which release runs and where requests go is decided elsewhere.

pub mod follow;
pub mod health;
mod instance;
pub mod logs;
pub mod machine;
pub mod ports;
pub mod static_site;
pub mod status;
pub mod supervisor;
mod words;

pub use health::{HealthCheck, HealthKind, Healthy, Unhealthy};
pub use machine::{RestartPolicy, Restarts};
pub use ports::free_port;
pub use status::{Condition, InstanceStatus, SetStatus};
pub use supervisor::{InstanceSpec, SetId, Supervisor};
