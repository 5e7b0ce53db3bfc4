//! The handle to the live routes: read by every request, changed by deployments. Nothing here forwards or decides.

use super::pool::Pool;
use super::table::{Host, Route, RouteRefused, Table, Target};
use std::sync::{Arc, PoisonError, RwLock};

/// Cheap to clone; every clone sees the same routes. A change is visible to the next request.
#[derive(Clone, Default)]
pub struct Router {
    table: Arc<RwLock<Arc<Table>>>,
    pub(super) pool: Pool,
}

impl Router {
    pub fn new() -> Self {
        Self::default()
    }

    /// Leads `host` to `route`; returns where it led before. Requests under way end where they began.
    pub fn set(&self, host: &str, route: Route) -> Result<Option<Route>, RouteRefused> {
        let parsed = Host::parse(host).ok_or_else(|| RouteRefused::NotAHost(host.to_owned()))?;
        let replaced = self.change(|table| table.switch(parsed, route))?;
        self.forget(replaced.as_ref());
        Ok(replaced)
    }

    /// Takes the route away: the host is unknown from now on.
    pub fn remove(&self, host: &str) -> Option<Route> {
        let parsed = Host::parse(host)?;
        let removed = self.change(|table| table.remove(&parsed));
        self.forget(removed.as_ref());
        removed
    }

    /// The routes as they are now; later changes do not show in it.
    pub fn snapshot(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut held = self.table.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut held))
    }

    /// Idle connections to a port that may get another owner are closed.
    fn forget(&self, route: Option<&Route>) {
        if let Some(Route { target: Target::Port(port), .. }) = route {
            self.pool.forget(*port);
        }
    }
}
