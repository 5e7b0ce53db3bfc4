//! One instance, kept by a task of its own: hands what happens to [`super::machine`] and does what it says.
//! Nothing is decided here.

use super::logs::AppLog;
use super::machine::{self, Action, ProcessEvent, ProcessState, RestartPolicy, Restarts, Rules};
use super::status::{Condition, SetStatus};
use super::supervisor::InstanceSpec;
use super::words;
use crate::model::{Exit, ProcessName};
use crate::sandbox::{Running, Sandbox, Stream, Task, Whom};
use crate::system::clock;
use nix::sys::signal::Signal;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Lines of a set that are kept for failure messages.
const RECENT: usize = 500;
/// How long output is taken after the end of everything that could write it.
const DRAIN: Duration = Duration::from_secs(1);

/// What the supervisor asks of an instance. When nobody can ask any more, it stops.
pub enum Order {
    Keep,
    Stop,
    ListeningPorts(oneshot::Sender<Vec<u16>>),
}

/// What the instances of one set share.
pub struct SetShared {
    pub status: watch::Sender<SetStatus>,
    pub recent: Mutex<VecDeque<String>>,
}

pub struct Instance {
    pub sandbox: Sandbox,
    pub spec: InstanceSpec,
    /// Its place in the set.
    pub position: usize,
    pub policy: RestartPolicy,
    pub shared: Arc<SetShared>,
    pub log: AppLog,
}

/// The moving parts of an instance's life.
struct Life {
    instance: Instance,
    restarts: Restarts,
    began: Instant,
    alarm: Option<Duration>,
    attempt: u32,
    process: Option<(Running, JoinHandle<()>)>,
}

impl Instance {
    /// Lives until it is stopped; nothing of it is left then.
    pub async fn live(self, restarts: Restarts, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut life = Life { instance: self, restarts, began: Instant::now(), alarm: None, attempt: 0, process: None };
        let (mut state, mut actions) = machine::begin();
        while state != ProcessState::Stopped {
            let event = match life.perform(actions).await {
                Some(event) => event,
                None => life.next_event(&mut orders).await,
            };
            let rules = Rules { policy: life.instance.policy, restarts: life.restarts };
            (state, actions) = machine::step(rules, state, &event, life.began.elapsed());
            if state == ProcessState::Stopped {
                life.instance.log.flush().await;
            }
            life.publish(state, &event);
        }
    }
}

impl Life {
    /// Carries out what the machine wants; a start gives the next event.
    async fn perform(&mut self, actions: Vec<Action>) -> Option<ProcessEvent> {
        let mut event = None;
        for action in actions {
            match (action, &self.process) {
                (Action::Start, _) => event = Some(self.start().await),
                (Action::Terminate, Some((running, _))) => running.signal(Signal::SIGTERM, Whom::Everyone),
                (Action::KillGroup, Some((running, _))) => running.kill_all(),
                (Action::Terminate | Action::KillGroup, None) => {}
                (Action::Schedule(at), _) => self.alarm = Some(at),
            }
        }
        event
    }

    async fn start(&mut self) -> ProcessEvent {
        let spec = &self.instance.spec;
        let name = spec.group_name(self.instance.position, self.attempt);
        self.attempt = self.attempt.saturating_add(1);
        let task = Task { name, job: spec.job.clone(), group: spec.group, deadline: None };
        match self.instance.sandbox.start(task).await {
            Ok(mut running) => {
                let listener = Listener {
                    process: spec.process.clone(),
                    shared: Arc::clone(&self.instance.shared),
                    log: self.instance.log.clone(),
                };
                let heard = tokio::spawn(listener.hear(running.take_output()));
                self.process = Some((running, heard));
                ProcessEvent::Started
            }
            Err(exit) => {
                self.note(exit).await;
                ProcessEvent::StartFailed
            }
        }
    }

    async fn next_event(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> ProcessEvent {
        loop {
            let alarm = self.alarm.map(|at| self.began + at);
            tokio::select! {
                exit = ended(&mut self.process) => return self.bury(exit).await,
                order = orders.recv() => match order {
                    Some(Order::Keep) => {
                        self.restarts = Restarts::BackOff;
                        return ProcessEvent::Kept;
                    }
                    Some(Order::Stop) | None => return ProcessEvent::StopAsked,
                    Some(Order::ListeningPorts(answer)) => {
                        let ports = self.process.as_ref().map(|(running, _)| running.listening_ports());
                        let _ = answer.send(ports.unwrap_or_default());
                    }
                },
                () = tokio::time::sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => {
                    self.alarm = None;
                    return ProcessEvent::Tick;
                }
            }
        }
    }

    /// The main process has ended: so does everything else of it, and its last words are taken.
    async fn bury(&mut self, exit: Exit) -> ProcessEvent {
        if let Some((running, mut heard)) = self.process.take() {
            running.finish().await;
            if tokio::time::timeout(DRAIN, &mut heard).await.is_err() {
                heard.abort();
            }
        }
        self.note(exit.clone()).await;
        ProcessEvent::Exited(exit)
    }

    async fn note(&self, exit: Exit) {
        let line =
            words::log_line(&clock::rfc3339(clock::now()), &self.instance.spec.process, &format!("commis: {exit}"));
        self.instance.log.write(line).await;
        let position = self.instance.position;
        self.instance.shared.status.send_if_modified(|status| {
            // Shown to others together with the new condition.
            if let Some(instance) = status.instances.get_mut(position) {
                instance.last_exit = Some(exit);
            }
            false
        });
    }

    fn publish(&self, state: ProcessState, event: &ProcessEvent) {
        let condition = match state {
            ProcessState::Starting { .. } => Condition::Starting,
            ProcessState::Running { .. } => Condition::Running,
            ProcessState::Down { .. } => Condition::Exited,
            ProcessState::BackingOff { .. } => Condition::BackingOff,
            ProcessState::Stopping { .. } => Condition::Stopping,
            ProcessState::Stopped => Condition::Stopped,
        };
        self.instance.shared.status.send_modify(|status| {
            let Some(instance) = status.instances.get_mut(self.instance.position) else { return };
            if instance.condition != condition || *event == ProcessEvent::Started {
                instance.condition = condition;
                instance.since = clock::now();
            }
            instance.pid = self.process.as_ref().map(|(running, _)| running.pid);
            instance.restarts = self.attempt.saturating_sub(1);
        });
    }
}

async fn ended(process: &mut Option<(Running, JoinHandle<()>)>) -> Exit {
    match process {
        Some((running, _)) => running.wait().await,
        None => std::future::pending().await,
    }
}

/// Takes the output of one process to the log and to the set's memory.
struct Listener {
    process: ProcessName,
    shared: Arc<SetShared>,
    log: AppLog,
}

impl Listener {
    async fn hear(self, mut output: mpsc::Receiver<(Stream, Vec<u8>)>) {
        while let Some((_, line)) = output.recv().await {
            let text = words::visible(&line);
            self.remember(&text);
            self.log.write(words::log_line(&clock::rfc3339(clock::now()), &self.process, &text)).await;
        }
    }

    fn remember(&self, text: &str) {
        let mut recent = self.shared.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT {
            recent.pop_front();
        }
        recent.push_back(format!("{} | {text}", self.process));
    }
}
