//! The tree of a commit as a checked, counted list. Pure: objects come through [`Source`].
//!
//! A push of half a megabyte can name a thousand million files, so nothing is walked without counting, and every
//! count ends in a refusal that names the limit. Rules for single names and links are in `names`; writing the tree to
//! disk is in `checkout`.

use super::names::{self, Refusal, shown};
use crate::model::{Code, Failure};
use std::collections::HashSet;
use std::fmt;

/// What a tree may be at most. Directories count as files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeLimits {
    pub max_files: usize,
    /// Bytes of all files together, and of one.
    pub max_bytes: u64,
    pub max_file: u64,
    /// Directories below each other.
    pub max_depth: usize,
    /// Bytes of a whole path, and of one name.
    pub max_path: usize,
    pub max_name: usize,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self { max_files: 200_000, max_bytes: 4 << 30, max_file: 1 << 30, max_depth: 64, max_path: 1024, max_name: 255 }
    }
}

/// A SHA-1 object id, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ObjectId(pub [u8; 20]);

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A tree that may be written to disk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tree {
    /// Files and links; those of one directory stand together.
    pub entries: Vec<Entry>,
    /// All directories below the root, each after the one that holds it.
    pub directories: Vec<String>,
    /// Bytes of all files.
    pub bytes: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Relative, `/`-separated.
    pub path: String,
    pub kind: Kind,
    pub id: ObjectId,
    /// Bytes of the file, or of the link's target.
    pub size: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    File { executable: bool },
    Symlink { target: String },
}

/// Where objects come from.
pub trait Source {
    /// The bytes of a tree object.
    fn tree(&mut self, id: ObjectId) -> Result<Vec<u8>, Failure>;
    /// The size of a blob.
    fn size(&mut self, id: ObjectId) -> Result<u64, Failure>;
    /// The bytes of a blob that is known to be small.
    fn blob(&mut self, id: ObjectId) -> Result<Vec<u8>, Failure>;
}

impl Tree {
    /// Paths of all files and links.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.path.as_str())
    }
}

/// Walks the tree `root`, checks every name, mode and link, and stops at the first limit.
pub fn walk(root: ObjectId, limits: &TreeLimits, source: &mut dyn Source) -> Result<Tree, Failure> {
    let mut walk = Walk { limits, source, tree: Tree::default(), waiting: vec![(String::new(), root, 0)] };
    while let Some((directory, id, depth)) = walk.waiting.pop() {
        walk.directory(&directory, id, depth)?;
    }
    let tree = walk.tree;
    check_links(&tree)?;
    Ok(tree)
}

struct Walk<'a> {
    limits: &'a TreeLimits,
    source: &'a mut dyn Source,
    tree: Tree,
    /// Directories still to be read: path, id, depth.
    waiting: Vec<(String, ObjectId, usize)>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &str, id: ObjectId, depth: usize) -> Result<(), Failure> {
        let bytes = self.source.tree(id)?;
        let mut seen = HashSet::new();
        let mut below = Vec::new();
        for entry in parse(&bytes) {
            let Some((mode, name, id)) = entry else {
                return Err(refused(directory.as_bytes(), "an unreadable tree", "make the commit again"));
            };
            let path = self.path(directory, name)?;
            if !seen.insert(name) {
                return Err(refused(path.as_bytes(), "a name that is there twice", "make the commit again"));
            }
            self.count(&path)?;
            if mode & 0o170000 == 0o040000 {
                if depth >= self.limits.max_depth {
                    return Err(limit(&path, format!("more than {} directories deep", self.limits.max_depth)));
                }
                self.tree.directories.push(path.clone());
                below.push((path, id, depth + 1));
            } else {
                self.leaf(path, mode, id)?;
            }
        }
        self.waiting.extend(below.into_iter().rev());
        Ok(())
    }

    fn path(&self, directory: &str, name: &[u8]) -> Result<String, Failure> {
        let whole = if directory.is_empty() { name.to_vec() } else { [directory.as_bytes(), b"/", name].concat() };
        let name = names::check_name(name, self.limits.max_name).map_err(|why| refusal(&whole, &why))?;
        if whole.len() > self.limits.max_path {
            return Err(limit(&shown(&whole), format!("a path of more than {} bytes", self.limits.max_path)));
        }
        Ok(if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") })
    }

    fn leaf(&mut self, path: String, mode: u32, id: ObjectId) -> Result<(), Failure> {
        let kind = match mode {
            0o100644 | 0o100664 => Kind::File { executable: false },
            0o100755 => Kind::File { executable: true },
            0o120000 => self.link(&path, id)?,
            0o160000 => {
                let hint = "vendor it: put its files into this repository, or install it in the build";
                return Err(refused(path.as_bytes(), "a submodule, which is not supported", hint));
            }
            _ => {
                let hint = "use an ordinary file: 644 or 755, no setuid, no device";
                return Err(refused(path.as_bytes(), &format!("a file of mode {mode:o}"), hint));
            }
        };
        let size = match &kind {
            Kind::File { .. } => self.source.size(id)?,
            Kind::Symlink { target } => target.len() as u64,
        };
        if size > self.limits.max_file {
            return Err(limit(&path, format!("a file of {size} bytes: at most {}", self.limits.max_file)));
        }
        self.tree.bytes = self.tree.bytes.saturating_add(size);
        if self.tree.bytes > self.limits.max_bytes {
            return Err(limit(&path, format!("more than {} bytes in all", self.limits.max_bytes)));
        }
        self.tree.entries.push(Entry { path, kind, id, size });
        Ok(())
    }

    fn link(&mut self, path: &str, id: ObjectId) -> Result<Kind, Failure> {
        if path.rsplit('/').next().is_some_and(names::is_dot_gitmodules) {
            let hint = "make it a file, or remove it: submodules are not supported";
            return Err(refused(path.as_bytes(), "a .gitmodules that is a symbolic link", hint));
        }
        let size = self.source.size(id)?;
        let target = if size > names::MAX_TARGET as u64 { Vec::new() } else { self.source.blob(id)? };
        let target = names::check_target(&target).map_err(|why| refusal(path.as_bytes(), &why))?;
        Ok(Kind::Symlink { target: target.to_owned() })
    }

    fn count(&self, path: &str) -> Result<(), Failure> {
        let counted = self.tree.entries.len() + self.tree.directories.len();
        if counted < self.limits.max_files {
            return Ok(());
        }
        Err(limit(path, format!("more than {} files and directories", self.limits.max_files)))
    }
}

fn check_links(tree: &Tree) -> Result<(), Failure> {
    let links: Vec<(&str, &str)> = tree
        .entries
        .iter()
        .filter_map(|entry| match &entry.kind {
            Kind::Symlink { target } => Some((entry.path.as_str(), target.as_str())),
            Kind::File { .. } => None,
        })
        .collect();
    let paths: HashSet<&str> = links.iter().map(|(path, _)| *path).collect();
    for (path, target) in links {
        names::check_link(path, target, &paths).map_err(|why| refusal(path.as_bytes(), &why))?;
    }
    Ok(())
}

/// The entries of a tree object, `mode SP name NUL id`; `None` once where it cannot be read, then the end.
fn parse(mut bytes: &[u8]) -> impl Iterator<Item = Option<(u32, &[u8], ObjectId)>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let entry = parse_one(bytes);
        bytes = entry.map_or(&[], |(_, _, _, rest)| rest);
        Some(entry.map(|(mode, name, id, _)| (mode, name, id)))
    })
}

fn parse_one(bytes: &[u8]) -> Option<(u32, &[u8], ObjectId, &[u8])> {
    let blank = bytes.iter().take(8).position(|byte| *byte == b' ')?;
    let mode = std::str::from_utf8(bytes.get(..blank)?).ok()?;
    let mode = mode.bytes().all(|byte| byte.is_ascii_digit()).then(|| u32::from_str_radix(mode, 8).ok())??;
    let rest = bytes.get(blank + 1..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (id, after) = rest.get(end + 1..)?.split_first_chunk::<20>()?;
    Some((mode, rest.get(..end)?, ObjectId(*id), after))
}

fn refusal(path: &[u8], why: &Refusal) -> Failure {
    refused(path, why.what, why.hint)
}

fn refused(path: &[u8], what: &str, hint: &str) -> Failure {
    Failure::new(Code::Refused, format!("{}: {what}", shown(path))).hint(hint)
}

fn limit(path: &str, what: String) -> Failure {
    let hint = "leave out what the application does not need, or ask the administrator for a higher limit";
    Failure::new(Code::Refused, format!("{}: {what}", shown(path.as_bytes()))).hint(hint)
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
