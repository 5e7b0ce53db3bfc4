//! A push after git has received its objects: each ref gets its own verdict, the deploy branch a deployment.
//!
//! git asks through its `proc-receive` hook (see `git::relay`); nothing has moved yet when we are asked.

use super::deploy::Wish;
use super::{Platform, authorize};
use crate::git::refs::{self, Change};
use crate::git::{self, HookConversation, HookWriter, PushCommand, Received, Verdict as RefVerdict};
use crate::model::{Actor, Code, CommitId, Failure, ProjectName, RefName, Repository, Trigger};
use crate::notify::words;
use crate::pipeline::{Goal, Handle, Mover, Verdict};
use crate::store::ProjectRecord;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A push whose git is running.
#[derive(Clone)]
pub struct PushSession {
    pub actor: Actor,
    pub project: ProjectName,
    pub repository: Repository,
    /// The deployment that it set off, for a Ctrl-C.
    pub deployment: Arc<Mutex<Option<Handle>>>,
    /// The client's history is cut off: git itself must move the refs.
    pub shallow: Arc<AtomicBool>,
}

impl PushSession {
    fn is_shallow(&self) -> bool {
        self.shallow.load(Ordering::SeqCst)
    }
}

/// What a ref's fate is, before anything is done.
enum Fate {
    Store { change: Change, hint: Option<String> },
    Deploy { commit: CommitId, previous: Option<CommitId>, branch: RefName },
    Refuse(String),
}

impl Platform {
    /// Serves one conversation of the hook. A token that is not ours gets no answer: git then reports a failed hook.
    pub async fn handle_push(&self, mut hook: HookConversation) {
        let session = {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.get(&hook.token).cloned()
        };
        let Some(session) = session else {
            tracing::warn!("a git hook came with an unknown token");
            return;
        };
        let received = match hook.read_push().await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(%error, "a push could not be read");
                return;
            }
        };
        let pusher = hook.writer();
        let verdicts = self.judge(&session, &received, &pusher).await;
        if let Err(error) = hook.answer(&verdicts).await {
            tracing::info!(%error, "the pusher did not hear the verdict");
        }
    }

    async fn judge(&self, session: &PushSession, received: &Received, pusher: &HookWriter) -> Vec<RefVerdict> {
        let project = match self.context.store.project(&session.project) {
            Ok(Some(project)) => project,
            Ok(None) => return refuse_all(received, &authorize::no_project(session.project.as_str())),
            Err(error) => return refuse_all(received, &Failure::from(error)),
        };
        if let Err(failure) = self.acceptable(received) {
            tell_failure(pusher, &failure).await;
            return refuse_all(received, &failure);
        }
        let fates = self.fates(session, &project, received);
        if received.atomic && fates.iter().any(|fate| matches!(fate, Fate::Refuse(_))) {
            let failure = Failure::new(Code::Refused, "another ref of this atomic push was refused");
            return fates.into_iter().map(|fate| refused_or(fate, &failure)).collect();
        }
        self.carry_out(session, &project, fates, pusher).await
    }

    /// Things that concern a push as a whole.
    fn acceptable(&self, received: &Received) -> Result<(), Failure> {
        let most = self.context.config().git.max_refs as usize;
        if received.commands.len() > most {
            return Err(Failure::new(Code::Refused, format!("more than {most} refs in one push")));
        }
        if let Some(option) = received.options.first() {
            let shown = words::cut(&crate::notify::clean_line(option.as_bytes()), 40);
            return Err(Failure::new(Code::BadOption, format!("unknown push option \"{shown}\"")));
        }
        match &received.refusal {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    fn fates(&self, session: &PushSession, project: &ProjectRecord, received: &Received) -> Vec<Fate> {
        let branch = match session.repository {
            Repository::Project => self.deploy_branch(project, received),
            Repository::Pillar => None,
        };
        received.commands.iter().map(|command| self.fate(session, command, branch.as_ref())).collect()
    }

    /// The branch that deploys: the one that exists already, else the first of the settings that is pushed.
    fn deploy_branch(&self, project: &ProjectRecord, received: &Received) -> Option<RefName> {
        let branches = self.deploy_branches();
        let repository = self.context.project_places(&project.name).repository(Repository::Project);
        let objects = git::open(&repository).ok()?;
        let exists = |branch: &&RefName| objects.resolve(branch).ok().flatten().is_some();
        let pushed = |branch: &&RefName| received.commands.iter().any(|command| command.name.as_ref() == Ok(branch));
        branches.iter().find(exists).or_else(|| branches.iter().find(pushed)).cloned()
    }

    fn fate(&self, session: &PushSession, command: &PushCommand, deploy: Option<&RefName>) -> Fate {
        let name = match &command.name {
            Ok(name) => name.clone(),
            Err(raw) => {
                let shown = words::cut(&crate::notify::clean_line(raw.as_bytes()), 60);
                return Fate::Refuse(format!(
                    "refused: ref names are refs/heads, refs/tags, refs/notes with plain letters, not {shown}"
                ));
            }
        };
        let is_deploy = deploy == Some(&name);
        if is_deploy && command.new.is_zero() {
            return Fate::Refuse(format!("refused: {name} is what this project deploys from and cannot be deleted"));
        }
        let previous = Some(command.old.clone()).filter(|old| !old.is_zero());
        if is_deploy {
            return Fate::Deploy { commit: command.new.clone(), previous, branch: name };
        }
        let hint = match (session.repository, deploy, name.branch()) {
            (Repository::Project, Some(deploy), Some(_)) => {
                Some(format!("hint: stored; only {} deploys here\n", deploy.branch().unwrap_or_default()))
            }
            (Repository::Project, None, Some(branch)) => {
                let wanted = self.context.config().git.deploy_branches.join(" or ");
                Some(format!("hint: stored, nothing deployed: {wanted} deploys here (git push REMOTE {branch}:main)\n"))
            }
            (Repository::Pillar, _, Some(_)) => Some(format!(
                "hint: stored; it takes effect with the next deployment: commis deploy {}\n",
                session.project
            )),
            (_, _, None) => None,
        };
        Fate::Store { change: (name, command.old.clone(), command.new.clone()), hint }
    }

    async fn carry_out(
        &self,
        session: &PushSession,
        project: &ProjectRecord,
        fates: Vec<Fate>,
        pusher: &HookWriter,
    ) -> Vec<RefVerdict> {
        let repository = self.context.project_places(&project.name).repository(session.repository);
        let mut verdicts = Vec::new();
        let mut hints = std::collections::BTreeSet::new();
        for fate in fates {
            let verdict = match fate {
                Fate::Refuse(reason) => RefVerdict::Ng(reason),
                Fate::Store { change, hint } => {
                    hints.extend(hint);
                    self.store_ref(session, &repository, change).await
                }
                Fate::Deploy { commit, previous, branch } => {
                    let mover = if session.is_shallow() { Mover::Git } else { Mover::Us };
                    let goal = Goal::Commit { commit, previous, branch, mover };
                    let wish = Wish { project: project.clone(), trigger: Trigger::Push, goal };
                    self.deploy_pushed(session, wish, pusher).await
                }
            };
            verdicts.push(verdict);
        }
        for hint in hints {
            tell(pusher, &hint).await;
        }
        verdicts
    }

    /// Objects first, then the ref: what is acknowledged is on the disk, in this order.
    async fn store_ref(&self, session: &PushSession, repository: &std::path::Path, change: Change) -> RefVerdict {
        if let Err(error) = tokio::task::block_in_place(|| refs::sync(repository)) {
            return RefVerdict::Ng(format!("internal: the push could not be made durable: {error}"));
        }
        if session.is_shallow() {
            return RefVerdict::GitMoves;
        }
        match refs::update(&self.context.git, repository, &[change]).await {
            Ok(()) => RefVerdict::Ok,
            Err(error) => RefVerdict::Ng(format!("stale: {}", words::cut(&error.to_string(), 200))),
        }
    }

    /// Launches the deployment, shows its log, and turns its verdict into the ref's.
    async fn deploy_pushed(&self, session: &PushSession, wish: Wish, pusher: &HookWriter) -> RefVerdict {
        let project = wish.project.clone();
        let mut handle = match self.launch(&session.actor, wish) {
            Ok(handle) => handle,
            Err(failure) => {
                tell_failure(pusher, &failure).await;
                return ng(&failure, &project, None);
            }
        };
        *session.deployment.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle.clone());
        if let Ok(mut reader) = handle.log.reader() {
            while let Some(bytes) = reader.next().await {
                if !pusher.stderr(&bytes).await {
                    break;
                }
            }
        }
        match handle.wait().await {
            Some(Verdict::Live { .. }) if session.is_shallow() => RefVerdict::GitMoves,
            Some(Verdict::Live { .. }) => RefVerdict::Ok,
            Some(Verdict::NotLive { failure, live }) => {
                let project = ProjectRecord { live, ..project };
                ng(&failure, &project, Some(&handle))
            }
            None => RefVerdict::Ng("internal: the server stopped; ask commis show".into()),
        }
    }
}

fn ng(failure: &Failure, project: &ProjectRecord, handle: Option<&Handle>) -> RefVerdict {
    RefVerdict::Ng(words::rejection(failure, project.live, handle.map(|handle| handle.number)))
}

fn refuse_all(received: &Received, failure: &Failure) -> Vec<RefVerdict> {
    let reason = format!("{}: {}", failure.code.as_str(), failure.what);
    received.commands.iter().map(|_| RefVerdict::Ng(reason.clone())).collect()
}

fn refused_or(fate: Fate, failure: &Failure) -> RefVerdict {
    match fate {
        Fate::Refuse(reason) => RefVerdict::Ng(reason),
        Fate::Store { .. } | Fate::Deploy { .. } => {
            RefVerdict::Ng(format!("{}: {}", failure.code.as_str(), failure.what))
        }
    }
}

/// What was refused before there was a deployment with a log.
async fn tell_failure(pusher: &HookWriter, failure: &Failure) {
    let error = words::verdict("error", &failure.what);
    let hints = failure.hints.iter().flat_map(|hint| words::verdict("hint", hint));
    for line in error.into_iter().chain(hints) {
        tell(pusher, &format!("{line}\n")).await;
    }
}

/// A pusher who left is not an error.
async fn tell(pusher: &HookWriter, text: &str) {
    pusher.stderr(text.as_bytes()).await;
}
