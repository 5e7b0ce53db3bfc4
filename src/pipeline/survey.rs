//! Looking at a tree that people edit: how it differs from a commit, and what its last build left. Decides nothing.

use super::edits::{Built, Difference, How, Now, Survey};
use crate::git::commit::Put;
use crate::git::{self, Entry, Kind, ObjectId, Tree};
use crate::model::Failure;
use crate::system::UserIds;
use crate::system::files::Durability;
use crate::system::privileged::{self, Content as Bytes, Operation};
use crate::system::reading;
use crate::trees::standing::{self, Content, Standing, What};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

const IGNORES: &str = ".gitignore";
/// Most of a `.gitignore`.
const IGNORES_MAX: u64 = 1 << 20;
/// Most of the list of what was built.
const BUILT_MAX: u64 = 256 << 20;
/// Most of a file that is committed or shown.
pub const CONTENT_MAX: u64 = 1 << 30;

/// Compares the tree at `root` with the files of a commit.
pub fn survey(root: &Path, commit: &Tree) -> Result<Survey, Failure> {
    let mut missing: HashMap<&str, &Entry> = commit.entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    let mut differences = Vec::new();
    let mut ignores = Vec::new();
    let mut unnameable = Vec::new();
    standing::each(root, &mut |standing, content| {
        let Some(path) = path_of(&standing) else {
            unnameable.push(standing.path);
            return Ok(());
        };
        let put = put_of(&standing.what);
        match missing.remove(path.as_str()) {
            None => differences.push(Difference { path: path.clone(), how: How::Added, now: Now::Unread(put) }),
            Some(entry) => {
                let id = id_of(&standing, content)?;
                if entry.id != id || super::edits::put_of(entry) != put {
                    let now = Now::Read(put, id);
                    differences.push(Difference { path: path.clone(), how: How::Changed, now });
                }
            }
        }
        if put != Put::Link && path.rsplit('/').next() == Some(IGNORES) {
            ignores.push(path);
        }
        Ok(())
    })?;
    differences.extend(missing.into_keys().map(|path| Difference {
        path: path.to_owned(),
        how: How::Removed,
        now: Now::Nothing,
    }));
    differences.sort_by(|a, b| a.path.cmp(&b.path));
    let ignores = ignores.iter().map(|path| read_ignores(root, path)).collect::<Result<_, _>>()?;
    Ok(Survey { differences, ignores, unnameable })
}

/// Looks at the content of those whose content was not looked at.
pub fn read_all(root: &Path, edits: Vec<Difference>) -> Result<Vec<Difference>, Failure> {
    let read = |edit: Difference| match edit.now {
        Now::Unread(put) => {
            let content = standing::content(root, Path::new(&edit.path), CONTENT_MAX)?;
            let now = match content {
                Some(bytes) => Now::Read(put, git::patch::id_of(&bytes).map_err(Failure::from)?),
                None => Now::Nothing,
            };
            Ok(Difference { now, ..edit })
        }
        Now::Nothing | Now::Read(..) => Ok(edit),
    };
    let all: Vec<Difference> = edits.into_iter().map(read).collect::<Result<_, Failure>>()?;
    Ok(all.into_iter().filter(|edit| edit.how != How::Added || edit.now != Now::Nothing).collect())
}

/// What stands in a directory, as the tree of a commit that nobody made: names and kinds are true, contents are not known.
pub fn listed(root: &Path) -> Result<Tree, Failure> {
    let mut tree = Tree::default();
    standing::each(root, &mut |standing, _| {
        let Some(path) = path_of(&standing) else { return Ok(()) };
        let (kind, size) = match standing.what {
            What::File { executable, size } => (Kind::File { executable }, size),
            What::Link { target } => (Kind::Symlink { target: String::from_utf8_lossy(&target).into_owned() }, 0),
        };
        tree.bytes = tree.bytes.saturating_add(size);
        tree.entries.push(Entry { path, kind, id: ObjectId([0; 20]), size });
        Ok(())
    })?;
    Ok(tree)
}

/// What the last build left; nothing is known of a tree that was never built.
pub fn read_built(list: &Path) -> Result<Built, Failure> {
    let bytes = match reading::read_regular(list, BUILT_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Built::default()),
        read => read?,
    };
    let left: BTreeMap<String, Option<String>> =
        serde_json::from_slice(&bytes).map_err(|error| Failure::internal("read what was built", &error))?;
    Ok(Built(left))
}

/// Writes it down, durably.
pub fn write_built(list: &Path, built: &Built) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(&built.0).map_err(|error| Failure::internal("write what was built", &error))?;
    let (path, content) = (list.to_owned(), Bytes(bytes));
    let owner = UserIds::of(0);
    privileged::perform(&Operation::WriteFile { path, content, owner, mode: 0o600, durability: Durability::Durable })
}

/// A path as text. What has another name can neither be in a commit nor be overwritten by one.
fn path_of(standing: &Standing) -> Option<String> {
    String::from_utf8(standing.path.clone()).ok()
}

fn put_of(what: &What) -> Put {
    match what {
        What::File { executable: false, .. } => Put::Plain,
        What::File { executable: true, .. } => Put::Program,
        What::Link { .. } => Put::Link,
    }
}

fn id_of(standing: &Standing, content: Option<Content<'_>>) -> Result<ObjectId, Failure> {
    let id = match (&standing.what, content) {
        (What::Link { target }, _) => git::patch::id_of(target),
        (What::File { .. }, Some(content)) => git::patch::id_of_file(&content.name()),
        (What::File { .. }, None) => git::patch::id_of(&[]),
    };
    id.map_err(Failure::from)
}

fn read_ignores(root: &Path, path: &str) -> Result<(String, String), Failure> {
    let directory = path.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
    let bytes = standing::content(root, Path::new(path), IGNORES_MAX)?.unwrap_or_default();
    Ok((directory, String::from_utf8_lossy(&bytes).into_owned()))
}
