//! Whether a deployment fits before it begins: bytes, names for files, and the limit of the project's data. Pure.

use super::measure::Usage;
use crate::system::volumes::Space;

/// What a deployment will write below the project's root.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Need {
    pub bytes: u64,
    pub inodes: u64,
}

/// What is copied on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The tree that is deployed; its archive is no larger.
    pub tree: Usage,
    pub makes: Makes,
    /// `data/`, when a copy of it is made that takes room.
    pub backup: Option<Usage>,
}

/// How often the tree is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Makes {
    /// Only deployed: its archive is there.
    Tree,
    /// Its archive as well.
    Release,
    /// In `build/` too.
    Build,
}

/// Why it does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misfit {
    Bytes { needs: u64, has: u64 },
    Inodes { needs: u64, has: u64 },
    Limit { takes: u64, limit: u64 },
}

/// For the records, directories, and whatever else writes meanwhile.
const AIR: Need = Need { bytes: 64 << 20, inodes: 200 };

/// The copies; a fifth of a tree more for blocks and directories; the backup with a tenth more.
pub fn need(plan: &Plan) -> Need {
    let (copies, trees) = match plan.makes {
        Makes::Tree => (1, 1),
        Makes::Release => (2, 1),
        Makes::Build => (3, 2),
    };
    let backup = plan.backup.unwrap_or_default();
    let bytes = plan.tree.bytes.saturating_mul(copies).saturating_add(plan.tree.bytes / 5);
    let inodes = plan.tree.inodes.saturating_mul(trees).saturating_add(plan.tree.inodes / 5);
    Need {
        bytes: bytes.saturating_add(backup.bytes).saturating_add(backup.bytes / 10).saturating_add(AIR.bytes),
        inodes: inodes.saturating_add(backup.inodes).saturating_add(AIR.inodes),
    }
}

/// The limit first: it is the project's own.
pub fn fits(need: &Need, space: &Space, (data, limit): (u64, Option<u64>)) -> Result<(), Misfit> {
    if let Some(limit) = limit.filter(|limit| data > *limit) {
        return Err(Misfit::Limit { takes: data, limit });
    }
    if space.free < need.bytes {
        return Err(Misfit::Bytes { needs: need.bytes, has: space.free });
    }
    match space.free_inodes {
        Some(free) if free < need.inodes => Err(Misfit::Inodes { needs: need.inodes, has: free }),
        _ => Ok(()),
    }
}

/// From here on people are warned of a limit: nine tenths.
pub fn is_near(data: u64, limit: u64) -> bool {
    data > limit / 10 * 9
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;
    const TREE: Usage = Usage { bytes: 100 * MB, inodes: 1_000 };

    #[test]
    fn a_build_takes_a_copy_more_and_a_backup_its_size() {
        let plan = Plan { tree: TREE, makes: Makes::Release, backup: None };
        let plain = need(&plan);
        assert_eq!(plain, Need { bytes: 220 * MB + AIR.bytes, inodes: 1_400 });
        assert_eq!(need(&Plan { makes: Makes::Tree, ..plan }).bytes, plain.bytes - 100 * MB);
        assert_eq!(need(&Plan { makes: Makes::Build, ..plan }).bytes, plain.bytes + 100 * MB);
        let backup = Some(Usage { bytes: 10 * MB, inodes: 5 });
        assert_eq!(need(&Plan { backup, ..plan }), Need { bytes: plain.bytes + 11 * MB, inodes: plain.inodes + 5 });
        let huge = Usage { bytes: u64::MAX, inodes: u64::MAX };
        assert_eq!(need(&Plan { tree: huge, makes: Makes::Build, backup: Some(huge) }).bytes, u64::MAX);
    }

    #[test]
    fn what_does_not_fit_is_said_with_both_numbers() {
        let need = Need { bytes: 100, inodes: 10 };
        let space = |free, free_inodes| Space { size: 1_000, free, free_inodes };
        assert_eq!(fits(&need, &space(100, Some(10)), (5, Some(5))), Ok(()));
        assert_eq!(fits(&need, &space(99, Some(10)), (5, None)), Err(Misfit::Bytes { needs: 100, has: 99 }));
        assert_eq!(fits(&need, &space(100, Some(9)), (5, None)), Err(Misfit::Inodes { needs: 10, has: 9 }));
        assert_eq!(fits(&need, &space(100, None), (5, None)), Ok(()), "btrfs makes inodes as it needs them");
        assert_eq!(fits(&need, &space(100, None), (6, Some(5))), Err(Misfit::Limit { takes: 6, limit: 5 }));
        assert!(is_near(91, 100) && !is_near(90, 100));
    }
}
