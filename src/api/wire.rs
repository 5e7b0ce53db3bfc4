//! The serialised shapes of the control API. Keys are only ever added.

use crate::verbs::Invocation;
use serde::{Deserialize, Serialize};

/// A verb as it crosses the socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    #[serde(flatten)]
    pub invocation: Invocation,
    /// What was piped into the client.
    #[serde(default)]
    pub input: String,
}

/// One line of the answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Frame {
    /// Text for standard output.
    Out(String),
    /// Text for standard error.
    Err(String),
    /// The end: the exit code.
    Exit(u8),
}

impl Frame {
    /// As one line of JSON.
    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}
