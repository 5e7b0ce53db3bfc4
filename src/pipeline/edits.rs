//! What people changed in a tree that is edited in place, and what of it a deployment may overwrite. Pure: who looks at the
//! tree is `survey`.

use crate::git::apply::Applying;
use crate::git::commit::{Changed, Put};
use crate::git::{Entry, Kind, ObjectId, Tree};
use crate::model::{Code, Failure};
use crate::notify::words::some_of;
use crate::trees::names;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Paths that a refusal names; the rest is counted.
const NAMED: usize = 20;

/// How one path of the tree differs from a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Relative, `/`-separated.
    pub path: String,
    pub how: How,
    pub now: Now,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    Added,
    Changed,
    Removed,
}

/// What stands there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Now {
    Nothing,
    /// Its content was not looked at.
    Unread(Put),
    Read(Put, ObjectId),
}

/// Everything in which a tree differs from a commit, whoever did it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Survey {
    pub differences: Vec<Difference>,
    /// The `.gitignore` files of the tree: their directory, empty for the root, and their text.
    pub ignores: Vec<(String, String)>,
    /// Paths of files and links that are no text: in no commit of ours, and so in no difference.
    pub unnameable: Vec<Vec<u8>>,
}

/// What the last build left besides the commit: products by their path, files of the commit by what they became.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Built(pub BTreeMap<String, Option<String>>);

impl How {
    pub fn as_str(self) -> &'static str {
        match self {
            How::Added => "added",
            How::Changed => "changed",
            How::Removed => "removed",
        }
    }
}

impl Now {
    /// As it is written into the list of what was built.
    fn text(self) -> String {
        match self {
            Now::Nothing => "nothing".to_owned(),
            Now::Unread(put) => mode(put).to_owned(),
            Now::Read(put, id) => format!("{} {id}", mode(put)),
        }
    }
}

/// As git writes it.
pub fn mode(put: Put) -> &'static str {
    match put {
        Put::Plain => "100644",
        Put::Program => "100755",
        Put::Link => "120000",
    }
}

/// The same for an entry of a commit.
pub fn put_of(entry: &Entry) -> Put {
    match entry.kind {
        Kind::File { executable: false } => Put::Plain,
        Kind::File { executable: true } => Put::Program,
        Kind::Symlink { .. } => Put::Link,
    }
}

impl Difference {
    pub fn change(&self) -> Changed {
        match self.now {
            Now::Nothing => Changed::Remove,
            Now::Unread(put) | Now::Read(put, _) => Changed::Put(put),
        }
    }
}

/// What people did: neither ignored, nor left by the last build as it stands. What is ignored counts where a commit that
/// is `pushed` has a file of that name, which would be written over it.
pub fn edits(survey: &Survey, built: &Built, pushed: Option<&Tree>) -> Vec<Difference> {
    let mut rules = Ignored::new(&survey.ignores);
    let written: HashSet<&str> = pushed.into_iter().flat_map(Tree::paths).collect();
    let mut ignored = |difference: &Difference| {
        difference.how == How::Added && !written.contains(difference.path.as_str()) && rules.ignores(&difference.path)
    };
    let explained = |difference: &Difference| match (difference.how, built.0.get(&difference.path)) {
        (_, None) => false,
        (How::Added, Some(_)) => true,
        (How::Changed | How::Removed, Some(left)) => *left == Some(difference.now.text()),
    };
    survey.differences.iter().filter(|one| !explained(one) && !ignored(one)).cloned().collect()
}

/// What people may take for an edit, and no commit can have: `2 files have names that are no text, and are in no commit:
/// caf\xe9, work/\xff`. Nothing of what is ignored.
pub fn unnameable(survey: &Survey) -> Option<String> {
    let mut rules = Ignored::new(&survey.ignores);
    let mut paths = survey.unnameable.clone();
    paths.retain(|path| !rules.ignores(&String::from_utf8_lossy(path)));
    let shown: Vec<String> = paths.iter().map(|path| names::escape(path)).collect();
    let what = match paths.len() {
        0 => return None,
        1 => "1 file has a name that is no text, and is in no commit".to_owned(),
        many => format!("{many} files have names that are no text, and are in no commit"),
    };
    Some(format!("{what}: {}", some_of(&shown, NAMED)))
}

/// What a build left: all that differs after it but the edits that were there before.
pub fn built(before: &[Difference], after: &Survey) -> Built {
    let edited: HashSet<&str> = before.iter().map(|edit| edit.path.as_str()).collect();
    let left = after.differences.iter().filter(|one| !edited.contains(one.path.as_str()));
    let entry = |one: &Difference| {
        let became = (one.how != How::Added).then(|| one.now.text());
        (one.path.clone(), became)
    };
    Built(left.map(entry).collect())
}

impl Built {
    /// Files of the commit that are not as it has them.
    pub fn changed(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, became)| became.is_some()).map(|(path, _)| path.as_str()).collect()
    }
}

/// The same where there is no commit: what is there now and was not before, or was the build's already.
pub fn came(before: &Tree, after: &Tree, known: &Built) -> Built {
    let there = by_path(before);
    let is_new = |path: &&str| !there.contains_key(path) || known.0.contains_key(*path);
    Built(after.paths().filter(is_new).map(|path| (path.to_owned(), None)).collect())
}

/// The edits that a commit would overwrite or leave behind: what it has itself is not lost.
pub fn lost_in(edits: Vec<Difference>, commit: &Tree) -> Vec<Difference> {
    let entries = by_path(commit);
    let has = |edit: &Difference| match (edit.now, entries.get(edit.path.as_str())) {
        (Now::Nothing, None) => true,
        (Now::Read(put, id), Some(entry)) => entry.id == id && put_of(entry) == put,
        _ => false,
    };
    edits.into_iter().filter(|edit| !has(edit)).collect()
}

/// The files to write and to remove so that the tree, which differs from `base` in `survey`, has the files of `commit`.
/// Products of builds and what is ignored stay; edits, which were kept elsewhere, go.
pub fn applying(base: &Tree, commit: &Tree, (survey, edits): (&Survey, &[Difference])) -> Applying {
    let (before, after) = (by_path(base), by_path(commit));
    let differs: HashSet<&str> = survey.differences.iter().map(|one| one.path.as_str()).collect();
    let same = |entry: &Entry| {
        let old = before.get(entry.path.as_str());
        old.is_some_and(|old| old.id == entry.id && old.kind == entry.kind) && !differs.contains(entry.path.as_str())
    };
    let tracked = base.entries.iter().map(|entry| entry.path.as_str());
    let added = edits.iter().filter(|edit| edit.how == How::Added).map(|edit| edit.path.as_str());
    Applying {
        remove: tracked.chain(added).filter(|path| !after.contains_key(path)).map(str::to_owned).collect(),
        directories: commit.directories.clone(),
        write: commit.entries.iter().filter(|entry| !same(entry)).cloned().collect(),
    }
}

/// A push would lose these.
pub fn refuse(project: &str, edits: &[Difference]) -> Failure {
    let count = match edits.len() {
        1 => "1 file was".to_owned(),
        many => format!("{many} files were"),
    };
    let what = format!("{count} edited in {project} on the server and not committed");
    let named = edits.iter().take(NAMED).map(|edit| format!("{:<8} {}", edit.how.as_str(), edit.path));
    let rest = edits.len().saturating_sub(NAMED);
    let rest = (rest > 0).then(|| format!("and {rest} more: commis diff {project} --stat"));
    let failure = named.chain(rest).fold(Failure::new(Code::Refused, what), Failure::detail);
    failure
        .hint(format!("to see and keep them: commis diff {project}, commis commit {project} -m MESSAGE, then pull"))
        .hint("to push over them, kept on a branch: git push -o stash")
        .hint("the same, to be merged afterwards: git push -o commit")
}

fn by_path(tree: &Tree) -> HashMap<&str, &Entry> {
    tree.entries.iter().map(|entry| (entry.path.as_str(), entry)).collect()
}

/// The rules of all `.gitignore` files together, as git reads them: deeper files first, later lines first, and nothing
/// below an ignored directory is seen again.
struct Ignored {
    /// Matcher of each directory, `/` in front of it.
    rules: HashMap<String, Gitignore>,
    directories: HashMap<String, bool>,
}

impl Ignored {
    fn new(files: &[(String, String)]) -> Self {
        let matcher = |(directory, text): &(String, String)| {
            let root = rooted(directory);
            let mut builder = GitignoreBuilder::new(&root);
            for line in text.lines() {
                // A line that git does not understand either matches nothing.
                let _ = builder.add_line(None, line);
            }
            Some((root, builder.build().ok()?))
        };
        Self { rules: files.iter().filter_map(matcher).collect(), directories: HashMap::new() }
    }

    fn ignores(&mut self, path: &str) -> bool {
        if path.split('/').any(|part| part == ".git") {
            return true;
        }
        match path.rsplit_once('/') {
            Some((above, _)) if self.ignores_directory(above) => true,
            _ => self.matches(path, false),
        }
    }

    fn ignores_directory(&mut self, path: &str) -> bool {
        if let Some(known) = self.directories.get(path) {
            return *known;
        }
        let above = path.rsplit_once('/').is_some_and(|(above, _)| self.ignores_directory(above));
        let ignored = above || self.matches(path, true);
        self.directories.insert(path.to_owned(), ignored);
        ignored
    }

    /// The rule of the deepest file that has one.
    fn matches(&self, path: &str, is_directory: bool) -> bool {
        let whole = rooted(path);
        let mut above = path;
        loop {
            above = above.rsplit_once('/').map_or("", |(above, _)| above);
            let found = self.rules.get(&rooted(above)).map(|rules| rules.matched(&whole, is_directory));
            match found {
                Some(Match::Ignore(_)) => return true,
                Some(Match::Whitelist(_)) => return false,
                Some(Match::None) | None if above.is_empty() => return false,
                Some(Match::None) | None => {}
            }
        }
    }
}

fn rooted(path: &str) -> String {
    format!("/{path}")
}

#[cfg(test)]
#[path = "edits_tests.rs"]
mod tests;
