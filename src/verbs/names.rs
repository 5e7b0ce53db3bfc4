//! Verbs about how an application is found, and whether people are asked to come back later. Pure.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum DomainsVerb {
    /// The names of a project
    #[command(after_help = "Example:\n  commis domains list blog")]
    List {
        /// Name of the project
        project: String,
    },
    /// Give a host, or the paths below one, to a project
    #[command(
        after_help = "Examples:\n  commis domains add blog www.example.com\n  commis domains add blog example.com/blog"
    )]
    Add {
        /// Name of the project
        project: String,
        /// HOST or HOST/PATH
        name: String,
    },
    /// Take a name away from a project
    #[command(after_help = "Example:\n  commis domains remove blog www.example.com")]
    Remove {
        /// Name of the project
        project: String,
        /// HOST or HOST/PATH
        name: String,
    },
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum MaintenanceVerb {
    /// Ask people to come back later: .commis/maintenance.html of the live release, else a page of ours
    #[command(after_help = "Example:\n  commis maintenance on blog")]
    On {
        /// Name of the project
        project: String,
    },
    /// Serve again
    #[command(after_help = "Example:\n  commis maintenance off blog")]
    Off {
        /// Name of the project
        project: String,
    },
}
