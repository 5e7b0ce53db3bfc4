//! Rows about the names by which an application is found, besides the one that it always has. A host belongs to one project.

use super::{Result, Store, during};
use crate::model::{ProjectName, Time};
use rusqlite::{OptionalExtension, params};

/// A name of a project.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DomainRecord {
    pub host: String,
    /// `/api`; empty for the whole host.
    pub prefix: String,
    pub added_at: Time,
    pub added_by: String,
}

/// What became of a claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Claimed {
    Now,
    /// It was this project's before.
    Already,
    /// The host is somebody else's.
    Taken,
}

impl Store {
    /// The names of a project, in order.
    pub fn domains(&self, project: &ProjectName) -> Result<Vec<DomainRecord>> {
        let failed = during("list domains");
        let connection = self.lock();
        let text = "SELECT host, prefix, added_at, added_by FROM domains WHERE project = ?1 ORDER BY host, prefix";
        let mut statement = connection.prepare_cached(text).map_err(&failed)?;
        let read = |row: &rusqlite::Row<'_>| {
            let (host, prefix, added_by) = (row.get(0)?, row.get(1)?, row.get(3)?);
            Ok(DomainRecord { host, prefix, added_at: Time(row.get(2)?), added_by })
        };
        let rows = statement.query_map([project.as_str()], read).map_err(&failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(&failed)
    }

    /// Gives a host, or paths below it, to a project. One transaction.
    pub fn claim_domain(
        &self,
        project: &ProjectName,
        (host, prefix): (&str, &str),
        (by, at): (&str, Time),
    ) -> Result<Claimed> {
        let failed = during("claim a domain");
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(&failed)?;
        let owner = "SELECT project FROM domains WHERE host = ?1 LIMIT 1";
        let owner: Option<String> =
            transaction.query_row(owner, [host], |row| row.get(0)).optional().map_err(&failed)?;
        if owner.is_some_and(|owner| owner != project.as_str()) {
            return Ok(Claimed::Taken);
        }
        let insert = "INSERT OR IGNORE INTO domains (host, prefix, project, added_at, added_by)
                      VALUES (?1, ?2, ?3, ?4, ?5)";
        let words = params![host, prefix, project.as_str(), at.0, by];
        let added = transaction.execute(insert, words).map_err(&failed)?;
        transaction.commit().map_err(&failed)?;
        Ok(if added == 0 { Claimed::Already } else { Claimed::Now })
    }

    /// `false`: it was not the project's.
    pub fn release_domain(&self, project: &ProjectName, (host, prefix): (&str, &str)) -> Result<bool> {
        let text = "DELETE FROM domains WHERE host = ?1 AND prefix = ?2 AND project = ?3";
        let removed = self.lock().execute(text, params![host, prefix, project.as_str()]);
        removed.map(|rows| rows > 0).map_err(during("release a domain"))
    }

    /// Notes whether people are asked to come back later.
    pub fn set_maintenance(&self, project: &ProjectName, on: bool) -> Result<()> {
        let rows =
            self.lock().execute("UPDATE projects SET maintenance = ?2 WHERE name = ?1", params![project.as_str(), on]);
        rows.map(drop).map_err(during("note maintenance"))
    }
}
