//! From what was done to what undoes it: the same steps, carried out by the same executor. Pure.

use super::data;
use super::facts::Facts;
use super::step::{Archive, Edit, Step};
use crate::hooks::Hook;
use crate::model::{Code, ReleaseVersion};
use crate::store::DataState;

/// The steps that put everything back, given the steps that were begun (done or not), in order, and what may have happened
/// to data. A branch that moved is not moved back: others may have fetched it. What follows `MoveRef` goes forward,
/// whatever happens.
///
/// The copy of data is made while the old version still serves; it stops only for the time in which data changes place.
pub fn undo(facts: &Facts, begun: &[Step], state: DataState) -> Vec<Step> {
    let has = |step: Step| begun.contains(&step);
    let put_back = if state == DataState::Untouched { None } else { data::own(facts).ok() };
    let mut steps = let_go(begun);
    if let Some(holds) = put_back {
        steps.extend(holds.copy().then_some(Step::CopyData(Archive::Own)));
        steps.extend(facts.previous.map(|_| Step::StopOld));
    }
    steps.extend(has(Step::Exchange).then_some(Step::ExchangeBack));
    if has(Step::Take) {
        steps.push(Step::PutBack);
    } else if has(Step::Exchange) || put_back.is_some() {
        steps.push(Step::KeepFailed);
    } else if has(Step::Unpack) || has(Step::Edit(Edit::Fill)) {
        steps.push(Step::DiscardTree);
    }
    if let Some(holds) = put_back {
        steps.extend(data::restore(Archive::Own, holds));
    }
    steps.extend(has(Step::Edit(Edit::Snapshot)).then_some(Step::Edit(Edit::RestoreRun)));
    let in_place = has(Step::Edit(Edit::Snapshot)) || has(Step::Edit(Edit::Stay));
    let disturbed = has(Step::Exchange) || has(Step::StopOld) || put_back.is_some() || in_place;
    if disturbed && facts.previous.is_some() {
        steps.extend([Step::StartOld, Step::CheckOld]);
    }
    let settled = state == DataState::Untouched || (put_back.is_some() && !data::dump_is_for_people(facts));
    steps.extend((has(Step::BackUp) && settled).then_some(Step::DiscardBackup));
    if has(Step::Pack) || has(Step::PackCommit) || has(Step::Edit(Edit::Describe)) {
        steps.push(Step::DiscardRelease);
    }
    if has(Step::WipeBuild) || begun.iter().any(|step| runs_a_script(*step)) {
        steps.push(Step::CleanBuild);
    }
    steps
}

/// The steps that every undoing begins with: people and requests are back with the old version, and nothing of the new one
/// runs. Only then it can be told what became of data.
pub fn let_go(begun: &[Step]) -> Vec<Step> {
    let counterparts = [
        (Step::Edit(Edit::Bind), Step::Edit(Edit::Unbind)),
        (Step::Edit(Edit::Empty), Step::Edit(Edit::Refill)),
        (Step::Route, Step::RouteBack),
        (Step::Start, Step::StopNew),
    ];
    counterparts.into_iter().filter(|(step, _)| begun.contains(step)).map(|(_, back)| back).collect()
}

/// A script leaves the volatile files that it was given.
fn runs_a_script(step: Step) -> bool {
    matches!(step, Step::Hook(_) | Step::ReleaseCommand)
}

/// Whether a step of an undoing only clears away: what it could not is nobody's danger, and found again later.
pub fn only_clears_away(step: Step) -> bool {
    matches!(step, Step::KeepFailed | Step::PutBack | Step::DiscardTree | Step::DiscardRelease | Step::CleanBuild)
}

/// Whether a step of an undo is still right after others of it failed. An old version never starts on data that is not
/// its own; one that still runs is left running. Nothing that an admin may want is removed.
pub fn still(step: Step, failed: &[Step], begun: &[Step]) -> bool {
    let broke = |steps: &[Step]| failed.iter().any(|step| steps.contains(step));
    let copy = Step::CopyData(Archive::Own);
    let data = [Step::RestoreData(Archive::Own), Step::Hook(Hook::Restore)];
    match step {
        Step::StopOld => !broke(&[copy]),
        Step::RestoreData(_) | Step::Hook(Hook::Restore) => !broke(&[copy, Step::ExchangeBack]) && !broke(&data),
        Step::StartOld | Step::CheckOld => {
            let stopped_before = begun.contains(&Step::StopOld);
            !(broke(&data)
                || broke(&[Step::Edit(Edit::RestoreRun)])
                || broke(&[Step::StartOld])
                || (stopped_before && broke(&[copy])))
        }
        Step::DiscardRelease | Step::DiscardTree | Step::DiscardBackup => failed.is_empty(),
        _ => true,
    }
}

/// The code under which a failure is reported, given whether the switch had begun and what could be put back.
pub fn reported(code: Code, begun: &[Step], previous: Option<ReleaseVersion>) -> Code {
    let switched = begun.contains(&Step::Exchange) || begun.contains(&Step::Edit(Edit::Stay));
    match (switched, previous) {
        (true, Some(_)) => Code::RolledBack,
        _ => code,
    }
}

#[cfg(test)]
#[path = "rollback_tests.rs"]
mod tests;
