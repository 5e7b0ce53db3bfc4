//! What an archive turned out to hold, against what its last two documents say. Pure. Memory is bounded by the limits on
//! entries and on the length of their names; the list of files is compared by digest and never kept.

use super::header::Item;
use super::listing::{self, Line, Listing, TreeSum};
use super::manifest::{self, ContentsForm, Head, Manifest};
use super::siblings::Siblings;
use super::unpack::UnpackLimits;
use crate::model::Failure;
use crate::trees::faults::refused;
use crate::trees::names;
use sha2::{Digest, Sha256};

/// Digests of files by their number among all files, in any order.
pub type Sums = Vec<(usize, [u8; 32])>;

/// Which names may stand in a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameRules {
    /// Those that `pack` takes.
    AsPacked,
    /// Those that the `pack` of format 1 took as well: what was cooked here then must still come off the shelf.
    AsOnceTaken,
}

/// The entries below `tree/` so far, in order.
pub struct Listed {
    rules: NameRules,
    entries: Vec<(String, Item)>,
    siblings: Siblings,
    files: usize,
    bytes: u64,
    /// Of all names and targets.
    names: u64,
    /// Of the list of files that must follow.
    list: u64,
}

/// What is no link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Solid {
    Directory,
    File,
}

/// What the archive says that it holds.
pub struct Claim {
    pub head: Head,
    /// Digest of the list of files, for archives that have one.
    pub files: Option<[u8; 32]>,
    pub seal: TreeSum,
}

impl Listed {
    pub fn new(rules: NameRules) -> Self {
        let (entries, siblings) = Default::default();
        Self { rules, entries, siblings, files: 0, bytes: 0, names: 0, list: 0 }
    }

    /// Takes the next entry unless it is one too many, out of order, or a twin; the number of a file among the files.
    pub fn admit(&mut self, path: &str, item: &Item, limits: &UnpackLimits) -> Result<usize, Failure> {
        if self.entries.len() as u64 >= limits.entries {
            return Err(refused(format!("it holds more than {} entries", limits.entries)));
        }
        let before = self.entries.last().map(|(path, _)| path.as_str()).unwrap_or_default();
        if names::order(before, path).is_ge() {
            return Err(refused(format!("{path} comes twice or out of order")));
        }
        self.check_name(path)?;
        let target = if let Item::Link { target } = item { target.len() } else { 0 };
        self.names = self.names.saturating_add((path.len() + target) as u64);
        if self.names > limits.names {
            return Err(refused(format!("its names are longer than {} bytes", limits.names)));
        }
        if let Item::File { size, .. } = item {
            self.bytes = self.bytes.saturating_add(*size);
            if self.bytes > limits.bytes {
                return Err(refused(format!("it unpacks to more than {} bytes", limits.bytes)));
            }
        }
        Ok(self.files)
    }

    fn check_name(&mut self, path: &str) -> Result<(), Failure> {
        if self.rules == NameRules::AsOnceTaken {
            return Ok(());
        }
        names::check_in_tree(path.as_bytes()).map_err(|why| refused(format!("{path}: {why}")))?;
        match self.siblings.admit(path) {
            true => Ok(()),
            false => Err(refused(format!("{path}: another name in its directory differs only in case or accents"))),
        }
    }

    /// Keeps an entry that was admitted.
    pub fn push(&mut self, path: String, item: Item) {
        if matches!(item, Item::File { .. }) {
            self.files += 1;
            self.list += listing::checksum_line_length(&path);
        }
        self.entries.push((path, item));
    }

    /// Bytes of the list of these files.
    pub fn list_length(&self) -> u64 {
        self.list
    }

    /// Path and target of each link.
    pub fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().filter_map(|(path, item)| match item {
            Item::Link { target } => Some((path.as_str(), target.as_str())),
            Item::Directory | Item::File { .. } => None,
        })
    }

    /// Path of each directory and of each file.
    pub fn solid(&self) -> impl Iterator<Item = (&str, Solid)> {
        self.entries.iter().filter_map(|(path, item)| match item {
            Item::Link { .. } => None,
            Item::Directory => Some((path.as_str(), Solid::Directory)),
            Item::File { .. } => Some((path.as_str(), Solid::File)),
        })
    }

    /// What it is, when it is what it claims to be.
    pub fn verified(&self, sums: &Sums, claim: Claim) -> Result<Manifest, Failure> {
        let mut by_number = vec![None; self.files];
        for (number, sum) in sums {
            if let Some(slot) = by_number.get_mut(*number) {
                *slot = Some(sum);
            }
        }
        let (mut tree, mut files, mut list) = (Listing::default(), by_number.into_iter(), Sha256::new());
        for (path, item) in &self.entries {
            match item {
                Item::Directory => tree.add(path, Line::Directory),
                Item::Link { target } => tree.add(path, Line::Link { target }),
                Item::File { exec, size } => {
                    let sha256 = files.next().flatten().ok_or_else(|| refused(format!("{path} was not read")))?;
                    tree.add(path, Line::File { exec: *exec, size: *size, sha256 });
                    list.update(listing::checksum_line(sha256, path));
                }
            }
        }
        compare(tree.finish(), list.finalize().0, claim)
    }
}

fn compare(tree: TreeSum, list: [u8; 32], claim: Claim) -> Result<Manifest, Failure> {
    let same = match claim.head.contents {
        ContentsForm::FilesAndSum => tree == claim.seal,
        ContentsForm::Sum => {
            (tree.files, tree.bytes, &tree.sha256) == (claim.seal.files, claim.seal.bytes, &claim.seal.sha256)
        }
    };
    if !same {
        return Err(refused("the tree is not the one that its manifest names"));
    }
    if claim.files.is_some_and(|claimed| claimed != list) {
        return Err(refused(format!("{} does not list the files that came", manifest::FILES)));
    }
    Ok(Manifest { base: claim.head.base, tree })
}
