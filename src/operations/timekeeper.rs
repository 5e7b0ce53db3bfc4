//! Scheduled tasks are started in their time: looks at every project, asks the room `tasks` what is to be done, and does
//! it. How one of them runs is `task_run`'s.

use super::Platform;
use super::task_run::TaskRun;
use crate::config::{AppJson, ProjectConfig, Task, tasks as declared};
use crate::model::{Code, Failure, ProjectName, TaskName, Time};
use crate::pipeline::project_files::{SMALL_FILE, text};
use crate::store::{NewTaskRun, ProjectRecord, ReleaseRecord, TaskClock, TaskState};
use crate::system::clock;
use crate::tasks::{Act, Cause, Known, Readiness, decide};
use crate::trees::standing;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often the clock is looked at: one that was set is noticed in time.
const GLANCE: Duration = Duration::from_secs(20);
/// Between one look and the next.
const BREATH: Duration = Duration::from_millis(100);
/// What an earlier life left running.
pub(super) const SERVER_GONE: &str = "the server ended while it ran";
const FOR_THE_NEXT: &str = "ended for its next run";

/// A release and what it declares.
pub(super) type Declared = (ReleaseRecord, Arc<Vec<Task>>);

/// Tasks that may be due, with the release that they are of.
struct Live {
    project: ProjectRecord,
    release: ReleaseRecord,
    tasks: Arc<Vec<Task>>,
}

impl Platform {
    /// Keeps time until the server ends.
    pub async fn keep_time(self) {
        let (mut ended, mut turns) = (self.task_desk.changes(), self.desk.changes());
        loop {
            let wake = tokio::task::block_in_place(|| self.look_at_tasks());
            let until =
                wake.map_or(GLANCE, |wake| Duration::from_millis(wake.0.saturating_sub(clock::now().0).max(1) as u64));
            // Much that is deployed at once is one reason to look.
            tokio::time::sleep(BREATH).await;
            tokio::select! {
                () = tokio::time::sleep(until.min(GLANCE)) => {}
                // Something may have been waited for.
                _ = ended.changed() => {}
                _ = turns.changed() => {}
            }
        }
    }

    /// The next moment at which something is due.
    fn look_at_tasks(&self) -> Option<Time> {
        // A server that drains starts nothing.
        let _running = self.tasks.clone().try_read_owned().ok()?;
        let projects = self.context.store.projects().unwrap_or_default();
        let looked = projects.into_iter().filter_map(|project| {
            let name = project.name.clone();
            self.look_at_tasks_of(project).unwrap_or_else(|failure| {
                tracing::warn!(project = %name, "scheduled tasks: {failure}");
                None
            })
        });
        looked.min()
    }

    fn look_at_tasks_of(&self, project: ProjectRecord) -> Result<Option<Time>, Failure> {
        let Some((release, tasks)) = self.declared_tasks(&project)? else { return Ok(None) };
        if tasks.is_empty() || self.task_desk.declared(&project.name, &release).is_none() {
            return Ok(None);
        }
        let (name, now) = (&project.name, clock::now());
        let clocks = self.context.store.task_clocks(name)?;
        let known: Vec<Known<'_>> = tasks
            .iter()
            .map(|task| Known {
                task,
                reckoned: clocks
                    .iter()
                    .find(|clock| clock.task == task.name.as_str())
                    .map_or(now, |clock| clock.reckoned),
                runs: self.task_desk.runs(name, &task.name),
                held: self.task_desk.held(name, &task.name),
            })
            .collect();
        let decision = decide(&known, &self.readiness(&project)?, now);
        let live = Live { release, tasks: tasks.clone(), project };
        for act in decision.acts {
            self.act(&live, act, now)?;
        }
        Ok(decision.wake)
    }

    /// The live release and what it declares; `None` where nothing is live.
    pub(super) fn declared_tasks(&self, project: &ProjectRecord) -> Result<Option<Declared>, Failure> {
        let Some(version) = project.live else { return Ok(None) };
        let Some(release) = self.context.store.release(&project.name, version)? else { return Ok(None) };
        if let Some(tasks) = self.task_desk.declared(&project.name, &release) {
            return Ok(Some((release, tasks)));
        }
        let tasks = Arc::new(read_tasks(&self.context.project_places(&project.name).run())?);
        // Between switch and verdict `run/` is another release's: what was read then is not remembered as this one's.
        if self.in_hand(&project.name)?.is_none() {
            self.settle_clocks(&project.name, &tasks, clock::now())?;
            self.task_desk.remember(&project.name, &release, tasks.clone());
        }
        Ok(Some((release, tasks)))
    }

    /// A clock for every task: a new one, and one with another schedule, counts from now.
    fn settle_clocks(&self, project: &ProjectName, tasks: &[Task], now: Time) -> Result<(), Failure> {
        let store = &self.context.store;
        let clocks = store.task_clocks(project)?;
        for gone in clocks.iter().filter(|clock| tasks.iter().all(|task| task.name.as_str() != clock.task)) {
            store.forget_task_clock(project, &gone.task)?;
        }
        for task in tasks {
            let schedule = format!("{} {}", task.schedule.line(), task.schedule.zone_name());
            if clocks.iter().any(|clock| clock.task == task.name.as_str() && clock.schedule == schedule) {
                continue;
            }
            let fresh = TaskClock { task: task.name.to_string(), schedule, reckoned: now };
            store.set_task_clock(project, &fresh)?;
        }
        Ok(())
    }

    /// Whether tasks of the project may start.
    fn readiness(&self, project: &ProjectRecord) -> Result<Readiness, Failure> {
        if self.recovering.borrow().contains(&project.name) {
            return Ok(Readiness::Soon);
        }
        if project.maintenance {
            return Ok(Readiness::Closed(format!("{} is in maintenance", project.name)));
        }
        let most = self.context.config().tasks.at_once as usize;
        match self.startable(project) {
            Ok(_) => Ok(Readiness::Ready { free: most.saturating_sub(self.task_desk.count(&project.name)) }),
            Err(failure) if failure.code == Code::Busy => Ok(Readiness::Soon),
            Err(failure) if matches!(failure.code, Code::NeedsAdmin | Code::NotFound) => {
                Ok(Readiness::Closed(failure.what))
            }
            Err(failure) => Err(failure),
        }
    }

    fn act(&self, live: &Live, act: Act, now: Time) -> Result<(), Failure> {
        let name = &live.project.name;
        match act {
            Act::Start { task, due, cause, waited } => {
                let note = waited.map(|because| format!("waited: {}", because.words())).unwrap_or_default();
                self.start_due(live, &task, (due, cause), &note)?;
            }
            Act::Skip { task, due, because } => {
                self.task_desk.let_go(name, &task);
                let new = new_run(live, &task, (Some(due), Cause::Schedule), now);
                self.context.store.skip_task_run(&NewTaskRun { note: &because.words(), ..new })?;
                self.forget_old_runs(name, &task);
            }
            Act::Hold { task, held } => self.task_desk.hold(name, &task, held),
            Act::End { task, held } => {
                self.task_desk.hold(name, &task, held);
                self.task_desk.end(name, &task, FOR_THE_NEXT);
            }
            Act::Reckon { task } => {
                let clocks = self.context.store.task_clocks(name)?;
                if let Some(clock) = clocks.into_iter().find(|clock| clock.task == task.as_str()) {
                    self.context.store.set_task_clock(name, &TaskClock { reckoned: now, ..clock })?;
                }
            }
        }
        Ok(())
    }

    fn start_due(&self, live: &Live, name: &TaskName, due: (Time, Cause), note: &str) -> Result<(), Failure> {
        let Some(task) = live.tasks.iter().find(|task| task.name == *name) else { return Ok(()) };
        let new = new_run(live, name, (Some(due.0), due.1), clock::now());
        let id = match self.context.store.begin_task_run(&NewTaskRun { note, ..new }) {
            Ok(id) => id,
            // Somebody started it by hand just now: looked at again when that has ended.
            Err(error) if error.is_taken() => return self.end_forgotten_run(&live.project.name, name),
            Err(error) => return Err(error.into()),
        };
        let place = self.task_desk.begin(&live.project.name, name);
        let run = TaskRun {
            project: live.project.clone(),
            release: live.release.clone(),
            task: task.clone(),
            id,
            due: Some(due.0),
            note: note.to_owned(),
            place,
        };
        let platform = self.clone();
        tokio::spawn(async move { platform.carry_out_task(run, None).await });
        Ok(())
    }
}

/// Its end could not be written, as on a full disk.
const FORGOTTEN: &str = "its end was not noted";
/// A row that is so many milliseconds old and of which nothing runs is such a one.
const OLD: i64 = 60_000;

impl Platform {
    fn end_forgotten_run(&self, project: &ProjectName, task: &TaskName) -> Result<(), Failure> {
        let (now, runs) = (clock::now(), self.task_desk.runs(project, task));
        let newest = self.context.store.task_runs(project, Some(task.as_str()), 10)?;
        let forgotten = newest.iter().find(|row| row.state == TaskState::Running && now.0 - row.started_at.0 > OLD);
        if let Some(row) = forgotten.filter(|_| !runs) {
            self.context.store.end_task_run(project, row.id, (TaskState::Interrupted { at: now }, FORGOTTEN))?;
        }
        Ok(())
    }
}

fn new_run<'a>(live: &'a Live, task: &'a TaskName, (due, cause): (Option<Time>, Cause), at: Time) -> NewTaskRun<'a> {
    NewTaskRun {
        project: &live.project.name,
        task,
        cause: cause.as_str(),
        actor: None,
        due,
        at,
        version: Some(live.release.version),
        note: "",
    }
}

/// What a tree declares, read by descriptors: people may edit it.
fn read_tasks(root: &Path) -> Result<Vec<Task>, Failure> {
    const OWN: &str = ".commis/project.toml";
    const THEIRS: &str = "app.json";
    let read = |name: &str| standing::content(root, Path::new(name), SMALL_FILE as u64);
    let own = match read(OWN)? {
        Some(bytes) => ProjectConfig::parse(&text(OWN, bytes)?, OWN)?.tasks,
        None => Vec::new(),
    };
    let cron = match read(THEIRS)? {
        Some(bytes) => AppJson::parse(&text(THEIRS, bytes)?)?.cron,
        None => Vec::new(),
    };
    declared::all(&cron, &own)
}
