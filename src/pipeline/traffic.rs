//! Where the requests for a project go: to the web processes of one set, or to a page; and how those that get no more end
//! their last ones before they are stopped.

use super::context::{Context, LiveSet};
use super::health;
use crate::model::{Code, Failure, ProjectName};
use crate::router::{DrainLimits, Encryption, Host, InstanceAddress, Maintenance, Name, Prefix, Routes, Target};
use crate::runtime::SetId;
use crate::store::ProjectRecord;
use std::time::Duration;

/// For processes that end in the middle of something, which waits for them.
const HASTE: DrainLimits = DrainLimits { requests: Duration::from_secs(5), tunnels: Duration::ZERO };
/// When people shall come back.
const RETRY_AFTER: Duration = Duration::from_secs(120);

/// What people see of the live release during maintenance, when it says so itself.
///
/// # Errors
/// `BadConfig` for a page that is too large or no text.
pub fn maintenance_page(context: &Context, project: &ProjectRecord) -> Result<Option<String>, Failure> {
    health::read(&context.project_places(&project.name).run(), ".commis/maintenance.html")
}

impl Context {
    /// Where the web processes of a set listen, in order.
    pub fn web_addresses(&self, set: SetId) -> Vec<InstanceAddress> {
        let events = self.supervisor.events(set);
        let status = events.borrow();
        let mut web: Vec<_> = status.instances.iter().filter(|instance| instance.process.kind.is_web()).collect();
        web.sort_by_key(|instance| instance.process.index);
        web.iter().filter_map(|one| Some(InstanceAddress::web(one.process.index, one.port?))).collect()
    }

    /// The same, ports alone.
    pub fn web_ports(&self, set: SetId) -> Vec<u16> {
        self.web_addresses(set).iter().map(|address| address.port).collect()
    }

    /// Sends the requests for a project to its processes, or to a page that says that nothing serves. The host's name
    /// stays its own either way.
    pub fn point_router_at(&self, project: &ProjectName, live: Option<LiveSet>) -> Result<(), Failure> {
        self.point_router_to(project, live.map(|live| self.web_addresses(live.set)).unwrap_or_default())
    }

    /// The same for web processes of one's choice.
    pub fn point_router_to(&self, project: &ProjectName, web: Vec<InstanceAddress>) -> Result<(), Failure> {
        let host = self.host_of(project);
        let host = Host::parse(&host)
            .ok_or_else(|| Failure::new(Code::ServerConfig, format!("router.domain: {host} is no host name")))?;
        let target = if web.is_empty() { Target::NoRelease } else { Target::Instances(web) };
        let mut names = vec![Name::whole(host)];
        for row in self.store.domains(project)? {
            // Nothing else is let in.
            let parsed = Host::parse(&row.host).zip(Prefix::parse(&row.prefix));
            names.extend(parsed.map(|(host, prefix)| Name { host, prefix }));
        }
        let routes = Routes { project: project.clone(), names, target, encryption: Encryption::AsServer };
        self.router.set(routes).map_err(|error| Failure::internal("route", &error))
    }

    /// The project's names may have changed; what answers is what did.
    pub fn route_again(&self, project: &ProjectName) -> Result<(), Failure> {
        self.point_router_at(project, self.live(project))
    }

    /// Asks people to come back later, by a page of the project's own (`Some(Some(html))`) or ours; `None`: no longer.
    pub fn maintain(&self, project: &ProjectName, page: Option<Option<String>>) -> Result<(), Failure> {
        let maintenance = match page {
            Some(page) => Maintenance::On { page, retry_after: RETRY_AFTER },
            None => Maintenance::Off,
        };
        self.router.maintain(project, maintenance).map(drop).map_err(|error| Failure::internal("route", &error))
    }

    /// Ends all sets of a project but one, after their last requests. Requests go to others by now.
    pub async fn retire_others(&self, project: &ProjectName, kept: Option<SetId>) {
        self.drain(project, &self.other_addresses(project, kept)).await;
        self.supervisor.stop_others(project, kept).await;
    }

    /// The same where somebody waits for it: what takes long is cut off.
    pub async fn end_others(&self, project: &ProjectName, kept: Option<SetId>) {
        self.drain_within(project, &self.other_addresses(project, kept), HASTE).await;
        self.supervisor.stop_others(project, kept).await;
    }

    /// The same for one set.
    pub async fn end_set(&self, project: &ProjectName, set: SetId) {
        self.drain_within(project, &self.web_addresses(set), HASTE).await;
        self.supervisor.stop_set(set).await;
    }

    /// Returns when these have no request any more, or the time for it is over.
    pub async fn drain(&self, project: &ProjectName, addresses: &[InstanceAddress]) {
        let config = self.config();
        let limits = DrainLimits { requests: config.router.drain, tunnels: config.router.tunnel_grace };
        self.drain_within(project, addresses, limits).await;
    }

    async fn drain_within(&self, project: &ProjectName, addresses: &[InstanceAddress], limits: DrainLimits) {
        if !addresses.is_empty() {
            self.router.drain(project, addresses, limits).await;
        }
    }

    fn other_addresses(&self, project: &ProjectName, kept: Option<SetId>) -> Vec<InstanceAddress> {
        let others = self.supervisor.sets_of(project).into_iter().filter(|set| Some(*set) != kept);
        others.flat_map(|set| self.web_addresses(set)).collect()
    }
}
