//! A tree that is edited in place: how it differs from the commit that it was brought to, what was kept of earlier edits,
//! and whether it is seen where people edit it.

use super::children::{self, below};
use super::ground;
use super::session::{PROJECT, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Files by path: what runs them, and what they hold. What is gone is [`GONE`].
pub type Files = BTreeMap<String, String>;

const GONE: &str = "gone";

/// Everything below a directory, but for git's own.
pub fn files(directory: &Path) -> Files {
    let inside = |path: &Path| path.strip_prefix(directory).unwrap_or(path).display().to_string();
    let all = below(directory).into_iter().map(|path| (inside(&path), path));
    all.filter(|(name, path)| !name.starts_with(".git/") && !path.is_dir())
        .map(|(name, path)| {
            let executable = path.metadata().is_ok_and(|data| data.permissions().mode() & 0o100 != 0);
            let content = std::fs::read(&path).unwrap_or_default();
            (name, written(executable, &String::from_utf8_lossy(&content)))
        })
        .collect()
}

fn written(executable: bool, content: &str) -> String {
    format!("{}\n{content}", if executable { "program" } else { "file" })
}

/// What the front page says, when it is among these.
pub fn page(files: &Files) -> Option<&str> {
    files.get("index.html").and_then(|file| file.strip_prefix("file\n"))
}

/// What of a tree is not as in a commit's.
pub fn edits(now: &Files, commit: &Files) -> Files {
    let removed = commit.keys().filter(|name| !now.contains_key(*name)).map(|name| (name.clone(), GONE.to_owned()));
    let changed = now.iter().filter(|(name, file)| commit.get(*name) != Some(file));
    changed.map(|(name, file)| (name.clone(), file.clone())).chain(removed).collect()
}

/// What each branch of edits that the server keeps has besides its parent.
pub fn kept(session: &Session) -> Result<BTreeSet<Files>, String> {
    let listed = git(session, &["for-each-ref", "--format=%(objectname)", "refs/heads/edits/"])?;
    listed.lines().map(|commit| kept_in(session, commit)).collect()
}

fn kept_in(session: &Session, commit: &str) -> Result<Files, String> {
    let listed = git(session, &["diff-tree", "-r", "--no-renames", &format!("{commit}^"), commit])?;
    let mut files = Files::new();
    for line in listed.lines() {
        let (change, name) = line.split_once('\t').ok_or("no name")?;
        let (mode, id) = (change.split(' ').nth(1), change.split(' ').nth(3).unwrap_or_default());
        let file = match mode {
            Some("000000") => GONE.to_owned(),
            mode => written(mode == Some("100755"), &git(session, &["cat-file", "blob", id])?),
        };
        files.insert(name.to_owned(), file);
    }
    Ok(files)
}

fn git(session: &Session, words: &[&str]) -> Result<String, String> {
    let repository = session.place("git/project.git").display().to_string();
    session.git(&[&["-c", "safe.directory=*", "--git-dir", &repository], words].concat())
}

/// `run/` is seen at `project/`, once, and nothing else is mounted below the roots.
pub fn mounts(session: &Session) -> Vec<String> {
    let roots = &session.machine.roots;
    let mut found = ground::mounts_below(&[&roots.projects, &roots.state, &roots.runtime, &roots.logs]);
    let (run, project) = (session.place("run"), session.place("project"));
    let inode = |path: &Path| std::fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    if session.is_edited() {
        match found.iter().position(|point| *point == project) {
            Some(at) if inode(&run) == inode(&project) => drop(found.remove(at)),
            Some(_) => return vec![format!("{PROJECT}/project does not show run/")],
            None => return vec![format!("nothing at {PROJECT}/project, where run/ should be seen")],
        }
    }
    found.iter().map(|path| path.display().to_string()).collect()
}

/// Written by a person who saves the files: it survives a power cut.
pub fn saved(directory: &Path) -> Result<(), String> {
    children::done("sync", &["-f", &directory.display().to_string()]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_what_differs_and_what_is_gone() {
        let file = |content: &str| written(false, content);
        let commit =
            Files::from([("a".into(), file("1")), ("b".into(), file("1")), ("index.html".into(), file("old"))]);
        let now = Files::from([("a".into(), file("1")), ("c".into(), file("1")), ("index.html".into(), file("new"))]);
        let edits = edits(&now, &commit);
        assert_eq!(edits.keys().collect::<Vec<_>>(), ["b", "c", "index.html"]);
        assert_eq!((edits["b"].as_str(), page(&edits)), (GONE, Some("new")));
    }
}
