//! What is decided about data around a deployment: what is kept before it, what of that can be put back, and what it takes
//! to go back from a release. Pure.

use super::facts::Facts;
use super::step::{Archive, Step};
use crate::config::project::BackupPolicy;
use crate::hooks::Hook;
use crate::model::{Because, DeploymentNumber, Mode, RollbackClass, Trigger};
use std::collections::BTreeSet;

/// What decides about data.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DataFacts {
    pub policy: BackupPolicy,
    /// What the project says about its release, instead of what the hooks say.
    pub declared: Option<RollbackClass>,
    /// What a rollback was asked to put back.
    pub asked: Option<Asked>,
    /// Whose hook `restore` reads dumps.
    pub restorer: Option<Restorer>,
}

/// The backup that a rollback puts back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    pub archive: DeploymentNumber,
    pub holds: Holds,
}

/// What a backup holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    Copy,
    Dumps,
    CopyAndDumps,
}

/// The tree whose hook `restore` runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restorer {
    /// The one that is deployed: it made the dump.
    New,
    /// The one that was live before.
    Old,
}

impl Holds {
    pub fn of(copy: bool, dumps: bool) -> Option<Self> {
        match (copy, dumps) {
            (true, true) => Some(Holds::CopyAndDumps),
            (true, false) => Some(Holds::Copy),
            (false, true) => Some(Holds::Dumps),
            (false, false) => None,
        }
    }

    pub fn copy(self) -> bool {
        matches!(self, Holds::Copy | Holds::CopyAndDumps)
    }

    pub fn dumps(self) -> bool {
        matches!(self, Holds::Dumps | Holds::CopyAndDumps)
    }
}

/// The restorer: the tree that is deployed before the one that is live.
pub fn restorer(new: &BTreeSet<Hook>, old: &BTreeSet<Hook>) -> Option<Restorer> {
    let trees = [(new, Restorer::New), (old, Restorer::Old)];
    trees.into_iter().find(|(hooks, _)| hooks.contains(&Hook::Restore)).map(|(_, tree)| tree)
}

/// The steps that keep what is there: after everything that can be done before, so that little is lost if it is put back.
pub fn back_up(facts: &Facts) -> Vec<Step> {
    if is_edited_in_place(facts) {
        return Vec::new();
    }
    let dumps = dumps(facts).then_some(Step::Hook(Hook::Backup));
    dumps.into_iter().chain([Step::BackUp]).collect()
}

/// The steps with which a rollback puts back what it was asked to.
pub fn put_back_asked(facts: &Facts) -> Vec<Step> {
    let Some(asked) = facts.data.asked else { return Vec::new() };
    let mut steps = Vec::new();
    steps.extend(asked.holds.copy().then_some(Step::CopyData(Archive::Asked)));
    steps.extend(facts.previous.map(|_| Step::StopOld));
    steps.extend(restore(Archive::Asked, asked.holds));
    steps
}

/// The steps that bring back what is in an archive, once nothing runs.
pub fn restore(archive: Archive, holds: Holds) -> Vec<Step> {
    let copy = holds.copy().then_some(Step::RestoreData(archive));
    let dumps = holds.dumps().then_some(Step::Hook(Hook::Restore));
    copy.into_iter().chain(dumps).collect()
}

/// What this deployment's own backup can put back.
///
/// # Errors
/// Why nothing can be.
pub fn own(facts: &Facts) -> Result<Holds, Because> {
    if is_edited_in_place(facts) {
        return Err(Because::EditedInPlace);
    }
    let readable = dumps(facts) && facts.data.restorer.is_some();
    Holds::of(facts.data.policy == BackupPolicy::Full, readable).ok_or(match facts.data.policy {
        BackupPolicy::Full | BackupPolicy::Nothing => Because::NoBackupPolicy,
        BackupPolicy::Hooks if dumps(facts) => Because::NoRestoreHook,
        BackupPolicy::Hooks => Because::NoBackupHook,
    })
}

/// Whether a dump is made that nobody reads again.
pub fn dump_is_for_people(facts: &Facts) -> bool {
    dumps(facts) && facts.data.restorer.is_none()
}

/// What it takes to go back from a release with these hooks.
pub fn class(declared: Option<RollbackClass>, hooks: &BTreeSet<Hook>, has_release_line: bool) -> RollbackClass {
    let computed = match has_release_line || hooks.iter().any(|hook| changes_data(*hook)) {
        true => RollbackClass::CodeAndData,
        false => RollbackClass::Code,
    };
    declared.unwrap_or(computed)
}

/// Whether a step may change data. Of the `release:` line only its own step knows whether there is one.
pub fn touches(step: Step, declared: Option<RollbackClass>) -> bool {
    match step {
        Step::Hook(hook) => changes_data(hook),
        Step::Start => declared == Some(RollbackClass::CodeAndData),
        Step::RestoreData(Archive::Asked) => true,
        _ => false,
    }
}

/// Whether it is known before any work that data may be changed. Of a `release:` line its own step knows.
pub fn may_change(facts: &Facts) -> bool {
    class(facts.data.declared, &facts.hooks, false) == RollbackClass::CodeAndData
        || facts.hooks.iter().any(|hook| changes_data(*hook))
}

fn changes_data(hook: Hook) -> bool {
    matches!(hook, Hook::Deploy | Hook::PostDeploy | Hook::Upgrade | Hook::PostInstall)
}

/// Whether a dump is made; not of a project that needs an admin, since what it would dump may be what is broken.
fn dumps(facts: &Facts) -> bool {
    facts.trigger != Trigger::Rescue
        && facts.data.policy != BackupPolicy::Nothing
        && facts.hooks.contains(&Hook::Backup)
}

fn is_edited_in_place(facts: &Facts) -> bool {
    facts.mode == Mode::Editable && !facts.trigger.goes_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_may_change_data_is_left_with_its_data_unless_the_project_says_otherwise() {
        let hooks = |hooks: &[Hook]| hooks.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(class(None, &hooks(&[Hook::Build, Hook::Backup]), false), RollbackClass::Code);
        assert_eq!(class(None, &hooks(&[]), true), RollbackClass::CodeAndData);
        for hook in [Hook::Deploy, Hook::PostDeploy, Hook::Upgrade, Hook::PostInstall] {
            assert_eq!(class(None, &hooks(&[hook]), false), RollbackClass::CodeAndData, "{hook:?}");
        }
        assert_eq!(class(Some(RollbackClass::Code), &hooks(&[Hook::Deploy]), true), RollbackClass::Code);
        assert_eq!(class(Some(RollbackClass::Forbidden), &hooks(&[]), false), RollbackClass::Forbidden);
    }

    #[test]
    fn the_tree_that_made_the_dump_reads_it_again_if_it_can() {
        let (with, without) = (BTreeSet::from([Hook::Restore]), BTreeSet::new());
        assert_eq!(restorer(&with, &with), Some(Restorer::New));
        assert_eq!(restorer(&without, &with), Some(Restorer::Old));
        assert_eq!(restorer(&without, &without), None);
    }

    #[test]
    fn processes_alone_touch_data_only_where_the_project_says_so() {
        assert!(!touches(Step::Start, None));
        assert!(touches(Step::Start, Some(RollbackClass::CodeAndData)));
        assert!(!touches(Step::Hook(Hook::Backup), None));
        assert!(touches(Step::Hook(Hook::Deploy), Some(RollbackClass::Code)));
    }
}
