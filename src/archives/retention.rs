//! Which releases stay and which may go. Pure: the shelf in, a plan out; removing is the caller's, after showing it.

use crate::model::{DeploymentNumber, ReleaseVersion};

/// A release as retention sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeptRelease {
    pub version: ReleaseVersion,
    /// It serves now.
    pub live: bool,
    /// Kept by somebody's wish.
    pub pinned: bool,
    /// The last deployment that made it serve, verified; `None` when it never did.
    pub served: Option<DeploymentNumber>,
}

/// Why a release stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    Live,
    /// What served before the live one: where a rollback goes.
    PreviousGood,
    Pinned,
    /// One of the last N.
    Recent,
}

impl Reason {
    pub fn words(self) -> &'static str {
        match self {
            Reason::Live => "live",
            Reason::PreviousGood => "previous good",
            Reason::Pinned => "pinned",
            Reason::Recent => "recent",
        }
    }
}

/// Each release is in one of the two lists.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PrunePlan {
    /// Oldest first.
    pub remove: Vec<ReleaseVersion>,
    /// Newest first, with the strongest reason.
    pub keep: Vec<(ReleaseVersion, Reason)>,
}

/// Keeps what is live, the previous good one, pinned ones, and the `keep` newest.
pub fn plan(releases: &[KeptRelease], keep: usize) -> PrunePlan {
    let mut newest: Vec<&KeptRelease> = releases.iter().collect();
    newest.sort_by_key(|release| std::cmp::Reverse(release.version));
    let good = releases.iter().filter(|release| !release.live && release.served.is_some());
    let previous = good.max_by_key(|release| release.served).map(|release| release.version);
    let mut plan = PrunePlan::default();
    for (rank, release) in newest.into_iter().enumerate() {
        let reason = match release {
            KeptRelease { live: true, .. } => Some(Reason::Live),
            KeptRelease { version, .. } if Some(*version) == previous => Some(Reason::PreviousGood),
            KeptRelease { pinned: true, .. } => Some(Reason::Pinned),
            _ => (rank < keep).then_some(Reason::Recent),
        };
        match reason {
            Some(reason) => plan.keep.push((release.version, reason)),
            None => plan.remove.insert(0, release.version),
        }
    }
    plan
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

    fn shelf(versions: u32) -> Vec<KeptRelease> {
        let release = |number| KeptRelease {
            version: ReleaseVersion(number),
            live: number == versions,
            pinned: false,
            served: Some(DeploymentNumber(number)),
        };
        (1..=versions).map(release).collect()
    }

    fn removed(plan: &PrunePlan) -> Vec<u32> {
        plan.remove.iter().map(|version| version.0).collect()
    }

    #[test]
    fn the_last_five_stay_and_the_oldest_goes_first() {
        let plan = plan(&shelf(8), 5);
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
        let plan = plan(&releases, 3);
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
        let plan = plan(&releases, 0);
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
        assert_eq!(removed(&plan(&releases, 1)), [2]);
        assert_eq!(removed(&plan(&[], 1)), [0; 0]);
    }
}
