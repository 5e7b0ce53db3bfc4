//! What runs on this server: sets of instances, started, kept, asked and stopped together. A set is one release of one
//! project; which sets there should be is the pipeline's to say. One instance is `super::keeper`'s.

use super::keeper::{Keeper, Order};
use super::link::{self, Link, Starter};
use super::machine::{RestartPolicy, Restarts};
use super::status::{Condition, InstanceStatus, SetStatus};
use super::wire::{self, Crash, Identity, Line, Report};
use crate::model::{ProcessName, ProjectName, ReleaseVersion, Time};
use crate::sandbox::Sandbox;
use crate::system::{GroupLimits, Job, clock};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};

/// One process to keep running.
#[derive(Clone)]
pub struct InstanceSpec {
    pub process: ProcessName,
    /// What the process was told as `$PORT`, for whoever asks.
    pub port: Option<u16>,
    pub job: Job,
    pub group: GroupLimits,
    /// Where its output goes: the project's application log.
    pub log: PathBuf,
}

/// The processes of one release of one project, started together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SetId(u64);

/// Cheap to clone; every clone sees the same sets. When the last clone is gone, instances go on, and are found by the next
/// supervisor of the same directory.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    starter: Starter,
    policy: RestartPolicy,
    next: AtomicU64,
    sets: Mutex<BTreeMap<SetId, Set>>,
    /// Cgroups of an earlier life that are still to be ended.
    strays: Mutex<Vec<String>>,
}

#[derive(Clone)]
struct Set {
    project: ProjectName,
    release: ReleaseVersion,
    members: Vec<Member>,
    status: Arc<watch::Sender<SetStatus>>,
}

#[derive(Clone)]
struct Member {
    process: ProcessName,
    position: usize,
    orders: mpsc::UnboundedSender<Order>,
}

impl Supervisor {
    /// `directory` is root's alone, and is there: sockets of instances are made in it.
    pub fn new(sandbox: &Sandbox, policy: RestartPolicy, directory: PathBuf) -> Self {
        let (program, cgroups) = (sandbox.program().to_owned(), sandbox.cgroups().clone());
        let starter = Starter { program, directory, cgroups };
        Self(Arc::new(Inner {
            starter,
            policy,
            next: AtomicU64::new(1),
            sets: Mutex::default(),
            strays: Mutex::default(),
        }))
    }

    /// Takes over what an earlier life of this server left running. To be called once, before anything is started.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn take_over(&self) -> io::Result<()> {
        let found = self.0.starter.find().await?;
        let groups = self.0.starter.cgroups.leftovers();
        let used = found.iter().map(|link| link.identity.set).chain(groups.iter().filter_map(|name| set_in(name)));
        self.0.next.store(used.max().unwrap_or(0) + 1, Ordering::Relaxed);
        let prefixes: Vec<String> = found.iter().map(|link| link.identity.group_prefix()).collect();
        let is_stray = |name: &String| !prefixes.iter().any(|prefix| name.starts_with(prefix));
        let strays = groups.into_iter().filter(is_stray).collect();
        *self.0.strays.lock().unwrap_or_else(PoisonError::into_inner) = strays;
        found.into_iter().for_each(|link| self.take_in(link));
        Ok(())
    }

    /// Ends what an earlier life left running and nobody looks after: hooks and builds, instances whose shims are gone.
    pub async fn end_strays(&self) {
        let strays = std::mem::take(&mut *self.0.strays.lock().unwrap_or_else(PoisonError::into_inner));
        let cgroups = &self.0.starter.cgroups;
        futures_util::future::join_all(strays.iter().map(|name| link::end(cgroups.group(name)))).await;
    }

    /// A shim that was found becomes a member of its set. One of no project that could be is stopped.
    fn take_in(&self, link: Link) {
        let identity = link.identity.clone();
        let Some((project, process, release)) = wire::known(&identity) else {
            link.kill();
            return;
        };
        let restarts = if link.first.kept { Restarts::BackOff } else { Restarts::Never };
        let id = SetId(identity.set);
        let mut sets = self.sets();
        let set = sets.entry(id).or_insert_with(|| Set::new(project, release));
        let member = self.keep(set, (identity, process, None), restarts, Some(link));
        set.members.push(member);
    }

    /// Starts every instance once; returns when each was started or could not be. With [`Restarts::Never`] what ends
    /// stays down until [`Supervisor::keep_running`]. How it went stands in [`Supervisor::events`].
    pub async fn start_set(
        &self,
        (project, release): (&ProjectName, ReleaseVersion),
        specs: Vec<InstanceSpec>,
        restarts: Restarts,
    ) -> SetId {
        let id = SetId(self.0.next.fetch_add(1, Ordering::Relaxed));
        self.sets().insert(id, Set::new(project.clone(), release));
        self.add(id, specs, restarts).await;
        id
    }

    /// Starts more instances in a set; returns when each was started or could not be.
    pub async fn add(&self, id: SetId, specs: Vec<InstanceSpec>, restarts: Restarts) {
        let mut events = {
            let mut sets = self.sets();
            let Some(set) = sets.get_mut(&id) else { return };
            for spec in specs {
                let position = set.members.iter().map(|member| member.position + 1).max().unwrap_or(0);
                let identity = Identity {
                    project: set.project.to_string(),
                    process: spec.process.to_string(),
                    release: set.release.0,
                    set: id.0,
                    position,
                    port: spec.port,
                };
                let process = spec.process.clone();
                let member = self.keep(set, (identity, process, Some(spec)), restarts, None);
                set.members.push(member);
            }
            set.status.subscribe()
        };
        let answered = |status: &SetStatus| status.instances.iter().all(|one| one.condition != Condition::Starting);
        // The sender lives in the set, so this waits for the instances and nothing else.
        let _ = events.wait_for(answered).await;
    }

    fn keep(
        &self,
        set: &Set,
        (identity, process, spec): (Identity, ProcessName, Option<InstanceSpec>),
        restarts: Restarts,
        found: Option<Link>,
    ) -> Member {
        let (orders, receiver) = mpsc::unbounded_channel();
        let (position, port) = (identity.position, identity.port);
        let first = found.as_ref().map_or_else(|| Report::starting(clock::now(), restarts), |link| link.first.clone());
        set.status.send_modify(|status| status.instances.push(first.status(process.clone(), set.release, port)));
        let keeper = Keeper {
            starter: self.0.starter.clone(),
            identity,
            process: process.clone(),
            release: set.release,
            spec,
            policy: self.0.policy,
            restarts,
            status: Arc::clone(&set.status),
        };
        tokio::spawn(keeper.keep(found, receiver));
        Member { process, position, orders }
    }

    /// The newest set of a release that is kept running and was not started again since `since`: what a server that was
    /// itself started again goes on with.
    pub fn kept_set(&self, project: &ProjectName, release: ReleaseVersion, since: Option<Time>) -> Option<SetId> {
        let fits = |instance: &InstanceStatus| {
            let ends = matches!(instance.condition, Condition::Stopping | Condition::Stopped | Condition::Exited);
            instance.kept && !ends && since.is_none_or(|since| instance.started < since)
        };
        let sets = self.sets();
        let of_release = sets.iter().rev().filter(|(_, set)| set.project == *project && set.release == release);
        let mut kept = of_release.filter(|(_, set)| set.status.borrow().instances.iter().all(fits));
        kept.next().map(|(id, _)| *id)
    }

    /// Makes a set what it should be: says how each of its instances would be started again, starts those that are
    /// missing, and stops those that are too many.
    pub async fn furnish(&self, id: SetId, specs: Vec<InstanceSpec>) {
        let mut missing = Vec::new();
        let mut wanted = Vec::new();
        for spec in specs {
            wanted.push(spec.process.clone());
            match self.member(id, &spec.process) {
                // One that was found and has ended by now takes no order.
                Some(member) => drop(member.orders.send(Order::Furnish(Box::new(spec)))),
                None => missing.push(spec),
            }
        }
        self.add(id, missing, Restarts::BackOff).await;
        self.retain(id, &wanted).await;
    }

    /// Stops the members of a set that are not among these.
    pub async fn retain(&self, id: SetId, wanted: &[ProcessName]) {
        let (mut events, extra) = {
            let mut sets = self.sets();
            let Some(set) = sets.get_mut(&id) else { return };
            let extra: Vec<Member> = set.members.extract_if(.., |member| !wanted.contains(&member.process)).collect();
            (set.status.subscribe(), extra)
        };
        for member in &extra {
            let _ = member.orders.send(Order::Stop);
        }
        let is_extra = |one: &InstanceStatus| extra.iter().any(|member| member.process == one.process);
        let gone = |status: &SetStatus| {
            status.instances.iter().filter(|one| is_extra(one)).all(|one| one.condition == Condition::Stopped)
        };
        let _ = events.wait_for(gone).await;
        if let Some(set) = self.sets().get(&id) {
            set.status.send_modify(|status| status.instances.retain(|one| !is_extra(one)));
        }
    }

    /// The set as it is and becomes; the last state of a stopped set stays readable.
    pub fn events(&self, set: SetId) -> watch::Receiver<SetStatus> {
        match self.sets().get(&set) {
            Some(set) => set.status.subscribe(),
            None => watch::channel(SetStatus::default()).1,
        }
    }

    /// Probation is over: from now on what ends is started again, what has ended already too.
    pub fn keep_running(&self, set: SetId) {
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

    /// Sets of a project, older ones first.
    pub fn sets_of(&self, project: &ProjectName) -> Vec<SetId> {
        self.sets().iter().filter(|(_, set)| set.project == *project).map(|(id, _)| *id).collect()
    }

    /// Projects of which something runs.
    pub fn projects(&self) -> Vec<ProjectName> {
        let mut names: Vec<ProjectName> = self.sets().values().map(|set| set.project.clone()).collect();
        names.sort();
        names.dedup();
        names
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
        own.flat_map(|set| set.status.borrow().instances.clone()).collect()
    }

    /// The set's last lines, oldest first: `web.1 | KeyError`.
    pub async fn recent_output(&self, set: SetId, lines: usize) -> Vec<String> {
        let mut all: Vec<(Line, ProcessName)> = Vec::new();
        for (process, recent) in self.ask_all(set, |answer| Order::Recent(lines, answer)).await {
            all.extend(recent.into_iter().map(|line| (line, process.clone())));
        }
        all.sort_by_key(|(line, _)| (line.at, line.number));
        let skipped = all.len().saturating_sub(lines);
        all.into_iter().skip(skipped).map(|(line, process)| format!("{process} | {}", line.text)).collect()
    }

    /// TCP ports on which each instance listens.
    pub async fn listening_ports(&self, set: SetId) -> Vec<(ProcessName, Vec<u16>)> {
        self.ask_all(set, Order::Ports).await
    }

    /// How an instance ended last by itself, if what it saw is still kept: the newest of that name.
    pub async fn crashed(&self, project: &ProjectName, process: &ProcessName) -> Option<Crash> {
        let mut newest = None;
        for set in self.sets_of(project).into_iter().rev() {
            let Some(member) = self.member(set, process) else { continue };
            let (answer, answered) = oneshot::channel();
            if member.orders.send(Order::Crashed(answer)).is_ok() {
                newest = newest.or(answered.await.ok().flatten());
            }
        }
        newest
    }

    /// What each instance answers; one that cannot is asked for nothing.
    async fn ask_all<T: Default>(
        &self,
        set: SetId,
        question: impl Fn(oneshot::Sender<T>) -> Order,
    ) -> Vec<(ProcessName, T)> {
        let members = self.sets().get(&set).map(|set| set.members.clone()).unwrap_or_default();
        let asked = members.into_iter().map(|member| {
            let (answer, answered) = oneshot::channel();
            let sent = member.orders.send(question(answer));
            async move {
                (member.process, if sent.is_ok() { answered.await.unwrap_or_default() } else { T::default() })
            }
        });
        let asked: Vec<_> = asked.collect();
        futures_util::future::join_all(asked).await
    }

    fn member(&self, set: SetId, process: &ProcessName) -> Option<Member> {
        self.sets().get(&set)?.members.iter().find(|member| member.process == *process).cloned()
    }

    fn order(&self, set: SetId, order: impl Fn() -> Order) {
        let members = self.sets().get(&set).map(|set| set.members.clone()).unwrap_or_default();
        for member in members {
            // An instance that has ended needs no order.
            let _ = member.orders.send(order());
        }
    }

    fn sets(&self) -> MutexGuard<'_, BTreeMap<SetId, Set>> {
        self.0.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of a set in the name of one of its cgroups: `blog.v3.17.0-web.1.0`.
fn set_in(group: &str) -> Option<u64> {
    group.split('.').nth(2)?.parse().ok()
}

impl Set {
    fn new(project: ProjectName, release: ReleaseVersion) -> Self {
        Self { project, release, members: Vec::new(), status: Arc::new(watch::channel(SetStatus::default()).0) }
    }
}
