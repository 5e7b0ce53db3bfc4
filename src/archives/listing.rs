//! The digest of a tree: sha256 over one line per entry, in the order of a walk. Pure; who reads the files is up to the
//! caller. The same lines come from a build, from an archive and from a deployed tree, so that the three can be compared.
//!
//! ```text
//! d <path>                            a directory
//! f <sha256 of content> <size> <path> a file        (x instead of f: executable)
//! l <length of target> <target> <path>  a symbolic link
//! ```
//! Names hold no control characters, so a line is a line.

use crate::model::words::hex;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Files at the top of a tree in which package managers write down what they chose.
const LOCKFILES: [&str; 16] = [
    "Cargo.lock",
    "Gemfile.lock",
    "Pipfile.lock",
    "bun.lock",
    "composer.lock",
    "deno.lock",
    "go.sum",
    "mix.lock",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "pdm.lock",
    "pnpm-lock.yaml",
    "poetry.lock",
    "requirements.txt",
    "uv.lock",
    "yarn.lock",
];

/// One entry as the digest sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line<'a> {
    Directory,
    File { exec: Exec, size: u64, sha256: &'a [u8; 32] },
    Link { target: &'a str },
}

/// The one bit of a file's mode that a release keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exec {
    Plain,
    Program,
}

impl Exec {
    /// The owner's x bit counts, as in git.
    pub fn of_mode(mode: u32) -> Self {
        if mode & 0o100 != 0 { Exec::Program } else { Exec::Plain }
    }

    pub fn mode(self) -> u32 {
        match self {
            Exec::Plain => 0o644,
            Exec::Program => 0o755,
        }
    }
}

/// What a whole tree adds up to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeSum {
    /// Regular files; neither directories nor links.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
    /// Digests of the lock files at the top; they follow from the tree.
    pub lockfiles: BTreeMap<String, String>,
}

/// Takes the entries of one tree in order.
#[derive(Default)]
pub struct Listing {
    hash: Sha256,
    files: u64,
    bytes: u64,
    lockfiles: BTreeMap<String, String>,
}

impl Listing {
    pub fn add(&mut self, path: &str, line: Line<'_>) {
        match line {
            Line::Directory => self.hash.update(format!("d {path}\n")),
            Line::Link { target } => self.hash.update(format!("l {} {target} {path}\n", target.len())),
            Line::File { exec, size, sha256 } => {
                self.files += 1;
                self.bytes += size;
                let kind = if exec == Exec::Program { 'x' } else { 'f' };
                let sha256 = hex(sha256);
                self.hash.update(format!("{kind} {sha256} {size} {path}\n"));
                if LOCKFILES.binary_search(&path).is_ok() {
                    self.lockfiles.insert(path.to_owned(), sha256);
                }
            }
        }
    }

    pub fn finish(self) -> TreeSum {
        let sha256 = hex(&self.hash.finalize().0);
        TreeSum { files: self.files, bytes: self.bytes, sha256, lockfiles: self.lockfiles }
    }
}

/// The line of a file in the list that an archive carries: `sha256sum -c` understands it, in the directory of the tree.
pub fn checksum_line(sha256: &[u8; 32], path: &str) -> String {
    format!("{}  {path}\n", hex(sha256))
}

/// Bytes of [`checksum_line`].
pub fn checksum_line_length(path: &str) -> u64 {
    path.len() as u64 + 64 + 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_that_runs_changes_the_digest() {
        let sum = |path: &str, line: Line<'_>| {
            let mut listing = Listing::default();
            listing.add(path, line);
            listing.finish().sha256
        };
        let (one, two) = ([1; 32], [2; 32]);
        let file = |exec, size, sha256| Line::File { exec, size, sha256 };
        let all = [
            sum("a", file(Exec::Plain, 1, &one)),
            sum("a", file(Exec::Program, 1, &one)),
            sum("a", file(Exec::Plain, 1, &two)),
            sum("a", file(Exec::Plain, 2, &one)),
            sum("b", file(Exec::Plain, 1, &one)),
            sum("a", Line::Directory),
            sum("a", Line::Link { target: "b c" }),
            sum("c a", Line::Link { target: "b" }),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn lock_files_at_the_top_are_remembered() {
        assert!(LOCKFILES.is_sorted());
        let mut listing = Listing::default();
        for path in ["a/uv.lock", "uv.lock", "uv.lock.old"] {
            listing.add(path, Line::File { exec: Exec::Plain, size: 1, sha256: &[7; 32] });
        }
        assert_eq!(listing.finish().lockfiles, [("uv.lock".to_owned(), "07".repeat(32))].into());
        assert_eq!(checksum_line(&[7; 32], "a b").len() as u64, checksum_line_length("a b"));
    }
}
