//! What survives a restart: keys, projects, deployments with their steps, releases, in one SQLite file.
//!
//! A call that returns has reached the disk (WAL, synchronous=FULL). One connection behind a mutex: every
//! statement is short. No decision is taken here, and no other room writes SQL.

mod data;
mod deployments;
mod destroyed;
mod domains;
mod editing;
mod formation;
mod keys;
mod projects;
mod releases;
mod tasks;
mod trees;

use crate::model::{Code, Failure};
use crate::system::files;
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

pub use data::{Backup, DataRow, DataState, Kept};
pub use deployments::{DeploymentRecord, NewDeployment, Status, StepRecord, StepStatus, Switch};
pub use destroyed::{DestroyedRecord, Trashed};
pub use domains::{Claimed, DomainRecord};
pub use editing::InPlace;
pub use keys::KeyRecord;
pub use projects::{ProjectRecord, UserRange};
pub use releases::{COOKED, ReleaseRecord, Shelved};
pub use tasks::{NewTaskRun, TaskClock, TaskRunRecord, TaskState};
pub use trees::KeptRow;

/// The schema this program writes. An older file is migrated, a newer one refused.
pub const SCHEMA_VERSION: u32 = 6;

/// What brings a file from one version to the next; the first makes it.
const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = [
    include_str!("schema/001.sql"),
    include_str!("schema/002.sql"),
    include_str!("schema/003.sql"),
    include_str!("schema/004.sql"),
    include_str!("schema/005.sql"),
    include_str!("schema/006.sql"),
];

/// Handle to the state database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    connection: Arc<Mutex<Connection>>,
}

/// An error of the database, with what was being done.
#[derive(Debug, thiserror::Error)]
#[error("state database: {doing}")]
pub struct StoreError {
    doing: &'static str,
    source: rusqlite::Error,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let full = matches!(
            error.source.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DiskFull | rusqlite::ErrorCode::SystemIoFailure)
        );
        let code = if full { Code::DiskFull } else { Code::Internal };
        Failure::new(code, format!("{error}: {}", error.source))
            .hint("free space below paths.state; see `commis doctor`")
    }
}

type Result<T> = std::result::Result<T, StoreError>;

impl Store {
    /// Opens or creates the database.
    ///
    /// # Errors
    /// `ServerConfig` when the file belongs to a newer Commis, `Internal` or `DiskFull` when it cannot be read or written.
    pub fn open(path: &Path) -> std::result::Result<Self, Failure> {
        // Releases keep their variables here; SQLite gives its other files the mode of this one.
        files::create_private(path)?;
        let connection = Connection::open(path).map_err(during("open"))?;
        let store = Self { connection: Arc::new(Mutex::new(connection)) };
        store.configure()?;
        store.migrate()?;
        store.announce_rows();
        Ok(store)
    }

    fn configure(&self) -> Result<()> {
        self.lock()
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
                 PRAGMA busy_timeout = 5000; PRAGMA cache_size = -2000;",
            )
            .map_err(during("configure"))
    }

    /// Each row is a point at which a test may stop, before it is on the disk.
    fn announce_rows(&self) {
        #[cfg(feature = "failpoints")]
        let _ = self.lock().commit_hook(Some(|| crate::system::failpoint::reach(|| "row.before".into()).is_err()));
    }

    fn migrate(&self) -> std::result::Result<(), Failure> {
        let version: u32 =
            self.lock().query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(during("read the version"))?;
        if version > SCHEMA_VERSION {
            let what =
                format!("state database: schema version {version} is newer than this program's {SCHEMA_VERSION}");
            return Err(
                Failure::new(Code::ServerConfig, what).hint("start the Commis that wrote it, or restore its backup")
            );
        }
        for (to, migration) in (1..).zip(MIGRATIONS).skip(version as usize) {
            let whole = format!("BEGIN; {migration} PRAGMA user_version = {to}; COMMIT;");
            self.lock().execute_batch(&whole).map_err(during("bring the schema up to date"))?;
        }
        Ok(())
    }

    /// A setting of the server itself, such as its id.
    pub fn meta(&self, key: &str) -> Result<Option<String>> {
        self.lock()
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(during("read a setting"))
    }

    pub fn set_meta(&self, key: &str, value: &str) -> Result<()> {
        self.lock()
            .execute("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2", [key, value])
            .map(drop)
            .map_err(during("write a setting"))
    }

    /// A poisoned lock only says that another thread panicked between two statements; SQLite's own state is whole.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn during(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |source| StoreError { doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_database_is_brought_up_to_date_with_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(include_str!("schema/001.sql")).unwrap();
        old.execute_batch(
            "PRAGMA user_version = 1;
             INSERT INTO projects (name, build_uid, app_uid, created_at, created_by) VALUES ('blog', 1, 2, 3, 'root');",
        )
        .unwrap();
        drop(old);
        let projects = Store::open(&path).unwrap().projects().unwrap();
        assert_eq!(projects.iter().map(|project| project.name.as_str()).collect::<Vec<_>>(), ["blog"]);
        let version: u32 =
            Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, SCHEMA_VERSION);
    }

    #[test]
    fn a_newer_database_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        Store::open(&path).unwrap().set_meta("a", "b").unwrap();
        assert_eq!(Store::open(&path).unwrap().meta("a").unwrap().as_deref(), Some("b"));
        Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        let failure = Store::open(&path).err().unwrap();
        assert_eq!(failure.code, Code::ServerConfig);
        assert!(failure.what.contains("99 is newer"), "{failure}");
    }
}
