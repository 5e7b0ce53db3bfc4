//! Verbs about what projects take on the disk, as data. Pure.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum DiskVerb {
    /// Bytes of each kind; `commis disk` and `commis disk blog` mean this
    #[command(after_help = "Examples:\n  commis disk show\n  commis disk blog --json")]
    Show {
        /// Name of the project; all of them when absent
        project: Option<String>,
    },
    /// Most bytes that a project's data may take
    #[command(after_help = "Examples:\n  commis disk limit blog 5G\n  commis disk limit blog none")]
    Limit {
        /// Name of the project
        project: String,
        /// 500M, 5G, a number of bytes, or none
        size: String,
    },
    /// Remove what may go: old failed trees, caches, remains
    #[command(after_help = "Examples:\n  commis disk trim blog --dry-run\n  commis disk trim --failed")]
    Trim {
        /// Name of the project; all of them when absent
        project: Option<String>,
        /// Failed trees too that are not old yet, with the copies of data in them
        #[arg(long)]
        failed: bool,
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
}
