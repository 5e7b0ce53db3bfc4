//! Rows about the tree of a deployment: whether it is in `run/`, what it looked like when it was known to be its release,
//! and that it was taken from where it was kept. Each word is on disk before the effect it announces.

use super::{Result, Store, Switch, during};
use crate::model::{DeploymentNumber, ProjectName, ReleaseVersion};
use rusqlite::{Row, params};

/// The columns of a deployment about a tree that is kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeptRow {
    /// `None`: nobody looked at it, or it is not its release.
    pub stamp: Option<String>,
    /// The archive whose tree became this deployment's, until somebody has compared it.
    pub taken: Option<DeploymentNumber>,
}

impl Store {
    pub fn note_switch(&self, project: &ProjectName, number: DeploymentNumber, switch: Switch) -> Result<()> {
        let statement = "UPDATE deployments SET switch = ?3 WHERE project = ?1 AND number = ?2";
        self.lock()
            .execute(statement, params![project.as_str(), number.0, switch.as_str()])
            .map(drop)
            .map_err(during("note how far the switch is"))
    }

    /// The intent to switch, with the inode of the tree that will become `run/`.
    pub fn intend_switch(&self, project: &ProjectName, number: DeploymentNumber, inode: u64) -> Result<()> {
        let statement =
            "UPDATE deployments SET switch = 'switching', tree_inode = ?3 WHERE project = ?1 AND number = ?2";
        self.lock()
            .execute(statement, params![project.as_str(), number.0, inode as i64])
            .map(drop)
            .map_err(during("note the switch"))
    }

    /// The intent to deploy a release with the tree in the archive of `from`, which `made` had put in place.
    pub fn intend_taking(
        &self,
        project: &ProjectName,
        number: DeploymentNumber,
        version: ReleaseVersion,
        (made, from): (DeploymentNumber, DeploymentNumber),
    ) -> Result<()> {
        let statement = "UPDATE deployments SET version = ?3, tree_taken = ?5,
                         tree_stamp = (SELECT tree_stamp FROM deployments WHERE project = ?1 AND number = ?4)
                         WHERE project = ?1 AND number = ?2";
        let with = params![project.as_str(), number.0, version.0, made.0, from.0];
        self.lock().execute(statement, with).map(drop).map_err(during("note which tree is taken"))
    }

    /// The tree was looked at: with this stamp it is its release, with none it is not.
    pub fn note_stamp(&self, project: &ProjectName, number: DeploymentNumber, stamp: Option<&str>) -> Result<()> {
        let statement = "UPDATE deployments SET tree_stamp = ?3, tree_taken = NULL WHERE project = ?1 AND number = ?2";
        let with = params![project.as_str(), number.0, stamp];
        self.lock().execute(statement, with).map(drop).map_err(during("note what a tree looks like"))
    }
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<KeptRow> {
    let taken: Option<u32> = row.get("tree_taken")?;
    Ok(KeptRow { stamp: row.get("tree_stamp")?, taken: taken.map(DeploymentNumber) })
}
