//! Projects that were destroyed and may come back: their rows, whole, as JSON. Which tables know a project is asked of
//! the database itself, so that a table or a column that comes later travels as well.

use super::{Result, Store, StoreError, during};
use crate::model::{ProjectName, Time};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde_json::{Map, Value as Json};

/// How far a destruction, or its undoing, has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trashed {
    /// Its rows are still there; its directories may be in either place.
    Destroying,
    Destroyed,
    /// On the way back: its directories may be in either place, its rows are not there yet.
    Returning,
    /// Some of it is gone for ever.
    Purging,
}

/// A project in the trash. No `Debug`: the record holds the variables of releases.
#[derive(Clone, PartialEq, Eq)]
pub struct DestroyedRecord {
    /// Name below the trash.
    pub directory: String,
    pub name: ProjectName,
    pub destroyed_at: Time,
    pub purge_at: Time,
    pub state: Trashed,
    pub build_uid: u32,
    /// What was mounted below its root, relative to that.
    pub mounted: Vec<String>,
}

impl Trashed {
    pub fn as_str(self) -> &'static str {
        match self {
            Trashed::Destroying => "destroying",
            Trashed::Destroyed => "destroyed",
            Trashed::Returning => "returning",
            Trashed::Purging => "purging",
        }
    }

    fn parse(text: &str) -> Self {
        let all = [Trashed::Destroying, Trashed::Destroyed, Trashed::Returning];
        // What nobody knows is gone.
        all.into_iter().find(|state| state.as_str() == text).unwrap_or(Trashed::Purging)
    }
}

/// Tables with rows of a project and the column that names it; rows that others refer to come first.
const TABLES: [(&str, &str); 8] = [
    ("projects", "name"),
    ("deployments", "project"),
    ("steps", "project"),
    ("releases", "project"),
    ("formation", "project"),
    ("domains", "project"),
    ("task_clocks", "project"),
    ("task_runs", "project"),
];

impl Store {
    /// The intention to destroy, with all that is known of the project. Its rows stay.
    pub fn intend_destruction(&self, record: &DestroyedRecord) -> Result<()> {
        let connection = self.lock();
        let rows = dump(&connection, &record.name).map_err(during("gather the rows of a project"))?;
        connection
            .execute(
                "INSERT INTO destroyed (directory, name, destroyed_at, purge_at, state, build_uid, record, mounted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    record.directory,
                    record.name.as_str(),
                    record.destroyed_at.0,
                    record.purge_at.0,
                    Trashed::Destroying.as_str(),
                    record.build_uid,
                    rows.to_string(),
                    record.mounted.join("\n")
                ],
            )
            .map(drop)
            .map_err(during("note a destruction"))
    }

    /// The project's rows go; from here on it is in the trash. One transaction.
    pub fn finish_destruction(&self, record: &DestroyedRecord) -> Result<()> {
        let mut connection = self.lock();
        let failed = during("destroy a project");
        let transaction = connection.transaction().map_err(&failed)?;
        let gone = "DELETE FROM projects WHERE name = ?1 AND build_uid = ?2";
        transaction.execute(gone, params![record.name.as_str(), record.build_uid]).map_err(&failed)?;
        set_state(&transaction, &record.directory, Trashed::Destroyed).map_err(&failed)?;
        transaction.commit().map_err(&failed)
    }

    /// The project's rows are back, and it is in the trash no more. One transaction.
    pub fn finish_return(&self, record: &DestroyedRecord) -> Result<()> {
        let mut connection = self.lock();
        let failed = during("bring a project back");
        let transaction = connection.transaction().map_err(&failed)?;
        let text = "SELECT record FROM destroyed WHERE directory = ?1";
        let rows: String = transaction.query_row(text, [&record.directory], |row| row.get(0)).map_err(&failed)?;
        let rows = serde_json::from_str(&rows).unwrap_or_default();
        restore(&transaction, &rows).map_err(&failed)?;
        // Hosts that others got meanwhile stay theirs.
        let lost = "DELETE FROM domains WHERE project = ?1
                    AND host IN (SELECT host FROM domains WHERE project <> ?1)";
        transaction.execute(lost, [record.name.as_str()]).map_err(&failed)?;
        transaction.execute("DELETE FROM destroyed WHERE directory = ?1", [&record.directory]).map_err(&failed)?;
        transaction.commit().map_err(&failed)
    }

    pub fn note_trashed(&self, directory: &str, state: Trashed) -> Result<()> {
        set_state(&self.lock(), directory, state).map_err(during("note how far a destruction is"))
    }

    /// Nothing of it is left, or it never was destroyed.
    pub fn forget_destroyed(&self, directory: &str) -> Result<()> {
        let rows = self.lock().execute("DELETE FROM destroyed WHERE directory = ?1", [directory]);
        rows.map(drop).map_err(during("forget a destroyed project"))
    }

    /// Oldest first.
    pub fn destroyed(&self) -> Result<Vec<DestroyedRecord>> {
        let failed = during("list destroyed projects");
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT * FROM destroyed ORDER BY destroyed_at").map_err(&failed)?;
        let rows = statement.query_map([], read).map_err(&failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(&failed)
    }

    pub fn destroyed_in(&self, directory: &str) -> Result<Option<DestroyedRecord>> {
        self.lock()
            .query_row("SELECT * FROM destroyed WHERE directory = ?1", [directory], read)
            .optional()
            .map_err(during("look a destroyed project up"))
    }
}

fn set_state(connection: &Connection, directory: &str, state: Trashed) -> rusqlite::Result<()> {
    connection
        .execute("UPDATE destroyed SET state = ?2 WHERE directory = ?1", params![directory, state.as_str()])
        .map(drop)
}

fn read(row: &Row<'_>) -> rusqlite::Result<DestroyedRecord> {
    let name: String = row.get("name")?;
    let state: String = row.get("state")?;
    let mounted: String = row.get("mounted")?;
    Ok(DestroyedRecord {
        directory: row.get("directory")?,
        name: ProjectName::parse(&name).ok_or(rusqlite::Error::InvalidQuery)?,
        destroyed_at: Time(row.get("destroyed_at")?),
        purge_at: Time(row.get("purge_at")?),
        state: Trashed::parse(&state),
        build_uid: row.get("build_uid")?,
        mounted: mounted.lines().map(str::to_owned).collect(),
    })
}

/// `{"projects": [{column: value, ..}], "deployments": [..], ..}`.
fn dump(connection: &Connection, name: &ProjectName) -> rusqlite::Result<Json> {
    let mut tables = Map::new();
    for (table, column) in TABLES {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table} WHERE {column} = ?1"))?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let rows = statement.query_map([name.as_str()], |row| {
            let cells = columns.iter().enumerate().map(|(at, column)| Ok((column.clone(), to_json(row.get_ref(at)?))));
            cells.collect::<rusqlite::Result<Map<String, Json>>>().map(Json::Object)
        })?;
        tables.insert(table.to_owned(), Json::Array(rows.collect::<rusqlite::Result<_>>()?));
    }
    Ok(Json::Object(tables))
}

/// Rows as they were; columns that are no more are left out, new ones have their defaults.
fn restore(connection: &Connection, tables: &Json) -> rusqlite::Result<()> {
    for (table, _) in TABLES {
        let statement = connection.prepare(&format!("SELECT * FROM {table} LIMIT 0"))?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        for row in tables.get(table).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_object) {
            let known = columns.iter().filter_map(|column| row.get(column).map(|value| (column, from_json(value))));
            let (names, values): (Vec<&String>, Vec<Value>) = known.unzip();
            let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
            let marks: Vec<String> = (1..=values.len()).map(|at| format!("?{at}")).collect();
            let or = if table == "domains" { "OR IGNORE " } else { "" };
            let insert = format!("INSERT {or}INTO {table} ({}) VALUES ({})", quoted.join(", "), marks.join(", "));
            connection.execute(&insert, params_from_iter(values))?;
        }
    }
    Ok(())
}

fn to_json(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned().into(),
    }
}

fn from_json(value: &Json) -> Value {
    match value {
        Json::Null | Json::Array(_) | Json::Object(_) => Value::Null,
        Json::Bool(flag) => Value::Integer(i64::from(*flag)),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Integer(number),
            None => Value::Real(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::Text(text.clone()),
    }
}

impl StoreError {
    /// Whether a row with this key is there already.
    pub fn is_taken(&self) -> bool {
        self.source.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Remote;
    use crate::store::UserRange;

    #[test]
    fn a_destroyed_project_comes_back_with_every_row_it_had() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(&place.path().join("db")).unwrap();
        let blog = ProjectName::parse("blog").unwrap();
        let range = UserRange { first: 1000, count: 60 };
        let made = store.create_project(&blog, (None, Remote::Git), ("root", Time(1)), range).unwrap().unwrap();
        let add = "INSERT INTO deployments (project, number, trigger, mode, actor, status, queued_at)
                   VALUES ('blog', 1, 'push', 'cooking', 'jane', 'success', 5);
                   INSERT INTO steps VALUES ('blog', 1, 0, 'gather', 'look', 'done', 5, 6, 'note');
                   INSERT INTO releases (project, version, commit_id, file_name, sha256, bytes, manifest, environment,
                                         created_at) VALUES ('blog', 1, 'c', 'f', 's', 7, '{}', '{\"A\": \"1\"}', 8);
                   UPDATE projects SET live_version = 1, disk_limit = 9;";
        store.lock().execute_batch(add).unwrap();
        let before = dump(&store.lock(), &blog).unwrap();
        let record = DestroyedRecord {
            directory: "blog-1".into(),
            name: blog.clone(),
            destroyed_at: Time(2),
            purge_at: Time(3),
            state: Trashed::Destroying,
            build_uid: made.build_user.uid,
            mounted: vec!["data".into(), "run/x".into()],
        };
        store.intend_destruction(&record).unwrap();
        assert!(store.intend_destruction(&record).unwrap_err().is_taken());
        assert!(store.project(&blog).unwrap().is_some(), "an intention only");
        store.finish_destruction(&record).unwrap();
        assert!(store.project(&blog).unwrap().is_none());
        let trashed = store.destroyed_in("blog-1").unwrap().unwrap();
        assert_eq!((trashed.state, &trashed.mounted), (Trashed::Destroyed, &record.mounted));
        store.finish_return(&record).unwrap();
        assert_eq!(dump(&store.lock(), &blog).unwrap(), before);
        assert!(before.to_string().contains("\"live_version\":1"), "known-bad: something was there to be lost");
        assert!(store.destroyed().unwrap().is_empty());
    }

    #[test]
    fn a_later_project_of_the_same_name_keeps_its_rows() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(&place.path().join("db")).unwrap();
        let blog = ProjectName::parse("blog").unwrap();
        let range = UserRange { first: 1000, count: 60 };
        store.create_project(&blog, (None, Remote::Git), ("root", Time(1)), range).unwrap().unwrap();
        let record = DestroyedRecord {
            directory: "blog-1".to_owned(),
            name: blog.clone(),
            destroyed_at: Time(2),
            purge_at: Time(3),
            state: Trashed::Destroying,
            build_uid: 7,
            mounted: Vec::new(),
        };
        store.intend_destruction(&record).unwrap();
        store.finish_destruction(&record).unwrap();
        assert!(store.project(&blog).unwrap().is_some());
    }

    #[test]
    fn every_table_that_knows_a_project_is_in_the_list() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(&place.path().join("db")).unwrap();
        let connection = store.lock();
        let mut statement = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
        let tables: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().flatten().collect();
        for table in tables {
            let columns = connection.prepare(&format!("SELECT * FROM {table} LIMIT 0")).unwrap();
            let knows = columns.column_names().into_iter().any(|column| column == "project");
            assert!(!knows || TABLES.iter().any(|(name, _)| *name == table), "{table} would lose its rows");
        }
    }
}
