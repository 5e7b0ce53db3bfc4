//! One instance, kept by its shim: hands what happens to [`super::machine`] and does what it says.
//! Nothing is decided here. Who hears of it is `super::reporting`'s.

use super::logs::AppLog;
use super::machine::{self, Action, ProcessEvent, ProcessState, Restarts, Rules};
use super::reporting::Reports;
use super::status::Condition;
use super::wire::{Charge, Ended, Report};
use super::words;
use crate::model::Exit;
use crate::sandbox::{Running, Sandbox, Stream, Task, Whom};
use crate::system::clock;
use nix::sys::signal::Signal;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long output is taken after the end of everything that could write it.
const DRAIN: Duration = Duration::from_secs(1);

/// What is asked of an instance.
pub enum Order {
    Keep,
    Stop,
    ListeningPorts(oneshot::Sender<Vec<u16>>),
}

pub struct Instance {
    pub sandbox: Sandbox,
    pub charge: Charge,
    pub reports: Reports,
    pub log: AppLog,
    /// Where servers look for its shim.
    pub socket: Option<PathBuf>,
}

/// The moving parts of an instance's life.
struct Life {
    instance: Instance,
    began: Instant,
    alarm: Option<Duration>,
    starts: u32,
    report: Report,
    process: Option<(Running, JoinHandle<()>)>,
    /// What the process sees.
    namespace: Option<File>,
}

impl Instance {
    /// Lives until it is stopped; nothing of it is left then.
    pub async fn live(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let before = self.charge.before;
        let report = self.reports.now();
        let mut life = Life {
            instance: self,
            began: Instant::now(),
            alarm: None,
            starts: before.starts,
            report,
            process: None,
            namespace: None,
        };
        let (mut state, mut actions) = machine::begin(before.failures);
        while state != ProcessState::Stopped {
            let event = match life.perform(actions).await {
                Some(event) => event,
                None => life.next_event(&mut orders).await,
            };
            let rules = Rules { policy: life.instance.charge.policy, restarts: life.instance.charge.restarts };
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
        let Charge { identity, job, group, .. } = &self.instance.charge;
        let name = format!("{}{}", identity.group_prefix(), self.starts);
        self.starts = self.starts.saturating_add(1);
        self.report.started = clock::now().0;
        let task = Task { name, job: job.clone(), group: *group, deadline: None };
        match self.instance.sandbox.start(task).await {
            Ok(mut running) => {
                let output = running.take_output();
                let (process, reports) = (identity.process.clone(), self.instance.reports.clone());
                let heard = tokio::spawn(hear(output, process, (reports, self.instance.log.clone())));
                // One that has ended by now is looked at by its log alone.
                self.namespace = File::open(format!("/proc/{}/ns/mnt", running.pid)).ok();
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
        if self.process.is_none() && self.is_out_of_sight() {
            return ProcessEvent::StopAsked;
        }
        loop {
            let alarm = self.alarm.map(|at| self.began + at);
            tokio::select! {
                exit = ended(&mut self.process) => return self.bury(exit).await,
                order = orders.recv() => match order {
                    Some(Order::Keep) => {
                        self.instance.charge.restarts = Restarts::BackOff;
                        self.report.kept = true;
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

    /// No server will find it again: then nothing is started any more.
    fn is_out_of_sight(&self) -> bool {
        self.instance.socket.as_ref().is_some_and(|socket| socket.symlink_metadata().is_err())
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
        self.keep_crashed(&exit);
        ProcessEvent::Exited(exit)
    }

    /// Whoever wants to know why it ended finds what it saw.
    fn keep_crashed(&mut self, exit: &Exit) {
        let Some(namespace) = self.namespace.take().filter(|_| self.report.condition != Condition::Stopping) else {
            return;
        };
        let Charge { job, policy, .. } = &self.instance.charge;
        let environment = job.env.iter().map(|(name, _)| name.clone()).collect();
        let ended = (clock::now(), Ended::from(exit.clone()));
        self.instance.reports.keep(ended, environment, (namespace, policy.keep_crashed));
    }

    /// Told to others together with the condition that follows from it.
    async fn note(&mut self, exit: Exit) {
        let said = format!("commis: {exit}");
        let process = &self.instance.charge.identity.process;
        self.instance.log.write(words::log_line(&clock::rfc3339(clock::now()), process, &said)).await;
        self.report.last_exit = Some(Ended::from(exit));
    }

    fn publish(&mut self, state: ProcessState, event: &ProcessEvent) {
        let condition = match state {
            ProcessState::Starting { .. } => Condition::Starting,
            ProcessState::Running { .. } => Condition::Running,
            ProcessState::Down { .. } => Condition::Exited,
            ProcessState::BackingOff { .. } => Condition::BackingOff,
            ProcessState::Stopping { .. } => Condition::Stopping,
            ProcessState::Stopped => Condition::Stopped,
        };
        let report = &mut self.report;
        if report.condition != condition || *event == ProcessEvent::Started {
            report.condition = condition;
            report.since = clock::now().0;
        }
        report.pid = self.process.as_ref().map(|(running, _)| running.pid);
        (report.starts, report.failures) = (self.starts, state.failures());
        self.instance.reports.tell(report.clone());
    }
}

async fn ended(process: &mut Option<(Running, JoinHandle<()>)>) -> Exit {
    match process {
        Some((running, _)) => running.wait().await,
        None => std::future::pending().await,
    }
}

/// Takes the output of one process to the log and to the memory for failure messages.
async fn hear(mut output: mpsc::Receiver<(Stream, Vec<u8>)>, process: String, (reports, log): (Reports, AppLog)) {
    while let Some((_, line)) = output.recv().await {
        let (text, now) = (words::visible(&line), clock::now());
        reports.remember(now, &text);
        log.write(words::log_line(&clock::rfc3339(now), &process, &text)).await;
    }
}
