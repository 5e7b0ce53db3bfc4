//! What runs on this server: sets of instances, started, kept, asked and stopped together. A set is one release of one
//! project; which sets there should be is the pipeline's to say. One instance's life is [`super::instance`].

use super::instance::{Instance, Order, SetShared};
use super::logs::{AppLog, WeakLog};
use super::machine::{RestartPolicy, Restarts};
use super::status::{Condition, InstanceStatus, SetStatus};
use crate::model::{ProcessName, ProjectName, ReleaseVersion};
use crate::sandbox::Sandbox;
use crate::system::{GroupLimits, Job, clock};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};

/// One process to keep running.
#[derive(Clone)]
pub struct InstanceSpec {
    pub project: ProjectName,
    pub process: ProcessName,
    pub release: ReleaseVersion,
    /// Another one for each set that is started; makes the names of its cgroups its own.
    pub generation: u32,
    /// What the process was told as `$PORT`, for whoever asks.
    pub port: Option<u16>,
    pub job: Job,
    pub group: GroupLimits,
    /// Where its output goes: the project's application log.
    pub log: PathBuf,
}

impl InstanceSpec {
    /// `blog.v3.17.0-web.1.0`: project, release, generation, place in the set and process, attempt.
    pub(super) fn group_name(&self, position: usize, attempt: u32) -> String {
        let kind = self.process.kind.as_str().to_ascii_lowercase().replace('_', "-");
        let InstanceSpec { project, release, generation, process, .. } = self;
        format!("{project}.{release}.{generation}.{position}-{kind}.{}.{attempt}", process.index)
    }
}

/// The processes of one release of one project, started together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SetId(u64);

/// Cheap to clone; every clone sees the same sets. When the last clone is gone, everything is stopped.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    sandbox: Sandbox,
    policy: RestartPolicy,
    next: AtomicU64,
    sets: Mutex<BTreeMap<SetId, Set>>,
    logs: Mutex<HashMap<PathBuf, WeakLog>>,
}

#[derive(Clone)]
struct Set {
    project: ProjectName,
    processes: Vec<ProcessName>,
    orders: Vec<mpsc::UnboundedSender<Order>>,
    shared: Arc<SetShared>,
}

impl Supervisor {
    pub fn new(sandbox: Sandbox, policy: RestartPolicy) -> Self {
        let inner = Inner { sandbox, policy, next: AtomicU64::new(1), sets: Mutex::default(), logs: Mutex::default() };
        Self(Arc::new(inner))
    }

    /// Starts every instance once; returns when each was started or could not be. With [`Restarts::Never`] what ends
    /// stays down until [`Supervisor::keep`]. How it went stands in [`Supervisor::events`].
    pub async fn start_set(&self, project: &ProjectName, specs: Vec<InstanceSpec>, restarts: Restarts) -> SetId {
        let id = SetId(self.0.next.fetch_add(1, Ordering::Relaxed));
        let (status, mut events) = watch::channel(SetStatus { instances: specs.iter().map(starting).collect() });
        let shared = Arc::new(SetShared { status, recent: Mutex::new(VecDeque::new()) });
        let processes = specs.iter().map(|spec| spec.process.clone()).collect();
        let mut set = Set { project: project.clone(), processes, orders: Vec::new(), shared };
        for (position, spec) in specs.into_iter().enumerate() {
            let (orders, receiver) = mpsc::unbounded_channel();
            set.orders.push(orders);
            let log = self.log(&spec.log);
            let (sandbox, shared) = (self.0.sandbox.clone(), Arc::clone(&set.shared));
            let instance = Instance { sandbox, spec, position, policy: self.0.policy, shared, log };
            tokio::spawn(instance.live(restarts, receiver));
        }
        self.sets().insert(id, set);
        let answered = |status: &SetStatus| status.instances.iter().all(|one| one.condition != Condition::Starting);
        // The sender lives in the set, so this waits for the instances and nothing else.
        let _ = events.wait_for(answered).await;
        id
    }

    /// The set as it is and becomes; the last state of a stopped set stays readable.
    pub fn events(&self, set: SetId) -> watch::Receiver<SetStatus> {
        match self.sets().get(&set) {
            Some(set) => set.shared.status.subscribe(),
            None => watch::channel(SetStatus::default()).1,
        }
    }

    /// Probation is over: from now on what ends is started again, what has ended already too.
    pub fn keep(&self, set: SetId) {
        self.order(set, || Order::Keep);
    }

    /// SIGTERM, the grace, then the end of whole cgroups. Returns when nothing of the set lives; a set that is stopped
    /// or unknown has nothing that lives.
    pub async fn stop_set(&self, set: SetId) {
        let mut events = self.events(set);
        self.order(set, || Order::Stop);
        let stopped = |status: &SetStatus| status.instances.iter().all(|one| one.condition == Condition::Stopped);
        let _ = events.wait_for(stopped).await;
        self.sets().remove(&set);
    }

    /// Stops every set of a project but one.
    pub async fn stop_others(&self, project: &ProjectName, kept: Option<SetId>) {
        let other = |(id, set): &(&SetId, &Set)| set.project == *project && Some(**id) != kept;
        let others: Vec<SetId> = self.sets().iter().filter(other).map(|(id, _)| *id).collect();
        futures_util::future::join_all(others.into_iter().map(|set| self.stop_set(set))).await;
    }

    /// How often instances of a set were started again, together.
    pub fn restarts(&self, set: SetId) -> u32 {
        self.events(set).borrow().instances.iter().map(|instance| instance.restarts).sum()
    }

    /// Stops every set at the same time.
    pub async fn stop_all(&self) {
        let all: Vec<SetId> = self.sets().keys().copied().collect();
        futures_util::future::join_all(all.into_iter().map(|set| self.stop_set(set))).await;
    }

    /// The project's instances, older sets first.
    pub fn status(&self, project: &ProjectName) -> Vec<InstanceStatus> {
        let sets = self.sets();
        let own = sets.values().filter(|set| set.project == *project);
        own.flat_map(|set| set.shared.status.borrow().instances.clone()).collect()
    }

    /// The set's last lines, oldest first: `web.1 | KeyError`.
    pub fn recent_output(&self, set: SetId, lines: usize) -> Vec<String> {
        let Some(set) = self.sets().get(&set).cloned() else { return Vec::new() };
        let recent = set.shared.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().skip(recent.len().saturating_sub(lines)).cloned().collect()
    }

    /// TCP ports on which each instance listens.
    pub async fn listening_ports(&self, set: SetId) -> Vec<(ProcessName, Vec<u16>)> {
        let Some(set) = self.sets().get(&set).cloned() else { return Vec::new() };
        let mut all = Vec::new();
        for (process, orders) in set.processes.iter().zip(&set.orders) {
            let (answer, ports) = oneshot::channel();
            let asked = orders.send(Order::ListeningPorts(answer));
            let ports = if asked.is_ok() { ports.await.unwrap_or_default() } else { Vec::new() };
            all.push((process.clone(), ports));
        }
        all
    }

    fn order(&self, set: SetId, order: impl Fn() -> Order) {
        let orders = self.sets().get(&set).map(|set| set.orders.clone()).unwrap_or_default();
        for instance in orders {
            // An instance that has ended needs no order.
            let _ = instance.send(order());
        }
    }

    /// One writer per file, whoever writes.
    fn log(&self, path: &Path) -> AppLog {
        let mut logs = self.0.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = logs.get(path).and_then(WeakLog::upgrade) {
            return log;
        }
        logs.retain(|_, log| log.upgrade().is_some());
        let log = AppLog::open(path.to_owned());
        logs.insert(path.to_owned(), log.downgrade());
        log
    }

    fn sets(&self) -> MutexGuard<'_, BTreeMap<SetId, Set>> {
        self.0.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn starting(spec: &InstanceSpec) -> InstanceStatus {
    InstanceStatus {
        process: spec.process.clone(),
        release: spec.release,
        condition: Condition::Starting,
        pid: None,
        restarts: 0,
        last_exit: None,
        port: spec.port,
        since: clock::now(),
    }
}
