//! Starting a live release again after the server's own restart: from `run/` as it is, with the variables it was
//! cooked with. Shares the instance recipe with the switch.

use crate::archives::Manifest;
use crate::model::{Failure, ReleaseVersion};
use crate::pipeline::context::{Context, LiveSet};
use crate::pipeline::instances::{self, Running};
use crate::runtime::Restarts;
use crate::store::ProjectRecord;

/// Starts the processes of `version` and routes to them at once: there is nothing else to route to.
pub async fn revive(context: &Context, project: &ProjectRecord, version: ReleaseVersion) -> Result<(), Failure> {
    let release =
        context.store.release(&project.name, version)?.ok_or_else(|| super::no_release(&project.name, version))?;
    let manifest = Manifest::parse(release.manifest.as_bytes())?;
    let places = context.project_places(&project.name);
    let running = Running::live(context, (project, &places), &release);
    let specs = instances::specs(context, &running, &manifest)?;
    let port = specs.iter().find_map(|spec| spec.port);
    let set = context.supervisor.start_set(&project.name, specs, Restarts::BackOff).await;
    let live = Some(LiveSet { set, version, port });
    context.set_live(&project.name, live);
    context.point_router_at(&project.name, live)
}
