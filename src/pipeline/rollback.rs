//! From what was done to what undoes it: the same steps, carried out by the same executor. Pure.

use super::step::Step;
use crate::model::{Code, ReleaseVersion};

/// The steps that put everything back, given the steps that were begun (done or not), in order. A branch that moved
/// is not moved back: others may have fetched it. What follows `MoveRef` goes forward, whatever happens.
pub fn undo(begun: &[Step], previous: Option<ReleaseVersion>) -> Vec<Step> {
    let has = |step: Step| begun.contains(&step);
    let mut steps = Vec::new();
    if has(Step::Route) {
        steps.push(Step::RouteBack);
    }
    if has(Step::Start) {
        steps.push(Step::StopNew);
    }
    if has(Step::Exchange) {
        steps.extend([Step::ExchangeBack, Step::KeepFailed]);
        if previous.is_some() {
            steps.extend([Step::StartOld, Step::CheckOld]);
        }
    } else if has(Step::Unpack) {
        steps.push(Step::DiscardTree);
    }
    if has(Step::Pack) || has(Step::PackCommit) {
        steps.push(Step::DiscardRelease);
    }
    if has(Step::WipeBuild) {
        steps.push(Step::CleanBuild);
    }
    steps
}

/// Whether a step of an undoing only clears away: what it could not is nobody's danger, and found again later.
pub fn only_clears_away(step: Step) -> bool {
    matches!(step, Step::KeepFailed | Step::DiscardTree | Step::DiscardRelease | Step::CleanBuild)
}

/// The code under which a failure is reported, given whether the switch had begun and what could be put back.
pub fn reported(code: Code, begun: &[Step], previous: Option<ReleaseVersion>) -> Code {
    match (begun.contains(&Step::Exchange), previous) {
        (true, Some(_)) => Code::RolledBack,
        _ => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Option<ReleaseVersion> = Some(ReleaseVersion(41));

    #[test]
    fn nothing_begun_means_nothing_to_undo() {
        assert_eq!(undo(&[Step::PrepareDirectories], OLD), []);
    }

    #[test]
    fn before_the_switch_only_our_own_leftovers_go() {
        let begun = [Step::PrepareDirectories, Step::WipeBuild, Step::Checkout, Step::Compile];
        assert_eq!(undo(&begun, OLD), [Step::CleanBuild]);
        assert_eq!(reported(Code::BuildFailed, &begun, OLD), Code::BuildFailed);
    }

    #[test]
    fn after_the_switch_the_old_release_is_put_back_started_and_checked() {
        let begun = [Step::WipeBuild, Step::Pack, Step::Unpack, Step::Exchange, Step::Start, Step::Check];
        assert_eq!(
            undo(&begun, OLD),
            [
                Step::StopNew,
                Step::ExchangeBack,
                Step::KeepFailed,
                Step::StartOld,
                Step::CheckOld,
                Step::DiscardRelease,
                Step::CleanBuild
            ]
        );
        assert_eq!(reported(Code::Unhealthy, &begun, OLD), Code::RolledBack);
    }

    #[test]
    fn without_an_older_release_a_bad_one_is_unhealthy_not_rolled_back() {
        let begun = [Step::Unpack, Step::Exchange, Step::Start, Step::Check];
        assert_eq!(undo(&begun, None), [Step::StopNew, Step::ExchangeBack, Step::KeepFailed]);
        assert_eq!(reported(Code::Unhealthy, &begun, None), Code::Unhealthy);
    }
}
