//! The live routes: what every request reads and the engine changes. Gives a request its instance (the one with the
//! fewest requests), holds it for a moment when all are out, and tells when instances have nothing left to do.
//! Rules of names are `table`'s, those of instances that fail `ejection`'s.

use super::account::Counts;
use super::ejection::Standing;
use super::instance::{Instance, Load, Pass, now};
use super::names::Host;
use super::table::{Encryption, InstanceAddress, Maintenance, RouteRefused, Routes, Table, Target};
use crate::model::ProjectName;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Cheap to clone; every clone is the same board. A change is visible to the next request.
#[derive(Clone, Default)]
pub struct Board {
    view: Arc<RwLock<Arc<View>>>,
    /// Everything that may still have requests, also of earlier sets.
    known: Arc<Mutex<Known>>,
}

type Known = HashMap<(ProjectName, InstanceAddress), Weak<Instance>>;

/// What requests see, put in place whole.
#[derive(Default)]
struct View {
    table: Table,
    sites: HashMap<ProjectName, Arc<Site>>,
}

/// One project as requests see it.
pub struct Site {
    pub project: ProjectName,
    pub answers: Answers,
    pub encryption: Encryption,
    /// Outlives this view of the project.
    pub door: Arc<Door>,
    /// Another view has taken its place.
    retired: AtomicBool,
    turn: AtomicUsize,
}

/// What answers for a project now.
pub enum Answers {
    Instances(Vec<Arc<Instance>>),
    NoRelease,
    Maintenance { page: Option<String>, retry_after: Duration },
}

/// Where requests of one project wait while nothing can take them.
#[derive(Default)]
pub struct Door {
    pub counts: Arc<Counts>,
    news: Notify,
    held: AtomicUsize,
}

/// What a request gets.
pub enum Place {
    At(Pass),
    /// No instance may be asked now, and waiting is over or not allowed.
    AllOut,
    /// The project has changed to something else than instances, or is gone.
    Elsewhere(Option<Arc<Site>>),
}

/// How long a drain may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DrainLimits {
    pub requests: Duration,
    /// After it WebSockets are closed.
    pub tunnels: Duration,
}

/// What one instance has to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InstanceLoad {
    #[serde(with = "super::table::project")]
    pub project: ProjectName,
    pub address: InstanceAddress,
    pub load: Load,
    /// It failed, and gets requests only to see whether it is well again.
    pub is_out: bool,
}

/// How a drain ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Drained {
    /// Requests that were still under way at the limit.
    pub requests_left: usize,
    /// WebSockets that were closed.
    pub tunnels_closed: usize,
}

impl Board {
    pub fn find(&self, host: &Host, path: &str) -> Option<Arc<Site>> {
        let view = self.view();
        let project = view.table.find(host, path)?;
        view.sites.get(project).cloned()
    }

    pub fn site(&self, project: &ProjectName) -> Option<Arc<Site>> {
        self.view().sites.get(project).cloned()
    }

    /// The routes as they are now; later changes do not show in it.
    pub fn table(&self) -> Table {
        self.view().table.clone()
    }

    /// Every project, by name.
    pub fn sites(&self) -> Vec<Arc<Site>> {
        let mut all: Vec<_> = self.view().sites.values().cloned().collect();
        all.sort_by(|a, b| a.project.cmp(&b.project));
        all
    }

    /// Puts all names and the target of a project in place. Requests under way end where they began.
    pub fn set(&self, routes: Routes) -> Result<(), RouteRefused> {
        let project = [routes.project.clone()];
        self.change(&project, |table| table.set(routes))
    }

    pub fn maintain(&self, project: &ProjectName, maintenance: Maintenance) -> bool {
        self.change(std::slice::from_ref(project), |table| table.maintain(project, maintenance))
    }

    /// The project is unknown from now on.
    pub fn remove(&self, project: &ProjectName) -> bool {
        self.change(std::slice::from_ref(project), |table| table.remove(project).is_some())
    }

    /// Everything at once: what a router starts with.
    pub fn replace(&self, table: Table) {
        let before = self.table();
        let both = before.entries().chain(table.entries()).map(|entry| entry.routes.project.clone());
        let projects: Vec<ProjectName> = both.collect::<BTreeSet<_>>().into_iter().collect();
        self.change(&projects, |now| *now = table);
    }

    /// The engine knows that an instance serves again: it is asked at once.
    pub fn is_back(&self, project: &ProjectName, address: &InstanceAddress) {
        if let Some(instance) = self.instance(project, address) {
            instance.resume();
            instance.is_back();
        }
        if let Some(site) = self.site(project) {
            site.door.news.notify_waiters();
        }
    }

    /// Gives these instances no more requests; ready when they have none left, or at the limit.
    pub async fn drain(&self, project: &ProjectName, addresses: &[InstanceAddress], limits: DrainLimits) -> Drained {
        let instances: Vec<_> = addresses.iter().filter_map(|address| self.instance(project, address)).collect();
        instances.iter().for_each(|instance| instance.begin_drain());
        let ends = instances.iter().map(|instance| drain_one(instance, limits));
        let ended = futures_util::future::join_all(ends).await;
        ended.into_iter().fold(Drained::default(), |all, one| Drained {
            requests_left: all.requests_left + one.requests_left,
            tunnels_closed: all.tunnels_closed + one.tunnels_closed,
        })
    }

    /// What every instance that is known has to do.
    pub fn loads(&self) -> Vec<InstanceLoad> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = known.iter().filter_map(|((project, address), instance)| {
            let instance = instance.upgrade()?;
            let (load, is_out) = (instance.load(), instance.standing() != Standing::In);
            Some(InstanceLoad { project: project.clone(), address: address.clone(), load, is_out })
        });
        alive.collect()
    }

    /// An instance for a request that `site` was found for. Waits until `until` when all are out, with at most `most` of one project at a time.
    pub async fn place(&self, site: Arc<Site>, until: Instant, most: usize) -> Place {
        let mut site = site;
        let mut held = None;
        loop {
            let news = Arc::clone(&site.door);
            let told = news.news.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            let chosen = site.choose();
            if site.retired.load(Ordering::SeqCst) {
                match self.site(&site.project) {
                    Some(next) => site = next,
                    None => return Place::Elsewhere(None),
                }
                continue;
            }
            let again = match chosen {
                Choice::Pass(pass) => return Place::At(pass),
                Choice::None => return Place::Elsewhere(Some(site)),
                Choice::At(again) => Instant::now() + again.saturating_sub(now()),
            };
            if Instant::now() >= until || (held.is_none() && !hold(&site.door, most, &mut held)) {
                return Place::AllOut;
            }
            tokio::select! {
                () = told => {}
                () = tokio::time::sleep_until(again.min(until)) => {}
            }
        }
    }

    fn instance(&self, project: &ProjectName, address: &InstanceAddress) -> Option<Arc<Instance>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(project.clone(), address.clone()))?.upgrade()
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the table and puts new views of these projects in place; whoever waits at their doors looks again.
    fn change<T>(&self, projects: &[ProjectName], change: impl FnOnce(&mut Table) -> T) -> T {
        let mut held = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let mut table = held.table.clone();
        let result = change(&mut table);
        let mut sites = held.sites.clone();
        let mut retired = Vec::new();
        for project in projects {
            let old = sites.remove(project);
            if let Some(site) = self.site_of(project, &table, old.as_deref()) {
                sites.insert(project.clone(), Arc::new(site));
            }
            retired.extend(old);
        }
        *held = Arc::new(View { table, sites });
        drop(held);
        for old in retired {
            old.retired.store(true, Ordering::SeqCst);
            old.door.news.notify_waiters();
            self.leave(&old);
        }
        result
    }

    fn site_of(&self, project: &ProjectName, table: &Table, old: Option<&Site>) -> Option<Site> {
        let entry = table.get(project)?;
        let answers = match (&entry.maintenance, &entry.routes.target) {
            (Maintenance::On { page, retry_after }, _) => {
                Answers::Maintenance { page: page.clone(), retry_after: *retry_after }
            }
            (Maintenance::Off, Target::NoRelease) => Answers::NoRelease,
            (Maintenance::Off, Target::Instances(set)) => {
                Answers::Instances(set.iter().map(|address| self.enlist(project, address)).collect())
            }
        };
        let door = old.map(|old| Arc::clone(&old.door)).unwrap_or_default();
        let (retired, turn) = (AtomicBool::new(false), AtomicUsize::new(0));
        let encryption = entry.routes.encryption;
        Some(Site { project: project.clone(), answers, encryption, door, retired, turn })
    }

    /// The one instance of this address, known before or new. Being in a set again ends a drain.
    fn enlist(&self, project: &ProjectName, address: &InstanceAddress) -> Arc<Instance> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, instance| instance.strong_count() > 0);
        let slot = known.entry((project.clone(), address.clone())).or_default();
        if let Some(instance) = slot.upgrade() {
            instance.resume();
            return instance;
        }
        let instance = Instance::new(address.clone());
        *slot = Arc::downgrade(&instance);
        instance
    }

    /// Idle connections to a port that may get another owner are closed.
    fn leave(&self, old: &Site) {
        let now = self.site(&old.project);
        let stays = |instance: &Arc<Instance>| now.as_ref().is_some_and(|site| site.has(instance));
        old.instances().iter().filter(|instance| !stays(instance)).for_each(|instance| instance.pool.close());
    }
}

enum Choice {
    Pass(Pass),
    /// All are out; the first may be tried at this time.
    At(Duration),
    /// There are no instances.
    None,
}

impl Site {
    pub fn instances(&self) -> &[Arc<Instance>] {
        match &self.answers {
            Answers::Instances(instances) => instances,
            Answers::NoRelease | Answers::Maintenance { .. } => &[],
        }
    }

    /// Requests that wait.
    pub fn held(&self) -> usize {
        self.door.held.load(Ordering::Relaxed)
    }

    fn has(&self, instance: &Arc<Instance>) -> bool {
        self.instances().iter().any(|own| Arc::ptr_eq(own, instance))
    }

    /// An instance is well again: who waits may ask.
    pub fn announce(&self) {
        self.door.news.notify_waiters();
    }

    /// The one with the fewest requests; among equals each has its turn. One that is out only when all are.
    fn choose(&self) -> Choice {
        let instances = self.instances();
        let Some(last) = instances.len().checked_sub(1) else { return Choice::None };
        let turn = if last == 0 { 0 } else { self.turn.fetch_add(1, Ordering::Relaxed) % instances.len() };
        let in_turn = instances.iter().cycle().skip(turn).take(instances.len());
        let usable = in_turn.filter(|instance| !instance.is_draining());
        let is_in = |instance: &&Arc<Instance>| instance.standing() == Standing::In;
        if let Some(best) = usable.clone().filter(is_in).min_by_key(|instance| instance.load().requests) {
            return Choice::Pass(Pass::new(best));
        }
        if let Some(tried) = usable.clone().find(|instance| instance.try_again()) {
            return Choice::Pass(Pass::new(tried));
        }
        let again = usable.map(|instance| match instance.standing() {
            Standing::Out { again, .. } => again,
            Standing::In => Duration::ZERO,
        });
        // While all of a set are drained only a change can help, and that is told.
        Choice::At(again.min().unwrap_or_else(|| now() + Duration::from_secs(3600)))
    }
}

/// One request that is held; counted for as long as it is.
struct Held(Arc<Door>);

fn hold(door: &Arc<Door>, most: usize, held: &mut Option<Held>) -> bool {
    let place = Held(Arc::clone(door));
    let before = door.held.fetch_add(1, Ordering::AcqRel);
    *held = (before < most).then_some(place);
    held.is_some()
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn drain_one(instance: &Instance, limits: DrainLimits) -> Drained {
    let requests = tokio::time::timeout(limits.requests, instance.until(|load| load.requests == 0));
    let tunnels = async {
        if tokio::time::timeout(limits.tunnels, instance.until(|load| load.tunnels == 0)).await.is_ok() {
            return 0;
        }
        let closed = instance.load().tunnels;
        instance.close_tunnels();
        instance.until(|load| load.tunnels == 0).await;
        closed
    };
    let (_, tunnels_closed) = tokio::join!(requests, tunnels);
    Drained { requests_left: instance.load().requests, tunnels_closed }
}
