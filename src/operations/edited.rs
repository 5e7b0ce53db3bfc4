//! `diff` and `commit`: what was edited in place, shown, and made a commit that others can pull.

use super::authorize::Action;
use super::records::{Diff, EditedFile, Reply};
use super::{Platform, Talk};
use crate::git::commit::Commit;
use crate::git::patch::{Patched, Version, patch, quoted};
use crate::git::{self, Objects};
use crate::model::{Actor, Code, CommitId, Failure, RefName, Remote, Repository};
use crate::notify::words;
use crate::pipeline::edits::{self, Difference, Now};
use crate::pipeline::execute;
use crate::pipeline::standing::{Ground, look_at_run, not_what_was_edited};
use crate::store::ProjectRecord;
use crate::trees::standing;
use crate::verbs::CommitWords;
use std::path::Path;

/// Larger versions of a file are only counted as different.
const FILE_MAX: u64 = 4 << 20;
/// A longer diff is cut.
const DIFF_MAX: usize = 4 << 20;

impl Platform {
    pub(super) async fn diff(&self, actor: &Actor, (name, stat): (&str, bool), talk: &Talk) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Deploy, name)?;
        self.recovered(&project.name).await;
        let (objects, ground) = self.edited(&project)?;
        talk.warn(ground.unnameable.as_deref()).await;
        tokio::task::block_in_place(|| self.differences(&project, (&objects, &ground), stat))
    }

    fn differences(
        &self,
        project: &ProjectRecord,
        (objects, ground): (&Objects, &Ground),
        stat: bool,
    ) -> Result<Reply, Failure> {
        let run = self.context.project_places(&project.name).run();
        let (mut text, mut cut, mut files) = (String::new(), false, Vec::new());
        for edit in &ground.edits {
            let patched = one(objects, ground, (&run, edit))?;
            files.push(EditedFile {
                path: edit.path.clone(),
                edited: edit.how.as_str().to_owned(),
                added: (!patched.binary).then_some(patched.added),
                removed: (!patched.binary).then_some(patched.removed),
            });
            match text.len() + patched.text.len() > DIFF_MAX {
                true => cut = true,
                false if stat => {}
                false => text.push_str(&patched.text),
            }
        }
        let diff = (!stat).then_some(text);
        let base = ground.commit.to_string();
        Ok(Reply::Diff(Box::new(Diff { project: project.name.to_string(), base, files, diff, cut: cut && !stat })))
    }

    pub(super) async fn commit_edits(&self, actor: &Actor, words: &CommitWords, talk: &Talk) -> Result<Reply, Failure> {
        let (name, message, branch) = (words.project.as_str(), words.message.as_str(), words.branch.as_deref());
        let project = self.project(actor, Action::Deploy, name)?;
        let branch = branch.map(named_branch).transpose()?;
        if message.trim().is_empty() {
            return Err(Failure::new(Code::Usage, "a commit says something: -m MESSAGE"));
        }
        self.recovered(&project.name).await;
        let _closed = self.close_when_tidied(&project.name, "commit").await?;
        let _lock = self.lock(&project.name)?;
        let project = self.project(actor, Action::Deploy, name)?;
        let (objects, ground) = self.edited(&project)?;
        talk.warn(ground.unnameable.as_deref()).await;
        if ground.edits.is_empty() {
            return Ok(Reply::Done { done: format!("nothing is edited in {name}"), changed: false });
        }
        let target = self.target(&project, (&objects, &ground), branch)?;
        drop(objects);
        let places = self.context.project_places(&project.name);
        let repository = places.repository(Repository::Project);
        let commit =
            Commit { branch: target.branch.clone(), parent: Some(&ground.commit), message, author: &actor.name };
        let made = execute::keep(&self.context.git, &repository, commit, (&places.run(), &ground.edits)).await?;
        if target.deploys {
            // When this is lost, the next look finds that the branch has all the edits.
            self.context.store.set_edited(&project.name, &made)?;
        }
        let short = target.branch.branch().unwrap_or_default();
        let files = words::files(ground.edits.len() as u64);
        let get = match target.deploys {
            true => "git pull".to_owned(),
            // A pull brings the branch that one is on.
            false => format!("git fetch {} {short}", self.context.remote_of(&project.name)),
        };
        let done = format!("{} on {short}: {files}; to get it: {get}", made.short());
        Ok(Reply::Done { done, changed: true })
    }

    /// The edited tree of a project that has one, and the repository behind it.
    fn edited(&self, project: &ProjectRecord) -> Result<(Objects, Ground), Failure> {
        let name = &project.name;
        let refuse = |what: String| Failure::new(Code::Refused, what);
        if project.remote == Remote::Nothing {
            let failure = refuse(format!("{name} is remote-less: there are no commits"));
            return Err(failure.hint(format!("commis project create {name} --with-remote")));
        }
        let repository = self.context.project_places(name).repository(Repository::Project);
        let objects = git::open(&repository).map_err(Failure::from)?;
        let ground = tokio::task::block_in_place(|| look_at_run(&self.context, project, (&objects, None)))?;
        let places = self.context.project_places(name);
        let ground = ground.ok_or_else(|| match project.filled {
            Some(_) => not_what_was_edited(&places),
            None => {
                refuse(format!("{name} is not edited in place")).hint("it is once a push in mode editable went well")
            }
        })?;
        Ok((objects, ground))
    }

    /// The branch to commit to. It must be where the edits were made, or not there yet.
    fn target(
        &self,
        project: &ProjectRecord,
        (objects, ground): (&Objects, &Ground),
        asked: Option<RefName>,
    ) -> Result<Target, Failure> {
        let deployed = self.deployed(project)?;
        let deploys = deployed.as_ref().map(|(branch, _)| branch.clone());
        let branch = asked.or(deploys.clone()).ok_or_else(|| {
            Failure::new(Code::NotFound, format!("{} has no branch that deploys", project.name)).hint("add --branch")
        })?;
        let now = objects.resolve(&branch).map_err(Failure::from)?;
        let is_deploy = deploys.as_ref() == Some(&branch);
        match now {
            Some(now) if now != ground.commit => Err(elsewhere(&branch, &now, &ground.commit)),
            _ => Ok(Target { branch, deploys: is_deploy }),
        }
    }
}

/// Where a commit goes.
struct Target {
    branch: RefName,
    /// Whether it is the branch that deploys: then the edits are no edits any more.
    deploys: bool,
}

fn elsewhere(branch: &RefName, now: &CommitId, edited: &CommitId) -> Failure {
    let name = branch.branch().unwrap_or_default();
    let what = format!("{name} is {}, but what is edited was {}", now.short(), edited.short());
    Failure::new(Code::Stale, what).hint("commit to a new branch: --branch NAME, and merge it")
}

fn named_branch(name: &str) -> Result<RefName, Failure> {
    RefName::parse(&format!("refs/heads/{name}")).ok_or_else(|| {
        let shown = crate::notify::clean_line(name.as_bytes());
        Failure::new(Code::Usage, format!("\"{shown}\" cannot be a branch's name"))
    })
}

/// One file as it was committed and as it is.
fn one(objects: &Objects, ground: &Ground, (run, edit): (&Path, &Difference)) -> Result<Patched, Failure> {
    let entry = ground.tree.entries.iter().find(|entry| entry.path == edit.path);
    let too_large = |size: u64| size > FILE_MAX;
    let before = match entry {
        Some(entry) if too_large(entry.size) => return Ok(large(edit)),
        Some(entry) => Some((objects.content(entry).map_err(Failure::from)?, edits::mode(edits::put_of(entry)))),
        None => None,
    };
    let after = match edit.now {
        Now::Nothing => None,
        Now::Unread(put) | Now::Read(put, _) => match content(run, edit)? {
            Some(bytes) => Some((bytes, edits::mode(put))),
            None => return Ok(large(edit)),
        },
    };
    let old = before.as_ref().map(|(content, mode)| Version { content, mode });
    let new = after.as_ref().map(|(content, mode)| Version { content, mode });
    patch(&edit.path, old, new).map_err(Failure::from)
}

/// `None` when it is too large to be shown.
fn content(run: &Path, edit: &Difference) -> Result<Option<Vec<u8>>, Failure> {
    match standing::content(run, Path::new(&edit.path), FILE_MAX) {
        Err(failure) if failure.code == Code::Refused => Ok(None),
        content => Ok(Some(content?.unwrap_or_default())),
    }
}

fn large(edit: &Difference) -> Patched {
    let (from, to) = (quoted("a", &edit.path), quoted("b", &edit.path));
    let text = format!("diff --git {from} {to}\nLarge files differ\n");
    Patched { text, added: 0, removed: 0, binary: true }
}
