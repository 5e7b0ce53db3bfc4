//! Reading a repository inside this process: commits, files, trees, refs. Nothing here writes.
//!
//! Only the object store is opened, never the repository as such, so no configuration, no attributes and no hooks of
//! it are looked at. This runs as root today; the hardening work moves it into a worker of the git user. Writing files
//! out is in `checkout`, moving refs in `refs`.

use super::failed::GitError;
use super::text::visible;
use super::tree::{self, ObjectId, Source, Tree, TreeLimits};
use crate::model::{Code, CommitId, Failure, RefName};
use git2::{ObjectType, Odb, Oid, Repository};
use std::collections::HashSet;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

/// Longest first line of a message that is shown.
const SUBJECT: usize = 72;
/// Tree objects larger than this are refused unread.
const MAX_TREE: usize = 64 << 20;
const MAX_PACKED_REFS: u64 = 64 << 20;

/// An opened repository. May move between threads, is used by one at a time.
pub struct Objects {
    path: PathBuf,
    repository: Repository,
}

/// Opens the repository at `path` for reading.
pub fn open(path: &Path) -> Result<Objects, GitError> {
    let repository = Repository::from_odb(store(path)?).map_err(GitError::object(path.display().to_string()))?;
    Ok(Objects { path: path.to_owned(), repository })
}

impl Objects {
    /// The commit a ref points at, `None` when there is no such ref.
    pub fn resolve(&self, name: &RefName) -> Result<Option<CommitId>, GitError> {
        let loose = read_small(&self.path.join(name.as_str()), 4096)?;
        let found = match &loose {
            Some(text) => Some(text.trim_end().to_owned()),
            None => self.packed(name)?,
        };
        let strange = || GitError::Repository { path: self.path.join(name.as_str()), what: "not a plain ref".into() };
        found.map(|hex| CommitId::parse(&hex).ok_or_else(strange)).transpose()
    }

    /// The branch that `HEAD` names, there or not.
    pub fn head(&self) -> Option<RefName> {
        let text = read_small(&self.path.join("HEAD"), 4096).ok().flatten()?;
        RefName::parse(text.strip_prefix("ref: ")?.trim_end())
    }

    /// Of several branches the one in use: the one that `HEAD` names, else the first that is there.
    pub fn branch_in_use(&self, candidates: &[RefName]) -> Result<Option<(RefName, CommitId)>, GitError> {
        let head = self.head().filter(|head| candidates.contains(head));
        for branch in head.iter().chain(candidates) {
            if let Some(commit) = self.resolve(branch)? {
                return Ok(Some((branch.clone(), commit)));
            }
        }
        Ok(None)
    }

    /// The first line of a commit's message, printable, at most 72 characters.
    pub fn subject(&self, commit: &CommitId) -> Result<String, GitError> {
        let commit = self.commit(commit)?;
        let line = commit.message_bytes().split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty());
        Ok(visible(line.unwrap_or(b"(no message)").trim_ascii(), SUBJECT))
    }

    /// Whether the object is here and is a commit.
    pub fn has_commit(&self, commit: &CommitId) -> bool {
        let header = |odb: Odb<'_>| odb.read_header(oid(commit)?);
        matches!(self.repository.odb().and_then(header), Ok((_, ObjectType::Commit)))
    }

    /// Whether `new` contains `old`: the same commit, or one after it. Works in shallow repositories too.
    pub fn is_ancestor(&self, old: &CommitId, new: &CommitId) -> Result<bool, GitError> {
        let (old, new) = (self.id(old)?, self.id(new)?);
        if old == new {
            return Ok(true);
        }
        // Fails where history is cut off; the slow walk knows how to stop there.
        self.repository.graph_descendant_of(new, old).or_else(|_| self.walks_to(old, new))
    }

    /// The bytes of a plain file at `path` (`/`-separated); `None` when there is none, or when it is a link, a
    /// directory or a submodule. A file of more than `max` bytes is an error.
    pub fn read_file(&self, commit: &CommitId, path: &str, max: usize) -> Result<Option<Vec<u8>>, GitError> {
        let failed = || GitError::object(format!("commit {}: {}", commit.short(), visible(path.as_bytes(), 200)));
        let tree = self.commit(commit)?.tree().map_err(failed())?;
        let entry = match tree.get_path(Path::new(path)) {
            Ok(entry) => entry,
            Err(error) if error.code() == git2::ErrorCode::NotFound => return Ok(None),
            Err(error) => return Err(failed()(error)),
        };
        if !matches!(entry.filemode_raw(), 0o100644 | 0o100664 | 0o100755) {
            return Ok(None);
        }
        let odb = self.repository.odb().map_err(failed())?;
        let (size, _) = odb.read_header(entry.id()).map_err(failed())?;
        if size > max {
            return Err(GitError::TooLarge { path: visible(path.as_bytes(), 200), max });
        }
        Ok(Some(odb.read(entry.id()).map_err(failed())?.data().to_vec()))
    }

    /// The content of a file of a tree.
    pub fn content(&self, entry: &super::Entry) -> Result<Vec<u8>, GitError> {
        let failed = || GitError::object(visible(entry.path.as_bytes(), 200));
        let odb = self.repository.odb().map_err(failed())?;
        let id = git2::Oid::from_bytes(&entry.id.0).map_err(failed())?;
        Ok(odb.read(id).map_err(failed())?.data().to_vec())
    }

    /// The whole tree of a commit, checked and counted; what is not accepted is a `refused` failure naming the path.
    pub fn tree(&self, commit: &CommitId, limits: &TreeLimits) -> Result<Tree, Failure> {
        let root = self.commit(commit)?.tree_id();
        let odb = self.repository.odb().map_err(GitError::object("the object store"))?;
        tree::walk(object_id(root), limits, &mut Stored(odb))
    }

    fn commit(&self, commit: &CommitId) -> Result<git2::Commit<'_>, GitError> {
        let what = format!("commit {}", commit.short());
        self.repository.find_commit(self.id(commit)?).map_err(GitError::object(what))
    }

    fn id(&self, commit: &CommitId) -> Result<Oid, GitError> {
        oid(commit).map_err(GitError::object(commit.as_str()))
    }

    /// Looks for `old` among everything `new` contains; parents that are not here are passed over.
    fn walks_to(&self, old: Oid, new: Oid) -> Result<bool, GitError> {
        let mut seen = HashSet::from([new]);
        let mut waiting = vec![new];
        while let Some(id) = waiting.pop() {
            let commit = match self.repository.find_commit(id) {
                Ok(commit) => commit,
                Err(error) if error.code() == git2::ErrorCode::NotFound && id != new => continue,
                Err(error) => return Err(GitError::object(format!("commit {id}"))(error)),
            };
            if id == old {
                return Ok(true);
            }
            waiting.extend(commit.parent_ids().filter(|parent| seen.insert(*parent)));
        }
        Ok(false)
    }

    fn packed(&self, name: &RefName) -> Result<Option<String>, GitError> {
        let text = read_small(&self.path.join("packed-refs"), MAX_PACKED_REFS)?.unwrap_or_default();
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        Ok(lines.find(|(_, packed)| *packed == name.as_str()).map(|(hex, _)| hex.to_owned()))
    }
}

/// The object store of a repository, without the repository.
pub(super) fn store<'a>(repository: &Path) -> Result<Odb<'a>, GitError> {
    static ONCE: Once = Once::new();
    // Every object was hashed when it came in; hashing again at each read costs a fifth of a checkout.
    ONCE.call_once(|| git2::opts::strict_hash_verification(false));
    let objects = repository.join("objects");
    let strange = |what: &str| GitError::Repository { path: objects.clone(), what: what.into() };
    if objects.join("info/alternates").exists() {
        return Err(strange("borrows objects from elsewhere (info/alternates), which we never set up"));
    }
    let Some(path) = objects.to_str().filter(|_| objects.is_dir()) else {
        return Err(strange("no object store"));
    };
    let failed = || GitError::object(path.to_owned());
    let odb = Odb::new().map_err(failed())?;
    odb.add_disk_alternate(path).map_err(failed())?;
    Ok(odb)
}

/// The libgit2 name of an object.
pub(super) fn oid_of(id: ObjectId) -> Result<Oid, git2::Error> {
    Oid::from_bytes(&id.0)
}

fn oid(commit: &CommitId) -> Result<Oid, git2::Error> {
    Oid::from_str(commit.as_str())
}

pub(super) fn object_id(oid: Oid) -> ObjectId {
    let mut id = ObjectId([0; 20]);
    id.0.iter_mut().zip(oid.as_bytes()).for_each(|(to, from)| *to = *from);
    id
}

/// A small text file, `None` when there is none; links are not followed.
fn read_small(path: &Path, max: u64) -> Result<Option<String>, GitError> {
    use std::io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    let mut text = String::new();
    let flags = nix::fcntl::OFlag::O_NOFOLLOW.bits();
    let read = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .and_then(|file| file.take(max).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), NotFound | IsADirectory | NotADirectory) => Ok(None),
        Err(error) => Err(GitError::io("cannot read", path)(error)),
    }
}

struct Stored<'a>(Odb<'a>);

impl Stored<'_> {
    fn read(&self, id: ObjectId, kind: ObjectType, max: usize) -> Result<Vec<u8>, Failure> {
        let failed = || GitError::object(format!("object {id}"));
        let oid = oid_of(id).map_err(failed())?;
        let (size, found) = self.0.read_header(oid).map_err(failed())?;
        if found != kind || size > max {
            return Err(Failure::new(Code::Refused, format!("object {id}: a {found} of {size} bytes"))
                .hint("make the commit again"));
        }
        Ok(self.0.read(oid).map_err(failed())?.data().to_vec())
    }
}

impl Source for Stored<'_> {
    fn tree(&mut self, id: ObjectId) -> Result<Vec<u8>, Failure> {
        self.read(id, ObjectType::Tree, MAX_TREE)
    }

    fn size(&mut self, id: ObjectId) -> Result<u64, Failure> {
        let failed = || GitError::object(format!("object {id}"));
        let (size, _) = oid_of(id).and_then(|oid| self.0.read_header(oid)).map_err(failed())?;
        Ok(size as u64)
    }

    fn blob(&mut self, id: ObjectId) -> Result<Vec<u8>, Failure> {
        self.read(id, ObjectType::Blob, MAX_TREE)
    }
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
