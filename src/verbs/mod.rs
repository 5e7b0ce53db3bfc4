//! One grammar of verbs for every door: `commis VERB`, `ssh commis@host VERB`, the control socket.
//!
//! [`grammar`] is what can be said, [`aliases`] what Heroku and Dokku users say instead,
//! [`mod@takes`] what is piped in and out. What a verb does and how
//! its answer looks stands in `operations/`.

pub mod aliases;
pub mod configuring;
pub mod disk;
pub mod editing;
pub mod grammar;
pub mod names;
pub mod processes;
pub mod release;
pub mod running;
pub mod takes;

pub use configuring::ConfigVerb;
pub use disk::DiskVerb;
pub use editing::{CommitWords, CreateWords, DeployWords, ModeWord};
pub use grammar::{Invocation, KeyVerb, Output, ProjectVerb, RescueWords, RollbackWords, Said, Verb, parse};
pub use names::{DomainsVerb, MaintenanceVerb};
pub use processes::ProcessVerb;
pub use release::{Despite, PartWord, PromoteWords, ReleaseVerb};
pub use running::{RunWords, ShellWords, TaskVerb};
pub use takes::{Gives, Takes, file, gives, reads_lines, takes};
