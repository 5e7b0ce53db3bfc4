//! Which releases stay, which may go, and when. Pure: the shelf in, a plan out; removing is the caller's, after showing it.
//!
//! What is live, the previous good one and pinned ones always stay. Then the last N, and the newest that served of each of
//! the last months, as long as all together are not too large: the monthly ones go first, the oldest first.

use crate::model::{DeploymentNumber, ReleaseVersion, Time};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

/// A release as retention sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeptRelease {
    pub version: ReleaseVersion,
    /// Of its archive.
    pub bytes: u64,
    /// It serves now.
    pub live: bool,
    /// Kept by somebody's wish.
    pub pinned: bool,
    /// The last deployment that made it serve, verified; `None` when it never did.
    pub served: Option<DeploymentNumber>,
    pub made: Month,
}

/// What is asked of retention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The last N.
    pub keep: usize,
    /// One release of each of so many months, the present one included.
    pub months: u32,
    /// Of all archives.
    pub max_bytes: Option<u64>,
    pub now: Month,
}

/// A month of UTC: months since the year 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Month(pub u32);

impl Month {
    pub fn of(time: Time) -> Self {
        let day = jiff::Timestamp::from_millisecond(time.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let date = day.to_zoned(jiff::tz::TimeZone::UTC).date();
        Self((i32::from(date.year()).max(0) * 12 + i32::from(date.month()) - 1).unsigned_abs())
    }

    fn later(self, months: u32) -> Self {
        Self(self.0.saturating_add(months))
    }
}

/// The first day of it: `2027-05-01`.
impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-01", self.0 / 12, self.0 % 12 + 1)
    }
}

/// Why a release stays, the strongest reason first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    Live,
    /// What served before the live one: where a rollback goes.
    PreviousGood,
    Pinned,
    /// One of the last N.
    Recent,
    /// The newest of its month that served.
    Monthly,
}

impl Reason {
    pub fn words(self) -> &'static str {
        match self {
            Reason::Live => "live",
            Reason::PreviousGood => "previous good",
            Reason::Pinned => "pinned",
            Reason::Recent => "recent",
            Reason::Monthly => "one a month",
        }
    }

    /// Whether it must stay, whatever it takes.
    fn is_firm(self) -> bool {
        matches!(self, Reason::Live | Reason::PreviousGood | Reason::Pinned)
    }
}

/// Why a release goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaves {
    /// No reason to keep it.
    Old,
    /// There would be one, but all together would be too large.
    TooLarge,
}

impl Leaves {
    pub fn words(self) -> &'static str {
        match self {
            Leaves::Old => "no longer recent",
            Leaves::TooLarge => "over releases.max_bytes",
        }
    }
}

/// Each release is in one of the two lists.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PrunePlan {
    /// Oldest first.
    pub remove: Vec<(ReleaseVersion, Leaves)>,
    /// Newest first, with the strongest reason.
    pub keep: Vec<(ReleaseVersion, Reason)>,
}

/// What stays and what goes now.
pub fn plan(releases: &[KeptRelease], policy: &Policy) -> PrunePlan {
    let mut newest: Vec<&KeptRelease> = releases.iter().collect();
    newest.sort_by_key(|release| Reverse(release.version));
    let good = newest.iter().filter(|release| !release.live && release.served.is_some());
    let previous = good.max_by_key(|release| release.served).map(|release| release.version);
    let firsts = firsts(&newest);
    let reasons: Vec<_> = newest.iter().enumerate().map(|at| reason(at, (previous, &firsts), policy)).collect();
    let dropped = too_large(&newest, &reasons, policy.max_bytes);
    let mut plan = PrunePlan::default();
    for (release, reason) in newest.into_iter().zip(reasons) {
        match reason {
            Some(reason) if !dropped.contains(&release.version) => plan.keep.push((release.version, reason)),
            Some(_) => plan.remove.push((release.version, Leaves::TooLarge)),
            None => plan.remove.push((release.version, Leaves::Old)),
        }
    }
    plan.remove.reverse();
    plan
}

/// The newest of each month that served.
fn firsts(newest: &[&KeptRelease]) -> BTreeMap<Month, ReleaseVersion> {
    let served = newest.iter().rev().filter(|release| release.served.is_some());
    served.map(|release| (release.made, release.version)).collect()
}

fn reason(
    (rank, release): (usize, &&KeptRelease),
    (previous, firsts): (Option<ReleaseVersion>, &BTreeMap<Month, ReleaseVersion>),
    policy: &Policy,
) -> Option<Reason> {
    let in_window = release.made.later(policy.months) > policy.now;
    match release {
        KeptRelease { live: true, .. } => Some(Reason::Live),
        KeptRelease { version, .. } if Some(*version) == previous => Some(Reason::PreviousGood),
        KeptRelease { pinned: true, .. } => Some(Reason::Pinned),
        _ if rank < policy.keep => Some(Reason::Recent),
        _ if in_window && firsts.get(&release.made) == Some(&release.version) => Some(Reason::Monthly),
        _ => None,
    }
}

/// Those that have a reason and go nevertheless: the weakest reasons first, then the oldest.
fn too_large(newest: &[&KeptRelease], reasons: &[Option<Reason>], most: Option<u64>) -> Vec<ReleaseVersion> {
    let mut kept: Vec<(Reason, &KeptRelease)> =
        reasons.iter().zip(newest).filter_map(|(reason, release)| Some(((*reason)?, *release))).collect();
    kept.sort_by_key(|(reason, release)| (Reverse(*reason), release.version));
    let mut total = kept.iter().fold(0u64, |total, (_, release)| total.saturating_add(release.bytes));
    let mut dropped = Vec::new();
    for (_, release) in kept.iter().filter(|(reason, _)| !reason.is_firm()) {
        if most.is_none_or(|most| total <= most) {
            break;
        }
        total = total.saturating_sub(release.bytes);
        dropped.push(release.version);
    }
    dropped
}

/// What becomes of a release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Stays until a decision or further deployments.
    Stays(Reason),
    /// Stays as the one of its month; the first deployment from then on removes it.
    Until(Month),
    /// The next deployment removes it.
    Next(Leaves),
}

/// What the next deployment would do, taking its release to be as large as the newest; newest first.
pub fn forecast(releases: &[KeptRelease], policy: &Policy) -> Vec<(ReleaseVersion, Fate)> {
    let newest = releases.iter().max_by_key(|release| release.version);
    let coming = KeptRelease {
        version: ReleaseVersion(newest.map_or(1, |release| release.version.0.saturating_add(1))),
        bytes: newest.map_or(0, |release| release.bytes),
        live: true,
        pinned: false,
        served: Some(DeploymentNumber(u32::MAX)),
        made: policy.now,
    };
    let mut then: Vec<KeptRelease> = releases.iter().map(|release| KeptRelease { live: false, ..*release }).collect();
    // What is live now will be the previous good one, whatever was deployed when.
    for (release, _) in then.iter_mut().zip(releases).filter(|(_, now)| now.live) {
        release.served = Some(DeploymentNumber(u32::MAX - 1));
    }
    then.push(coming);
    let plan = plan(&then, policy);
    let made = |version| then.iter().find(|release| release.version == version).map_or(policy.now, |it| it.made);
    let stays = plan.keep.iter().map(|(version, reason)| match reason {
        Reason::Monthly => (*version, Fate::Until(made(*version).later(policy.months))),
        reason => (*version, Fate::Stays(*reason)),
    });
    let goes = plan.remove.iter().map(|(version, leaves)| (*version, Fate::Next(*leaves)));
    let mut all: Vec<_> = stays.chain(goes).filter(|(version, _)| *version != coming.version).collect();
    all.sort_by_key(|(version, _)| Reverse(*version));
    all
}

/// Which backups go: all but the `keep` newest and those that a release that is kept can be rolled back to with its data.
pub fn backups(present: &[DeploymentNumber], needed: &[DeploymentNumber], keep: usize) -> Vec<DeploymentNumber> {
    let mut newest = present.to_vec();
    newest.sort_unstable_by(|one, other| other.cmp(one));
    let mut gone: Vec<_> = newest.into_iter().skip(keep).filter(|number| !needed.contains(number)).collect();
    gone.reverse();
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Month = Month(2026 * 12 + 10);

    fn last(keep: usize) -> Policy {
        Policy { keep, months: 0, max_bytes: None, now: NOW }
    }

    fn shelf(versions: u32) -> Vec<KeptRelease> {
        let release = |number| KeptRelease {
            version: ReleaseVersion(number),
            bytes: 100,
            live: number == versions,
            pinned: false,
            served: Some(DeploymentNumber(number)),
            made: NOW,
        };
        (1..=versions).map(release).collect()
    }

    fn removed(plan: &PrunePlan) -> Vec<u32> {
        plan.remove.iter().map(|(version, _)| version.0).collect()
    }

    #[test]
    fn the_last_five_stay_and_the_oldest_goes_first() {
        let plan = plan(&shelf(8), &last(5));
        assert_eq!(removed(&plan), [1, 2, 3]);
        assert_eq!(plan.keep[0], (ReleaseVersion(8), Reason::Live));
        assert_eq!(plan.keep[1], (ReleaseVersion(7), Reason::PreviousGood));
        assert_eq!(plan.keep[4], (ReleaseVersion(4), Reason::Recent));
    }

    #[test]
    fn a_row_of_failures_pushes_out_neither_the_live_nor_the_previous_good_release() {
        let mut releases = shelf(9);
        for release in &mut releases {
            release.live = release.version.0 == 2;
            if release.version.0 > 2 {
                release.served = None;
            }
        }
        let plan = plan(&releases, &last(3));
        assert_eq!(removed(&plan), [3, 4, 5, 6]);
        assert!(plan.keep.contains(&(ReleaseVersion(2), Reason::Live)));
        assert!(plan.keep.contains(&(ReleaseVersion(1), Reason::PreviousGood)));
    }

    #[test]
    fn after_a_rollback_the_previous_good_one_is_what_served_before_it() {
        let mut releases = shelf(6);
        releases[5].live = false;
        releases[1].live = true;
        releases[1].served = Some(DeploymentNumber(7));
        let plan = plan(&releases, &last(0));
        assert_eq!(plan.keep, [(ReleaseVersion(6), Reason::PreviousGood), (ReleaseVersion(2), Reason::Live)]);
    }

    #[test]
    fn backups_stay_as_long_as_a_release_needs_them() {
        let numbers = |numbers: &[u32]| numbers.iter().copied().map(DeploymentNumber).collect::<Vec<_>>();
        assert_eq!(backups(&numbers(&[9, 2, 3, 7]), &numbers(&[3]), 2), numbers(&[2]));
        assert_eq!(backups(&numbers(&[9]), &[], 0), numbers(&[9]));
        assert_eq!(backups(&[], &numbers(&[3]), 2), []);
    }

    #[test]
    fn pinned_releases_stay() {
        let mut releases = shelf(4);
        releases[0].pinned = true;
        assert_eq!(removed(&plan(&releases, &last(1))), [2]);
        assert_eq!(removed(&plan(&[], &last(1))), [0; 0]);
    }

    #[test]
    fn the_newest_that_served_of_each_month_stays_for_its_months() {
        let mut releases = shelf(10);
        for release in &mut releases {
            release.made = Month(NOW.0 - (10 - release.version.0) / 2);
        }
        releases[5].served = None;
        let plan = plan(&releases, &Policy { months: 4, ..last(1) });
        let monthly: Vec<u32> =
            plan.keep.iter().filter(|(_, reason)| *reason == Reason::Monthly).map(|(version, _)| version.0).collect();
        assert_eq!(monthly, [8, 5, 4], "v6 never served; v2 is five months old");
        assert_eq!(Month::of(Time(1_795_171_267_123)), NOW);
        assert_eq!(NOW.to_string(), "2026-11-01");
    }

    #[test]
    fn too_many_bytes_push_out_the_monthly_ones_then_the_oldest() {
        let mut releases = shelf(6);
        releases[0].made = Month(NOW.0 - 1);
        releases[1].pinned = true;
        let policy = Policy { months: 6, max_bytes: Some(400), ..last(4) };
        let plan = plan(&releases, &policy);
        assert_eq!(plan.remove, [(ReleaseVersion(1), Leaves::TooLarge), (ReleaseVersion(3), Leaves::TooLarge)]);
        let least = super::plan(&releases, &Policy { max_bytes: Some(1), ..policy });
        let kept: Vec<u32> = least.keep.iter().map(|(version, _)| version.0).collect();
        assert_eq!(kept, [6, 5, 2], "live, previous good and pinned stay however large they are");
    }

    #[test]
    fn the_next_deployment_is_foretold() {
        let mut releases = shelf(4);
        releases[0].made = Month(NOW.0 - 2);
        let fates = forecast(&releases, &Policy { months: 3, ..last(3) });
        let version = ReleaseVersion;
        assert_eq!(
            fates,
            [
                (version(4), Fate::Stays(Reason::PreviousGood)),
                (version(3), Fate::Stays(Reason::Recent)),
                (version(2), Fate::Next(Leaves::Old)),
                (version(1), Fate::Until(Month(NOW.0 + 1))),
            ]
        );
    }

    prop_compose! {
        fn any_release(version: u32)(bytes in 0u64..1000, live in 0..8u8, pinned in 0..5u8, served in 0..3u8, month in 0..14u32) -> KeptRelease {
            let served = (served > 0).then_some(DeploymentNumber(version));
            let made = Month(NOW.0 - month);
            KeptRelease { version: ReleaseVersion(version), bytes, live: live == 0, pinned: pinned == 0, served, made }
        }
    }

    fn any_shelf() -> impl Strategy<Value = Vec<KeptRelease>> {
        (0u32..30).prop_flat_map(|count| (1..=count).map(any_release).collect::<Vec<_>>())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_must_stay_stays_and_nothing_is_lost(
            releases in any_shelf(), keep in 0usize..8, months in 0u32..8, most in proptest::option::of(0u64..6000),
        ) {
            let policy = Policy { keep, months, max_bytes: most, now: NOW };
            let plan = plan(&releases, &policy);
            let kept = |version| plan.keep.iter().any(|(kept, _)| *kept == version);
            prop_assert_eq!(plan.keep.len() + plan.remove.len(), releases.len());
            for release in &releases {
                prop_assert!(!(release.live || release.pinned) || kept(release.version));
                prop_assert!(kept(release.version) != plan.remove.iter().any(|(gone, _)| *gone == release.version));
            }
            let good = releases.iter().filter(|release| !release.live && release.served.is_some());
            let previous = good.max_by_key(|release| release.served);
            prop_assert!(previous.is_none_or(|previous| kept(previous.version)));
            // More room, more months or more releases never remove what stayed.
            let wider = super::plan(&releases, &Policy { max_bytes: None, keep: keep + 1, months: months + 1, now: NOW });
            prop_assert!(plan.keep.iter().all(|(version, _)| wider.keep.iter().any(|(kept, _)| kept == version)));
            // Only what is firm may be larger than allowed.
            let bytes: u64 = releases.iter().filter(|release| kept(release.version)).map(|release| release.bytes).sum();
            let firm = plan.keep.iter().all(|(_, reason)| reason.is_firm());
            prop_assert!(most.is_none_or(|most| bytes <= most || firm));
            // A second time there is nothing left to do.
            let rest: Vec<_> = releases.iter().filter(|release| kept(release.version)).copied().collect();
            prop_assert!(super::plan(&rest, &policy).remove.is_empty());
        }
    }
}
