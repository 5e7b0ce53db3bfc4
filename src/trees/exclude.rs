//! What a project leaves out of its backups: patterns over paths relative to `data/`. Pure.
//!
//! `*` and `?` stay within a name, `**` spans directories: `cache/**` is everything in `cache`, `**/*.tmp` every such file.

use crate::model::{Code, Failure};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Patterns, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Exclude {
    patterns: Vec<String>,
    set: GlobSet,
}

impl Exclude {
    /// # Errors
    /// `BadConfig` naming the pattern.
    pub fn new(patterns: &[String]) -> Result<Self, Failure> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            set.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| bad(pattern, &error))?);
        }
        let set = set.build().map_err(|error| bad(&patterns.join(", "), &error))?;
        Ok(Self { patterns: patterns.to_vec(), set })
    }

    pub fn matches(&self, path: &[u8]) -> bool {
        !self.patterns.is_empty() && self.set.is_match(Path::new(OsStr::from_bytes(path)))
    }

    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

fn bad(pattern: &str, error: &globset::Error) -> Failure {
    Failure::new(Code::BadConfig, format!("data.exclude: {pattern}: {}", error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_name_and_two_stars_do_not() {
        let exclude = Exclude::new(&["cache/**".into(), "**/*.tmp".into(), "*.log".into()]).unwrap();
        for out in ["cache/a", "cache/a/b", "a.tmp", "x/y/a.tmp", "a.log"] {
            assert!(exclude.matches(out.as_bytes()), "{out}");
        }
        for kept in ["cache", "caches/a", "x/a.log", "a.tmp/x"] {
            assert!(!exclude.matches(kept.as_bytes()), "{kept}");
        }
        assert!(exclude.matches(b"x/\xff.tmp"));
        assert!(!Exclude::default().matches(b"a"));
        assert!(Exclude::new(&["a[".into()]).is_err());
    }
}
