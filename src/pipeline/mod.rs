//! One deployment: gather, plan, execute; settle or roll back. This file is the story, on one screen.
//!
//! `gather` looks, `plan` and `phases` and `rollback` decide (pure), `execute` does, one match over [`step::Step`].
//! A rollback is the same machinery with other steps. Deployments belong to the server, not to connections: doors
//! hold a [`control::Handle`].

pub mod between;
pub mod bound;
pub mod context;
pub mod control;
pub mod data;
pub mod desk;
pub mod edits;
pub mod execute;
pub mod facts;
pub mod gather;
pub mod health;
pub mod instances;
pub mod kept;
pub mod launch;
pub mod permissions;
pub mod phases;
pub mod plan;
pub mod project_files;
pub mod promotion;
pub mod queue;
pub mod recall;
pub mod release_policy;
pub mod rollback;
pub mod rolling;
pub mod room;
pub mod selection;
pub mod shelving;
pub mod standing;
pub mod step;
pub mod survey;
pub mod traffic;
pub mod trimming;
pub mod view;

use crate::model::{Code, CommitId, DeploymentNumber, Failure, Phase, RefName, ReleaseVersion, Trigger};
use crate::notify::DeploymentLog;
use crate::notify::words;
use crate::store::{DeploymentRecord, ProjectRecord, StepRecord, StepStatus};
pub use context::{Context, Handles, LiveSet};
pub use control::{Control, Handle};
pub use desk::Desk;
use execute::Execution;
pub use promotion::Promotion;
pub use selection::Selection;
use step::Step;

/// What is to be deployed.
pub struct Order {
    pub project: ProjectRecord,
    pub number: DeploymentNumber,
    pub trigger: Trigger,
    pub goal: Goal,
    pub subject: String,
    /// The deployment whose backup a rollback puts back.
    pub with_data: Option<DeploymentNumber>,
    pub manner: Manner,
}

/// What else was asked for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Manner {
    pub selection: Selection,
    pub on_edits: OnEdits,
    pub on_unkept: OnUnkept,
}

/// What is done where data cannot be backed up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OnUnkept {
    /// Nothing is deployed.
    #[default]
    Refuse,
    /// It stays as it is, without a copy: what a release did to data must not close the way back from it.
    GoOn,
}

/// What a push does about what was edited in place and not committed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OnEdits {
    #[default]
    Refuse,
    /// Keeps it on a branch, and goes on.
    Stash,
    /// The same, and says how to merge it.
    Commit,
}

/// Where a deployment starts from.
pub enum Goal {
    /// A commit, to be built. `previous` is what the branch says now.
    Commit { commit: CommitId, previous: Option<CommitId>, branch: RefName, mover: Mover },
    /// A release that is ready, with the variables it had.
    Release(ReleaseVersion),
    /// A release that was cooked elsewhere, with today's pillar.
    Promotion(Box<Promotion>),
    /// What stands in `run/`, or, for the first time of a remote-less project, in `project/`. `commit` is what it was
    /// last brought to.
    Standing { commit: Option<CommitId> },
}

impl Goal {
    /// The commit that a branch is moved to, the branch, and what it says now.
    pub fn branch(&self) -> Option<(&CommitId, &RefName, Option<&CommitId>)> {
        match self {
            Goal::Commit { commit, previous, branch, .. } => Some((commit, branch, previous.as_ref())),
            Goal::Release(_) | Goal::Standing { .. } => None,
            Goal::Promotion(promotion) => {
                let branch = promotion.branch.as_ref()?;
                Some((&promotion.commit, &branch.name, branch.previous.as_ref()))
            }
        }
    }
}

/// Who moves the branch when the deployment is live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mover {
    /// A step of the plan.
    Us,
    /// git itself, after the answer: it must do so for pushes from shallow clones.
    Git,
    /// Nobody: the branch is there already.
    Nobody,
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Live {
        version: ReleaseVersion,
    },
    /// It serves and the branch moved, but the disk did not say that this will survive: nobody is told yes.
    Doubtful {
        version: ReleaseVersion,
        failure: Failure,
    },
    /// The release that serves, verified, when there is one.
    NotLive {
        failure: Failure,
        live: Option<ReleaseVersion>,
    },
}

/// The one thing that gather does, as records name it.
const LOOK: &str = "look";

/// Deploys. The lock of the project is held by the caller's turn in the queue; the journal is written on the way.
/// Returns the verdict and what is left to tidy after it was told.
pub async fn deploy(
    context: &Context,
    order: &Order,
    log: &DeploymentLog,
    control: &Control,
) -> (Verdict, execute::Tidy) {
    let watch = execute::Watch::start();
    let gathered = match tokio::task::block_in_place(|| gather::look(context, order)) {
        Ok(gathered) => gathered,
        Err(failure) => {
            let record = watch.stop(Phase::Gather, LOOK, (StepStatus::Failed, failure.what.clone()));
            note_look(context, order, record);
            return (refused(context, order, log, failure), execute::Tidy::nothing());
        }
    };
    let plan = match selection::narrow(plan::plan(&gathered.facts), (&order.manner.selection, gathered.facts.building))
    {
        Ok(plan) => plan,
        Err(failure) => return (refused(context, order, log, failure), execute::Tidy::nothing()),
    };
    let mut execution = Execution::new(context, order, &gathered, (log, control));
    execution.remember(watch.stop(Phase::Gather, LOOK, (StepStatus::Done, String::new())));
    let steps: Vec<_> = plan.steps().collect();
    let verdict = match execution.carry_out(&steps).await {
        Ok(()) => execution.settle().await,
        Err(failure) => Err(failure),
    };
    let verdict = match verdict {
        Ok(version) => match execution.doubt() {
            None => Verdict::Live { version },
            Some(failure) => Verdict::Doubtful { version, failure },
        },
        Err(failure) => put_back(&mut execution, order, failure).await,
    };
    (verdict, execution.finish())
}

/// The record of gather when nothing else was done.
fn note_look(context: &Context, order: &Order, record: StepRecord) {
    if let Err(error) = context.store.record_steps(&order.project.name, order.number, &[record]) {
        tracing::error!(project = %order.project.name, %error, "gather could not be recorded");
    }
}

/// Undoes what was begun, with steps from the same list.
async fn put_back(execution: &mut Execution<'_>, order: &Order, failure: Failure) -> Verdict {
    let failure = execution.with_what_became_of_data(execution.redacted(failure));
    let begun = execution.begun().to_vec();
    let live = order.project.live;
    let code = rollback::reported(failure.code, &begun, live);
    execution.announce_failure(&failure);
    match undo(execution, (&begun, code)).await {
        Ok(()) => {
            execution.announce_put_back(&failure, code);
            execution.keep_log();
            Verdict::NotLive { failure: Failure { code, ..failure }, live }
        }
        Err(second) => {
            let what = format!("{}: {}", second.what, failure.what);
            let worse = Failure::new(Code::RollbackFailed, what).hint(format!(
                "{} rescue {}",
                execution.ssh_words(),
                order.project.name
            ));
            execution.announce_rollback_failed(&worse);
            execution.keep_log();
            Verdict::NotLive { failure: worse, live: None }
        }
    }
}

/// First the new version goes; what is left to be done then depends on what it did to data.
async fn undo(execution: &mut Execution<'_>, (begun, code): (&[Step], Code)) -> Result<(), Failure> {
    let (first, mut failed) = (rollback::let_go(begun), Vec::new());
    if code == Code::RolledBack {
        execution.announce_way_back();
    }
    let gone = execution.undo(&first, &mut failed).await;
    if gone.is_ok() {
        execution.look_at_data();
    }
    let steps = rollback::undo(execution.facts(), begun, execution.data_state());
    let rest = steps.get(first.len()..).unwrap_or_default();
    if code != Code::RolledBack && rest.contains(&Step::CheckOld) {
        execution.announce_way_back();
    }
    gone.and(execution.undo(rest, &mut failed).await)
}

/// Undoes what an earlier life left in the middle, from its rows and what is on the disk. What is live is started by the
/// caller.
pub async fn undo_interrupted(
    context: &Context,
    order: &Order,
    row: &DeploymentRecord,
    log: &DeploymentLog,
) -> Result<(), Failure> {
    let left = recall::interrupted(context, order, row)?;
    let control = Control::default();
    let mut execution = Execution::resume(context, order, &left, (log, &control), row)?;
    let steps = rollback::undo(&left.gathered.facts, &left.begun, row.data.state);
    let starts = |step: &Step| matches!(step, Step::StartOld | Step::CheckOld | Step::RouteBack);
    let steps: Vec<Step> = steps.into_iter().filter(|step| !starts(step)).collect();
    let undone = execution.undo(&steps, &mut Vec::new()).await;
    execution.keep_log();
    undone
}

/// Refused before anything was changed.
pub fn refused(context: &Context, order: &Order, log: &DeploymentLog, failure: Failure) -> Verdict {
    let live = context.live_words(&order.project);
    let serving = live.as_ref().map(|(version, commit)| (*version, commit.as_str()));
    let serving = words::still_serving(&order.project.name, serving);
    let failure = words::with_hint(failure);
    words::failure(&failure, &serving).iter().for_each(|line| log.line(line));
    Verdict::NotLive { failure, live: context.serving(&order.project) }
}
