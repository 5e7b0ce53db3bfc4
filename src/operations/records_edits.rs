//! Answers about what is edited in place: see `records` for the rules. Documented in `docs/json.md`.

use serde::{Deserialize, Serialize};

/// What was edited in place and is in no commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Diff {
    pub project: String,
    /// The commit that it was made to.
    pub base: String,
    pub files: Vec<EditedFile>,
    /// As `git diff` shows it; `null` with `--stat`.
    pub diff: Option<String>,
    /// Not everything is in `diff`.
    pub cut: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EditedFile {
    pub path: String,
    /// added, changed or removed.
    pub edited: String,
    /// Lines; `null` for what is no text.
    pub added: Option<usize>,
    pub removed: Option<usize>,
}
