//! The recipes: which steps each phase consists of, one short function per phase, in order. Pure.
//!
//! To add a phase: `model::Phase` and its row in `Mode::verdict`, a recipe here, the words in `notify::words`, the
//! golden plans. gather's own looking is in `gather.rs`; it chooses nothing.

use super::Mover;
use super::data;
use super::facts::{Building, Facts, Supply};
use super::step::Step;
use crate::hooks::Hook;
use crate::model::Mode;

/// Directories; for a release that is elsewhere, its files; else an empty `build/` and, when something will be built, the
/// tree in it.
pub fn pre_install(facts: &Facts) -> Vec<Step> {
    match facts.supply {
        Supply::Handed => return vec![Step::PrepareDirectories],
        Supply::Fetched => return vec![Step::PrepareDirectories, Step::Fetch],
        Supply::Cooked | Supply::Kept => {}
    }
    let mut steps = vec![Step::PrepareDirectories, Step::WipeBuild];
    if builds(facts) && facts.building == Building::Runs {
        steps.push(Step::Checkout);
        steps.extend(hook(facts, Hook::PreInstall));
    }
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
    let mut steps = vec![Step::Enlarge, Step::Unpack];
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

fn builds(facts: &Facts) -> bool {
    facts.supply == Supply::Cooked && facts.mode == Mode::Cooking
}

fn hook(facts: &Facts, hook: Hook) -> Option<Step> {
    facts.hooks.contains(&hook).then_some(Step::Hook(hook))
}
