//! The engine's handle to the router: changes routes and asks for drains. Nothing here forwards or decides.

use super::board::{Board, DrainLimits, Drained, InstanceLoad};
use super::table::{InstanceAddress, Maintenance, RouteRefused, Routes, Table};
use crate::model::ProjectName;

/// Cheap to clone; every clone sees the same routes. A change is visible to the next request when the call returns.
#[derive(Clone, Default)]
pub struct Router {
    board: Board,
}

impl Router {
    pub fn new() -> Self {
        Self::default()
    }

    /// What a server in this process reads.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// Puts all names and the target of a project in place, in one step. Requests under way end where they began.
    /// Maintenance stays as it is.
    pub fn set(&self, routes: Routes) -> Result<(), RouteRefused> {
        self.board.set(routes)
    }

    /// Asks people to come back later, or no longer. `false`: the router does not know the project.
    pub fn maintain(&self, project: &ProjectName, maintenance: Maintenance) -> bool {
        self.board.maintain(project, maintenance)
    }

    /// Takes the project's routes away: its hosts are unknown from now on. `false`: they were already.
    pub fn remove(&self, project: &ProjectName) -> bool {
        self.board.remove(project)
    }

    /// An instance that was out or drained serves again, and is asked at once.
    pub fn is_back(&self, project: &ProjectName, instance: &InstanceAddress) {
        self.board.is_back(project, instance);
    }

    /// Gives these instances no more requests; returns when they have none left, or at the limit. They may be in the
    /// project's set or have left it: replace the set first, then drain, then stop.
    pub async fn drain(&self, project: &ProjectName, instances: &[InstanceAddress], limits: DrainLimits) -> Drained {
        self.board.drain(project, instances, limits).await
    }

    /// What every instance that is known has to do.
    pub fn loads(&self) -> Vec<InstanceLoad> {
        self.board.loads()
    }

    /// Puts a whole table in place.
    pub fn replace(&self, table: Table) {
        self.board.replace(table);
    }

    /// The routes as they are now; later changes do not show in it.
    pub fn table(&self) -> Table {
        self.board.table()
    }
}
