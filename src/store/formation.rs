//! Rows about what shall run: how many instances of a process type, and whether anything.

use super::{Result, Store, during};
use crate::model::{ProcessType, ProjectName};
use rusqlite::params;
use std::collections::BTreeMap;

impl Store {
    /// What people asked for, by process type; types that nobody spoke of are not in it.
    pub fn formation(&self, project: &ProjectName) -> Result<BTreeMap<ProcessType, u32>> {
        let connection = self.lock();
        let doing = during("look up how many processes run");
        let mut statement =
            connection.prepare_cached("SELECT kind, quantity FROM formation WHERE project = ?1").map_err(doing)?;
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?));
        let rows = statement.query_map([project.as_str()], read).map_err(during("look up how many processes run"))?;
        let rows: Vec<(String, u32)> =
            rows.collect::<rusqlite::Result<_>>().map_err(during("look up how many processes run"))?;
        Ok(rows.into_iter().filter_map(|(kind, quantity)| Some((ProcessType::parse(&kind)?, quantity))).collect())
    }

    /// Replaces what people asked for.
    pub fn set_formation(&self, project: &ProjectName, formation: &BTreeMap<ProcessType, u32>) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(during("note how many processes run"))?;
        transaction
            .execute("DELETE FROM formation WHERE project = ?1", [project.as_str()])
            .map_err(during("note how many processes run"))?;
        for (kind, quantity) in formation {
            transaction
                .execute(
                    "INSERT INTO formation (project, kind, quantity) VALUES (?1, ?2, ?3)",
                    params![project.as_str(), kind.as_str(), quantity],
                )
                .map_err(during("note how many processes run"))?;
        }
        transaction.commit().map_err(during("note how many processes run"))
    }

    /// Notes that nothing of a project is to run, or that it is to run again.
    pub fn set_stopped(&self, project: &ProjectName, stopped: bool) -> Result<()> {
        let words = params![project.as_str(), stopped];
        let rows = self.lock().execute("UPDATE projects SET stopped = ?2 WHERE name = ?1", words);
        rows.map(drop).map_err(during("note that a project is stopped"))
    }
}
