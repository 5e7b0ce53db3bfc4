//! What a push names: commits and refs. Objects are carried as ids, never as text that git would interpret.

use std::fmt;

/// A full SHA-1 object id of a commit, 40 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommitId(String);

impl CommitId {
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (text.len() == 40 && hex).then(|| Self(text.to_owned()))
    }

    /// The id that git uses for "no such object": a ref that is made or deleted.
    pub fn zero() -> Self {
        Self("0".repeat(40))
    }

    pub fn is_zero(&self) -> bool {
        self.0.bytes().all(|b| b == b'0')
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// First seven digits, as people write commits.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A full ref name that passed the allow-list: `refs/heads/…`, `refs/tags/…` or `refs/notes/…`, parts of
/// `[A-Za-z0-9._+@-]` that start with neither a dash nor a dot. git itself accepts far more (`refs/heads/$(id)`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RefName(String);

impl RefName {
    pub const MAX: usize = 200;

    pub fn parse(text: &str) -> Option<Self> {
        let rest = ["refs/heads/", "refs/tags/", "refs/notes/"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
        let part_ok = |part: &str| {
            !part.is_empty()
                && part != "HEAD"
                && !part.starts_with(['-', '.'])
                && !part.ends_with(".lock")
                && !part.ends_with('.')
                && !part.contains("..")
                && !part.contains("@{")
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+@-".contains(&b))
        };
        (text.len() <= Self::MAX && rest.split('/').all(part_ok)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The branch name when this is a branch.
    pub fn branch(&self) -> Option<&str> {
        self.0.strip_prefix("refs/heads/")
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_that_a_shell_or_git_could_misread_are_not_refs() {
        for good in
            ["refs/heads/main", "refs/heads/feature/x-1", "refs/tags/v1.0", "refs/notes/deploys", "refs/heads/a@b"]
        {
            assert!(RefName::parse(good).is_some(), "{good}");
        }
        let bad = [
            "HEAD",
            "main",
            "refs/commis/x",
            "refs/heads/",
            "refs/heads/-x",
            "refs/heads/a;id",
            "refs/heads/a`id`",
            "refs/heads/$(touch${IFS}PWN)",
            "refs/heads/a'b",
            "refs/heads/a|b",
            "refs/heads/a&b",
            "refs/tags/--upload-pack=x",
            "refs/heads/a/../b",
            "refs/heads/.a",
            "refs/heads/a.lock",
            "refs/heads/a//b",
            "refs/heads/é",
            "refs/heads/HEAD",
        ];
        for bad in bad {
            assert!(RefName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_commit_id_is_forty_lower_case_digits() {
        assert!(CommitId::parse(&"a1".repeat(20)).is_some());
        assert!(CommitId::parse(&"A1".repeat(20)).is_none());
        assert!(CommitId::parse("a1").is_none());
        assert!(CommitId::zero().is_zero());
    }
}
