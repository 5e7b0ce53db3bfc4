//! The files of a project that configure us, wherever they are: in a commit, or in a directory that people edit. Reads
//! them; what they mean for a deployment is `gather`'s.

use super::facts;
use crate::buildpacks::{self, Choice};
use crate::config::pillar;
use crate::config::{AppJson, ProjectConfig, procfile, tasks};
use crate::git::{self, Kind, Tree};
use crate::hooks;
use crate::model::{Code, CommitId, Failure};
use crate::trees::standing;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Larger files configure nothing.
pub const SMALL_FILE: usize = 1 << 20;

/// Where files are read from.
pub enum Origin<'a> {
    Commit(&'a git::Objects, &'a CommitId),
    /// By descriptors, following no link.
    Directory(&'a Path),
}

/// How a tree is built: its hooks by their paths, and the buildpack.
pub type Recipe = (BTreeMap<hooks::Hook, String>, Option<Choice>);

/// The files of a project.
pub struct ProjectFiles<'a> {
    pub origin: Origin<'a>,
    pub tree: &'a Tree,
}
impl ProjectFiles<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        if !self.tree.entries.iter().any(|entry| entry.path == path) {
            return Ok(None);
        }
        match self.origin {
            Origin::Commit(objects, commit) => objects.read_file(commit, path, SMALL_FILE).map_err(Failure::from),
            Origin::Directory(root) => standing::content(root, Path::new(path), SMALL_FILE as u64),
        }
    }

    pub fn settings(&self) -> Result<ProjectConfig, Failure> {
        const FILE: &str = ".commis/project.toml";
        match self.read(FILE)? {
            Some(bytes) => ProjectConfig::parse(&text(FILE, bytes)?, FILE),
            None => Ok(ProjectConfig::default()),
        }
    }

    pub fn pillar_defaults(&self) -> Result<Vec<(String, String)>, Failure> {
        let names: Vec<&str> = self.tree.entries.iter().map(|entry| entry.path.as_str()).collect();
        let mut files = Vec::new();
        for name in pillar::default_files(&names) {
            if let Some(bytes) = self.read(name)? {
                files.push((name.to_owned(), text(name, bytes)?));
            }
        }
        Ok(files)
    }

    /// Hooks and buildpack; also reads what would only fail later: Procfile and app.json.
    pub fn recipe(&self, settings: &ProjectConfig) -> Result<Recipe, Failure> {
        if self.tree.entries.is_empty() {
            return Err(
                Failure::new(Code::Refused, "there are no files to deploy").hint("add files, commit, push again")
            );
        }
        if let Some(bytes) = self.read("Procfile")? {
            procfile::parse(&bytes)?;
        }
        let app = match self.read("app.json")? {
            Some(bytes) => AppJson::parse(&text("app.json", bytes)?)?,
            None => AppJson::default(),
        };
        tasks::all(&app.cron, &settings.tasks)?;
        let hooks = hooks::find(self.tree.entries.iter().map(hook_entry))?;
        let declared = hooks.keys().copied().collect();
        let choice = with_files(self.tree, |tree| facts::buildpack(&declared, tree, settings.buildpack.as_deref()))?;
        Ok((hooks, choice))
    }
}

/// Questions that buildpacks ask about a tree's files.
pub fn with_files<R>(tree: &Tree, ask: impl FnOnce(buildpacks::Tree<'_>) -> R) -> R {
    let files: HashMap<&str, &Kind> = tree.entries.iter().map(|entry| (entry.path.as_str(), &entry.kind)).collect();
    let executable = |path: &str| matches!(files.get(path), Some(Kind::File { executable: true }));
    ask(buildpacks::Tree { exists: &|path| files.contains_key(path), executable: &executable })
}

fn hook_entry(entry: &git::Entry) -> hooks::Entry<'_> {
    let kind = match entry.kind {
        Kind::File { executable: true } => hooks::Kind::Executable,
        Kind::File { executable: false } => hooks::Kind::Plain,
        Kind::Symlink { .. } => hooks::Kind::Link,
    };
    hooks::Entry { path: &entry.path, kind }
}

/// A file's bytes as text; the failure names the line that is not UTF-8.
pub fn text(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        Failure::new(Code::BadConfig, format!("{name} line {line}: not UTF-8")).hint("save the file as UTF-8")
    })
}
