//! Names of projects and of their two repositories.

use std::fmt;

/// A validated project name: `[a-z][a-z0-9-]{0,39}`. Safe in paths, host names and log lines.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProjectName(String);

impl ProjectName {
    pub const MAX: usize = 40;

    /// `None` when the text is not a project name; the caller knows what to say.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let first = bytes.next()?;
        let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        (first.is_ascii_lowercase() && rest && text.len() <= Self::MAX).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One of the two repositories of a project.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Repository {
    /// The code. A push to its deploy branch deploys.
    Project,
    /// Configuration and secrets. A push is stored and deploys nothing.
    Pillar,
}

/// Where the code of a project comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Remote {
    /// From its repositories, by pushes.
    #[default]
    Git,
    /// From what stands in its directories on the server: it has no repositories.
    Nothing,
}

impl Remote {
    pub fn as_str(self) -> &'static str {
        match self {
            Remote::Git => "git",
            Remote::Nothing => "none",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Remote::Git, Remote::Nothing].into_iter().find(|remote| remote.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_lower_case_names_are_projects() {
        for good in ["blog", "b", "my-app-2", &"a".repeat(40)] {
            assert!(ProjectName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-x", "2a", "Blog", "a_b", "a/b", "a.git", "..", "a\0", "a b", "ａ", "$(id)", &"a".repeat(41)]
        {
            assert!(ProjectName::parse(bad).is_none(), "{bad}");
        }
    }
}
