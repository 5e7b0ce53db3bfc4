//! What undoes what: every shape of a failure, with and without data.

use super::*;
use crate::config::project::BackupPolicy;
use crate::model::{DeploymentNumber, Mode, Trigger};
use crate::pipeline::Mover;
use crate::pipeline::data::{Asked, DataFacts, Holds, Restorer};
use crate::pipeline::facts::{Building, EditsFound, From, Place, Supply};
use crate::pipeline::plan;

fn facts(hooks: &[Hook]) -> Facts {
    Facts {
        mode: Mode::Cooking,
        trigger: Trigger::Push,
        hooks: hooks.iter().copied().collect(),
        buildpack: None,
        supply: Supply::Cooked,
        kept: None,
        building: Building::Runs,
        mover: Mover::Us,
        previous: Some(ReleaseVersion(41)),
        data: DataFacts { restorer: hooks.contains(&Hook::Restore).then_some(Restorer::New), ..DataFacts::default() },
        place: Place::Beside,
        edits: EditsFound::Nothing,
    }
}

fn edited(place: Place) -> Facts {
    Facts { mode: Mode::Editable, place, ..facts(&[]) }
}

/// Steps of the plan up to and with this one.
fn up_to(facts: &Facts, last: Step) -> Vec<Step> {
    let all: Vec<Step> = plan::plan(facts).steps().map(|(_, step)| step).collect();
    let end = all.iter().position(|step| *step == last).expect("a step of the plan");
    all[..=end].to_vec()
}

fn words(steps: &[Step]) -> String {
    steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[test]
fn nothing_begun_means_nothing_to_undo() {
    assert_eq!(undo(&facts(&[]), &[Step::PrepareDirectories], DataState::Untouched), []);
}

#[test]
fn before_the_switch_only_our_own_leftovers_go() {
    let begun = [Step::PrepareDirectories, Step::WipeBuild, Step::Checkout, Step::Compile];
    assert_eq!(undo(&facts(&[]), &begun, DataState::Untouched), [Step::CleanBuild]);
    assert_eq!(reported(Code::BuildFailed, &begun, Some(ReleaseVersion(41))), Code::BuildFailed);
}

#[test]
fn where_nothing_is_built_what_a_script_was_given_goes_too() {
    let begun = [Step::PrepareDirectories, Step::Unpack, Step::Hook(Hook::Deploy)];
    assert_eq!(undo(&facts(&[]), &begun, DataState::Untouched), [Step::DiscardTree, Step::CleanBuild]);
    assert_eq!(undo(&facts(&[]), &begun[..2], DataState::Untouched), [Step::DiscardTree]);
}

#[test]
fn after_the_switch_the_old_release_is_put_back_started_and_checked() {
    let facts = facts(&[]);
    let begun = up_to(&facts, Step::Check);
    assert_eq!(
        words(&undo(&facts, &begun, DataState::Untouched)),
        "stop-new, exchange-back, keep-failed, start-old, check-old, discard-backup, discard-release, clean-build"
    );
    assert_eq!(reported(Code::Unhealthy, &begun, facts.previous), Code::RolledBack);
}

#[test]
fn without_an_older_release_a_bad_one_is_unhealthy_not_rolled_back() {
    let facts = Facts { previous: None, ..facts(&[]) };
    let begun = [Step::Unpack, Step::Exchange, Step::Start, Step::Check];
    assert_eq!(words(&undo(&facts, &begun, DataState::Untouched)), "stop-new, exchange-back, keep-failed");
    assert_eq!(reported(Code::Unhealthy, &begun, None), Code::Unhealthy);
    assert_eq!(
        words(&undo(&facts, &begun, DataState::Touched)),
        "stop-new, copy-data, exchange-back, keep-failed, restore-data",
        "what a first deployment did to data goes too"
    );
}

#[test]
fn a_release_line_that_fails_before_the_switch_has_its_data_put_back() {
    let facts = facts(&[]);
    let begun = up_to(&facts, Step::ReleaseCommand);
    assert_eq!(
        words(&undo(&facts, &begun, DataState::Touched)),
        "copy-data, stop-old, keep-failed, restore-data, start-old, check-old, discard-backup, discard-release, clean-build"
    );
    assert_eq!(reported(Code::ReleaseFailed, &begun, facts.previous), Code::ReleaseFailed);
}

#[test]
fn touched_data_and_dumps_come_back_while_nothing_runs() {
    let facts = facts(&[Hook::Backup, Hook::PostDeploy, Hook::Restore]);
    let begun = up_to(&facts, Step::Hook(Hook::PostDeploy));
    assert_eq!(
        words(&undo(&facts, &begun, DataState::Touched)),
        "route-back, stop-new, copy-data, stop-old, exchange-back, keep-failed, restore-data, hook restore, start-old, \
         check-old, discard-backup, discard-release, clean-build"
    );
    assert!(!words(&undo(&facts, &begun, DataState::Untouched)).contains("data"));
}

#[test]
fn a_policy_decides_what_can_be_put_back() {
    let with = |policy, hooks: &[Hook]| {
        let mut facts = facts(hooks);
        facts.data.policy = policy;
        let begun = up_to(&facts, Step::Check);
        words(&undo(&facts, &begun, DataState::Touched))
    };
    let both = [Hook::Backup, Hook::Restore];
    assert!(with(BackupPolicy::Hooks, &both).contains("stop-old, exchange-back, keep-failed, hook restore, start-old"));
    assert!(!with(BackupPolicy::Hooks, &both).contains("restore-data"));
    for (policy, hooks) in [
        (BackupPolicy::Nothing, &both[..]),
        (BackupPolicy::Hooks, &[Hook::Backup][..]),
        (BackupPolicy::Hooks, &[Hook::Restore][..]),
    ] {
        assert_eq!(
            with(policy, hooks),
            "stop-new, exchange-back, keep-failed, start-old, check-old, discard-release, clean-build",
            "{policy:?} {hooks:?}"
        );
    }
}

#[test]
fn a_rollback_with_data_is_undone_from_its_own_backup() {
    let mut facts = facts(&[]);
    facts.trigger = Trigger::Rollback;
    facts.supply = Supply::Kept;
    facts.mover = Mover::Nobody;
    facts.data.asked = Some(Asked { archive: DeploymentNumber(42), holds: Holds::Copy });
    let all: Vec<Step> = plan::plan(&facts).steps().map(|(_, step)| step).collect();
    assert!(
        words(&all).contains("back-up, copy-data as asked, stop-old, restore-data as asked, release-command, exchange"),
        "{}",
        words(&all)
    );
    let begun = up_to(&facts, Step::Check);
    assert_eq!(
        words(&undo(&facts, &begun, DataState::Restoring)),
        "stop-new, copy-data, stop-old, exchange-back, keep-failed, restore-data, start-old, check-old, discard-backup, clean-build"
    );
    let begun = up_to(&facts, Step::StopOld);
    assert_eq!(
        words(&undo(&facts, &begun, DataState::Untouched)),
        "discard-tree, start-old, check-old, discard-backup, clean-build",
        "what was stopped starts again"
    );
}

/// A rollback to a release whose tree was kept when #42 replaced it.
fn to_kept() -> Facts {
    let kept = Some(DeploymentNumber(42));
    Facts { trigger: Trigger::Rollback, supply: Supply::Kept, mover: Mover::Nobody, kept, ..facts(&[]) }
}

#[test]
fn a_kept_tree_is_taken_instead_of_unpacking_and_kept_again_when_it_does_not_do_well() {
    let facts = to_kept();
    let plan = |facts: &Facts| plan::plan(facts).steps().map(|(_, step)| step).collect::<Vec<_>>();
    let (taken, unpacked) = (plan(&facts), plan(&Facts { kept: None, ..facts.clone() }));
    assert_eq!(words(&taken).replace("take", "unpack"), words(&unpacked), "nothing else is different");
    assert!(!taken.contains(&Step::Unpack) && !unpacked.contains(&Step::Take));
    let undone = |last, state| words(&undo(&facts, &up_to(&facts, last), state));
    assert_eq!(undone(Step::Take, DataState::Untouched), "put-back, clean-build");
    assert_eq!(
        undone(Step::Check, DataState::Untouched),
        "stop-new, exchange-back, put-back, start-old, check-old, discard-backup, clean-build"
    );
    assert_eq!(
        undone(Step::Check, DataState::Touched),
        "stop-new, copy-data, stop-old, exchange-back, put-back, restore-data, start-old, check-old, discard-backup, \
         clean-build"
    );
    assert!(only_clears_away(Step::PutBack), "its archive is on the shelf");
}

#[test]
fn after_a_failed_restore_nothing_starts_and_nothing_is_thrown_away() {
    let facts = facts(&[Hook::Backup, Hook::Restore]);
    let begun = up_to(&facts, Step::Check);
    let left = |failed: &[Step]| {
        let steps = undo(&facts, &begun, DataState::Touched);
        let left: Vec<Step> = steps.into_iter().filter(|step| still(*step, failed, &begun)).collect();
        words(&left)
    };
    let restored = left(&[Step::RestoreData(Archive::Own)]);
    assert!(!restored.contains("start-old") && !restored.contains("discard"), "{restored}");
    let reloaded = left(&[Step::Hook(Hook::Restore)]);
    assert!(!reloaded.contains("start-old") && !reloaded.contains("discard-release"), "{reloaded}");
    let copied = left(&[Step::CopyData(Archive::Own)]);
    assert_eq!(copied, "stop-new, copy-data, exchange-back, keep-failed, start-old, check-old, clean-build");
}

#[test]
fn what_was_done_in_place_is_made_undone_in_place() {
    let facts = edited(Place::InPlace);
    let begun = up_to(&facts, Step::Edit(Edit::Describe));
    assert_eq!(
        words(&undo(&facts, &begun, DataState::Untouched)),
        "restore-run, start-old, check-old, discard-release, clean-build"
    );
    assert_eq!(reported(Code::BuildFailed, &begun, facts.previous), Code::BuildFailed);
    let begun = up_to(&facts, Step::Check);
    let undone = "stop-new, restore-run, start-old, check-old, discard-release, clean-build";
    for state in [DataState::Untouched, DataState::Touched] {
        assert_eq!(words(&undo(&facts, &begun, state)), undone, "{state:?}: there is no backup");
    }
    assert_eq!(reported(Code::Unhealthy, &begun, facts.previous), Code::RolledBack);
    assert!(!still(Step::StartOld, &[Step::Edit(Edit::RestoreRun)], &begun), "nothing starts on half a tree");
}

#[test]
fn the_first_edited_tree_goes_and_what_stood_in_project_comes_back() {
    let facts = Facts { previous: None, ..edited(Place::Fresh(From::Directory)) };
    let begun = up_to(&facts, Step::Edit(Edit::Bind));
    assert_eq!(
        words(&undo(&facts, &begun, DataState::Untouched)),
        "unbind, refill, route-back, stop-new, exchange-back, keep-failed, discard-release, clean-build"
    );
    let begun = up_to(&facts, Step::Edit(Edit::Fill));
    assert_eq!(words(&undo(&facts, &begun, DataState::Untouched)), "discard-tree, clean-build");
}
