//! Keeps a router running beside this server, in a thread of its own: finds the one that is there, goes on using it or
//! lets a new one take over its sockets, and starts another one when it dies. Changes go to the snapshot first, then
//! to the router, and are done when it says so. Starting and finding are `launch`'s.

use super::acme;
use super::board::{Drained, InstanceLoad};
use super::certificate_files::{self, CertificateFiles, Stamps};
use super::handle::{Addresses, Call};
use super::launch::{self, Launched, Plan, Retired};
use super::link::Link;
use super::names::Host;
use super::settings::RouterConfig;
use super::snapshot;
use super::table::{Maintenance, RouteRefused, Routes, Table};
use super::wire::{Answer, Order};
use crate::model::{Failure, ProjectName};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// How long a router may take for a change before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two starts of a router that keeps dying.
const AGAIN: Duration = Duration::from_millis(500);
/// Between two looks at the files of certificates.
const WATCH: Duration = Duration::from_secs(10);
/// A router that lived this long may die once without waiting.
const LIVED: Duration = Duration::from_secs(10);

/// One router and those that it took over from.
pub struct Keeper {
    plan: Plan,
    table: Table,
    current: Launched,
    started: Instant,
    /// The files of the certificates as they were when they were read.
    certificates: Stamps,
    /// Told to whoever obtains certificates for them.
    hosts: watch::Sender<BTreeSet<Host>>,
    /// They end by themselves; until then they have requests that drains must hear of.
    retired: Vec<Retired>,
}

/// What a keeper goes on with.
enum Next {
    On,
    /// The server ends; the router does not.
    Leave,
}

impl Keeper {
    /// Finds a router or starts one. Errors say what stands in the way.
    pub async fn begin(plan: Plan, calls: mpsc::WeakUnboundedSender<Call>) -> Result<Self, Failure> {
        let places = launch::prepare_places(&plan);
        places.map_err(|error| Failure::internal("make the router's directories", &error))?;
        let read = snapshot::read(&plan.snapshot).inspect_err(|error| {
            tracing::error!(%error, "the snapshot of the routes cannot be read; they are set again");
        });
        let known = read.is_ok();
        let table = read.unwrap_or_default();
        let written = snapshot::write(&plan.snapshot, &table, plan.user);
        written.map_err(|error| Failure::internal("write the snapshot of the routes", &error))?;
        let (current, retired) = launch::find_or_start(&plan).await?;
        let certificates = certificate_files::stamps(&plan.all_certificates());
        let (hosts, wanted) = watch::channel(BTreeSet::new());
        if let Some(acme) = plan.acme.clone().filter(|_| plan.config.https.is_some()) {
            tokio::spawn(acme::keep(acme, wanted, calls));
        }
        let mut keeper = Self { plan, table, current, started: Instant::now(), certificates, hosts, retired };
        // One that was found may have missed a change that the disk has.
        if known {
            let entries = keeper.table.entries().cloned().collect();
            keeper.tell(Order::Replace(entries)).await.map_err(|error| Failure::internal("tell the routes", &error))?;
        }
        keeper.send_certificates().await;
        Ok(keeper)
    }

    pub fn addresses(&self) -> Addresses {
        Addresses { http: self.current.http, https: self.current.https }
    }

    /// Until the server leaves, or shuts the router down.
    pub async fn keep(mut self, mut calls: mpsc::UnboundedReceiver<Call>) {
        loop {
            self.retired.retain(Retired::is_there);
            let call = tokio::select! {
                call = calls.recv() => call,
                () = tokio::time::sleep(WATCH) => {
                    if certificate_files::stamps(&self.plan.all_certificates()) != self.certificates {
                        self.send_certificates().await;
                    }
                    continue;
                }
                () = self.current.link.gone() => {
                    self.revive().await;
                    continue;
                }
            };
            match call {
                Some(call) => {
                    if let Next::Leave = self.obey(call).await {
                        return;
                    }
                }
                None => return,
            }
        }
    }

    async fn obey(&mut self, call: Call) -> Next {
        match call {
            Call::Set(routes, done) => drop(done.send(self.set(routes).await)),
            Call::Maintain(project, maintenance, done) => drop(done.send(self.maintain(project, maintenance).await)),
            Call::Remove(project, done) => drop(done.send(self.remove(project).await)),
            Call::IsBack(project, instance, done) => {
                drop(done.send(self.tell(Order::IsBack { project, instance }).await));
            }
            Call::Drain { project, instances, limits, done } => {
                self.drain(Order::Drain { project, instances, limits }, done);
            }
            Call::Loads(done) => drop(done.send(self.loads().await)),
            Call::Table(done) => drop(done.send(self.table.clone())),
            Call::Reconfigure(config, certificates, done) => {
                drop(done.send(self.reconfigure(*config, certificates).await));
            }
            Call::CertificatesChanged(done) => {
                self.send_certificates().await;
                let _ = done.send(());
            }
            Call::Tell(order, done) => {
                // Whoever asked sees that it had no effect.
                let _ = self.tell(*order).await;
                let _ = done.send(());
            }
            Call::Leave(done) => {
                let _ = done.send(());
                return Next::Leave;
            }
            Call::ShutDown(limit, done) => {
                self.shut_down(limit, done).await;
                return Next::Leave;
            }
        }
        Next::On
    }

    /// At every router that may have requests, while others ask other things.
    fn drain(&self, order: Order, done: oneshot::Sender<Drained>) {
        let links = self.links();
        tokio::spawn(async move {
            let drained = launch::drain(links, order).await;
            // Who asked may be gone.
            let _ = done.send(drained);
        });
    }

    async fn loads(&self) -> Vec<InstanceLoad> {
        let reply = tokio::time::timeout(PATIENCE, self.current.link.ask(Order::Loads)).await;
        match reply.ok().flatten().map(|reply| reply.answer) {
            Some(Answer::Loads(loads)) => loads,
            _ => Vec::new(),
        }
    }

    /// Every router that may have requests.
    fn links(&self) -> Vec<Link> {
        self.retired.iter().map(|one| &one.link).chain([&self.current.link]).cloned().collect()
    }

    async fn set(&mut self, routes: Routes) -> Result<(), RouteRefused> {
        let mut table = self.table.clone();
        table.set(routes.clone())?;
        self.change(table, Order::Set(routes)).await
    }

    async fn maintain(&mut self, project: ProjectName, maintenance: Maintenance) -> Result<bool, RouteRefused> {
        let mut table = self.table.clone();
        if !table.maintain(&project, maintenance.clone()) {
            return Ok(false);
        }
        self.change(table, Order::Maintain { project, maintenance }).await.map(|()| true)
    }

    async fn remove(&mut self, project: ProjectName) -> Result<bool, RouteRefused> {
        let mut table = self.table.clone();
        if table.remove(&project).is_none() {
            return Ok(false);
        }
        self.change(table, Order::Remove { project }).await.map(|()| true)
    }

    /// The disk has it first: a router that dies now starts with it.
    async fn change(&mut self, table: Table, order: Order) -> Result<(), RouteRefused> {
        if table == self.table {
            return Ok(());
        }
        let written = snapshot::write(&self.plan.snapshot, &table, self.plan.user);
        written.map_err(|error| RouteRefused::NoRouter(error.to_string()))?;
        self.table = table;
        self.tell_hosts();
        self.tell(order).await
    }

    /// Those that no file of the admin covers and that an authority can know.
    fn tell_hosts(&self) {
        if self.plan.acme.is_none() {
            return;
        }
        let covered = certificate_files::names(&certificate_files::read(&self.plan.certificates));
        let is_covered = |host: &str| {
            let wildcard = host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
            covered.contains(host) || wildcard.is_some_and(|wildcard| covered.contains(&wildcard))
        };
        let names = self.table.entries().flat_map(|entry| entry.routes.names.iter().map(|name| &name.host));
        let wanted = names.filter(|host| host.is_public() && !is_covered(host.as_str())).cloned().collect();
        self.hosts.send_if_modified(|hosts| std::mem::replace(hosts, wanted) != *hosts);
    }

    /// A router that died meanwhile has read the snapshot when it is back. Clients of one that was replaced may ask once
    /// more over the connections that they have, and what they ask for may be somewhere else by then.
    async fn tell(&mut self, order: Order) -> Result<(), RouteRefused> {
        let replaced = self.retired.iter().map(|one| one.link.ask(order.clone()));
        // One that does not answer is about to end.
        let _ = tokio::time::timeout(PATIENCE, futures_util::future::join_all(replaced)).await;
        match tokio::time::timeout(PATIENCE, self.current.link.ask(order)).await {
            Ok(Some(reply)) => match reply.answer {
                Answer::Refused(why) => Err(RouteRefused::NoRouter(why)),
                _ => Ok(()),
            },
            Ok(None) => {
                self.revive().await;
                Ok(())
            }
            Err(_) => Err(RouteRefused::NoRouter("it does not answer".into())),
        }
    }

    /// Starts until one is there: connections wait in the backlog of the sockets, which this server has as well.
    async fn revive(&mut self) {
        tracing::error!(pid = self.current.pid, "the router is gone; starting another one");
        if self.started.elapsed() < LIVED {
            tokio::time::sleep(AGAIN).await;
        }
        loop {
            match self.current.again(&self.plan).await {
                Ok(current) => {
                    self.current = current;
                    self.started = Instant::now();
                    return;
                }
                Err(failure) => tracing::error!("no router: {failure}"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The certificates as they are now, for connections that begin from now on.
    async fn send_certificates(&mut self) {
        if self.plan.config.https.is_none() {
            return;
        }
        let files = self.plan.all_certificates();
        self.certificates = certificate_files::stamps(&files);
        let texts = certificate_files::read(&files);
        self.tell_hosts();
        tracing::info!(count = texts.len(), "certificates are read");
        if let Err(error) = self.tell(Order::Certificates(texts)).await {
            tracing::error!(%error, "the router keeps its certificates");
        }
    }

    async fn reconfigure(&mut self, config: RouterConfig, files: Vec<CertificateFiles>) -> Result<(), Failure> {
        self.plan.certificates = files;
        if config == self.plan.config {
            self.send_certificates().await;
            return Ok(());
        }
        let plan = Plan { config, ..self.plan.clone() };
        let next = launch::take_over(&plan, &self.current).await?;
        self.plan = plan;
        self.started = Instant::now();
        let old = std::mem::replace(&mut self.current, next);
        self.retired.extend(old.retire(&self.plan).await);
        Ok(())
    }

    async fn shut_down(&mut self, limit: Duration, done: oneshot::Sender<()>) {
        for one in &self.retired {
            let _ = tokio::time::timeout(PATIENCE, one.link.ask(Order::End)).await;
        }
        self.current.end(limit).await;
        let until = Instant::now() + limit;
        for one in &self.retired {
            let _ = tokio::time::timeout_at(until, one.link.gone()).await;
        }
        self.retired.retain(Retired::is_there);
        let _ = std::fs::remove_file(&self.plan.socket);
        let _ = done.send(());
    }
}
