//! Why something did not work: one stable code, one line that says where and what, and what to do next.

use std::fmt;

/// The stable code of a failure: what scripts match on. New codes may come; old ones keep their meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// A phase up to bundle failed: a hook, a buildpack, a limit of the build.
    BuildFailed,
    /// The `release:` line or a hook between unpacking and the switch failed.
    ReleaseFailed,
    /// The new version did not answer its check and there was no older one to put back.
    Unhealthy,
    /// The new version did not answer its check; the older one serves again.
    RolledBack,
    /// Putting the older version back failed as well: an admin is needed.
    RollbackFailed,
    /// Something else is being done with the project.
    Busy,
    /// The branch moved since the client looked at it.
    Stale,
    /// A newer push by the same key took this one's place in the queue.
    Superseded,
    Cancelled,
    /// Not accepted as it is: a hostile tree, a bad ref name, a shape we do not take.
    Refused,
    DiskFull,
    /// An unknown push option, or one with a bad value.
    BadOption,
    /// A release whose bytes are not what they should be.
    VerifyFailed,
    /// A file that the project or the pillar configures us with cannot be understood.
    BadConfig,
    /// Neither hooks nor a buildpack for this tree.
    NoRecipe,
    /// No such project (or release, deployment, key).
    NotFound,
    /// Known, but not allowed.
    Denied,
    /// The request itself makes no sense: usage.
    Usage,
    /// A name or key that is there already.
    Exists,
    /// The server's own configuration is wrong.
    ServerConfig,
    /// A rollback failed earlier: nothing is deployed until an admin has chosen what next.
    NeedsAdmin,
    /// No server answers.
    Unreachable,
    /// A fault of Commis or of its machine.
    Internal,
}

impl Code {
    pub const ALL: [Code; 23] = [
        Code::BuildFailed,
        Code::ReleaseFailed,
        Code::Unhealthy,
        Code::RolledBack,
        Code::RollbackFailed,
        Code::Busy,
        Code::Stale,
        Code::Superseded,
        Code::Cancelled,
        Code::Refused,
        Code::DiskFull,
        Code::BadOption,
        Code::VerifyFailed,
        Code::BadConfig,
        Code::NoRecipe,
        Code::NotFound,
        Code::Denied,
        Code::Usage,
        Code::Exists,
        Code::ServerConfig,
        Code::NeedsAdmin,
        Code::Unreachable,
        Code::Internal,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Code::BuildFailed => "build-failed",
            Code::ReleaseFailed => "release-failed",
            Code::Unhealthy => "unhealthy",
            Code::RolledBack => "rolled-back",
            Code::RollbackFailed => "rollback-failed",
            Code::Busy => "busy",
            Code::Stale => "stale",
            Code::Superseded => "superseded",
            Code::Cancelled => "cancelled",
            Code::Refused => "refused",
            Code::DiskFull => "disk-full",
            Code::BadOption => "bad-option",
            Code::VerifyFailed => "verify-failed",
            Code::BadConfig => "bad-config",
            Code::NoRecipe => "no-recipe",
            Code::NotFound => "not-found",
            Code::Denied => "denied",
            Code::Usage => "usage",
            Code::Exists => "exists",
            Code::ServerConfig => "server-config",
            Code::NeedsAdmin => "needs-admin",
            Code::Unreachable => "unreachable",
            Code::Internal => "internal",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

/// A failure as people and scripts see it. Lower-case, no full stop, one line; hints say what next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub code: Code,
    /// Where and what, one line: `Procfile line 3: no colon after the process name`.
    pub what: String,
    /// What next, each one line.
    pub hints: Vec<String>,
    /// More of the same story, shown indented below `what`: last lines of a process, files looked for.
    pub details: Vec<String>,
    pub heard: Heard,
}

/// Whether whoever asked has read of it already.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Heard {
    #[default]
    Nothing,
    /// The log of the deployment that they followed said all of it.
    All,
}

impl Failure {
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), hints: Vec::new(), details: Vec::new(), heard: Heard::default() }
    }

    /// A fault of ours or of the machine, with the error's whole chain of sources.
    pub fn internal(during: &str, error: &dyn std::error::Error) -> Self {
        Self::new(Code::Internal, format!("{during}: {}", chain(error)))
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }
}

/// An error with its sources, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        assert_eq!(Code::parse("fine"), None);
    }
}
