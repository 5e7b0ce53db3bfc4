//! Processes of the live release give way to others of the same release, or there become more or fewer of them, while it
//! serves: what is new is checked before any request reaches it, and what was there stays when it is not well. For the holder
//! of the project's turn.

use super::context::{Context, LiveSet};
use super::execute::revive;
use super::health::{self, Exits};
use crate::model::{Code, Failure, ProcessName, ReleaseVersion};
use crate::runtime::{Condition, InstanceSpec, Restarts, Unhealthy};
use crate::store::ProjectRecord;
use std::time::Duration;

/// Lines of a process that a failure repeats.
const LAST_LINES: usize = 10;
/// What nobody can ask is well when it does not end for so long.
const STEADY: Duration = Duration::from_secs(1);

/// New processes beside the old ones; when they are well, requests go to them and the old ones end.
///
/// # Errors
/// `Unhealthy` when they are not: then the old ones go on.
pub async fn restart(context: &Context, project: &ProjectRecord, version: ReleaseVersion) -> Result<(), Failure> {
    let specs = revive::specs(context, project, version, Vec::new())?;
    let set = context.supervisor.start_set((&project.name, version), specs, Restarts::Never).await;
    let live = LiveSet { set, version };
    let places = context.project_places(&project.name);
    let config = context.config();
    let asked = health::spec(&places.run(), &context.host_of(&project.name), &config)?;
    if let Err(unhealthy) = health::probe(context, (live, Exits::EndTheWait), &asked, &config).await {
        let failure = not_well(context, live, &unhealthy).await;
        context.supervisor.stop_set(set).await;
        return Err(failure);
    }
    context.supervisor.keep_running(set);
    revive::serve(context, project, live)?;
    context.retire_others(&project.name, Some(set)).await;
    Ok(())
}

/// As many of each as are asked for by now; those that stay are not touched.
///
/// # Errors
/// `Unhealthy` when one that is new is not well: then it is as it was before.
pub async fn scale(context: &Context, project: &ProjectRecord, live: LiveSet) -> Result<(), Failure> {
    let standing = revive::ports(context, live.set);
    let specs = revive::specs(context, project, live.version, standing.clone())?;
    let wanted: Vec<ProcessName> = specs.iter().map(|spec| spec.process.clone()).collect();
    let is_new = |spec: &InstanceSpec| !standing.iter().any(|(process, _)| *process == spec.process);
    let new: Vec<InstanceSpec> = specs.into_iter().filter(is_new).collect();
    let names: Vec<ProcessName> = new.iter().map(|spec| spec.process.clone()).collect();
    let ports: Vec<u16> = new.iter().filter_map(|spec| spec.port).collect();
    context.supervisor.add(live.set, new, Restarts::Never).await;
    if let Err(unhealthy) = newcomers_are_well(context, (project, live), (&names, &ports)).await {
        let failure = not_well(context, live, &unhealthy).await;
        let before: Vec<ProcessName> = standing.into_iter().map(|(process, _)| process).collect();
        context.supervisor.retain(live.set, &before).await;
        return Err(failure);
    }
    context.supervisor.keep_running(live.set);
    let web = context.web_addresses(live.set).into_iter();
    let (stay, surplus): (Vec<_>, Vec<_>) = web.partition(|address| wanted.contains(&address.name));
    context.point_router_to(&project.name, stay)?;
    context.drain(&project.name, &surplus).await;
    context.supervisor.retain(live.set, &wanted).await;
    Ok(())
}

/// Those that were there may be started again meanwhile; that says nothing of the others.
async fn newcomers_are_well(
    context: &Context,
    (project, live): (&ProjectRecord, LiveSet),
    (names, ports): (&[ProcessName], &[u16]),
) -> Result<(), Unhealthy> {
    if names.is_empty() {
        return Ok(());
    }
    let config = context.config();
    let run = context.project_places(&project.name).run();
    let asked = health::spec(&run, &context.host_of(&project.name), &config);
    let asked = asked.map_err(|failure| Unhealthy::NoAnswer { last: failure.what, attempts: 0 })?;
    let mut events = context.supervisor.events(live.set);
    let fell = async {
        let is_down =
            |one: &crate::runtime::InstanceStatus| names.contains(&one.process) && one.condition == Condition::Exited;
        let found = events.wait_for(|status| status.instances.iter().any(is_down)).await;
        let one = found.ok().and_then(|status| status.instances.iter().find(|one| is_down(one)).cloned());
        match one.and_then(|one| Some((one.process, one.last_exit?))) {
            Some((process, exit)) => Unhealthy::Exited { process, exit },
            None => std::future::pending().await,
        }
    };
    let well = async {
        if !ports.is_empty() {
            health::probe_these(context, (live, Exits::AreRestarted, ports), &asked, &config).await?;
        }
        if names.len() > ports.len() {
            tokio::time::sleep(STEADY).await;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        unhealthy = fell => Err(unhealthy),
        well = well => well,
    }
}

async fn not_well(context: &Context, live: LiveSet, unhealthy: &Unhealthy) -> Failure {
    let failure = Failure::new(Code::Unhealthy, format!("{} is not well: {unhealthy}", live.version));
    let said = context.supervisor.recent_output(live.set, LAST_LINES).await;
    let failure = said.into_iter().fold(failure, Failure::detail);
    failure.hint("what ran before goes on running")
}
