//! The words of verbs that run something beside the application. Pure.

use clap::Args;
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
}
