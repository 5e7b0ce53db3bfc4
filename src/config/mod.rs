//! What was asked, read and validated before anything happens: the server's configuration, a project's own files and
//! its pillar.
//!
//! Uses `model` alone. Only `load` looks at files and at the environment; the other files turn text into typed values
//! or into a failure that names file, line and key. What is done with the values is decided in the rooms above.

pub mod app_json;
pub mod docs;
mod kinds;
pub mod load;
pub mod pillar;
pub mod procfile;
pub mod project;
mod router;
mod running;
pub mod schedule;
mod sections;
pub mod server;
mod settings;
pub mod tasks;
mod upkeep;
mod upstreams;

pub use app_json::AppJson;
pub use kinds::size_of;
pub use load::{env_file, load};
pub use project::ProjectConfig;
pub use schedule::Schedule;
pub use server::ServerConfig;
pub use tasks::Task;
