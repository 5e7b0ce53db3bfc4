//! For what a directory is copied, and what that asks of the copy. Nothing is copied here.

use super::content::Sums;
use super::inventory::{Moment, Source};
use super::known::Known;
use super::tour::Passed;
use super::traits::source_of;
use crate::system::UserIds;
use crate::trees::walk::Kind;
use nix::sys::stat::FileStat;

/// Smaller files are copied sooner than their blocks are shared.
const SMALL: u64 = 64 << 10;

/// For what a directory is copied.
pub enum Purpose<'a> {
    /// A backup of data that its application goes on writing to.
    Backup(Keeping<'a>),
    /// A backup becomes data again, with the sums that it can be compared by.
    Return(Sums),
    /// Data that gives way, for those who ask for it later.
    Aside,
    /// A tree that people edit: what a deployment can go back to.
    Edited,
}

/// What a backup goes by.
pub struct Keeping<'a> {
    /// Whose files have several names by right.
    pub owner: UserIds,
    /// What an earlier backup holds: files that did not change become one more name of those there.
    pub known: Option<&'a Known>,
    /// Before this nothing of the data was changed without its time saying so.
    pub settled: Option<Moment>,
}

/// What becomes of a file with several names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// The copy has them too.
    Together,
    /// Each is a file of its own: what is written to one is not meant for the others.
    Apart,
    /// It is not copied: whoever gave it a name here may not be allowed to read it.
    Foreign,
}

/// What becomes of a thing that cannot be copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Odd {
    /// It is left out, and told.
    PassedOver,
    /// Nobody misses it.
    LeftOut,
    /// The copy is none without it.
    Refused,
}

impl Purpose<'_> {
    pub fn sums(&self) -> Sums {
        match self {
            Purpose::Backup(_) => Sums::Passing,
            Purpose::Return(sums) => *sums,
            Purpose::Aside | Purpose::Edited => Sums::Unasked,
        }
    }

    /// The smallest file of which the copy shares the blocks. Copying a small one is several times as quick; but copies of
    /// data are counted as taking no room where blocks can be shared.
    pub fn shares_from(&self) -> u64 {
        match self {
            Purpose::Backup(_) | Purpose::Return(_) | Purpose::Aside => 1,
            Purpose::Edited => SMALL,
        }
    }

    pub fn names(&self, stat: &FileStat) -> Names {
        match self {
            Purpose::Backup(keeping) if stat.st_nlink > 1 && keeping.owner.uid != stat.st_uid => Names::Foreign,
            Purpose::Backup(_) | Purpose::Return(_) | Purpose::Aside => Names::Together,
            Purpose::Edited => Names::Apart,
        }
    }

    /// Set-user-id is data's own affair; in a tree that runs it never travels, and set-group-id is what a directory hands
    /// down.
    pub fn bits(&self, of: Kind) -> u32 {
        match (self, of) {
            (Purpose::Backup(_) | Purpose::Return(_) | Purpose::Aside, _) => 0o7777,
            (Purpose::Edited, Kind::Directory) => 0o3777,
            (Purpose::Edited, Kind::File | Kind::Link | Kind::Strange(_)) => 0o777,
        }
    }

    pub fn odd(&self, passed: Passed) -> Odd {
        match (self, passed) {
            (_, Passed::Excluded) => Odd::LeftOut,
            (Purpose::Edited, Passed::Mount) => Odd::Refused,
            (Purpose::Edited, Passed::Foreign | Passed::Strange(_))
            | (Purpose::Backup(_) | Purpose::Return(_) | Purpose::Aside, _) => Odd::PassedOver,
        }
    }

    /// What vanishes while it is copied. Data was not of one moment anyway; an edit that is only moved must not be missing.
    pub fn vanished(&self) -> Odd {
        match self {
            Purpose::Backup(_) | Purpose::Return(_) | Purpose::Aside => Odd::LeftOut,
            Purpose::Edited => Odd::Refused,
        }
    }

    pub fn known(&self) -> Option<&Known> {
        match self {
            Purpose::Backup(keeping) => keeping.known,
            Purpose::Return(_) | Purpose::Aside | Purpose::Edited => None,
        }
    }

    /// What a file can be known by later, unless it may change without a sign.
    pub fn source(&self, stat: &FileStat) -> Option<Source> {
        let Purpose::Backup(Keeping { settled: Some(settled), .. }) = self else { return None };
        let source = source_of(stat);
        (source.changed < *settled).then_some(source)
    }
}
