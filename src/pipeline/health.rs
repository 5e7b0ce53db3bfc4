//! Asking a release how it is: what its tree declares, then the probes of `runtime::health`.

use super::context::{Context, LiveSet};
use super::project_files::text;
use crate::config::{AppJson, ProjectConfig, ServerConfig};
use crate::model::{Code, Failure, ProcessName};
use crate::runtime::{Condition, HealthCheck, HealthKind, Healthy, SetStatus, Unhealthy, health};
use crate::system::reading;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// Largest file that is read of a tree.
const SMALL_FILE: u64 = 1 << 20;
/// Processes that nobody can ask are well when none of the release ends for so long.
const STEADY: Duration = Duration::from_secs(1);

/// What a tree wants to be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// `None`: that the port answers is enough.
    pub path: Option<String>,
    pub host: String,
    pub timeout: Duration,
}

/// What the end of a process means while it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exits {
    /// New processes on probation.
    EndTheWait,
    /// Old ones, which the supervisor starts again.
    AreRestarted,
}

/// What the tree says in `.commis/project.toml`.
///
/// # Errors
/// `BadConfig` naming file and line.
pub fn settings(tree: &Path) -> Result<ProjectConfig, Failure> {
    const SETTINGS: &str = ".commis/project.toml";
    match read(tree, SETTINGS)? {
        Some(text) => ProjectConfig::parse(&text, SETTINGS),
        None => Ok(ProjectConfig::default()),
    }
}

/// A small file of the tree as text, when it is there.
pub fn read(tree: &Path, name: &str) -> Result<Option<String>, Failure> {
    match reading::read_beneath(tree, name, SMALL_FILE) {
        Ok(bytes) => text(name, bytes).map(Some),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Failure::new(Code::BadConfig, error.to_string())),
    }
}

/// The tree's `app.json`, when it is there.
///
/// # Errors
/// `BadConfig` naming the place in it.
pub fn app_json(tree: &Path) -> Result<Option<AppJson>, Failure> {
    read(tree, "app.json")?.map(|text| AppJson::parse(&text)).transpose()
}

/// Reads what is to be asked: `.commis/project.toml`, else `app.json`, else the port answers.
///
/// # Errors
/// `BadConfig` naming file and line.
pub fn spec(tree: &Path, host: &str, config: &ServerConfig) -> Result<Asked, Failure> {
    let settings = settings(tree)?;
    let app = app_json(tree)?.and_then(|app| app.health);
    let (app_path, app_timeout) = app.map(|health| (health.path, health.timeout)).unwrap_or_default();
    Ok(Asked {
        path: settings.health.path.or(app_path),
        host: host.to_owned(),
        timeout: settings.health.timeout.or(app_timeout).unwrap_or(config.health.timeout),
    })
}

fn kind(port: Option<u16>, asked: &Asked) -> Result<HealthKind, Unhealthy> {
    Ok(match (port, &asked.path) {
        (None, Some(path)) => return Err(Unhealthy::NobodyToAsk { path: path.clone() }),
        (None, None) => HealthKind::Alive { time: STEADY },
        (Some(port), None) => HealthKind::Port { port },
        (Some(port), Some(path)) => HealthKind::Http { port, path: path.clone(), host: asked.host.clone() },
    })
}

/// Probes the processes of a set until all of them are well or it is clear that one is not.
pub async fn probe(
    context: &Context,
    (live, exits): (LiveSet, Exits),
    asked: &Asked,
    config: &ServerConfig,
) -> Result<Healthy, Unhealthy> {
    let ports = context.web_ports(live.set);
    probe_these(context, (live, exits, &ports), asked, config).await
}

/// The same of those web processes alone that listen on these ports.
pub async fn probe_these(
    context: &Context,
    (live, exits, ports): (LiveSet, Exits, &[u16]),
    asked: &Asked,
    config: &ServerConfig,
) -> Result<Healthy, Unhealthy> {
    let check = |kind| HealthCheck {
        kind,
        timeout: asked.timeout,
        interval: config.health.interval,
        successes: config.health.successes,
    };
    let status = match exits {
        Exits::EndTheWait => context.supervisor.events(live.set),
        // Never tells of an exit: the sender's last word is an empty status.
        Exits::AreRestarted => tokio::sync::watch::channel(SetStatus::default()).1,
    };
    if ports.is_empty() {
        return health::wait_healthy(&check(kind(None, asked)?), status, || async { Vec::new() }).await;
    }
    let beside_web = status.borrow().instances.len() > ports.len();
    let checks = ports.iter().map(|port| Ok((*port, check(kind(Some(*port), asked)?))));
    let checks = checks.collect::<Result<Vec<_>, Unhealthy>>()?;
    let all = checks.iter().map(|(port, check)| until_ours_answers(context, (live, exits, *port), check, &status));
    let all = futures_util::future::try_join_all(all).await?;
    let slowest = all.into_iter().max_by_key(|healthy| healthy.took);
    let healthy = slowest.unwrap_or(Healthy { attempts: 0, took: Duration::ZERO, status: None });
    if beside_web {
        // A web process is often quicker than a worker is dead.
        let rest = HealthKind::Alive { time: STEADY.saturating_sub(healthy.took) };
        health::wait_healthy(&check(rest), status, || async { Vec::new() }).await?;
    }
    Ok(healthy)
}

/// Until what answers well is of this set: nobody's requests go to whoever was quicker to take the port.
async fn until_ours_answers(
    context: &Context,
    (live, exits, port): (LiveSet, Exits, u16),
    check: &HealthCheck,
    status: &tokio::sync::watch::Receiver<SetStatus>,
) -> Result<Healthy, Unhealthy> {
    let listening = || async {
        let found = context.supervisor.listening_ports(live.set).await;
        found.into_iter().flat_map(|(_, ports)| ports).collect::<Vec<u16>>()
    };
    let until = Instant::now() + check.timeout;
    loop {
        let healthy = health::wait_healthy(check, status.clone(), listening).await?;
        if listening().await.contains(&port) {
            return Ok(healthy);
        }
        // One that is started again may have ended between its answer and this look.
        if exits == Exits::EndTheWait || Instant::now() > until {
            return Err(Unhealthy::SomebodyElse { port });
        }
        tokio::time::sleep(check.interval).await;
    }
}

/// Whether processes that nobody can ask, and that are started again when they end, stay up: the first that does not.
pub async fn stay_up(context: &Context, live: LiveSet) -> Result<(), ProcessName> {
    let restarts = |status: &SetStatus| status.instances.iter().map(|one| one.restarts).collect::<Vec<_>>();
    let events = context.supervisor.events(live.set);
    let before = restarts(&events.borrow());
    tokio::time::sleep(STEADY).await;
    let status = events.borrow();
    let mut each = status.instances.iter().zip(before);
    let fell = each.find(|(one, before)| one.condition != Condition::Running || one.restarts != *before);
    fell.map_or(Ok(()), |(one, _)| Err(one.process.clone()))
}

impl Asked {
    /// `GET /healthz 200` or `the port answers`, of so many web processes; nobody is told that something answers which was
    /// not asked.
    pub fn words(&self, well: &Healthy, asked: usize) -> String {
        let one = match (&self.path, well.status) {
            (Some(path), Some(status)) => format!("GET {path} {status}"),
            (_, _) => "the port answers".to_owned(),
        };
        match asked {
            0 => "no web process to ask".to_owned(),
            1 => one,
            more => format!("{one}, {more} of {more}"),
        }
    }
}
