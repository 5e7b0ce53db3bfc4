//! A live release after the server's own restart: its processes went on and are taken up, or are started again from `run/` as
//! it is, with the variables it was cooked with. Shares the instance recipe with the switch.

use crate::archives::Manifest;
use crate::model::{Failure, ProcessName, ReleaseVersion, Time};
use crate::pipeline::context::{Context, LiveSet};
use crate::pipeline::instances::{self, Running};
use crate::runtime::{InstanceSpec, Restarts, SetId};
use crate::store::ProjectRecord;

/// Starts the processes of `version` and routes to them at once: there is nothing else to route to.
pub async fn revive(context: &Context, project: &ProjectRecord, version: ReleaseVersion) -> Result<(), Failure> {
    let specs = specs(context, project, version, Vec::new())?;
    let set = context.supervisor.start_set((&project.name, version), specs, Restarts::BackOff).await;
    serve(context, project, LiveSet { set, version })
}

/// What an earlier life of the server left running of `version`, if it is all that should run and was not started again
/// since `since`.
pub fn standing(
    context: &Context,
    project: &ProjectRecord,
    version: ReleaseVersion,
    since: Option<Time>,
) -> Option<LiveSet> {
    let set = context.supervisor.kept_set(&project.name, version, since)?;
    Some(LiveSet { set, version })
}

/// Goes on with processes that went on. Requests reach them at once; whatever else of the project runs is stopped.
pub async fn take_up(context: &Context, project: &ProjectRecord, live: LiveSet) -> Result<(), Failure> {
    let specs = specs(context, project, live.version, ports(context, live.set))?;
    context.supervisor.furnish(live.set, specs).await;
    serve(context, project, live)?;
    // Among them may be those that requests went to.
    context.end_others(&project.name, Some(live.set)).await;
    Ok(())
}

/// Sends requests to these processes.
pub fn serve(context: &Context, project: &ProjectRecord, live: LiveSet) -> Result<(), Failure> {
    context.set_live(&project.name, Some(live));
    context.point_router_at(&project.name, Some(live))
}

/// The instances of a set, with their ports.
pub fn ports(context: &Context, set: SetId) -> Vec<(ProcessName, Option<u16>)> {
    let instances = context.supervisor.events(set).borrow().instances.clone();
    instances.into_iter().map(|instance| (instance.process, instance.port)).collect()
}

/// What should run of a live release; those of `standing` keep their ports.
///
/// # Errors
/// `NotFound` for a release that is not there.
pub fn specs(
    context: &Context,
    project: &ProjectRecord,
    version: ReleaseVersion,
    standing: Vec<(ProcessName, Option<u16>)>,
) -> Result<Vec<InstanceSpec>, Failure> {
    let release =
        context.store.release(&project.name, version)?.ok_or_else(|| super::no_release(&project.name, version))?;
    let manifest = Manifest::parse(release.manifest.as_bytes())?;
    let places = context.project_places(&project.name);
    let running = Running { standing, ..Running::live(context, (project, &places), &release) };
    instances::specs(context, &running, &manifest)
}
