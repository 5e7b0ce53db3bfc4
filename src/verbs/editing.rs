//! The words of verbs that know projects which people edit in place. Pure.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct CreateWords {
    /// A lower-case letter, then letters, digits and dashes; 40 at most
    pub name: String,
    /// Instead of the platform's mode
    #[arg(long)]
    pub mode: Option<ModeWord>,
    /// Without repositories: edited on the server, deployed with `deploy` alone; mode editable only
    #[arg(long)]
    pub remote_less: bool,
    /// Gives a project that was made without repositories its own, with what stands there as the first commit
    #[arg(long, conflicts_with = "remote_less")]
    pub with_remote: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModeWord {
    Editable,
    Cooking,
    Final,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct DeployWords {
    /// Name of the project
    pub project: String,
    /// Only these phases, where people edit in place: pre_install, configure, build, deploy
    #[arg(long, value_name = "PHASE", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Only these hooks, by name
    #[arg(long, value_name = "HOOK", value_delimiter = ',')]
    pub step: Vec<String>,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct CommitWords {
    /// Name of the project
    pub project: String,
    /// What the commit says
    #[arg(short, long)]
    pub message: String,
    /// Another branch than the one that deploys; what was edited stays uncommitted for the next push
    #[arg(long)]
    pub branch: Option<String>,
}
