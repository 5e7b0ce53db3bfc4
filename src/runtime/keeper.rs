//! The server's side of one instance: sees to it that it has a shim, as the shim sees to it that it has a process, by the
//! same machine. What the instance itself does is the shim's report, passed on.

use super::link::{Link, Question, Starter};
use super::machine::{self, Action, ProcessEvent, ProcessState, RestartPolicy, Restarts, Rules};
use super::status::{Condition, SetStatus};
use super::supervisor::InstanceSpec;
use super::wire::{Asked, Before, Charge, Crash, Ended, Identity, Line, Report};
use crate::model::{Exit, ProcessName, ReleaseVersion};
use crate::system::clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// What a shim may need beyond the grace of its instance before it is killed itself.
const SHIM_GRACE: Duration = Duration::from_secs(10);

/// What the supervisor asks of an instance.
pub enum Order {
    Keep,
    Stop,
    /// How to start it, should its shim be lost: of one that was found, nobody here knows.
    Furnish(Box<InstanceSpec>),
    Ports(oneshot::Sender<Vec<u16>>),
    Recent(usize, oneshot::Sender<Vec<Line>>),
    Crashed(oneshot::Sender<Option<Crash>>),
}

pub struct Keeper {
    pub starter: Starter,
    pub identity: Identity,
    pub process: ProcessName,
    pub release: ReleaseVersion,
    pub spec: Option<InstanceSpec>,
    pub policy: RestartPolicy,
    pub restarts: Restarts,
    pub status: Arc<watch::Sender<SetStatus>>,
}

struct Keeping {
    keeper: Keeper,
    began: Instant,
    alarm: Option<Duration>,
    link: Option<Link>,
    report: Report,
}

impl Keeper {
    /// Keeps an instance until it is stopped; `found`: its shim, when it has one already.
    pub async fn keep(self, found: Option<Link>, mut orders: mpsc::UnboundedReceiver<Order>) {
        let report = match &found {
            Some(link) => link.first.clone(),
            None => Report::starting(clock::now(), self.restarts),
        };
        let (mut state, mut actions) = match &found {
            Some(link) => (ProcessState::Running { since: Duration::ZERO, failures: link.first.failures }, Vec::new()),
            None => machine::begin(0),
        };
        let mut keeping = Keeping { keeper: self, began: Instant::now(), alarm: None, link: found, report };
        keeping.publish(state);
        while state != ProcessState::Stopped {
            let event = match keeping.perform(actions).await {
                Some(event) => event,
                None => match keeping.next_event(state, &mut orders).await {
                    Some(event) => event,
                    // Nobody can order any more: the server ends, and the instance goes on.
                    None => return,
                },
            };
            (state, actions) = machine::step(keeping.rules(), state, &event, keeping.began.elapsed());
            keeping.publish(state);
        }
        keeping.keeper.starter.clear(&keeping.keeper.identity).await;
    }
}

impl Keeping {
    fn rules(&self) -> Rules {
        let policy = self.keeper.policy;
        // Of what cannot be started here nothing is tried again.
        let restarts = if self.keeper.spec.is_some() { self.keeper.restarts } else { Restarts::Never };
        Rules { policy: RestartPolicy { stop_grace: policy.stop_grace + SHIM_GRACE, ..policy }, restarts }
    }

    async fn perform(&mut self, actions: Vec<Action>) -> Option<ProcessEvent> {
        let mut event = None;
        for action in actions {
            match (action, &mut self.link) {
                (Action::Start, _) => event = Some(self.start().await),
                (Action::Terminate, Some(link)) => link.order(Asked::Stop).await,
                (Action::KillGroup, Some(link)) => link.kill(),
                (Action::Terminate | Action::KillGroup, None) => {}
                (Action::Schedule(at), _) => self.alarm = Some(at),
            }
        }
        event
    }

    async fn start(&mut self) -> ProcessEvent {
        let Some(charge) = self.charge() else { return ProcessEvent::StartFailed };
        // Of a shim before, something may still run.
        self.keeper.starter.clear(&self.keeper.identity).await;
        match self.keeper.starter.start(&charge).await {
            Ok(link) => {
                self.report = link.first.clone();
                self.link = Some(link);
                ProcessEvent::Started
            }
            Err(exit) => {
                self.lost(exit);
                ProcessEvent::StartFailed
            }
        }
    }

    fn charge(&self) -> Option<Charge> {
        let Keeper { starter, identity, policy, restarts, .. } = &self.keeper;
        let InstanceSpec { job, group, log, .. } = self.keeper.spec.clone()?;
        let before = Before { starts: self.report.starts, failures: self.report.failures };
        let (identity, cgroups) = (identity.clone(), starter.cgroups.clone());
        Some(Charge { identity, job, group, cgroups, log, policy: *policy, restarts: *restarts, before })
    }

    async fn next_event(
        &mut self,
        state: ProcessState,
        orders: &mut mpsc::UnboundedReceiver<Order>,
    ) -> Option<ProcessEvent> {
        loop {
            let alarm = self.alarm.map(|at| self.began + at);
            tokio::select! {
                report = heard(&mut self.link) => match report {
                    Some(report) => {
                        self.report = report;
                        self.publish(state);
                    }
                    None => return Some(self.bury().await),
                },
                order = orders.recv() => {
                    if let Some(event) = self.obey(order?).await {
                        return Some(event);
                    }
                },
                () = tokio::time::sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => {
                    self.alarm = None;
                    return Some(ProcessEvent::Tick);
                }
            }
        }
    }

    async fn obey(&mut self, order: Order) -> Option<ProcessEvent> {
        match order {
            Order::Stop => Some(ProcessEvent::StopAsked),
            Order::Keep => {
                self.keeper.restarts = Restarts::BackOff;
                self.report.kept = true;
                if let Some(link) = &mut self.link {
                    link.order(Asked::Keep).await;
                }
                Some(ProcessEvent::Kept)
            }
            Order::Furnish(spec) => {
                self.keeper.spec = Some(*spec);
                // One that was lost meanwhile is started now, if it is to be kept.
                (self.keeper.restarts == Restarts::BackOff).then_some(ProcessEvent::Kept)
            }
            Order::Ports(answer) => self.ask(Question::Ports(answer)).await,
            Order::Recent(lines, answer) => self.ask(Question::Recent(lines, answer)).await,
            Order::Crashed(answer) => self.ask(Question::Crashed(answer)).await,
        }
    }

    /// Without a shim there is no answer, which is one.
    async fn ask(&mut self, question: Question) -> Option<ProcessEvent> {
        if let Some(link) = &mut self.link {
            link.ask(question).await;
        }
        None
    }

    /// The shim is gone; of its instance nothing may go on without one.
    async fn bury(&mut self) -> ProcessEvent {
        let exit = Exit::Signal(nix::libc::SIGKILL);
        if let Some(link) = self.link.take() {
            link.bury().await;
        }
        self.keeper.starter.clear(&self.keeper.identity).await;
        if self.report.condition != Condition::Stopped {
            self.lost(exit.clone());
        }
        ProcessEvent::Exited(exit)
    }

    fn lost(&mut self, exit: Exit) {
        self.report.pid = None;
        self.report.failures = self.report.failures.saturating_add(1);
        self.report.last_exit = Some(Ended::from(exit));
    }

    /// While there is a shim its word counts.
    fn publish(&mut self, state: ProcessState) {
        let condition = match (state, self.report.condition) {
            (ProcessState::Running { .. }, said) => said,
            (ProcessState::Starting { .. }, _) => Condition::Starting,
            (ProcessState::Down { .. }, _) => Condition::Exited,
            (ProcessState::BackingOff { .. }, _) => Condition::BackingOff,
            (ProcessState::Stopping { .. }, _) => Condition::Stopping,
            (ProcessState::Stopped, _) => Condition::Stopped,
        };
        if self.report.condition != condition {
            self.report.condition = condition;
            self.report.since = clock::now().0;
        }
        let Keeper { identity, process, release, .. } = &self.keeper;
        let status = self.report.clone().status(process.clone(), *release, identity.port);
        self.keeper.status.send_modify(|set| match set.instances.iter_mut().find(|one| one.process == *process) {
            Some(instance) => *instance = status,
            None => set.instances.push(status),
        });
    }
}

async fn heard(link: &mut Option<Link>) -> Option<Report> {
    match link {
        Some(link) => link.report().await,
        None => std::future::pending().await,
    }
}
