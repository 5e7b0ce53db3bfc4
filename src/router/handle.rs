//! The engine's handle to the router, which is a process of its own: changes routes and asks for drains. Nothing here
//! forwards or decides; who keeps the process running is `keeper`.

use super::board::{DrainLimits, Drained, InstanceLoad};
use super::certificate_files::CertificateFiles;
use super::keeper::Keeper;
use super::launch::Plan;
use super::settings::RouterConfig;
use super::table::{InstanceAddress, Maintenance, RouteRefused, Routes, Table};
use super::wire::Order;
use crate::model::{Failure, ProjectName};
use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long a change waits for the router, a new start of it included.
const PATIENCE: Duration = Duration::from_secs(30);

/// Cheap to clone; every clone speaks to the same router. A change is durable, and visible to the next request, when the
/// call returns. Changes wait for the router as those of the store wait for the disk: a few milliseconds.
#[derive(Clone)]
pub struct Router {
    calls: mpsc::UnboundedSender<Call>,
    addresses: Addresses,
}

/// Where a router listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
}

/// What the keeper is asked.
pub(super) enum Call {
    Set(Routes, SyncSender<Result<(), RouteRefused>>),
    Maintain(ProjectName, Maintenance, SyncSender<Result<bool, RouteRefused>>),
    Remove(ProjectName, SyncSender<Result<bool, RouteRefused>>),
    IsBack(ProjectName, InstanceAddress, SyncSender<Result<(), RouteRefused>>),
    Drain {
        project: ProjectName,
        instances: Vec<InstanceAddress>,
        limits: DrainLimits,
        done: oneshot::Sender<Drained>,
    },
    Loads(oneshot::Sender<Vec<InstanceLoad>>),
    Table(SyncSender<Table>),
    Reconfigure(Box<RouterConfig>, Vec<CertificateFiles>, oneshot::Sender<Result<(), Failure>>),
    /// The files of certificates are others now.
    CertificatesChanged(oneshot::Sender<()>),
    /// Nothing that has to be remembered.
    Tell(Box<Order>, oneshot::Sender<()>),
    Leave(oneshot::Sender<()>),
    ShutDown(Duration, oneshot::Sender<()>),
}

impl Router {
    /// Finds the router of an earlier server, or starts one. One that another program started or that has other settings
    /// hands its sockets to a new one, and ends when its requests have.
    pub async fn start(plan: Plan) -> Result<Self, Failure> {
        let (calls, asked) = mpsc::unbounded_channel();
        let (begun, started) = oneshot::channel();
        let weak = calls.downgrade();
        let work = move || keep(plan, (weak, asked), begun);
        let thread = std::thread::Builder::new().name("router-keeper".into()).spawn(work);
        thread.map_err(|error| Failure::internal("start the router's keeper", &error))?;
        let addresses = started.await.map_err(|error| Failure::internal("start the router's keeper", &error))??;
        Ok(Self { calls, addresses })
    }

    /// Where it listens for HTTP.
    pub fn http(&self) -> SocketAddr {
        self.addresses.http
    }

    /// Where it listens for TLS.
    pub fn https(&self) -> Option<SocketAddr> {
        self.addresses.https
    }

    /// Puts all names and the target of a project in place, in one step. Requests under way end where they began.
    /// Maintenance stays as it is.
    pub fn set(&self, routes: Routes) -> Result<(), RouteRefused> {
        self.ask(|done| Call::Set(routes, done))?
    }

    /// Asks people to come back later, or no longer. `false`: the router does not know the project.
    pub fn maintain(&self, project: &ProjectName, maintenance: Maintenance) -> Result<bool, RouteRefused> {
        self.ask(|done| Call::Maintain(project.clone(), maintenance, done))?
    }

    /// Takes the project's routes away: its hosts are unknown from now on. `false`: they were already.
    pub fn remove(&self, project: &ProjectName) -> Result<bool, RouteRefused> {
        self.ask(|done| Call::Remove(project.clone(), done))?
    }

    /// An instance that was out or drained serves again, and is asked at once.
    pub fn is_back(&self, project: &ProjectName, instance: &InstanceAddress) -> Result<(), RouteRefused> {
        self.ask(|done| Call::IsBack(project.clone(), instance.clone(), done))?
    }

    /// Gives these instances no more requests; returns when they have none left, or at the limit. They may be in the
    /// project's set or have left it: replace the set first, then drain, then stop.
    pub async fn drain(&self, project: &ProjectName, instances: &[InstanceAddress], limits: DrainLimits) -> Drained {
        let (project, instances) = (project.clone(), instances.to_vec());
        let (done, drained) = oneshot::channel();
        let _ = self.calls.send(Call::Drain { project, instances, limits, done });
        // A router that is gone has no requests.
        drained.await.unwrap_or_default()
    }

    /// What every instance that is known has to do.
    pub async fn loads(&self) -> Vec<InstanceLoad> {
        let (done, loads) = oneshot::channel();
        let _ = self.calls.send(Call::Loads(done));
        loads.await.unwrap_or_default()
    }

    /// The routes as they are now; later changes do not show in it.
    pub fn table(&self) -> Table {
        self.ask(Call::Table).unwrap_or_default()
    }

    /// Takes new settings, by letting a new router take over, and reads the certificates again. Nobody notices.
    pub async fn reconfigure(&self, config: RouterConfig, files: Vec<CertificateFiles>) -> Result<(), Failure> {
        let (done, ended) = oneshot::channel();
        let _ = self.calls.send(Call::Reconfigure(Box::new(config), files, done));
        ended.await.map_err(|error| Failure::internal("reach the router", &error))?
    }

    /// This server ends and the router goes on: the next server finds it.
    pub async fn leave(&self) {
        let (done, left) = oneshot::channel();
        let _ = self.calls.send(Call::Leave(done));
        let _ = left.await;
    }

    /// The router ends for good: no new connections, and what is under way ends within `limit`. On return it is gone.
    pub async fn shut_down(&self, limit: Duration) {
        let (done, ended) = oneshot::channel();
        let _ = self.calls.send(Call::ShutDown(limit, done));
        let _ = ended.await;
    }

    fn ask<T>(&self, call: impl FnOnce(SyncSender<T>) -> Call) -> Result<T, RouteRefused> {
        let (done, answer) = sync_channel(1);
        let lost = |why: &str| RouteRefused::NoRouter(why.to_owned());
        self.calls.send(call(done)).map_err(|_| lost("it was left or shut down"))?;
        answer.recv_timeout(PATIENCE).map_err(|_| lost("it does not answer"))
    }
}

/// The keeper's thread. A runtime of its own, so that callers may wait in theirs.
fn keep(
    plan: Plan,
    (calls, asked): (mpsc::WeakUnboundedSender<Call>, mpsc::UnboundedReceiver<Call>),
    begun: oneshot::Sender<Result<Addresses, Failure>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(begun.send(Err(Failure::internal("start the router's keeper", &error)))),
    };
    runtime.block_on(async {
        match Keeper::begin(plan, calls).await {
            Ok(keeper) => {
                let _ = begun.send(Ok(keeper.addresses()));
                keeper.keep(asked).await;
            }
            Err(failure) => drop(begun.send(Err(failure))),
        }
    });
}
