//! What a deployment did with data: the rows around its backup and around what is put back, which recovery reads.

use super::{Result, Store, during};
use crate::model::{DeploymentNumber, ProjectName, ReleaseVersion, RollbackClass, Time};
use rusqlite::{Row, params};

/// Whether `archives/<number>` holds what was there before the deployment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Backup {
    #[default]
    None,
    Begun,
    Done,
    /// There was nothing: an empty directory is what would be put back.
    Empty,
}

impl Backup {
    const ALL: [Backup; 4] = [Backup::None, Backup::Begun, Backup::Done, Backup::Empty];

    pub fn as_str(self) -> &'static str {
        match self {
            Backup::None => "none",
            Backup::Begun => "begun",
            Backup::Done => "done",
            Backup::Empty => "empty",
        }
    }

    /// Whether data can be put back from it.
    pub fn is_whole(self) -> bool {
        matches!(self, Backup::Done | Backup::Empty)
    }
}

/// What may have happened to `data/` since the backup. Each word is on disk before what it announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DataState {
    #[default]
    Untouched,
    /// Something that may change data has begun.
    Touched,
    /// Data is being put back.
    Restoring,
    /// It was put back; whatever it was in between is beside.
    Restored,
}

impl DataState {
    const ALL: [DataState; 4] = [DataState::Untouched, DataState::Touched, DataState::Restoring, DataState::Restored];

    pub fn as_str(self) -> &'static str {
        match self {
            DataState::Untouched => "untouched",
            DataState::Touched => "touched",
            DataState::Restoring => "restoring",
            DataState::Restored => "restored",
        }
    }
}

/// The columns of a deployment about data.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DataRow {
    pub backup: Backup,
    /// When the copy began: later writes are not in it.
    pub backup_at: Option<Time>,
    /// Size of the backup, dumps included.
    pub backup_bytes: u64,
    pub state: DataState,
    /// Whose backup is being put back: its own, or that of the deployment that a rollback names.
    pub from: Option<DeploymentNumber>,
    /// Inode of the directory that becomes `data/`, known before the exchange; `None` when it is filled in place.
    pub inode: Option<u64>,
    /// From when until when writes were put aside.
    pub discarded: Option<(Time, Time)>,
    /// Milliseconds in which nothing served, as far as they are known.
    pub downtime: Option<i64>,
    /// The deployment whose backup a rollback was asked to put back.
    pub asked: Option<DeploymentNumber>,
}

/// A finished backup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    pub backup: Backup,
    pub at: Time,
    pub bytes: u64,
}

impl Store {
    pub fn begin_backup(&self, project: &ProjectName, number: DeploymentNumber, at: Time) -> Result<()> {
        let statement = "UPDATE deployments SET backup = 'begun', backup_at = ?3 WHERE project = ?1 AND number = ?2";
        self.note_data(statement, params![project.as_str(), number.0, at.0])
    }

    pub fn finish_backup(&self, project: &ProjectName, number: DeploymentNumber, kept: Kept) -> Result<()> {
        let statement = "UPDATE deployments SET backup = ?3, backup_at = ?4, backup_bytes = ?5
                         WHERE project = ?1 AND number = ?2";
        let with = params![project.as_str(), number.0, kept.backup.as_str(), kept.at.0, kept.bytes as i64];
        self.note_data(statement, with)
    }

    /// The archive of this deployment is gone, or about to go.
    pub fn forget_backup(&self, project: &ProjectName, number: DeploymentNumber) -> Result<()> {
        let statement = "UPDATE deployments SET backup = 'none' WHERE project = ?1 AND number = ?2";
        self.note_data(statement, params![project.as_str(), number.0])
    }

    /// From here on something may change data; `kept` is what can be put back.
    pub fn touch_data(&self, project: &ProjectName, number: DeploymentNumber, kept: Option<Kept>) -> Result<()> {
        let statement = "UPDATE deployments SET data = 'touched', backup = coalesce(?3, backup),
                         backup_at = coalesce(?4, backup_at) WHERE project = ?1 AND number = ?2";
        let (backup, at) = (kept.map(|kept| kept.backup.as_str()), kept.map(|kept| kept.at.0));
        self.note_data(statement, params![project.as_str(), number.0, backup, at])
    }

    /// The intent to put data back from the archive of `from`: `inode` will be `data/`.
    pub fn intend_restore(
        &self,
        project: &ProjectName,
        number: DeploymentNumber,
        (from, inode): (DeploymentNumber, Option<u64>),
        discarded: (Time, Time),
    ) -> Result<()> {
        let statement = "UPDATE deployments SET data = 'restoring', data_from = ?3, data_inode = ?4,
                         discarded_from = ?5, discarded_until = ?6 WHERE project = ?1 AND number = ?2";
        let inode = inode.map(|inode| inode as i64);
        self.note_data(statement, params![project.as_str(), number.0, from.0, inode, discarded.0.0, discarded.1.0])
    }

    pub fn note_data_state(&self, project: &ProjectName, number: DeploymentNumber, state: DataState) -> Result<()> {
        let statement = "UPDATE deployments SET data = ?3 WHERE project = ?1 AND number = ?2";
        self.note_data(statement, params![project.as_str(), number.0, state.as_str()])
    }

    /// Downtime of a deployment, in milliseconds.
    pub fn note_downtime(&self, project: &ProjectName, number: DeploymentNumber, milliseconds: i64) -> Result<()> {
        let statement = "UPDATE deployments SET downtime = ?3 WHERE project = ?1 AND number = ?2";
        self.note_data(statement, params![project.as_str(), number.0, milliseconds])
    }

    /// What each release said that was live from deployment `since` on: those that a rollback to before it leaves.
    pub fn classes_since(
        &self,
        project: &ProjectName,
        since: DeploymentNumber,
    ) -> Result<Vec<(ReleaseVersion, RollbackClass)>> {
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached(
                "SELECT DISTINCT r.version, r.rollback FROM releases r JOIN deployments d
                 ON d.project = r.project AND d.version = r.version
                 WHERE r.project = ?1 AND d.number >= ?2 AND d.status IN ('success', 'inactive')
                 ORDER BY r.version",
            )
            .map_err(during("list releases"))?;
        let rows = statement.query_map(params![project.as_str(), since.0], |row| {
            let class: String = row.get(1)?;
            Ok((ReleaseVersion(row.get(0)?), RollbackClass::parse(&class).unwrap_or_default()))
        });
        rows.and_then(Iterator::collect).map_err(during("list releases"))
    }

    /// The deployment that ended the time of the one of this number, with the backup of that moment.
    pub fn successor(&self, project: &ProjectName, of: DeploymentNumber) -> Result<Option<DeploymentNumber>> {
        self.lock()
            .query_row(
                "SELECT min(number) FROM deployments
                 WHERE project = ?1 AND number > ?2 AND status IN ('success', 'inactive')",
                params![project.as_str(), of.0],
                |row| row.get::<_, Option<u32>>(0),
            )
            .map(|number| number.map(DeploymentNumber))
            .map_err(during("look a deployment up"))
    }

    fn note_data(&self, statement: &str, with: impl rusqlite::Params) -> Result<()> {
        self.lock().execute(statement, with).map(drop).map_err(during("note what becomes of data"))
    }
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<DataRow> {
    let (backup, state): (String, String) = (row.get("backup")?, row.get("data")?);
    let invalid = || rusqlite::Error::InvalidQuery;
    let number = |column: &str| row.get::<_, Option<u32>>(column).map(|number| number.map(DeploymentNumber));
    let time = |column: &str| row.get::<_, Option<i64>>(column).map(|time| time.map(Time));
    Ok(DataRow {
        backup: Backup::ALL.into_iter().find(|word| word.as_str() == backup).ok_or_else(invalid)?,
        backup_at: time("backup_at")?,
        backup_bytes: row.get::<_, i64>("backup_bytes")?.max(0) as u64,
        state: DataState::ALL.into_iter().find(|word| word.as_str() == state).ok_or_else(invalid)?,
        from: number("data_from")?,
        inode: row.get::<_, Option<i64>>("data_inode")?.map(|inode| inode as u64),
        discarded: time("discarded_from")?.zip(time("discarded_until")?),
        downtime: row.get("downtime")?,
        asked: number("data_asked")?,
    })
}
