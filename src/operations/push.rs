//! A push after git has received its objects: each ref gets its own verdict, the deploy branch a deployment.
//!
//! git asks through its `proc-receive` hook (see `git::relay`); nothing has moved yet when we are asked. What each ref
//! is to become is decided in `fates`; here it is done.

use super::deploy::Wish;
use super::fates::{self, Fate, Patience, PushOptions};
use super::push_session::PushSession;
use super::{Platform, authorize};
use crate::git::refs::{self, Change, PreparedUpdate};
use crate::git::{self, GitError, HookConversation, HookWriter, Received, Verdict as RefVerdict};
use crate::model::{Code, CommitId, Failure, Mode, ProjectName, RefName, ReleaseVersion, Repository, Trigger};
use crate::notify::words;
use crate::pipeline::promotion::Branch;
use crate::pipeline::{Goal, Manner, Mover, Verdict};
use crate::store::ProjectRecord;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::PoisonError;

/// A push with what it concerns.
struct Push<'a> {
    session: &'a PushSession,
    project: &'a ProjectRecord,
    /// What serves.
    live: Option<ReleaseVersion>,
    pusher: &'a HookWriter,
    options: PushOptions,
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
            Ok(None) => return refuse_all(received, &authorize::no_project(session.project.as_str()), None).await,
            Err(error) => return refuse_all(received, &Failure::from(error), None).await,
        };
        let live = self.context.serving(&project);
        let options = match fates::acceptable(received, self.context.config().git.max_refs as usize) {
            Ok(options) => options,
            Err(failure) => return refuse_all(received, &failure, Some((live, pusher))).await,
        };
        let fates = self.fates(session, &project, received);
        if received.atomic && fates.iter().any(|fate| matches!(fate, Fate::Refuse(_))) {
            let (live, other) = (live, Failure::new(Code::Refused, "another ref of this atomic push was refused"));
            return fates.into_iter().map(|fate| ng(fate.refusal().as_ref().unwrap_or(&other), live)).collect();
        }
        let push = Push { session, project: &project, live, pusher, options };
        let verdicts = match received.atomic {
            true => self.carry_out_all_or_none(&push, &fates).await,
            false => self.carry_out(&push, &fates).await,
        };
        let hints: BTreeSet<&String> = fates
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| is_good(verdict))
            .filter_map(|(fate, _)| fate.hint())
            .collect();
        for hint in hints {
            tell(pusher, &format!("{hint}\n")).await;
        }
        verdicts
    }

    fn fates(&self, session: &PushSession, project: &ProjectRecord, received: &Received) -> Vec<Fate> {
        let configured = self.context.config().git.deploy_branches.join(" or ");
        let branch = match session.repository {
            Repository::Project => self.deploy_branch(project, received),
            Repository::Pillar => None,
        };
        let asked = fates::Asked {
            project: &session.project,
            repository: session.repository,
            deploys: branch.as_ref(),
            configured: &configured,
            ssh: &self.context.ssh_words(),
        };
        received.commands.iter().map(|command| fates::fate(&asked, command)).collect()
    }

    /// The branch that deploys: the one that does already, else the first of the settings that is pushed.
    fn deploy_branch(&self, project: &ProjectRecord, received: &Received) -> Option<RefName> {
        let pushed = |branch: &RefName| received.commands.iter().any(|command| command.name.as_ref() == Ok(branch));
        self.deployed(project)
            .ok()
            .flatten()
            .map(|(branch, _)| branch)
            .or_else(|| self.deploy_branches().into_iter().find(pushed))
    }

    /// Refs that are only stored first, then the deployment; each for itself.
    async fn carry_out(&self, push: &Push<'_>, fates: &[Fate]) -> Vec<RefVerdict> {
        let repository = self.context.project_places(&push.project.name).repository(push.session.repository);
        let changes: Vec<Change> = fates.iter().filter_map(Fate::change).cloned().collect();
        let mut stored = self.store_refs(push, &repository, changes).await.into_iter();
        let mut verdicts = Vec::new();
        for fate in fates {
            verdicts.push(match fate {
                Fate::Refuse(failure) => ng(failure, push.live),
                Fate::Store { .. } => stored.next().unwrap_or_else(|| no_verdict(&push.project.name, push.live)),
                Fate::Deploy { change } => self.deploy_pushed(push, change).await,
            });
        }
        self.point_head(push.session, &repository).await;
        verdicts
    }

    /// The other refs are held, unmoved, while the deployment runs; then all move, or none.
    async fn carry_out_all_or_none(&self, push: &Push<'_>, fates: &[Fate]) -> Vec<RefVerdict> {
        let repository = self.context.project_places(&push.project.name).repository(push.session.repository);
        let changes: Vec<Change> = fates.iter().filter_map(Fate::change).cloned().collect();
        let held = match self.hold(push.session, &repository, &changes).await {
            Ok(held) => held,
            Err(failure) => return fates.iter().map(|_| ng(&failure, push.live)).collect(),
        };
        let mut deployed = None;
        for fate in fates {
            if let Fate::Deploy { change } = fate {
                deployed = Some(self.deploy_pushed(push, change).await);
            }
        }
        let others = match (&deployed, held) {
            (Some(RefVerdict::Ng(_)), _) => {
                ng(&Failure::new(Code::Refused, "another ref of this atomic push was refused"), push.live)
            }
            (_, None) => push.session.moved(),
            (_, Some(held)) => match held.commit().await {
                Ok(()) => push.session.moved(),
                Err(error) => ng(&not_moved(&error), push.live),
            },
        };
        self.point_head(push.session, &repository).await;
        fates
            .iter()
            .map(|fate| match (fate, &deployed) {
                (Fate::Deploy { .. }, Some(verdict)) => verdict.clone(),
                _ => others.clone(),
            })
            .collect()
    }

    /// The locks of refs, with their old values checked; git itself holds those of a shallow client.
    async fn hold(
        &self,
        session: &PushSession,
        repository: &Path,
        changes: &[Change],
    ) -> Result<Option<PreparedUpdate>, Failure> {
        if changes.is_empty() {
            return Ok(None);
        }
        make_durable(repository)?;
        if session.is_shallow() {
            return Ok(None);
        }
        PreparedUpdate::prepare(&self.context.git, repository, changes).await.map(Some).map_err(|e| not_moved(&e))
    }

    /// Objects first, then the refs: what is acknowledged is on the disk, in this order. All in one go when that works.
    async fn store_refs(&self, push: &Push<'_>, repository: &Path, changes: Vec<Change>) -> Vec<RefVerdict> {
        let live = push.live;
        if changes.is_empty() {
            return Vec::new();
        }
        let all = |verdict: RefVerdict| changes.iter().map(|_| verdict.clone()).collect();
        if let Err(failure) = make_durable(repository) {
            return all(ng(&failure, live));
        }
        let git = &self.context.git;
        let together = if push.session.is_shallow() { Ok(()) } else { refs::update(git, repository, &changes).await };
        match together {
            Ok(()) => return all(push.session.moved()),
            Err(error @ GitError::Unsure { .. }) => return all(ng(&not_moved(&error), live)),
            // Each by itself: one that cannot move does not hold the others.
            Err(_) => {}
        }
        let mut verdicts = Vec::new();
        for change in changes {
            verdicts.push(match refs::update(git, repository, &[change]).await {
                Ok(()) => RefVerdict::Ok,
                Err(error) => ng(&not_moved(&error), live),
            });
        }
        verdicts
    }

    /// Launches the deployment, shows its log, and turns its verdict into the ref's.
    async fn deploy_pushed(&self, push: &Push<'_>, (branch, old, new): &Change) -> RefVerdict {
        let Push { session, project, live, pusher, options } = push;
        let manner = Manner { on_edits: options.on_edits, ..Manner::default() };
        let launched = match options.patience == Patience::Refuse && self.desk.foremost(&project.name).is_some() {
            true => Err(Failure::new(Code::Busy, format!("{} is being deployed already", project.name))),
            false => self.goal_of_push(push, (branch, old, new)).await.and_then(|goal| {
                self.launch(
                    &session.actor,
                    Wish { project: (*project).clone(), trigger: Trigger::Push, goal, with_data: None, manner },
                )
            }),
        };
        let mut handle = match launched {
            Ok(handle) => handle,
            Err(failure) => {
                tell_failure(pusher, &failure).await;
                return ng(&failure, *live);
            }
        };
        session.watch(&handle);
        if let Ok(mut reader) = handle.log.reader() {
            while let Some(bytes) = reader.next().await {
                if !pusher.stderr(&bytes).await {
                    break;
                }
            }
        }
        match handle.wait().await {
            Some(Verdict::Live { .. }) => session.moved(),
            Some(Verdict::Doubtful { version, failure }) => {
                RefVerdict::Ng(words::rejection(&failure, Some(version), Some(handle.number)))
            }
            Some(Verdict::NotLive { failure, live }) => {
                RefVerdict::Ng(words::rejection(&failure, live, Some(handle.number)))
            }
            None => no_verdict(&project.name, *live),
        }
    }

    /// A commit to be built; in mode final the release that it names.
    async fn goal_of_push(
        &self,
        push: &Push<'_>,
        (branch, old, new): (&RefName, &CommitId, &CommitId),
    ) -> Result<Goal, Failure> {
        let mover = if push.session.is_shallow() { Mover::Git } else { Mover::Us };
        let previous = Some(old.clone()).filter(|old| !old.is_zero());
        if self.context.mode_of(push.project) == Mode::Final {
            let branch = Branch { name: branch.clone(), previous, mover };
            let promotion = self.pushed_release(push.project, new, (push.options.release, branch)).await?;
            return Ok(Goal::Promotion(Box::new(promotion)));
        }
        match push.options.release {
            Some(_) => {
                let what = format!("-o release is for mode final, and {} is built here", push.project.name);
                Err(Failure::new(Code::BadOption, what).hint("push without it"))
            }
            None => Ok(Goal::Commit { commit: new.clone(), previous, branch: branch.clone(), mover }),
        }
    }

    /// What a clone checks out is what deploys: `HEAD` follows the first branch that did.
    async fn point_head(&self, session: &PushSession, repository: &Path) {
        let Some(branch) = unborn_head(repository, self.deploy_branches()) else { return };
        if let Err(error) = refs::point_head(&self.context.git, repository, &branch).await {
            tracing::warn!(project = %session.project, %error, "HEAD could not be set");
        }
    }
}

/// The branch that `HEAD` should name, when it names none that is there.
fn unborn_head(repository: &Path, branches: Vec<RefName>) -> Option<RefName> {
    let objects = git::open(repository).ok()?;
    let exists = |branch: &RefName| objects.resolve(branch).ok().flatten().is_some();
    if objects.head().is_some_and(|head| exists(&head)) { None } else { branches.into_iter().find(exists) }
}

fn make_durable(repository: &Path) -> Result<(), Failure> {
    tokio::task::block_in_place(|| refs::sync(repository))
        .map_err(|error| Failure::internal("make the push durable", &error))
}

/// git's complaint about a ref: it is not where the pusher saw it, or its name is in another one's way.
fn not_moved(error: &GitError) -> Failure {
    match error {
        GitError::Unsure { .. } => Failure::internal("git", error),
        error => Failure::new(Code::Stale, words::cut(&error.to_string(), 200)),
    }
}

fn no_verdict(project: &ProjectName, live: Option<ReleaseVersion>) -> RefVerdict {
    let what = format!("the server stopped before there was a verdict: commis show {project}");
    ng(&Failure::new(Code::Internal, what), live)
}

fn ng(failure: &Failure, live: Option<ReleaseVersion>) -> RefVerdict {
    RefVerdict::Ng(words::rejection(failure, live, None))
}

fn is_good(verdict: &RefVerdict) -> bool {
    matches!(verdict, RefVerdict::Ok | RefVerdict::GitMoves)
}

async fn refuse_all(
    received: &Received,
    failure: &Failure,
    known: Option<(Option<ReleaseVersion>, &HookWriter)>,
) -> Vec<RefVerdict> {
    if let Some((_, pusher)) = known {
        tell_failure(pusher, failure).await;
    }
    let live = known.and_then(|(live, _)| live);
    received.commands.iter().map(|_| ng(failure, live)).collect()
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
