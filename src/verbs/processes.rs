//! Verbs about what runs of a project, as data. Pure.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum ProcessVerb {
    /// What runs of a project
    #[command(after_help = "Examples:\n  commis ps blog\n  commis ps blog --json")]
    Ps {
        /// Name of the project
        project: String,
    },
    /// How many instances of each process type run
    #[command(
        after_help = "Examples:\n  commis scale blog\n  commis scale blog web=3 worker=1\n  commis scale blog web=default"
    )]
    Scale {
        /// Name of the project
        project: String,
        /// TYPE=NUMBER, several; `default` is what app.json says, else 1. Without any: how it is
        counts: Vec<String>,
    },
    /// Start the processes of the live release anew; the old ones serve until the new ones are well
    #[command(after_help = "Example:\n  commis restart blog")]
    Restart {
        /// Name of the project
        project: String,
    },
    /// End all processes of a project, until `start` or the next deployment
    #[command(after_help = "Example:\n  commis stop blog")]
    Stop {
        /// Name of the project
        project: String,
    },
    /// Start what was stopped
    #[command(after_help = "Example:\n  commis start blog")]
    Start {
        /// Name of the project
        project: String,
    },
}
