//! What can go wrong with git as a program and with a repository as files. Trees that are not accepted are no errors
//! of this kind: they are a [`Failure`] of their own, worded in `tree` and `names`.

use crate::model::{Code, Failure};
use nix::errno::Errno;
use std::path::PathBuf;

/// An error of git, of libgit2 or of the files of a repository. The sources are chained, not repeated.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// A git command that could not run, or that ran and said no. `stderr` is one printable line.
    #[error("{command}: {stderr}")]
    Command { command: &'static str, stderr: String },
    #[error("{}: {what}", path.display())]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{what}")]
    Object { what: String, source: git2::Error },
    /// A repository that is not as we made it.
    #[error("{}: {what}", path.display())]
    Repository { path: PathBuf, what: String },
    #[error("{path} is larger than {max} bytes")]
    TooLarge { path: String, max: usize },
    #[error("git {found} is too old: 2.29 or newer is needed")]
    Version { found: String },
    /// The other side of the `proc-receive` conversation did not keep to its grammar.
    #[error("proc-receive: {0}")]
    Protocol(String),
    /// A ref that was being moved when git died or the disk failed: where it will be after the next start, nobody knows.
    #[error("{refs} may have moved, and may not survive a power cut")]
    Unsure { refs: String, source: Box<GitError> },
}

impl GitError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn object(what: impl Into<String>) -> impl FnOnce(git2::Error) -> Self {
        let what = what.into();
        move |source| Self::Object { what, source }
    }
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        match &error {
            GitError::Io { source, .. } if is_full(source) => disk_full(&error),
            GitError::TooLarge { .. } => Failure::new(Code::Refused, error.to_string()),
            GitError::Unsure { .. } => Failure::internal("git", &error)
                .hint("the server's disk or memory may be failing: look at its log first"),
            _ => Failure::internal("git", &error),
        }
    }
}

/// No space, or no quota, left.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    [Errno::ENOSPC, Errno::EDQUOT].iter().any(|full| error.raw_os_error() == Some(*full as i32))
}

/// The disk is full, seen while doing what `error` says.
pub(crate) fn disk_full(error: &dyn std::error::Error) -> Failure {
    Failure::new(Code::DiskFull, crate::model::failure::chain(error))
        .hint("free some space on the server, then push again")
}
