//! The recipes: which steps each phase consists of, one short function per phase, in order. Pure.
//!
//! To add a phase: `model::Phase` and its row in `Mode::verdict`, a recipe here, the words in `notify::words`, the
//! golden plans. gather's own looking is in `gather.rs`; it chooses nothing.

use super::Mover;
use super::data;
use super::facts::{Building, EditsFound, Facts, From, Place, Supply};
use super::step::{Edit, Step};
use crate::hooks::Hook;
use crate::model::{Mode, Trigger};

/// Directories; for a release that is elsewhere, its files; else an empty `build/` and, when something will be built, the
/// tree in it. What is edited in place is kept before anything is written there.
pub fn pre_install(facts: &Facts) -> Vec<Step> {
    match facts.supply {
        Supply::Handed => return vec![Step::PrepareDirectories],
        Supply::Fetched => return vec![Step::PrepareDirectories, Step::Fetch],
        Supply::Cooked | Supply::Kept => {}
    }
    let mut steps = vec![Step::PrepareDirectories, Step::WipeBuild];
    if facts.edits == EditsFound::ToKeep {
        steps.push(Step::Edit(Edit::KeepEdits));
    }
    match facts.place {
        Place::Beside if builds(facts) && facts.building == Building::Runs => steps.push(Step::Checkout),
        Place::Beside => return steps,
        Place::Fresh(_) => steps.push(Step::Edit(Edit::Fill)),
        Place::InPlace => {
            if writes(facts) {
                steps.push(Step::Edit(Edit::Snapshot));
            }
            if facts.trigger == Trigger::Push {
                steps.push(Step::Edit(Edit::Apply));
            }
        }
    }
    steps.extend(hook(facts, Hook::PreInstall));
    steps
}

/// What comes from elsewhere proves here what it is.
pub fn configure(facts: &Facts) -> Vec<Step> {
    match facts.supply {
        Supply::Handed | Supply::Fetched => vec![Step::VerifyRelease],
        Supply::Cooked | Supply::Kept if builds(facts) => hook(facts, Hook::Configure).into_iter().collect(),
        Supply::Cooked | Supply::Kept => Vec::new(),
    }
}

/// The buildpack first: hooks may use what it installed.
pub fn build(facts: &Facts) -> Vec<Step> {
    let compile = facts.buildpack.as_ref().map(|_| Step::Compile);
    compile.into_iter().chain(hook(facts, Hook::Build)).chain(hook(facts, Hook::PostBuild)).collect()
}

pub fn bundle(facts: &Facts) -> Vec<Step> {
    let pack = match facts.building {
        Building::Runs => Step::Pack,
        Building::Nothing => Step::PackCommit,
    };
    hook(facts, Hook::Bundle).into_iter().chain([pack]).collect()
}

/// What can fail without data being touched comes first, then the backup, then what may touch data. Up to `MoveRef`
/// everything can be undone.
pub fn deploy(facts: &Facts) -> Vec<Step> {
    if facts.place != Place::Beside {
        return deploy_in_place(facts);
    }
    let tree = if facts.kept.is_some() { Step::Take } else { Step::Unpack };
    let mut steps = vec![Step::Enlarge, tree];
    if facts.mover == Mover::Us {
        steps.push(Step::PrepareRef);
    }
    steps.extend(data::back_up(facts));
    steps.extend(data::put_back_asked(facts));
    steps.extend(hook(facts, Hook::Deploy));
    steps.extend([Step::ReleaseCommand, Step::Exchange, Step::Start, Step::Check, Step::Route]);
    steps.extend(hook(facts, Hook::PostDeploy));
    steps.extend(hook(facts, Hook::Upgrade));
    steps.extend(hook(facts, Hook::PostInstall));
    steps.push(Step::FixPermissions);
    if facts.mover == Mover::Us {
        steps.push(Step::MoveRef);
    }
    steps
}

/// The processes start anew on the tree that was worked on. The first such tree takes the place of `run/` and is shown
/// at `project/` as the last thing that can be undone. What it does to data is up to whoever edits.
fn deploy_in_place(facts: &Facts) -> Vec<Step> {
    let mut steps = vec![Step::Enlarge];
    if facts.building == Building::Runs {
        steps.push(Step::Edit(Edit::ListBuilt));
    }
    steps.push(Step::Edit(Edit::Describe));
    if facts.mover == Mover::Us {
        steps.push(Step::PrepareRef);
    }
    steps.extend(hook(facts, Hook::Deploy));
    steps.push(Step::ReleaseCommand);
    steps.push(if facts.place == Place::InPlace { Step::Edit(Edit::Stay) } else { Step::Exchange });
    steps.extend([Step::Start, Step::Check, Step::Route]);
    steps.extend([Hook::PostDeploy, Hook::Upgrade, Hook::PostInstall].into_iter().filter_map(|at| hook(facts, at)));
    match facts.place {
        Place::Beside | Place::InPlace => {}
        Place::Fresh(From::Commit) => steps.push(Step::Edit(Edit::Bind)),
        Place::Fresh(From::Directory) => steps.extend([Step::Edit(Edit::Empty), Step::Edit(Edit::Bind)]),
    }
    steps.push(Step::FixPermissions);
    if facts.mover == Mover::Us {
        steps.push(Step::MoveRef);
    }
    steps
}

fn builds(facts: &Facts) -> bool {
    facts.supply == Supply::Cooked && facts.mode != Mode::Final
}

/// Whether anything is written into the tree: by us, or by what runs there as the build user.
fn writes(facts: &Facts) -> bool {
    facts.trigger == Trigger::Push || facts.building == Building::Runs
}

fn hook(facts: &Facts, hook: Hook) -> Option<Step> {
    facts.hooks.contains(&hook).then_some(Step::Hook(hook))
}
