//! One run of a scheduled task: a process of the live release like any other, its lines in a log of its own, its end in
//! its row. When it starts is `timekeeper`'s; who asked for it by hand is in `tasks`.

use super::task_desk::RunPlace;
use super::{Platform, Talk, Told};
use crate::config::Task as Declared;
use crate::model::{Exit, Failure, ProjectName, TaskName, Time};
use crate::notify::clean_line;
use crate::notify::events::{self, Event};
use crate::pipeline::instances::{self, Running};
use crate::pipeline::launch;
use crate::sandbox::{Cancel, Running as Started, Stream, Task, Whom};
use crate::store::{ProjectRecord, ReleaseRecord, TaskClock, TaskRunRecord, TaskState};
use crate::system::clock;
use crate::tasks::BoundedLog;
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long output is still taken after everything that could write it was killed.
const DRAIN: Duration = Duration::from_secs(1);
const NOBODY_LEFT: &str = "whoever asked for it has left";

/// A run whose row says that it runs.
pub(super) struct TaskRun {
    pub(super) project: ProjectRecord,
    pub(super) release: ReleaseRecord,
    pub(super) task: Declared,
    pub(super) id: u32,
    pub(super) due: Option<Time>,
    /// What its row says already.
    pub(super) note: String,
    pub(super) place: RunPlace,
}

/// How it came to its end.
enum End {
    Exit(Exit),
    /// With why.
    Told(&'static str),
    /// The project was switched just then: nothing of it was run.
    Moved,
}

impl Platform {
    /// Runs it to its end; lines go to the log, and to whoever listens. Returns its row.
    pub(super) async fn carry_out_task(&self, run: TaskRun, listener: Option<&Talk>) -> Result<TaskRunRecord, Failure> {
        let name = run.project.name.clone();
        let path = self.context.project_places(&name).task_log(run.id);
        let log = BoundedLog::create(&path, self.context.config().tasks.log_max);
        let log = log.inspect_err(|error| lost(&name, error)).ok();
        let mut lines = Lines { log, listener, cancel: run.place.cancel.clone() };
        let end = match self.context.sandbox.start(self.task_of(&run)).await {
            Ok(started) => self.follow_task(started, &run, &mut lines).await,
            Err(exit) => End::Exit(exit),
        };
        if let End::Exit(exit @ (Exit::NotStarted(_) | Exit::TimedOut { .. } | Exit::OutOfMemory { .. })) = &end {
            lines.take(Stream::Err, format!("commis: {exit}").as_bytes()).await;
        }
        if let Some(Err(error)) = lines.log.take().map(BoundedLog::finish) {
            lost(&name, &error);
        }
        self.note_task_end(&run, end)?;
        self.forget_old_runs(&name, &run.task.name);
        let row = self.context.store.task_run(&name, run.id)?;
        row.ok_or_else(|| Failure::new(crate::model::Code::Internal, "the row of a run is gone"))
    }

    fn task_of(&self, run: &TaskRun) -> Task {
        let places = self.context.project_places(&run.project.name);
        let running = Running::live(&self.context, (&run.project, &places), &run.release);
        let env = running.environment_of(&format!("{}.1", run.task.name), None);
        Task {
            name: format!("{}.task.{}", run.project.name, run.id),
            job: running.job(&self.context, launch::argv(&run.task.run, running.profile()), env),
            group: instances::limits(&self.context),
            deadline: None,
        }
    }

    async fn follow_task(&self, mut started: Started, run: &TaskRun, lines: &mut Lines<'_>) -> End {
        // Looked at again once it has its view, as for one-off commands.
        if !self.startable(&run.project).is_ok_and(|(now, _)| now.live == Some(run.release.version)) {
            started.finish().await;
            return End::Moved;
        }
        let config = self.context.config();
        let timeout = run.task.timeout.unwrap_or(config.tasks.timeout);
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        let mut output = started.take_output();
        let listener = lines.listener.map(|talk| talk.0.clone());
        let end = loop {
            tokio::select! {
                Some((stream, line)) = output.recv() => tokio::select! {
                    () = lines.take(stream, &line) => {}
                    () = &mut deadline => break End::Exit(Exit::TimedOut { after: timeout.as_secs() }),
                },
                exit = started.wait() => break End::Exit(exit),
                () = &mut deadline => break End::Exit(Exit::TimedOut { after: timeout.as_secs() }),
                () = run.place.cancel.cancelled() => break End::Told(run.place.why().unwrap_or("ended")),
                () = closed(&listener) => break End::Told(NOBODY_LEFT),
            }
        };
        if !matches!(end, End::Exit(Exit::Code(_) | Exit::Signal(_) | Exit::OutOfMemory { .. })) {
            started.signal(Signal::SIGTERM, Whom::Everyone);
            // Its exit is not what is told.
            let _ = tokio::time::timeout(config.apps.stop_grace, started.wait()).await;
        }
        started.kill_all();
        while let Ok(Some((stream, line))) = tokio::time::timeout(DRAIN, output.recv()).await {
            lines.take(stream, &line).await;
        }
        started.finish().await;
        end
    }

    fn note_task_end(&self, run: &TaskRun, end: End) -> Result<(), Failure> {
        let (name, at) = (&run.project.name, clock::now());
        let (state, what) = match &end {
            End::Exit(exit) => (TaskState::Ended { at, exit: exit.status() }, exit.to_string()),
            End::Told(why) => (TaskState::Interrupted { at }, (*why).to_owned()),
            End::Moved => (TaskState::Interrupted { at }, "a deployment came between; it starts again".to_owned()),
        };
        let note = [run.note.as_str(), what.as_str()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        self.context.store.end_task_run(name, run.id, (state, &note.join("; ")))?;
        match end {
            End::Exit(exit) if !exit.is_success() => events::raise(&Event::TaskFailed {
                project: name.clone(),
                task: run.task.name.to_string(),
                run: run.id,
                what,
            }),
            End::Moved => self.due_again(name, run)?,
            End::Exit(_) | End::Told(_) => {}
        }
        Ok(())
    }

    fn due_again(&self, project: &ProjectName, run: &TaskRun) -> Result<(), Failure> {
        let Some(due) = run.due else { return Ok(()) };
        let clocks = self.context.store.task_clocks(project)?;
        if let Some(clock) = clocks.into_iter().find(|clock| clock.task == run.task.name.as_str()) {
            self.context.store.set_task_clock(project, &TaskClock { reckoned: Time(due.0 - 1), ..clock })?;
        }
        Ok(())
    }

    /// So many runs of each task are remembered, with their logs.
    pub(super) fn forget_old_runs(&self, project: &ProjectName, task: &TaskName) {
        let keep = self.context.config().tasks.keep;
        let gone = self.context.store.prune_task_runs(project, task.as_str(), keep).unwrap_or_default();
        let places = self.context.project_places(project);
        for id in gone {
            // What was left out has none.
            let _ = std::fs::remove_file(places.task_log(id));
        }
    }
}

/// Where the lines of a run go.
struct Lines<'a> {
    log: Option<BoundedLog>,
    listener: Option<&'a Talk>,
    /// Once told to end, nothing waits for whoever reads slowly.
    cancel: Cancel,
}

impl Lines<'_> {
    async fn take(&mut self, stream: Stream, raw: &[u8]) {
        let line = clean_line(raw);
        // A full disk does not stop a task.
        let _ = self.log.as_mut().map(|log| log.line(&line));
        if let Some(talk) = self.listener {
            let bytes = format!("{line}\n").into_bytes();
            let told = match stream {
                Stream::Out => Told::Out(bytes),
                Stream::Err => Told::Err(bytes),
            };
            tokio::select! {
                // Who has left is noticed elsewhere.
                _ = talk.0.send(told) => {}
                () = self.cancel.cancelled() => {}
            }
        }
    }
}

async fn closed(listener: &Option<mpsc::Sender<Told>>) {
    match listener {
        Some(listener) => listener.closed().await,
        None => std::future::pending().await,
    }
}

fn lost(project: &ProjectName, error: &std::io::Error) {
    tracing::warn!(%project, %error, "the log of a scheduled task cannot be written");
}
