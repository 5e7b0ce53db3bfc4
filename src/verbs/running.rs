//! The words of verbs that run something beside the application. Pure.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct RunWords {
    /// Name of the project
    pub project: String,
    /// The program and its arguments, after `--`; no shell reads them: for one, sh -c '...'
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<String>,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct ShellWords {
    /// Name of the project
    pub project: String,
    /// Inside what this running process sees, its /tmp included
    #[arg(long, value_name = "PROCESS", conflicts_with = "crashed")]
    #[serde(default)]
    pub ps: Option<String>,
    /// Inside what this process saw when it ended by itself
    #[arg(long, value_name = "PROCESS")]
    #[serde(default)]
    pub crashed: Option<String>,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
pub enum TaskVerb {
    /// Scheduled tasks of the live release: next time, last run, how it ended
    #[command(after_help = "Example:\n  commis task list blog --json")]
    List {
        /// Name of the project
        project: String,
    },
    /// Run a task now; its exit code is the verb's
    #[command(after_help = "Example:\n  commis task run blog nightly")]
    Run {
        /// Name of the project
        project: String,
        /// Name of the task, as `task list` shows it
        task: String,
    },
    /// What a run of a task said
    #[command(after_help = "Examples:\n  commis task log blog nightly\n  commis task log blog nightly 7")]
    Log {
        /// Name of the project
        project: String,
        /// Name of the task
        task: String,
        /// Number of the run; the newest when absent
        run: Option<u32>,
    },
}
