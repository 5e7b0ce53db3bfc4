//! Releases: what was bundled, where its archive is, what it ran with.

use super::{Result, Store, during};
use crate::model::{CommitId, DeploymentNumber, ProjectName, ReleaseVersion, RollbackClass, Time};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

/// A bundled release. No `Debug`: the environment holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct ReleaseRecord {
    pub version: ReleaseVersion,
    pub commit: String,
    pub pillar_commit: Option<String>,
    /// Name of the archive below `releases/`; empty when it is edited in place.
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
    /// `cooked`: made here; else the environment that it came from.
    pub origin: String,
    /// Whose signature was verified, for those from elsewhere: an environment.
    pub signer: Option<String>,
    /// When it was live where it was cooked; `None`: nobody proved it.
    pub tested_at: Option<Time>,
    /// Kept by somebody's wish.
    pub pinned: bool,
}

/// What became of a release from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shelved {
    New,
    /// It was there already, to the byte.
    Again,
    /// Another one has its number.
    OtherBytes {
        sha256: String,
    },
}

impl Store {
    pub fn add_release(&self, project: &ProjectName, release: &ReleaseRecord) -> Result<()> {
        insert(&self.lock(), project, release)
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

    /// Takes a release from elsewhere under its own number. The same bytes once more are fine.
    pub fn shelve_release(&self, project: &ProjectName, release: &ReleaseRecord) -> Result<Shelved> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(during("take a release"))?;
        let name = project.as_str();
        let there: Option<String> = transaction
            .query_row(
                "SELECT sha256 FROM releases WHERE project = ?1 AND version = ?2",
                params![name, release.version.0],
                |row| row.get(0),
            )
            .optional()
            .map_err(during("take a release"))?;
        let shelved = match there {
            None => {
                insert(&transaction, project, release)?;
                Shelved::New
            }
            Some(sha256) if sha256 == release.sha256 => {
                transaction
                    .execute(
                        "UPDATE releases SET pruned = 0, tested_at = COALESCE(?3, tested_at), signer = ?4
                         WHERE project = ?1 AND version = ?2",
                        params![name, release.version.0, release.tested_at.map(|at| at.0), release.signer],
                    )
                    .map_err(during("take a release"))?;
                Shelved::Again
            }
            Some(sha256) => return Ok(Shelved::OtherBytes { sha256 }),
        };
        // Should this server ever cook for the project, it counts on from here.
        transaction
            .execute(
                "UPDATE projects SET next_version = MAX(next_version, ?2 + 1) WHERE name = ?1",
                params![name, release.version.0],
            )
            .map_err(during("take a release"))?;
        transaction.commit().map_err(during("take a release"))?;
        Ok(shelved)
    }

    /// What a release runs with on this server: JSON of its variables, and the pillar they are from.
    pub fn note_environment(
        &self,
        project: &ProjectName,
        version: ReleaseVersion,
        (environment, pillar): (&str, Option<&CommitId>),
    ) -> Result<()> {
        self.lock()
            .execute(
                "UPDATE releases SET environment = ?3, pillar_commit = ?4 WHERE project = ?1 AND version = ?2",
                params![project.as_str(), version.0, environment, pillar.map(CommitId::as_str)],
            )
            .map(drop)
            .map_err(during("note what a release runs with"))
    }

    /// Newest first; without those whose archive was removed.
    pub fn releases(&self, project: &ProjectName) -> Result<Vec<ReleaseRecord>> {
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached(
                "SELECT * FROM releases WHERE project = ?1 AND pruned = 0 AND file_name <> '' ORDER BY version DESC",
            )
            .map_err(during("list releases"))?;
        let rows = statement.query_map([project.as_str()], read).map_err(during("list releases"))?;
        rows.collect::<rusqlite::Result<_>>().map_err(during("list releases"))
    }

    /// Keeps a release on the shelf whatever its age, or no longer.
    pub fn pin_release(&self, project: &ProjectName, version: ReleaseVersion, pinned: bool) -> Result<()> {
        let pin = "UPDATE releases SET pinned = ?3 WHERE project = ?1 AND version = ?2";
        let changed = self.lock().execute(pin, params![project.as_str(), version.0, pinned]);
        changed.map(drop).map_err(during("pin a release"))
    }

    /// What it takes to go back from a release, once its tree has been seen.
    pub fn note_class(&self, project: &ProjectName, version: ReleaseVersion, class: RollbackClass) -> Result<()> {
        let note = "UPDATE releases SET rollback = ?3 WHERE project = ?1 AND version = ?2";
        let changed = self.lock().execute(note, params![project.as_str(), version.0, class.as_str()]);
        changed.map(drop).map_err(during("note what going back takes"))
    }

    /// Notes that there is a proof that it was live, and since when.
    pub fn note_tested(&self, project: &ProjectName, version: ReleaseVersion, at: Time) -> Result<()> {
        let note = "UPDATE releases SET tested_at = ?3 WHERE project = ?1 AND version = ?2";
        let changed = self.lock().execute(note, params![project.as_str(), version.0, at.0]);
        changed.map(drop).map_err(during("note that a release was live"))
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

fn insert(connection: &Connection, project: &ProjectName, release: &ReleaseRecord) -> Result<()> {
    connection
        .execute(
            "INSERT INTO releases (project, version, commit_id, pillar_commit, file_name, sha256, bytes, manifest,
                                   environment, served, created_at, origin, signer, tested_at, rollback, pinned)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
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
                release.origin,
                release.signer,
                release.tested_at.map(|at| at.0),
                release.rollback.as_str(),
                release.pinned
            ],
        )
        .map(drop)
        .map_err(during("record a release"))
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
        origin: row.get("origin")?,
        signer: row.get("signer")?,
        tested_at: row.get::<_, Option<i64>>("tested_at")?.map(Time),
        pinned: row.get("pinned")?,
    })
}

/// What `origin` says of a release that was made here.
pub const COOKED: &str = "cooked";

impl ReleaseRecord {
    pub fn is_from_elsewhere(&self) -> bool {
        self.origin != COOKED
    }

    /// The variables that the application runs with.
    pub fn variables(&self) -> Vec<(String, String)> {
        let map: BTreeMap<String, String> = serde_json::from_str(&self.environment).unwrap_or_default();
        map.into_iter().collect()
    }

    /// What is edited in place has none.
    pub fn has_archive(&self) -> bool {
        !self.file_name.is_empty()
    }

    pub fn pillar_commit_id(&self) -> Option<CommitId> {
        self.pillar_commit.as_deref().and_then(CommitId::parse)
    }

    /// The commit it was made from, when the row holds a real id.
    pub fn commit_id(&self) -> Option<CommitId> {
        CommitId::parse(&self.commit)
    }
}
