//! Projects, their users and what is live.

use super::{Result, Store, during};
use crate::model::{CommitId, Mode, ProjectName, ReleaseVersion, Remote, Time};
use crate::system::UserIds;
use rusqlite::{OptionalExtension, Row, params};

/// A deployment made this release live: nothing of an earlier word against it holds.
pub(super) const NOW_LIVE: &str = "UPDATE projects SET live_version = ?2, trouble = NULL, stopped = 0 WHERE name = ?1";

/// A project.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProjectRecord {
    pub name: ProjectName,
    /// `None`: the platform's default.
    pub mode: Option<Mode>,
    /// Who builds.
    pub build_user: UserIds,
    /// Who runs.
    pub app_user: UserIds,
    pub created_at: Time,
    pub created_by: String,
    /// The release that serves, when one does.
    pub live: Option<ReleaseVersion>,
    /// Why an admin is needed; pushes are refused with it.
    pub trouble: Option<String>,
    /// Most bytes that `data/` may take.
    pub disk_limit: Option<u64>,
    pub remote: Remote,
    /// Inode of the `run/` that is edited in place and seen at `project/` too; `None`: nothing is.
    pub filled: Option<u64>,
    /// The commit that the edited `run/` was last brought to.
    pub edited: Option<CommitId>,
    /// Whether nothing of it is to run, by somebody's word.
    pub stopped: bool,
    /// Whether people are asked to come back later.
    pub maintenance: bool,
}

/// A pair of numeric users, one for builds, one for the app.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserRange {
    pub first: u32,
    pub count: u32,
}

impl Store {
    /// Creates a project with two numeric users never used before. `Ok(None)` when the name is taken,
    /// and when the range of users is used up (the caller tells them apart with [`Store::project`]).
    pub fn create_project(
        &self,
        name: &ProjectName,
        (mode, remote): (Option<Mode>, Remote),
        by: (&str, Time),
        users: UserRange,
    ) -> Result<Option<ProjectRecord>> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(during("create a project"))?;
        let next: Option<String> = transaction
            .query_row("SELECT value FROM meta WHERE key = 'next_uid'", [], |row| row.get(0))
            .optional()
            .map_err(during("allocate users"))?;
        // The range's first number is git's own, the last one the router's.
        let next = next.and_then(|text| text.parse().ok()).unwrap_or(users.first + 1);
        if next + 2 >= users.first + users.count {
            return Ok(None);
        }
        let created = transaction
            .execute(
                "INSERT OR IGNORE INTO projects (name, mode, build_uid, app_uid, created_at, created_by, remote)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![name.as_str(), mode.map(Mode::as_str), next, next + 1, by.1.0, by.0, remote.as_str()],
            )
            .map_err(during("create a project"))?;
        if created == 0 {
            return Ok(None);
        }
        transaction
            .execute(
                "INSERT INTO meta VALUES ('next_uid', ?1) ON CONFLICT (key) DO UPDATE SET value = ?1",
                [(next + 2).to_string()],
            )
            .map_err(during("allocate users"))?;
        transaction.commit().map_err(during("create a project"))?;
        drop(connection);
        self.project(name)
    }

    pub fn project(&self, name: &ProjectName) -> Result<Option<ProjectRecord>> {
        self.lock()
            .query_row("SELECT * FROM projects WHERE name = ?1", [name.as_str()], read)
            .optional()
            .map_err(during("look a project up"))
    }

    pub fn projects(&self) -> Result<Vec<ProjectRecord>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT * FROM projects ORDER BY name").map_err(during("list projects"))?;
        let rows = statement.query_map([], read).map_err(during("list projects"))?;
        rows.collect::<rusqlite::Result<_>>().map_err(during("list projects"))
    }

    /// Forgets a project with all its deployments and releases.
    pub fn remove_project(&self, name: &ProjectName) -> Result<()> {
        let rows = self.lock().execute("DELETE FROM projects WHERE name = ?1", [name.as_str()]);
        rows.map(drop).map_err(during("remove a project"))
    }

    /// Most bytes that `data/` may take; `None`: as many as there are.
    pub fn set_disk_limit(&self, name: &ProjectName, limit: Option<u64>) -> Result<()> {
        let bytes = limit.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let rows =
            self.lock().execute("UPDATE projects SET disk_limit = ?2 WHERE name = ?1", params![name.as_str(), bytes]);
        rows.map(drop).map_err(during("set a limit"))
    }

    /// An admin's word: this release is live and nothing is wrong.
    pub fn accept_live(&self, name: &ProjectName, version: ReleaseVersion) -> Result<()> {
        let rows = self.lock().execute(
            "UPDATE projects SET live_version = ?2, trouble = NULL WHERE name = ?1",
            params![name.as_str(), version.0],
        );
        rows.map(drop).map_err(during("accept what is live"))
    }

    /// Notes (or clears) why an admin is needed.
    pub fn set_trouble(&self, name: &ProjectName, trouble: Option<&str>) -> Result<()> {
        let rows =
            self.lock().execute("UPDATE projects SET trouble = ?2 WHERE name = ?1", params![name.as_str(), trouble]);
        rows.map(drop).map_err(during("note trouble"))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<ProjectRecord> {
    let name: String = row.get("name")?;
    let mode: Option<String> = row.get("mode")?;
    let live: Option<u32> = row.get("live_version")?;
    let remote: String = row.get("remote")?;
    let edited: Option<String> = row.get("edited_commit")?;
    Ok(ProjectRecord {
        name: ProjectName::parse(&name).ok_or(rusqlite::Error::InvalidQuery)?,
        mode: mode.as_deref().and_then(Mode::parse),
        build_user: UserIds::of(row.get("build_uid")?),
        app_user: UserIds::of(row.get("app_uid")?),
        created_at: Time(row.get("created_at")?),
        created_by: row.get("created_by")?,
        live: live.map(ReleaseVersion),
        trouble: row.get("trouble")?,
        disk_limit: row.get::<_, Option<i64>>("disk_limit")?.map(|bytes| bytes.max(0) as u64),
        remote: Remote::parse(&remote).ok_or(rusqlite::Error::InvalidQuery)?,
        filled: Some(row.get::<_, i64>("filled")? as u64).filter(|inode| *inode != 0),
        edited: edited.as_deref().and_then(CommitId::parse),
        stopped: row.get("stopped")?,
        maintenance: row.get("maintenance")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_never_handed_out_twice_and_run_out() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        let range = UserRange { first: 1000, count: 6 };
        let create = |name: &str| {
            let name = ProjectName::parse(name).unwrap();
            store.create_project(&name, (None, Remote::Git), ("root", Time(1)), range).unwrap()
        };
        let a = create("a").unwrap();
        assert_eq!((a.build_user.uid, a.app_user.uid), (1001, 1002));
        assert!(create("a").is_none());
        store.remove_project(&a.name).unwrap();
        assert_eq!(create("a").unwrap().build_user.uid, 1003);
        assert!(create("b").is_none(), "the range is used up");
    }
}
