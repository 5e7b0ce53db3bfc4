//! The words of verbs that read and change configuration. Pure.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum ConfigVerb {
    /// Set variables of a project: a commit in its pillar, effective with the next deployment
    #[command(after_help = "Example:\n  commis config set blog GREETING=hello --deploy")]
    Set {
        /// Name of the project
        project: String,
        /// NAME=VALUE, several; `-` reads such lines from standard input, for secrets
        #[arg(required = true)]
        variables: Vec<String>,
        /// Deploy at once
        #[arg(long)]
        deploy: bool,
    },
    /// Remove variables
    #[command(after_help = "Example:\n  commis config unset blog GREETING")]
    Unset {
        /// Name of the project
        project: String,
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// Deploy at once
        #[arg(long)]
        deploy: bool,
    },
    /// Names of a project's variables; values only with --values
    #[command(after_help = "Example:\n  commis config show blog --values")]
    Show {
        /// Name of the project
        project: String,
        /// Show the values, secrets included
        #[arg(long)]
        values: bool,
    },
    /// Check the server's configuration file (on the server itself)
    #[command(after_help = "Example:\n  commis config check --file /etc/commis/commis.toml")]
    Check {
        /// The file; COMMIS_CONFIG or /etc/commis/commis.toml when absent
        #[arg(long)]
        file: Option<std::path::PathBuf>,
    },
    /// Print the server's configuration file with every key, its default and what it means
    #[command(after_help = "Example:\n  commis config template > /etc/commis/commis.toml")]
    Template,
}
