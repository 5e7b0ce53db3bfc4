//! Rows about scheduled tasks: up to when each was reckoned with, and its runs. What is due is decided in the room `tasks`.

use super::{Result, Store, during};
use crate::model::{ProjectName, ReleaseVersion, TaskName, Time};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Up to when a task was reckoned with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskClock {
    pub task: String,
    pub schedule: String,
    pub reckoned: Time,
}

/// One run, or one that was left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskRunRecord {
    pub project: ProjectName,
    pub id: u32,
    pub task: String,
    pub cause: String,
    pub actor: Option<String>,
    pub due_at: Option<Time>,
    pub started_at: Time,
    pub version: Option<ReleaseVersion>,
    pub state: TaskState,
    /// What there is to say besides: why it was left out, what it waited for, how it ended.
    pub note: String,
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskState {
    Running,
    Ended {
        at: Time,
        exit: u8,
    },
    Skipped,
    /// The server ended, or somebody ended it.
    Interrupted {
        at: Time,
    },
}

impl TaskState {
    pub fn as_str(self) -> &'static str {
        match self {
            TaskState::Running => "running",
            TaskState::Ended { .. } => "ended",
            TaskState::Skipped => "skipped",
            TaskState::Interrupted { .. } => "interrupted",
        }
    }

    pub fn finished_at(self) -> Option<Time> {
        match self {
            TaskState::Running | TaskState::Skipped => None,
            TaskState::Ended { at, .. } | TaskState::Interrupted { at } => Some(at),
        }
    }

    pub fn exit(self) -> Option<u8> {
        match self {
            TaskState::Ended { exit, .. } => Some(exit),
            TaskState::Running | TaskState::Skipped | TaskState::Interrupted { .. } => None,
        }
    }
}

/// A run before it has a number.
pub struct NewTaskRun<'a> {
    pub project: &'a ProjectName,
    pub task: &'a TaskName,
    pub cause: &'a str,
    pub actor: Option<&'a str>,
    /// Its time; what was due up to then is reckoned with in the same transaction.
    pub due: Option<Time>,
    pub at: Time,
    pub version: Option<ReleaseVersion>,
    pub note: &'a str,
}

impl Store {
    pub fn task_clocks(&self, project: &ProjectName) -> Result<Vec<TaskClock>> {
        let failed = during("read the clocks of tasks");
        let connection = self.lock();
        let query = "SELECT * FROM task_clocks WHERE project = ?1";
        let mut statement = connection.prepare_cached(query).map_err(&failed)?;
        let rows = statement.query_map([project.as_str()], |row| {
            let reckoned = Time(row.get("reckoned")?);
            Ok(TaskClock { task: row.get("task")?, schedule: row.get("schedule")?, reckoned })
        });
        rows.map_err(&failed)?.collect::<rusqlite::Result<_>>().map_err(&failed)
    }

    /// The task has this schedule, and what was due up to `reckoned` is dealt with.
    pub fn set_task_clock(&self, project: &ProjectName, clock: &TaskClock) -> Result<()> {
        let statement = "INSERT INTO task_clocks VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (project, task) DO UPDATE SET schedule = ?3, reckoned = ?4";
        let with = params![project.as_str(), clock.task, clock.schedule, clock.reckoned.0];
        self.lock().execute(statement, with).map(drop).map_err(during("set the clock of a task"))
    }

    /// The task is declared no more.
    pub fn forget_task_clock(&self, project: &ProjectName, task: &str) -> Result<()> {
        let statement = "DELETE FROM task_clocks WHERE project = ?1 AND task = ?2";
        self.lock().execute(statement, params![project.as_str(), task]).map(drop).map_err(during("forget a task"))
    }

    /// A run begins: from here on it is the only one of its task.
    ///
    /// # Errors
    /// One that [`super::StoreError::is_taken`] when another runs.
    pub fn begin_task_run(&self, run: &NewTaskRun<'_>) -> Result<u32> {
        self.add_task_run(run, TaskState::Running)
    }

    /// A time is left out.
    pub fn skip_task_run(&self, run: &NewTaskRun<'_>) -> Result<u32> {
        self.add_task_run(run, TaskState::Skipped)
    }

    fn add_task_run(&self, run: &NewTaskRun<'_>, state: TaskState) -> Result<u32> {
        let failed = during("note a run of a task");
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(&failed)?;
        let id = insert(&transaction, run, state).map_err(&failed)?;
        transaction.commit().map_err(&failed)?;
        Ok(id)
    }

    /// How a run came to its end.
    pub fn end_task_run(&self, project: &ProjectName, id: u32, (state, note): (TaskState, &str)) -> Result<()> {
        let statement = "UPDATE task_runs SET state = ?3, finished_at = ?4, exit = ?5, note = ?6
            WHERE project = ?1 AND id = ?2 AND state = 'running'";
        let end = state.finished_at().map(|at| at.0);
        let with = params![project.as_str(), id, state.as_str(), end, state.exit(), note];
        self.lock().execute(statement, with).map(drop).map_err(during("note the end of a task"))
    }

    /// What ran when an earlier life of the server ended. Returns how many.
    pub fn interrupt_task_runs(&self, now: Time, note: &str) -> Result<usize> {
        let statement =
            "UPDATE task_runs SET state = 'interrupted', finished_at = ?1, note = ?2 WHERE state = 'running'";
        self.lock().execute(statement, params![now.0, note]).map_err(during("note interrupted tasks"))
    }

    /// Runs of a project, or of one of its tasks; newest first.
    pub fn task_runs(&self, project: &ProjectName, task: Option<&str>, most: u32) -> Result<Vec<TaskRunRecord>> {
        let failed = during("read runs of tasks");
        let connection = self.lock();
        let query =
            "SELECT * FROM task_runs WHERE project = ?1 AND (?2 IS NULL OR task = ?2) ORDER BY id DESC LIMIT ?3";
        let mut statement = connection.prepare_cached(query).map_err(&failed)?;
        let rows = statement.query_map(params![project.as_str(), task, most], read).map_err(&failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(&failed)
    }

    pub fn task_run(&self, project: &ProjectName, id: u32) -> Result<Option<TaskRunRecord>> {
        let query = "SELECT * FROM task_runs WHERE project = ?1 AND id = ?2";
        let row = self.lock().query_row(query, params![project.as_str(), id], read).optional();
        row.map_err(during("look a run of a task up"))
    }

    /// Forgets all but the newest runs of a task; the numbers of those that are gone.
    pub fn prune_task_runs(&self, project: &ProjectName, task: &str, keep: u32) -> Result<Vec<u32>> {
        let failed = during("forget old runs of a task");
        let connection = self.lock();
        let statement = "DELETE FROM task_runs WHERE project = ?1 AND task = ?2 AND state <> 'running' AND id NOT IN
            (SELECT id FROM task_runs WHERE project = ?1 AND task = ?2 ORDER BY id DESC LIMIT ?3) RETURNING id";
        let mut statement = connection.prepare_cached(statement).map_err(&failed)?;
        let rows = statement.query_map(params![project.as_str(), task, keep], |row| row.get(0)).map_err(&failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(&failed)
    }
}

fn insert(connection: &Connection, run: &NewTaskRun<'_>, state: TaskState) -> rusqlite::Result<u32> {
    let project = run.project.as_str();
    if let Some(due) = run.due {
        let statement = "UPDATE task_clocks SET reckoned = ?3 WHERE project = ?1 AND task = ?2";
        connection.execute(statement, params![project, run.task.as_str(), due.0])?;
    }
    let next = "SELECT coalesce(max(id), 0) + 1 FROM task_runs WHERE project = ?1";
    let id: u32 = connection.query_row(next, [project], |row| row.get(0))?;
    connection.execute(
        "INSERT INTO task_runs (project, id, task, cause, actor, due_at, started_at, version, state, note)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            project,
            id,
            run.task.as_str(),
            run.cause,
            run.actor,
            run.due.map(|due| due.0),
            run.at.0,
            run.version.map(|version| version.0),
            state.as_str(),
            run.note
        ],
    )?;
    Ok(id)
}

fn read(row: &Row<'_>) -> rusqlite::Result<TaskRunRecord> {
    let project: String = row.get("project")?;
    let state: String = row.get("state")?;
    let at = Time(row.get::<_, Option<i64>>("finished_at")?.unwrap_or(0));
    let exit: Option<u8> = row.get("exit")?;
    Ok(TaskRunRecord {
        project: ProjectName::parse(&project).ok_or(rusqlite::Error::InvalidQuery)?,
        id: row.get("id")?,
        task: row.get("task")?,
        cause: row.get("cause")?,
        actor: row.get("actor")?,
        due_at: row.get::<_, Option<i64>>("due_at")?.map(Time),
        started_at: Time(row.get("started_at")?),
        version: row.get::<_, Option<u32>>("version")?.map(ReleaseVersion),
        state: match (state.as_str(), exit) {
            ("running", _) => TaskState::Running,
            ("ended", Some(exit)) => TaskState::Ended { at, exit },
            ("skipped", _) => TaskState::Skipped,
            _ => TaskState::Interrupted { at },
        },
        note: row.get("note")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Remote;
    use crate::store::UserRange;

    fn store() -> (tempfile::TempDir, Store, ProjectName) {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(&place.path().join("db")).unwrap();
        let blog = ProjectName::parse("blog").unwrap();
        let range = UserRange { first: 1000, count: 60 };
        store.create_project(&blog, (None, Remote::Git), ("root", Time(1)), range).unwrap().unwrap();
        (place, store, blog)
    }

    fn run<'a>(project: &'a ProjectName, task: &'a TaskName, due: i64) -> NewTaskRun<'a> {
        let due = Some(Time(due));
        NewTaskRun { project, task, cause: "schedule", actor: None, due, at: Time(9), version: None, note: "" }
    }

    #[test]
    fn a_run_is_the_only_one_of_its_task_until_it_has_ended_or_the_server_has() {
        let (_place, store, blog) = store();
        let (a, b) = (TaskName::parse("a").unwrap(), TaskName::parse("b").unwrap());
        let clock = TaskClock { task: "a".into(), schedule: "@daily UTC".into(), reckoned: Time(1) };
        store.set_task_clock(&blog, &clock).unwrap();
        assert_eq!(store.begin_task_run(&run(&blog, &a, 5)).unwrap(), 1);
        assert_eq!(store.task_clocks(&blog).unwrap(), [TaskClock { reckoned: Time(5), ..clock.clone() }]);
        let second = store.begin_task_run(&run(&blog, &a, 6)).unwrap_err();
        assert!(second.is_taken());
        assert_eq!(store.task_clocks(&blog).unwrap()[0].reckoned, Time(5), "one transaction");
        assert_eq!(store.begin_task_run(&run(&blog, &b, 6)).unwrap(), 2);
        let ended = TaskState::Ended { at: Time(8), exit: 3 };
        store.end_task_run(&blog, 1, (ended, "exit 3")).unwrap();
        assert_eq!(store.task_run(&blog, 1).unwrap().unwrap().state, ended);
        assert_eq!(store.interrupt_task_runs(Time(20), "gone").unwrap(), 1);
        let interrupted = store.task_run(&blog, 2).unwrap().unwrap();
        assert_eq!((interrupted.state, interrupted.note.as_str()), (TaskState::Interrupted { at: Time(20) }, "gone"));
        store.forget_task_clock(&blog, "a").unwrap();
        assert!(store.task_clocks(&blog).unwrap().is_empty());
    }

    #[test]
    fn old_runs_are_forgotten_and_numbers_go_on() {
        let (_place, store, blog) = store();
        let a = TaskName::parse("a").unwrap();
        for due in 0..5 {
            store.skip_task_run(&run(&blog, &a, due)).unwrap();
        }
        assert_eq!(store.prune_task_runs(&blog, "a", 2).unwrap(), [1, 2, 3]);
        let left: Vec<u32> = store.task_runs(&blog, Some("a"), 9).unwrap().iter().map(|run| run.id).collect();
        assert_eq!(left, [5, 4]);
        assert_eq!(store.skip_task_run(&run(&blog, &a, 9)).unwrap(), 6);
    }
}
