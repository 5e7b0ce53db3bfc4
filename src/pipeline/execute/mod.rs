//! Carries out steps: one match over the closed list, one file per kind of effect. Decides nothing.
//!
//! What would hurt if it were forgotten has a row before the effect (`store`): the exchange of `run/`, its undo and
//! the verdict. Everything before the exchange is undone by removing what has our name on it.

mod adopt;
mod bundle;
mod data;
mod ended;
mod fetch;
mod in_place;
mod prepare;
pub mod proofs;
mod restore;
pub mod revive;
mod scripts;
mod settle;
mod storage;
mod switch;
mod take;
mod tidy;
mod told;
mod told_data;
mod undo;
mod variables;
mod watch;

use super::context::{Context, LiveSet};
use super::control::Control;
use super::facts::{Facts, Place};
use super::gather::Gathered;
use super::recall::Interrupted;
use super::rollback;
use super::step::{Archive, Step};
use super::{Goal, Order};
use crate::archives::Manifest;
use crate::config::ProjectConfig;
use crate::git::refs::PreparedUpdate;
use crate::layouts::ProjectPlaces;
use crate::model::{Because, Code, CommitId, Failure, Phase, ReleaseVersion};
use crate::notify::{DeploymentLog, Redactor, words};
use crate::store::{DeploymentRecord, ReleaseRecord, StepRecord, StepStatus};
use crate::system::privileged::{self, Operation};
use crate::system::{clock, failpoint, reading};
use bundle::Origin;
use data::DataWork;
use std::path::PathBuf;
use tokio::time::Instant;

pub use bundle::no_release;
pub use data::{earlier_backup, shelf};
pub use in_place::{keep, refill, restore};
pub use prepare::{empty, make_directories};
pub use tidy::{Replaced, Tidy, archive_replaced, on_shelf, retention_policy};
pub use undo::discard;
pub use watch::Watch;

/// A deployment on its way.
pub struct Execution<'a> {
    context: &'a Context,
    order: &'a Order,
    gathered: &'a Gathered,
    /// As gathered; of a release from elsewhere as its tree says, once that is there.
    facts: Facts,
    settings: ProjectConfig,
    places: ProjectPlaces,
    log: &'a DeploymentLog,
    control: &'a Control,
    redactor: Redactor,
    started: Instant,
    begun: Vec<Step>,
    records: Vec<StepRecord>,
    work: Work,
}

/// What the steps leave for later steps.
struct Work {
    /// Name below `deploy/`: `<UTC datetime>-<number>`.
    tree_name: String,
    /// Where the new tree is now.
    tree: PathBuf,
    version: Option<ReleaseVersion>,
    release: Option<ReleaseRecord>,
    manifest: Option<Manifest>,
    /// The common tree, as the last script left it.
    common: serde_json::Value,
    prepared: Option<PreparedUpdate>,
    /// The project's variables; those of a release from elsewhere are whole once its tree is there.
    environment: Vec<(String, String)>,
    /// Inode of the new tree, known since the switch was intended: whichever name has it now is the new tree.
    inode: Option<u64>,
    /// How often the old processes had been started again when the switch began.
    old_restarts: u32,
    /// What an admin must know about a branch that moved.
    doubt: Option<String>,
    new: Option<LiveSet>,
    opened: Option<words::Stage>,
    data: DataWork,
    /// The release that the verdict says is live.
    settled: Option<ReleaseVersion>,
}

impl Work {
    /// Nothing yet, but for what gather saw.
    fn new(gathered: &Gathered, places: &ProjectPlaces, tree_name: String) -> Self {
        let tree = match gathered.facts.place {
            Place::Beside | Place::Fresh(_) => places.deployed(&tree_name),
            Place::InPlace => places.run(),
        };
        Self {
            tree,
            tree_name,
            version: None,
            release: None,
            manifest: None,
            common: gathered.common.clone(),
            prepared: None,
            environment: gathered.environment.clone(),
            inode: None,
            old_restarts: 0,
            doubt: None,
            new: None,
            opened: None,
            data: DataWork::default(),
            settled: None,
        }
    }
}

/// How a step ended well.
enum Done {
    /// With a short note for the record.
    Did(String),
    Skipped(Because),
}

/// The same without its words.
enum Ended {
    Done,
    Skipped,
}

impl Done {
    fn quietly() -> Result<Self, Failure> {
        Ok(Done::Did(String::new()))
    }
}

impl<'a> Execution<'a> {
    pub fn new(
        context: &'a Context,
        order: &'a Order,
        gathered: &'a Gathered,
        (log, control): (&'a DeploymentLog, &'a Control),
    ) -> Self {
        let places = context.project_places(&order.project.name);
        let tree_name = format!("{}-{}", clock::compact(clock::now()), order.number.0);
        let variables = gathered.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let work = Work::new(gathered, &places, tree_name);
        Self {
            redactor: Redactor::new(variables),
            started: Instant::now(),
            begun: Vec::new(),
            records: Vec::new(),
            facts: gathered.facts.clone(),
            settings: gathered.settings.clone(),
            context,
            order,
            gathered,
            places,
            log,
            control,
            work,
        }
    }

    /// The execution of a deployment that an earlier life left in the middle, to be undone.
    pub fn resume(
        context: &'a Context,
        order: &'a Order,
        left: &'a Interrupted,
        (log, control): (&'a DeploymentLog, &'a Control),
        row: &DeploymentRecord,
    ) -> Result<Self, Failure> {
        let mut execution = Self::new(context, order, &left.gathered, (log, control));
        execution.records = context.store.steps(&order.project.name, order.number)?;
        execution.begun.clone_from(&left.begun);
        let work = &mut execution.work;
        work.tree_name = row.tree.clone().unwrap_or_default();
        work.tree.clone_from(&left.tree);
        work.version = row.version;
        work.inode = row.tree_inode;
        work.data = DataWork::of(&row.data);
        Ok(execution)
    }

    /// What was done before there was an execution: gather's looking.
    pub fn remember(&mut self, record: StepRecord) {
        self.records.push(record);
    }

    /// Steps that were begun, in order.
    pub fn begun(&self) -> &[Step] {
        &self.begun
    }

    /// Does the steps of a plan; stops at the first that fails.
    pub async fn carry_out(&mut self, steps: &[(Phase, Step)]) -> Result<(), Failure> {
        self.tell_opening(steps);
        let name = &self.order.project.name;
        let pillar = self.gathered.pillar_commit.as_ref();
        self.context.store.note_sources(name, self.order.number, pillar, &self.work.tree_name)?;
        for (phase, step) in steps {
            if self.control.token().is_cancelled() {
                return Err(cancelled());
            }
            self.begun.push(*step);
            match self.one(*phase, *step).await {
                // A hook that was not there needs no undoing.
                Ok(Ended::Skipped) if matches!(step, Step::Hook(_)) => drop(self.begun.pop()),
                Ok(_) => {}
                Err(failure) => {
                    if *step == Step::Exchange && !self.is_exchanged() {
                        self.begun.pop();
                    }
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    /// Does the steps that put everything back; goes on after a failure, and reports the first that somebody must know.
    pub async fn undo(&mut self, steps: &[Step], failed: &mut Vec<Step>) -> Result<(), Failure> {
        self.work.data.undoing = Some(Archive::Own);
        let mut first = Ok(());
        for step in steps {
            if !rollback::still(*step, failed, &self.begun) {
                continue;
            }
            match self.one(Phase::Deploy, *step).await {
                Ok(_) => {}
                Err(failure) if rollback::only_clears_away(*step) => {
                    tracing::warn!(project = %self.order.project.name, %step, "left for later: {failure}");
                }
                Err(failure) => {
                    failed.push(*step);
                    first = first.and(Err(failure));
                }
            }
        }
        self.note_records();
        first
    }

    async fn one(&mut self, phase: Phase, step: Step) -> Result<Ended, Failure> {
        let watch = Watch::start();
        let result = self.between_points(step).await;
        let (status, note) = match &result {
            Ok(Done::Did(note)) => (StepStatus::Done, note.clone()),
            Ok(Done::Skipped(because)) => (StepStatus::Skipped, because.words().to_owned()),
            Err(failure) => (StepStatus::Failed, failure.what.clone()),
        };
        let note = self.redactor.redact(&note);
        self.records.push(watch.stop(phase, &step.to_string(), (status, note)));
        result.map(|done| match done {
            Done::Did(_) => Ended::Done,
            Done::Skipped(_) => Ended::Skipped,
        })
    }

    async fn between_points(&mut self, step: Step) -> Result<Done, Failure> {
        failpoint::reach(|| format!("step.{}.before", step.name()))?;
        self.touch_before(step)?;
        let done = self.perform(step).await?;
        failpoint::reach(|| format!("step.{}.after", step.name()))?;
        Ok(done)
    }

    async fn perform(&mut self, step: Step) -> Result<Done, Failure> {
        match step {
            Step::PrepareDirectories => self.prepare_directories(),
            Step::WipeBuild => self.wipe_build(),
            Step::Checkout => self.checkout(),
            Step::Hook(hook) => self.run_hook(hook).await,
            Step::Compile => self.compile().await,
            Step::Pack => self.pack(Origin::Build).await,
            Step::PackCommit => self.pack(Origin::Commit).await,
            Step::Unpack => self.unpack(),
            Step::Take => self.take(),
            Step::ReleaseCommand => self.release_command().await,
            Step::PrepareRef => self.prepare_ref().await,
            Step::Exchange => self.exchange(),
            Step::Start => self.start().await,
            Step::Check => self.check().await,
            Step::Route => self.route(),
            Step::MoveRef => self.move_ref().await,
            Step::Enlarge => self.enlarge().await,
            Step::FixPermissions => self.fix_permissions(),
            Step::Fetch => self.fetch().await,
            Step::VerifyRelease => self.verify_release(),
            Step::RouteBack => self.route_back(),
            Step::StopNew => self.stop_new().await,
            Step::ExchangeBack => self.exchange_back(),
            Step::KeepFailed => self.keep_failed(),
            Step::StartOld => self.start_old().await,
            Step::CheckOld => self.check_old().await,
            Step::PutBack => self.put_back_tree(),
            Step::DiscardTree => self.discard_tree(),
            Step::DiscardRelease => self.discard_release(),
            Step::CleanBuild => self.clean_build(),
            Step::BackUp => self.back_up(),
            Step::CopyData(archive) => self.copy_data(archive),
            Step::StopOld => self.stop_old().await,
            Step::RestoreData(archive) => self.restore_data(archive),
            Step::DiscardBackup => self.discard_backup(),
            Step::Edit(edit) => self.edit(edit).await,
        }
    }

    /// Whether the new tree is in `run/`.
    fn is_exchanged(&self) -> bool {
        self.work.inode.is_some_and(|inode| reading::inode(&self.places.run()).is_ok_and(|run| run == inode))
    }

    fn note_records(&self) {
        if let Err(error) = self.context.store.record_steps(&self.order.project.name, self.order.number, &self.records)
        {
            tracing::error!(%error, "steps could not be recorded");
        }
    }

    fn elapsed(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// The commit that this is about.
    fn commit(&self) -> Option<CommitId> {
        match &self.order.goal {
            Goal::Commit { commit, .. } => Some(commit.clone()),
            Goal::Promotion(promotion) => Some(promotion.commit.clone()),
            Goal::Release(_) => self.work.release.as_ref().and_then(ReleaseRecord::commit_id),
            Goal::Standing { .. } => self.gathered.source.as_ref().map(|source| source.commit.clone()),
        }
    }

    fn commit_text(&self) -> String {
        self.commit().map(|commit| commit.to_string()).unwrap_or_default()
    }
}

/// One privileged operation; see `system::privileged`.
fn as_root(operation: &Operation) -> Result<(), Failure> {
    privileged::perform(operation)
}

fn cancelled() -> Failure {
    Failure::new(Code::Cancelled, "cancelled before the switch").hint("push again when you are ready")
}

/// A step was reached without what an earlier one leaves: a fault of the plan.
fn missing(what: &str) -> Failure {
    Failure::new(Code::Internal, format!("the plan reached a step without {what}"))
}
