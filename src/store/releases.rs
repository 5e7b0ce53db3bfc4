//! Releases: what was bundled, where its archive is, what it ran with.

use super::{Result, Store, during};
use crate::model::{CommitId, DeploymentNumber, ProjectName, ReleaseVersion, RollbackClass, Time};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::BTreeMap;

/// A bundled release. No `Debug`: the environment holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct ReleaseRecord {
    pub version: ReleaseVersion,
    pub commit: String,
    pub pillar_commit: Option<String>,
    /// Name of the archive below `releases/`.
    pub file_name: String,
    /// Hex digest of the archive.
    pub sha256: String,
    /// Size of the archive.
    pub bytes: u64,
    /// The archive's manifest, JSON.
    pub manifest: String,
    /// JSON object of the app's variables when it was cooked.
    pub environment: String,
    /// The deployment that made it live last; `None`: it never served.
    pub served: Option<DeploymentNumber>,
    /// What it takes to go back from it.
    pub rollback: RollbackClass,
    pub created_at: Time,
}

impl Store {
    pub fn add_release(&self, project: &ProjectName, release: &ReleaseRecord) -> Result<()> {
        self.lock()
            .execute(
                "INSERT INTO releases (project, version, commit_id, pillar_commit, file_name, sha256, bytes, manifest,
                                       environment, served, created_at, rollback)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                params![
                    project.as_str(),
                    release.version.0,
                    release.commit,
                    release.pillar_commit,
                    release.file_name,
                    release.sha256,
                    release.bytes as i64,
                    release.manifest,
                    release.environment,
                    release.served.map(|number| number.0),
                    release.created_at.0,
                    release.rollback.as_str()
                ],
            )
            .map(drop)
            .map_err(during("record a release"))
    }

    pub fn release(&self, project: &ProjectName, version: ReleaseVersion) -> Result<Option<ReleaseRecord>> {
        self.lock()
            .query_row(
                "SELECT * FROM releases WHERE project = ?1 AND version = ?2 AND pruned = 0",
                params![project.as_str(), version.0],
                read,
            )
            .optional()
            .map_err(during("look a release up"))
    }

    /// Newest first; without those whose archive was removed.
    pub fn releases(&self, project: &ProjectName) -> Result<Vec<ReleaseRecord>> {
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached("SELECT * FROM releases WHERE project = ?1 AND pruned = 0 ORDER BY version DESC")
            .map_err(during("list releases"))?;
        let rows = statement.query_map([project.as_str()], read).map_err(during("list releases"))?;
        rows.collect::<rusqlite::Result<_>>().map_err(during("list releases"))
    }

    /// Notes that the archive of a release is gone, or about to go.
    pub fn prune_release(&self, project: &ProjectName, version: ReleaseVersion) -> Result<()> {
        self.lock()
            .execute(
                "UPDATE releases SET pruned = 1, environment = '{}' WHERE project = ?1 AND version = ?2",
                params![project.as_str(), version.0],
            )
            .map(drop)
            .map_err(during("prune a release"))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<ReleaseRecord> {
    Ok(ReleaseRecord {
        version: ReleaseVersion(row.get("version")?),
        commit: row.get("commit_id")?,
        pillar_commit: row.get("pillar_commit")?,
        file_name: row.get("file_name")?,
        sha256: row.get("sha256")?,
        bytes: row.get::<_, i64>("bytes")?.max(0) as u64,
        manifest: row.get("manifest")?,
        environment: row.get("environment")?,
        served: row.get::<_, Option<u32>>("served")?.map(DeploymentNumber),
        rollback: RollbackClass::parse(&row.get::<_, String>("rollback")?).unwrap_or_default(),
        created_at: Time(row.get("created_at")?),
    })
}

impl ReleaseRecord {
    /// The variables that the application runs with.
    pub fn variables(&self) -> Vec<(String, String)> {
        let map: BTreeMap<String, String> = serde_json::from_str(&self.environment).unwrap_or_default();
        map.into_iter().collect()
    }

    pub fn pillar_commit_id(&self) -> Option<CommitId> {
        self.pillar_commit.as_deref().and_then(CommitId::parse)
    }

    /// The commit it was made from, when the row holds a real id.
    pub fn commit_id(&self) -> Option<CommitId> {
        CommitId::parse(&self.commit)
    }
}
