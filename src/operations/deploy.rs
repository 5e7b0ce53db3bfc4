//! Starting, following and cancelling deployments: what push, `deploy`, `rollback` and `cancel` share.

use super::authorize::Action;
use super::records::Reply;
use super::{Platform, Talk, outcome};
use crate::git;
use crate::hooks::Who;
use crate::model::{
    Actor, Code, CommitId, DeploymentNumber, Failure, Heard, Mode, ProjectName, RefName, Remote, Repository, Trigger,
};
use crate::notify::{DeploymentLog, words};
use crate::pipeline::queue::{Standing, Ticket};
use crate::pipeline::{self, Control, Goal, Handle, Manner, Mover, Order, Selection, Verdict};
use crate::store::{NewDeployment, ProjectRecord};
use crate::system::{clock, files};
use crate::verbs::DeployWords;
use std::sync::Arc;
use tokio::sync::{OwnedRwLockReadGuard, watch};

type Sender = watch::Sender<Option<Verdict>>;

/// A deployment that somebody wants.
pub(super) struct Wish {
    pub project: ProjectRecord,
    pub trigger: Trigger,
    pub goal: Goal,
    /// The deployment whose backup is put back.
    pub with_data: Option<DeploymentNumber>,
    pub manner: Manner,
}

impl Platform {
    pub(super) async fn redeploy(&self, actor: &Actor, words: &DeployWords, talk: &Talk) -> Result<Reply, Failure> {
        let name = words.project.as_str();
        let project = self.project(actor, Action::Deploy, name)?;
        let selection = Selection::parse(&words.only, &words.step)?;
        let edited = project.filled.is_some() || project.remote == Remote::Nothing;
        if project.stopped && !selection.is_everything() {
            let failure = Failure::new(Code::Refused, format!("{name} is stopped"));
            return Err(failure.hint(format!("commis start {name}")));
        }
        if self.context.mode_of(&project) == Mode::Final && selection.is_everything() && !edited {
            return self.redeploy_release(actor, project, talk).await;
        }
        let goal = match (edited, selection.is_everything()) {
            (true, _) => Goal::Standing { commit: self.commit_that_stands(&project)? },
            (false, false) => self.parts_of_live(&project, &selection)?,
            (false, true) => self.head_again(&project)?,
        };
        let manner = Manner { selection, ..Manner::default() };
        let handle = self.launch(actor, Wish { project, trigger: Trigger::Redeploy, goal, with_data: None, manner })?;
        self.follow(name, handle, talk).await
    }

    /// The branch's commit once more.
    fn head_again(&self, project: &ProjectRecord) -> Result<Goal, Failure> {
        let Some((branch, commit)) = self.deployed(project)? else {
            let failure = Failure::new(Code::NotFound, format!("{} has no commit to deploy", project.name));
            let remote = self.context.remote_of(&project.name);
            return Err(failure.hint(format!("push one: git push {remote} HEAD:refs/heads/main")));
        };
        Ok(Goal::Commit { previous: Some(commit.clone()), commit, branch, mover: Mover::Nobody })
    }

    /// Hooks of a release that is live may run again; phases make releases whole or not at all.
    fn parts_of_live(&self, project: &ProjectRecord, selection: &Selection) -> Result<Goal, Failure> {
        let name = &project.name;
        let refuse = |why: &str, hint: String| Err(Failure::new(Code::Refused, format!("{name} {why}")).hint(hint));
        if !selection.phases.is_empty() {
            return refuse("is not edited in place: a release is made whole", format!("commis deploy {name}"));
        }
        if let Some(hook) = selection.hooks.iter().find(|hook| hook.runs_as() == Who::BuildUser) {
            let why = format!("is not edited in place: hook {} runs when a release is made", hook.name());
            return refuse(&why, format!("commis deploy {name}"));
        }
        if project.live.is_none() {
            return refuse("has no live release yet", format!("commis deploy {name}"));
        }
        Ok(Goal::Standing { commit: self.commit_that_stands(project)? })
    }

    /// What `run/` was last brought to: by the last push of a tree that is edited, else by the live release.
    fn commit_that_stands(&self, project: &ProjectRecord) -> Result<Option<CommitId>, Failure> {
        if project.filled.is_some() || project.remote == Remote::Nothing {
            return Ok(project.edited.clone());
        }
        let Some(version) = project.live else { return Ok(None) };
        let release = self.context.store.release(&project.name, version)?;
        Ok(release.and_then(|release| release.commit_id()))
    }

    pub(super) fn cancel(&self, actor: &Actor, name: &str) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Deploy, name)?;
        let Some(handle) = self.desk.foremost(&project.name) else {
            return Ok(Reply::Done { done: format!("nothing is being deployed to {name}"), changed: false });
        };
        match handle.control.cancel() {
            Ok(()) => Ok(Reply::Done { done: format!("cancelled {name} {}", handle.number), changed: true }),
            Err(pipeline::control::PastTheSwitch) => {
                let what = format!("{name} {} is past its switch and runs to its end", handle.number);
                Err(Failure::new(Code::Busy, what).hint(format!("to go back afterwards: commis rollback {name}")))
            }
        }
    }

    /// The branch that deploys, and where it is.
    pub(super) fn deployed(&self, project: &ProjectRecord) -> Result<Option<(RefName, CommitId)>, Failure> {
        let repository = self.context.project_places(&project.name).repository(Repository::Project);
        let objects = git::open(&repository).map_err(Failure::from)?;
        objects.branch_in_use(&self.deploy_branches()).map_err(Failure::from)
    }

    /// The deploy branches, in order of preference.
    pub(super) fn deploy_branches(&self) -> Vec<RefName> {
        let config = self.context.config();
        config.git.deploy_branches.iter().filter_map(|name| RefName::parse(&format!("refs/heads/{name}"))).collect()
    }

    /// Queues a deployment and lets it go; it belongs to the server from here on.
    pub(super) fn launch(&self, actor: &Actor, wish: Wish) -> Result<Handle, Failure> {
        let Wish { project, trigger, goal, with_data, manner } = wish;
        free_of_trouble(&project, trigger)?;
        let running = self.tasks.clone().try_read_owned().map_err(|_| {
            Failure::new(Code::Busy, "the server is stopping").hint("push again when it has started again")
        })?;
        let subject = self.subject(&project, &goal);
        let _arriving = self.desk.hold_arrivals();
        let number = self.queue(actor, &project, (trigger, &goal, &subject), with_data)?;
        let log = self.open_log(&project.name, number)?;
        let (sender, verdict) = watch::channel(None);
        let handle = Handle { number, log, control: Control::default(), verdict };
        let ticket = Ticket {
            number,
            key: actor.fingerprint.clone().filter(|_| trigger == Trigger::Push),
            title: format!("deploy {number} by {}", actor.name),
        };
        let joined = self.desk.join(&project.name, ticket, handle.clone());
        if let Some(replaced) = joined.superseded {
            tracing::info!(project = %project.name, %replaced, by = %number, "superseded");
        }
        let order = Order { project, number, trigger, goal, subject, with_data, manner };
        tokio::spawn(self.clone().guard(order, handle.clone(), (sender, running)));
        Ok(handle)
    }

    /// A deployment whose log cannot be made is over before it began.
    fn open_log(&self, name: &ProjectName, number: DeploymentNumber) -> Result<DeploymentLog, Failure> {
        DeploymentLog::create(&self.context.project_places(name).deployment_log(number)).map_err(|error| {
            let failure = Failure::internal("create the deployment's log", &error);
            self.note_failure(name, number, &failure);
            failure
        })
    }

    /// Sees to it that a deployment ends, whatever happens in it: a fault of ours is a verdict too.
    async fn guard(self, order: Order, handle: Handle, (sender, running): (Sender, OwnedRwLockReadGuard<()>)) {
        let (name, number, verdict) = (order.project.name.clone(), order.number, Arc::new(sender));
        let (platform, working, told) = (self.clone(), handle.clone(), verdict.clone());
        let work = tokio::spawn(async move { platform.attend(order, working, &told).await });
        if let Err(broken) = work.await {
            tracing::error!(project = %name, %number, "a deployment broke down: {broken}");
            let picked_up = match self.desk.standing(&name, number) {
                Standing::Turn => self.pick_up(&name, number).await,
                // It had not begun, and another one may be at work.
                Standing::Behind { .. } | Standing::Gone => Ok(()),
            };
            let live = self.context.store.project(&name).ok().flatten().and_then(|project| project.live);
            let failure = match picked_up {
                Ok(()) => Failure::new(Code::Internal, "a fault in the server; its log has more"),
                Err(failure) => failure,
            };
            handle.log.line(&format!("error: {}", failure.what));
            handle.log.complete();
            if self.context.store.deployment(&name, number).ok().flatten().is_some_and(|row| !row.status.is_finished())
            {
                self.note_failure(&name, number, &failure);
            }
            verdict.send_if_modified(|verdict| {
                let untold = verdict.is_none();
                verdict.get_or_insert(Verdict::NotLive { failure, live });
                untold
            });
        }
        self.desk.leave(&name, number);
        drop(running);
    }

    fn subject(&self, project: &ProjectRecord, goal: &Goal) -> String {
        let repository = self.context.project_places(&project.name).repository(Repository::Project);
        match goal {
            Goal::Commit { commit, .. } => {
                git::open(&repository).and_then(|objects| objects.subject(commit)).unwrap_or_default()
            }
            Goal::Release(version) => format!("release {version}"),
            Goal::Promotion(promotion) => match &promotion.branch {
                Some(_) => {
                    git::open(&repository).and_then(|objects| objects.subject(&promotion.commit)).unwrap_or_default()
                }
                None => format!("release {} from {}", promotion.version, promotion.environment),
            },
            Goal::Standing { .. } => "what stands here".to_owned(),
        }
    }

    fn queue(
        &self,
        actor: &Actor,
        project: &ProjectRecord,
        (trigger, goal, subject): (Trigger, &Goal, &str),
        with_data: Option<DeploymentNumber>,
    ) -> Result<DeploymentNumber, Failure> {
        let release = match goal {
            Goal::Commit { .. } | Goal::Promotion(_) | Goal::Standing { .. } => None,
            Goal::Release(version) => self.context.store.release(&project.name, *version)?,
        };
        let released = release.and_then(|release| release.commit_id());
        let (commit, previous, branch) = match goal {
            Goal::Commit { commit, previous, branch, .. } => (Some(commit), previous.as_ref(), Some(branch.as_str())),
            Goal::Release(_) => (released.as_ref(), None, None),
            Goal::Promotion(promotion) => {
                let branch = promotion.branch.as_ref();
                let previous = branch.and_then(|branch| branch.previous.as_ref());
                (Some(&promotion.commit), previous, branch.map(|branch| branch.name.as_str()))
            }
            Goal::Standing { commit } => (commit.as_ref(), None, None),
        };
        let new = NewDeployment {
            trigger: trigger.as_str(),
            mode: self.context.mode_of(project),
            reference: branch,
            commit,
            previous,
            subject,
            actor: &actor.name,
            at: clock::now(),
            with_data,
        };
        Ok(self.context.store.queue_deployment(&project.name, &new)?)
    }

    /// Waits for the turn, deploys, tells, tidies.
    async fn attend(&self, mut order: Order, handle: Handle, verdict: &Sender) {
        let (result, tidy) = match self.wait_for_turn(&mut order, &handle).await {
            Ok(lock) => {
                let (result, tidy) = pipeline::deploy(&self.context, &order, &handle.log, &handle.control).await;
                (result, Some((tidy, lock)))
            }
            Err(failure) => (pipeline::refused(&self.context, &order, &handle.log, failure), None),
        };
        self.note_end(&order, &result);
        handle.log.complete();
        let _ = verdict.send(Some(result));
        if let Some((tidy, lock)) = tidy {
            tidy.carry_out(&self.context).await;
            self.show_what_is_edited(&order.project.name);
            drop(lock);
        }
    }

    /// The verdict of a failure reaches the disk; that of a success did already.
    fn note_end(&self, order: &Order, verdict: &Verdict) {
        if let Verdict::NotLive { failure, .. } = verdict {
            self.note_failure(&order.project.name, order.number, failure);
        }
    }

    fn note_failure(&self, name: &ProjectName, number: DeploymentNumber, failure: &Failure) {
        let end = (outcome::status(failure.code), failure.code, failure.what.as_str());
        if let Err(error) = self.context.store.finish_not_live(name, number, end, clock::now()) {
            // The next deployment, or the next start, brings it to an end.
            tracing::error!(project = %name, %error, "the end of a deployment could not be recorded");
        }
    }

    /// The project's turn and its lock; afterwards the branch is compared with what the pusher saw.
    async fn wait_for_turn(&self, order: &mut Order, handle: &Handle) -> Result<files::FileLock, Failure> {
        let name = order.project.name.clone();
        let mut changes = self.desk.changes();
        let limit = tokio::time::sleep(self.context.config().queue.wait);
        tokio::pin!(limit);
        let mut told = None;
        loop {
            changes.borrow_and_update();
            match self.desk.standing(&name, order.number) {
                Standing::Turn => break told.map_or((), |_| handle.log.line(&words::turn(order.number))),
                Standing::Gone => {
                    return Err(Failure::new(Code::Superseded, "a newer push of yours took this one's place"));
                }
                Standing::Behind { holder, ahead } => {
                    if told.as_ref() != Some(&(holder.clone(), ahead)) {
                        words::waiting(&name, &holder, ahead, order.number)
                            .iter()
                            .for_each(|line| handle.log.line(line));
                        told = Some((holder, ahead));
                    }
                }
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = handle.control.token().cancelled() => return Err(cancelled_in_queue()),
                () = &mut limit => return Err(Failure::new(Code::Busy, "waited too long in the queue").hint("push again")),
            }
        }
        self.context.store.project(&name)?.ok_or_else(|| super::no_project(name.as_str()))?;
        let lock = self.lock(&name)?;
        self.end_forgotten(&name).await?;
        if let Err(failure) = self.sweep_after_others(&name) {
            tracing::warn!(project = %name, "not swept: {failure}");
        }
        self.look_again(order)?;
        self.settle_bound(&order.project)?;
        self.context.store.start_deployment(&name, order.number, clock::now())?;
        Ok(lock)
    }

    /// What may have changed while waiting: the project itself, and the branch.
    fn look_again(&self, order: &mut Order) -> Result<(), Failure> {
        let name = order.project.name.clone();
        order.project = self.context.store.project(&name)?.ok_or_else(|| super::no_project(name.as_str()))?;
        free_of_trouble(&order.project, order.trigger)?;
        if let Goal::Standing { commit } = &mut order.goal {
            *commit = self.commit_that_stands(&order.project)?;
            self.context.store.note_commit(&name, order.number, commit.as_ref())?;
        }
        let Some((_, branch, previous)) = order.goal.branch() else { return Ok(()) };
        let objects =
            git::open(&self.context.project_places(&name).repository(Repository::Project)).map_err(Failure::from)?;
        let now = objects.resolve(branch).map_err(Failure::from)?;
        if now.as_ref() == previous {
            return Ok(());
        }
        let words = |commit: Option<&CommitId>| commit.map_or("gone".to_owned(), |c| c.short().to_owned());
        let what =
            format!("{} is {} now, not {}", branch.branch().unwrap_or_default(), words(now.as_ref()), words(previous));
        let next = match order.trigger {
            Trigger::Push => "git fetch, rebase, and push again",
            _ => "somebody pushed meanwhile; for the new commit say it again",
        };
        Err(Failure::new(Code::Stale, what).hint(next))
    }

    /// Streams the log, then answers with the record.
    pub(super) async fn follow(&self, name: &str, mut handle: Handle, talk: &Talk) -> Result<Reply, Failure> {
        let mut reader = handle.log.reader().map_err(|error| Failure::internal("read the log", &error))?;
        while let Some(bytes) = reader.next().await {
            if talk.err(bytes).await.is_err() {
                break;
            }
        }
        match handle.wait().await {
            Some(Verdict::Live { .. }) | None => {
                let project = crate::model::ProjectName::parse(name).ok_or_else(|| super::no_project(name))?;
                let row = self.context.store.deployment(&project, handle.number)?;
                let row = row.ok_or_else(|| Failure::new(Code::NotFound, "the deployment is gone"))?;
                Ok(Reply::Deployment(Box::new(self.deployment_record(&row)?)))
            }
            Some(Verdict::NotLive { failure, .. } | Verdict::Doubtful { failure, .. }) => {
                Err(Failure { heard: Heard::All, ..failure })
            }
        }
    }
}

/// A project in trouble takes nothing but its rescue.
pub(super) fn free_of_trouble(project: &ProjectRecord, trigger: Trigger) -> Result<(), Failure> {
    let Some(trouble) = project.trouble.as_ref().filter(|_| trigger != Trigger::Rescue) else { return Ok(()) };
    let name = &project.name;
    Err(Failure::new(Code::NeedsAdmin, format!("{name} needs an admin first: {trouble}"))
        .hint(format!("commis rescue {name} shows what can be done")))
}

fn cancelled_in_queue() -> Failure {
    Failure::new(Code::Cancelled, "left the queue")
}
