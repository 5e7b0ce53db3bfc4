//! What runs somebody else's program: as its user, in a view of its own, with limits, in a cgroup that is dead at the end.
//!
//! The server starts itself again (`sandbox-init`) with the job on standard input: [`init`] builds the view, gives up
//! every power and becomes the program. [`Sandbox`] is the server's side of it. What a job *is* stands in
//! [`crate::system::job`]; which jobs there are and what they see is decided elsewhere.

pub mod attached;
pub mod cancel;
pub mod host;
pub mod identity;
pub mod init;
pub mod lines;
pub mod ports;
pub mod program;
pub mod running;
pub mod task;
pub mod view;
pub mod wires;

pub use attached::{Attached, NotStarted};
pub use cancel::Cancel;
pub use host::Sandbox;
pub use running::{Running, Whom};
pub use task::{Stream, Task};
pub use wires::Wires;
