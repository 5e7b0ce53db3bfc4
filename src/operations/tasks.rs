//! `task list`, `task run`, `task log`: scheduled tasks, for people. When they start by themselves is `timekeeper`'s.

use super::authorize::Action;
use super::records::{self, Reply, ScheduledTask};
use super::task_run::TaskRun;
use super::{Platform, Talk};
use crate::config::Task;
use crate::model::{Actor, Code, Failure, TaskName};
use crate::notify::clean_line;
use crate::store::{NewTaskRun, ProjectRecord, ReleaseRecord, TaskRunRecord, TaskState};
use crate::system::{clock, reading};
use crate::tasks::Cause;
use crate::verbs::TaskVerb;

/// Logs are never longer, whatever the limit was when they were written.
const LOG_MAX: u64 = 1 << 30;

impl Platform {
    pub(super) async fn task(&self, actor: &Actor, verb: TaskVerb, talk: &Talk) -> Result<Reply, Failure> {
        match verb {
            TaskVerb::List { project } => self.list_tasks(actor, &project),
            TaskVerb::Run { project, task } => self.run_task(actor, (&project, &task), talk).await,
            TaskVerb::Log { project, task, run } => self.task_log(actor, (&project, &task, run), talk).await,
        }
    }

    fn list_tasks(&self, actor: &Actor, name: &str) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Read, name)?;
        let declared = self.declared_tasks(&project)?.map(|(_, tasks)| tasks).unwrap_or_default();
        let (now, most) = (clock::now(), self.context.config().tasks.timeout);
        let shown = |task: &Task| {
            let last = self.context.store.task_runs(&project.name, Some(task.name.as_str()), 1)?.pop();
            let last = last.as_ref().map(records::TaskRun::of);
            Ok::<_, Failure>(ScheduledTask::of(task, task.timeout.unwrap_or(most).as_secs(), (now, last)))
        };
        let tasks = declared.iter().map(shown).collect::<Result<_, _>>()?;
        Ok(Reply::Tasks { project: project.name.to_string(), tasks })
    }

    async fn run_task(&self, actor: &Actor, (project, task): (&str, &str), talk: &Talk) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Run, project)?;
        self.recovered(&project.name).await;
        let (project, _) = self.startable(&project)?;
        let (release, task) = self.declared_task(&project, task)?;
        let run = self.begin_by_hand(actor, project, (release, task))?;
        let row = self.carry_out_task(run, Some(talk)).await?;
        Ok(Reply::TaskRun(Box::new(records::TaskRun::of(&row))))
    }

    fn begin_by_hand(
        &self,
        actor: &Actor,
        project: ProjectRecord,
        (release, task): (ReleaseRecord, Task),
    ) -> Result<TaskRun, Failure> {
        let new = NewTaskRun {
            project: &project.name,
            task: &task.name,
            cause: Cause::Manual.as_str(),
            actor: Some(&actor.name),
            due: None,
            at: clock::now(),
            version: Some(release.version),
            note: "",
        };
        let id = self.context.store.begin_task_run(&new).map_err(|error| match error.is_taken() {
            true => Failure::new(Code::Busy, format!("{} of {} runs already", task.name, project.name))
                .hint(format!("commis task list {} shows since when", project.name)),
            false => Failure::from(error),
        })?;
        let place = self.task_desk.begin(&project.name, &task.name);
        Ok(TaskRun { project, release, task, id, due: None, note: String::new(), place })
    }

    async fn task_log(
        &self,
        actor: &Actor,
        (project, task, run): (&str, &str, Option<u32>),
        talk: &Talk,
    ) -> Result<Reply, Failure> {
        let project = self.project(actor, Action::Read, project)?;
        let row = self.logged_run(&project, task, run)?;
        let path = self.context.project_places(&project.name).task_log(row.id);
        let bytes = tokio::task::block_in_place(|| reading::read_regular(&path, LOG_MAX)).map_err(|error| {
            Failure::new(Code::NotFound, format!("no log of run {} of {}: {error}", row.id, row.task))
        })?;
        // Who does not listen any more has seen enough.
        let _ = talk.out(bytes).await;
        Ok(Reply::Nothing {})
    }

    fn logged_run(&self, project: &ProjectRecord, task: &str, run: Option<u32>) -> Result<TaskRunRecord, Failure> {
        let shown = clean_line(task.as_bytes());
        let store = &self.context.store;
        let rows = match run {
            Some(id) => store.task_run(&project.name, id)?.filter(|row| row.task == task).into_iter().collect(),
            None => store.task_runs(&project.name, Some(task), u32::MAX)?,
        };
        let hint = format!("commis task list {}", project.name);
        let what = match run {
            Some(id) => format!("no run {id} of {shown} is remembered"),
            None => format!("{shown} of {} has not run yet", project.name),
        };
        let mut ran = rows.into_iter().filter(|row| run.is_some() || row.state != TaskState::Skipped);
        ran.next().ok_or_else(|| Failure::new(Code::NotFound, what).hint(hint))
    }

    fn declared_task(&self, project: &ProjectRecord, name: &str) -> Result<(ReleaseRecord, Task), Failure> {
        let absent = || {
            let what = format!("{} has no scheduled task \"{}\"", project.name, clean_line(name.as_bytes()));
            Failure::new(Code::NotFound, what).hint(format!("commis task list {}", project.name))
        };
        let name = TaskName::parse(name).ok_or_else(absent)?;
        let (release, tasks) = self.declared_tasks(project)?.ok_or_else(absent)?;
        let task = tasks.iter().find(|task| task.name == name).cloned().ok_or_else(absent)?;
        Ok((release, task))
    }
}
