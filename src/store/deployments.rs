//! Deployments, their steps, and the rows around the switch that recovery reads.

use super::data::{self, DataRow};
use super::editing::{self, InPlace};
use super::trees::{self, KeptRow};
use super::{Result, Store, during, projects};
use crate::model::{Code, CommitId, DeploymentNumber, Mode, ProjectName, ReleaseVersion, Time};
use rusqlite::{OptionalExtension, Row, params};

/// Words of a deployment's status: those of GitHub's deployments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Queued,
    InProgress,
    Success,
    Failure,
    Error,
    /// Succeeded once; another release is live now.
    Inactive,
}

impl Status {
    const ALL: [Status; 6] =
        [Status::Queued, Status::InProgress, Status::Success, Status::Failure, Status::Error, Status::Inactive];

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::InProgress => "in_progress",
            Status::Success => "success",
            Status::Failure => "failure",
            Status::Error => "error",
            Status::Inactive => "inactive",
        }
    }

    pub fn is_finished(self) -> bool {
        !matches!(self, Status::Queued | Status::InProgress)
    }
}

/// Where a deployment stands relative to the exchange of `run/`. Each word is on disk before the effect it announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    Before,
    Switching,
    Switched,
    Undoing,
    Undone,
}

impl Switch {
    const ALL: [Switch; 5] = [Switch::Before, Switch::Switching, Switch::Switched, Switch::Undoing, Switch::Undone];

    pub fn as_str(self) -> &'static str {
        match self {
            Switch::Before => "before",
            Switch::Switching => "switching",
            Switch::Switched => "switched",
            Switch::Undoing => "undoing",
            Switch::Undone => "undone",
        }
    }
}

/// What is known when a deployment is put into the queue.
pub struct NewDeployment<'a> {
    pub trigger: &'a str,
    pub mode: Mode,
    pub reference: Option<&'a str>,
    pub commit: Option<&'a CommitId>,
    pub previous: Option<&'a CommitId>,
    pub subject: &'a str,
    pub actor: &'a str,
    pub at: Time,
    /// The deployment whose backup is put back.
    pub with_data: Option<DeploymentNumber>,
}

/// One deployment as recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeploymentRecord {
    pub project: ProjectName,
    pub number: DeploymentNumber,
    pub trigger: String,
    pub mode: String,
    pub reference: Option<String>,
    pub commit: Option<String>,
    pub previous: Option<String>,
    pub pillar_commit: Option<String>,
    pub subject: String,
    pub actor: String,
    pub status: Status,
    pub code: Option<Code>,
    pub reason: Option<String>,
    pub rolled_back: bool,
    pub version: Option<ReleaseVersion>,
    /// Name of its tree below `deploy/`.
    pub tree: Option<String>,
    /// Inode of that tree, known since the switch began: whoever has it now, `run/` or `deploy/`, is the new one.
    pub tree_inode: Option<u64>,
    pub kept: KeptRow,
    pub switch: Switch,
    pub data: DataRow,
    pub in_place: InPlace,
    pub queued_at: Time,
    pub started_at: Option<Time>,
    pub finished_at: Option<Time>,
}

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepStatus {
    Done,
    Skipped,
    Failed,
}

impl StepStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            StepStatus::Done => "done",
            StepStatus::Skipped => "skipped",
            StepStatus::Failed => "failed",
        }
    }
}

/// One step of a deployment, with its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepRecord {
    pub phase: String,
    pub name: String,
    pub status: String,
    pub started_at: Time,
    pub microseconds: i64,
    pub note: String,
}

impl Store {
    /// Numbers and records a deployment as queued.
    pub fn queue_deployment(&self, project: &ProjectName, new: &NewDeployment<'_>) -> Result<DeploymentNumber> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(during("queue a deployment"))?;
        let number: u32 = transaction
            .query_row(
                "UPDATE projects SET next_deployment = next_deployment + 1 WHERE name = ?1 RETURNING next_deployment - 1",
                [project.as_str()],
                |row| row.get(0),
            )
            .map_err(during("number a deployment"))?;
        transaction
            .execute(
                "INSERT INTO deployments (project, number, trigger, mode, ref, commit_id, previous_commit, subject,
                                          actor, status, queued_at, data_asked)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'queued', ?10, ?11)",
                params![
                    project.as_str(),
                    number,
                    new.trigger,
                    new.mode.as_str(),
                    new.reference,
                    new.commit.map(CommitId::as_str),
                    new.previous.map(CommitId::as_str),
                    new.subject,
                    new.actor,
                    new.at.0,
                    new.with_data.map(|number| number.0)
                ],
            )
            .map_err(during("queue a deployment"))?;
        transaction.commit().map_err(during("queue a deployment"))?;
        Ok(DeploymentNumber(number))
    }

    pub fn start_deployment(&self, project: &ProjectName, number: DeploymentNumber, at: Time) -> Result<()> {
        self.update(
            "UPDATE deployments SET status = 'in_progress', started_at = ?3 WHERE project = ?1 AND number = ?2",
            params![project.as_str(), number.0, at.0],
        )
    }

    /// Takes the next release number for a deployment that is about to bundle.
    pub fn take_version(&self, project: &ProjectName, number: DeploymentNumber) -> Result<ReleaseVersion> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(during("number a release"))?;
        let version: u32 = transaction
            .query_row(
                "UPDATE projects SET next_version = next_version + 1 WHERE name = ?1 RETURNING next_version - 1",
                [project.as_str()],
                |row| row.get(0),
            )
            .map_err(during("number a release"))?;
        transaction
            .execute(
                "UPDATE deployments SET version = ?3 WHERE project = ?1 AND number = ?2",
                params![project.as_str(), number.0, version],
            )
            .map_err(during("number a release"))?;
        transaction.commit().map_err(during("number a release"))?;
        Ok(ReleaseVersion(version))
    }

    pub fn choose_version(
        &self,
        project: &ProjectName,
        number: DeploymentNumber,
        version: ReleaseVersion,
    ) -> Result<()> {
        self.update(
            "UPDATE deployments SET version = ?3 WHERE project = ?1 AND number = ?2",
            params![project.as_str(), number.0, version.0],
        )
    }

    pub fn note_sources(
        &self,
        project: &ProjectName,
        number: DeploymentNumber,
        pillar: Option<&CommitId>,
        tree: &str,
    ) -> Result<()> {
        self.update(
            "UPDATE deployments SET pillar_commit = ?3, tree = ?4 WHERE project = ?1 AND number = ?2",
            params![project.as_str(), number.0, pillar.map(CommitId::as_str), tree],
        )
    }

    /// Success: this release is live, the one before it is not any more, trouble is over. One transaction.
    pub fn finish_live(
        &self,
        project: &ProjectName,
        number: DeploymentNumber,
        version: ReleaseVersion,
        at: Time,
    ) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(during("record a success"))?;
        let name = project.as_str();
        let run = |statement: &str, with: &[&dyn rusqlite::ToSql]| {
            transaction.execute(statement, with).map(drop).map_err(during("record a success"))
        };
        run(
            "UPDATE deployments SET status = 'inactive' WHERE project = ?1 AND status = 'success' AND number <> ?2",
            &[&name, &number.0],
        )?;
        run(
            "UPDATE deployments SET status = 'success', switch = 'switched', finished_at = ?4, version = ?3
             WHERE project = ?1 AND number = ?2",
            &[&name, &number.0, &version.0, &at.0],
        )?;
        run(editing::FINISH, &[&name, &number.0])?;
        run(editing::FORGET, &[&name, &version.0])?;
        run(projects::NOW_LIVE, &[&name, &version.0])?;
        run("UPDATE releases SET served = ?3 WHERE project = ?1 AND version = ?2", &[&name, &version.0, &number.0])?;
        transaction.commit().map_err(during("record a success"))
    }

    /// The end of a deployment that is not live. Where the way back failed too, the project is in trouble by the same
    /// transaction: a row that says that it is over is one that nobody recovers any more.
    pub fn finish_not_live(
        &self,
        project: &ProjectName,
        number: DeploymentNumber,
        (status, code, reason): (Status, Code, &str),
        at: Time,
    ) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(during("record an end"))?;
        let (name, rolled_back) = (project.as_str(), code == Code::RolledBack);
        let row = "UPDATE deployments SET status = ?3, code = ?4, reason = ?5, rolled_back = ?6, finished_at = ?7
             WHERE project = ?1 AND number = ?2";
        let with = params![name, number.0, status.as_str(), code.as_str(), reason, rolled_back, at.0];
        transaction.execute(row, with).map_err(during("record an end"))?;
        if code == Code::RollbackFailed {
            let trouble = "UPDATE projects SET trouble = ?2 WHERE name = ?1";
            transaction.execute(trouble, params![name, reason]).map_err(during("record an end"))?;
        }
        transaction.commit().map_err(during("record an end"))
    }

    pub fn record_steps(&self, project: &ProjectName, number: DeploymentNumber, steps: &[StepRecord]) -> Result<()> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(during("record steps"))?;
        for (position, step) in steps.iter().enumerate() {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO steps VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
                .and_then(|mut statement| {
                    statement.execute(params![
                        project.as_str(),
                        number.0,
                        position as i64,
                        step.phase,
                        step.name,
                        step.status,
                        step.started_at.0,
                        step.microseconds,
                        step.note
                    ])
                })
                .map_err(during("record steps"))?;
        }
        transaction.commit().map_err(during("record steps"))
    }

    pub fn steps(&self, project: &ProjectName, number: DeploymentNumber) -> Result<Vec<StepRecord>> {
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached("SELECT * FROM steps WHERE project = ?1 AND number = ?2 ORDER BY position")
            .map_err(during("read steps"))?;
        let rows = statement.query_map(params![project.as_str(), number.0], read_step).map_err(during("read steps"))?;
        rows.collect::<rusqlite::Result<_>>().map_err(during("read steps"))
    }

    pub fn deployment(&self, project: &ProjectName, number: DeploymentNumber) -> Result<Option<DeploymentRecord>> {
        self.lock()
            .query_row(
                "SELECT * FROM deployments WHERE project = ?1 AND number = ?2",
                params![project.as_str(), number.0],
                read,
            )
            .optional()
            .map_err(during("read a deployment"))
    }

    /// Newest first.
    pub fn deployments(&self, project: &ProjectName, limit: u32) -> Result<Vec<DeploymentRecord>> {
        self.select(
            "SELECT * FROM deployments WHERE project = ?1 ORDER BY number DESC LIMIT ?2",
            params![project.as_str(), limit],
        )
    }

    /// Those that an earlier life of the server left queued or running, oldest first.
    pub fn unfinished_deployments(&self) -> Result<Vec<DeploymentRecord>> {
        self.select(
            "SELECT * FROM deployments WHERE status IN ('queued', 'in_progress') ORDER BY project, number",
            params![],
        )
    }

    fn select(&self, query: &str, with: impl rusqlite::Params) -> Result<Vec<DeploymentRecord>> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(query).map_err(during("list deployments"))?;
        let rows = statement.query_map(with, read).map_err(during("list deployments"))?;
        rows.collect::<rusqlite::Result<_>>().map_err(during("list deployments"))
    }

    fn update(&self, statement: &str, with: impl rusqlite::Params) -> Result<()> {
        self.lock().execute(statement, with).map(drop).map_err(during("update a deployment"))
    }
}

fn read_step(row: &Row<'_>) -> rusqlite::Result<StepRecord> {
    Ok(StepRecord {
        phase: row.get("phase")?,
        name: row.get("name")?,
        status: row.get("status")?,
        started_at: Time(row.get("started_at")?),
        microseconds: row.get("microseconds")?,
        note: row.get("note")?,
    })
}

fn read(row: &Row<'_>) -> rusqlite::Result<DeploymentRecord> {
    let project: String = row.get("project")?;
    let status: String = row.get("status")?;
    let code: Option<String> = row.get("code")?;
    let switch: String = row.get("switch")?;
    let in_place: String = row.get("in_place")?;
    let invalid = || rusqlite::Error::InvalidQuery;
    Ok(DeploymentRecord {
        project: ProjectName::parse(&project).ok_or_else(invalid)?,
        number: DeploymentNumber(row.get("number")?),
        trigger: row.get("trigger")?,
        mode: row.get("mode")?,
        reference: row.get("ref")?,
        commit: row.get("commit_id")?,
        previous: row.get("previous_commit")?,
        pillar_commit: row.get("pillar_commit")?,
        subject: row.get("subject")?,
        actor: row.get("actor")?,
        status: Status::ALL.into_iter().find(|s| s.as_str() == status).ok_or_else(invalid)?,
        code: code.as_deref().and_then(Code::parse),
        reason: row.get("reason")?,
        rolled_back: row.get("rolled_back")?,
        version: row.get::<_, Option<u32>>("version")?.map(ReleaseVersion),
        tree: row.get("tree")?,
        tree_inode: row.get::<_, Option<i64>>("tree_inode")?.map(|inode| inode as u64),
        kept: trees::read(row)?,
        switch: Switch::ALL.into_iter().find(|s| s.as_str() == switch).ok_or_else(invalid)?,
        data: data::read(row)?,
        in_place: InPlace::ALL.into_iter().find(|word| word.as_str() == in_place).ok_or_else(invalid)?,
        queued_at: Time(row.get("queued_at")?),
        started_at: row.get::<_, Option<i64>>("started_at")?.map(Time),
        finished_at: row.get::<_, Option<i64>>("finished_at")?.map(Time),
    })
}
