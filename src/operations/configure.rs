//! `config set|unset|show`: variables of a project, kept as commits in its pillar repository.
//!
//! They live in a file of their own there, `config.yaml`, merged over the hand-written one, which is never rewritten.

use super::Platform;
use super::authorize::Action;
use super::records::{Reply, Variable};
use crate::config::pillar;
use crate::git::commit::{CommitFile, commit_file};
use crate::git::{self, GitError};
use crate::model::{Actor, Code, CommitId, Failure, RefName, Remote, Repository};
use crate::pipeline::gather;
use crate::store::ProjectRecord;
use crate::system::UserIds;
use crate::system::files::Durability;
use crate::system::privileged::{self, Content, Operation};
use crate::trees::standing;
use std::path::Path;

const FILE: &str = "config.yaml";
const FILE_MAX: usize = 1 << 20;

/// A variable with its new value, or none to remove it.
pub(super) type Change = (String, Option<String>);

/// Reads `NAME=VALUE` words; `-` stands for the lines of standard input.
pub(super) fn assignments(words: &[String], input: &str) -> Result<Vec<Change>, Failure> {
    let lines = words.iter().flat_map(|word| match word.as_str() {
        "-" => input.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect(),
        _ => vec![word.clone()],
    });
    lines
        .map(|line| {
            let (name, value) = line.split_once('=').ok_or_else(|| {
                Failure::new(Code::Usage, "a variable is NAME=VALUE").hint("commis config set blog GREETING=hello")
            })?;
            Ok((name.to_owned(), Some(value.to_owned())))
        })
        .collect()
}

impl Platform {
    pub(super) async fn change_config(&self, actor: &Actor, name: &str, changes: &[Change]) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Configure, name)?;
        self.recovered(&project.name).await;
        if project.remote == Remote::Nothing {
            return self.change_config_file(&project, changes);
        }
        let (branch, head) = self.pillar_head(&project)?;
        let path = self.context.project_places(&project.name).repository(Repository::Pillar);
        let before = match &head {
            Some(commit) => self.pillar_file(&path, commit)?,
            None => None,
        };
        let after = pillar::set_config(before.as_deref(), changes)?;
        if before.as_deref() == Some(after.as_str()) {
            return Ok(already(changes));
        }
        let what = words(changes);
        let message = format!("config {what}");
        let file = CommitFile { branch, file: FILE, content: after.as_bytes(), message: &message, author: &actor.name };
        let commit = commit_file(&self.context.git, &path, file).await.map_err(|error| match error {
            GitError::Unsure { .. } => Failure::from(error).hint(format!("what is set now: commis config show {name}")),
            error => error.into(),
        })?;
        let done =
            format!("{what} (pillar {}); takes effect with the next deployment: commis deploy {name}", commit.short());
        Ok(Reply::Done { done, changed: true })
    }

    /// Without a repository the file stands in `pillar/`.
    fn change_config_file(&self, project: &ProjectRecord, changes: &[Change]) -> Result<Reply, Failure> {
        let pillar = self.context.project_places(&project.name).pillar();
        let before = standing::content(&pillar, Path::new(FILE), FILE_MAX as u64)?;
        let before = before.map(|bytes| String::from_utf8(bytes).map_err(|_| not_text())).transpose()?;
        let after = pillar::set_config(before.as_deref(), changes)?;
        if before.as_deref() == Some(after.as_str()) {
            return Ok(already(changes));
        }
        privileged::perform(&Operation::WriteFile {
            path: pillar.join(FILE),
            content: Content(after.into_bytes()),
            owner: UserIds::of(0),
            mode: 0o600,
            durability: Durability::Durable,
        })?;
        let name = &project.name;
        let done = format!("{}; takes effect with the next deployment: commis deploy {name}", words(changes));
        Ok(Reply::Done { done, changed: true })
    }

    pub(super) fn show_config(&self, actor: &Actor, name: &str, values: bool) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Configure, name)?;
        let environment = gather::pillar_environment(&self.context, &project)?;
        let variables =
            environment.into_iter().map(|(name, value)| Variable { name, value: values.then_some(value) }).collect();
        Ok(Reply::Config { project: project.name.to_string(), variables })
    }

    /// The pillar's branch and its head.
    fn pillar_head(&self, project: &ProjectRecord) -> Result<(RefName, Option<CommitId>), Failure> {
        let path = self.context.project_places(&project.name).repository(Repository::Pillar);
        let objects = git::open(&path).map_err(Failure::from)?;
        let branches = self.deploy_branches();
        if let Some((branch, commit)) = objects.branch_in_use(&branches).map_err(Failure::from)? {
            return Ok((branch, Some(commit)));
        }
        let first = branches.into_iter().next();
        first.map(|branch| (branch, None)).ok_or_else(|| {
            Failure::new(Code::ServerConfig, "git.deploy_branches names no branch").hint("commis config check")
        })
    }

    fn pillar_file(&self, repository: &std::path::Path, commit: &CommitId) -> Result<Option<String>, Failure> {
        let objects = git::open(repository).map_err(Failure::from)?;
        let bytes = objects.read_file(commit, FILE, FILE_MAX).map_err(Failure::from)?;
        bytes.map(|bytes| String::from_utf8(bytes).map_err(|_| not_text())).transpose()
    }
}

/// `set A B`.
fn words(changes: &[Change]) -> String {
    let verb = if changes.iter().any(|(_, value)| value.is_some()) { "set" } else { "unset" };
    let names: Vec<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
    format!("{verb} {}", names.join(" "))
}

fn already(changes: &[Change]) -> Reply {
    let names: Vec<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
    Reply::Done { done: format!("{} already so", names.join(" ")), changed: false }
}

fn not_text() -> Failure {
    Failure::new(Code::BadConfig, format!("pillar/{FILE}: not UTF-8"))
        .hint("remove the file from the pillar and set the variables again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_anything_after_the_first_equals_sign() {
        let words = ["A=b=c".to_owned(), "-".to_owned()];
        let changes = assignments(&words, "SECRET=x y\n\nT=\n").unwrap();
        let expected = [("A", "b=c"), ("SECRET", "x y"), ("T", "")];
        assert_eq!(changes, expected.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))));
        assert_eq!(assignments(&["A".into()], "").unwrap_err().code, Code::Usage);
    }
}
