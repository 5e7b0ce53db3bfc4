//! Opening the doors, announcing them, and closing them in reverse order.

use super::reception::Desk;
use super::routing;
use crate::config::{self, ServerConfig};
use crate::git::HookListener;
use crate::layouts::Places;
use crate::model::Failure;
use crate::operations::{Addresses, Platform, Recovered, Recovery};
use crate::ssh::{self, SshConfig};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long requests under way may go on when the server ends.
const TRAFFIC_TIME: Duration = Duration::from_secs(8);

/// Everything that listens.
pub struct Doors {
    pub ssh: ssh::Door,
    pub hook: HookListener,
    pub control: UnixListener,
}

impl Doors {
    /// Where they really listen.
    pub fn addresses(&self, http: SocketAddr) -> Addresses {
        Addresses {
            ssh: self.ssh.local_addr(),
            http,
            host_key: self.ssh.host_key_line(),
            host_key_fingerprint: self.ssh.host_key_fingerprint(),
        }
    }
}

pub fn ssh_config(config: &ServerConfig, places: &Places) -> SshConfig {
    SshConfig {
        listen: config.ssh.listen,
        grace: config.ssh.grace,
        max_unauthenticated: config.ssh.max_unauthenticated as usize,
        max_unauthenticated_per_source: config.ssh.max_unauthenticated_per_source as usize,
        max_channels: config.ssh.max_channels as usize,
        keepalive: config.ssh.keepalive,
        projects_root: places.projects.clone(),
        host_key: places.host_key(),
    }
}

/// Serves, recovers meanwhile, and returns after a drain.
pub async fn serve(platform: Platform, doors: Doors, config_file: Option<PathBuf>) -> Result<(), Failure> {
    let served = serve_open(platform.clone(), doors, config_file).await;
    if served.is_err() {
        platform.router().shut_down(TRAFFIC_TIME).await;
    }
    served
}

async fn serve_open(platform: Platform, doors: Doors, config_file: Option<PathBuf>) -> Result<(), Failure> {
    let recovery = platform.begin_recovery()?;
    let (stop, stopped) = watch::channel(Phase::Open);
    let until = |phase: Phase| {
        let mut stopped = stopped.clone();
        async move {
            let _ = stopped.wait_for(|now| *now >= phase).await;
        }
    };
    let reception = Arc::new(Desk::new(platform.clone()));
    let ssh = tokio::spawn(doors.ssh.serve(reception, until(Phase::NoNewWork)));
    let control = tokio::spawn(crate::api::server::serve(doors.control, platform.clone(), until(Phase::NoNewWork)));
    let hook = tokio::spawn(hooks(doors.hook, platform.clone()));
    let house = tokio::spawn(platform.clone().keep_house());
    let time = tokio::spawn(platform.clone().keep_time());
    announce(&platform);
    tokio::spawn(recover(platform.clone(), recovery));
    let end = wait_for_end(&platform, config_file).await?;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("draining");
    let _ = stop.send(Phase::NoNewWork);
    let _drained = platform.drain().await;
    end_what_runs(&platform, end).await;
    hook.abort();
    house.abort();
    time.abort();
    let grace = tokio::time::sleep(std::time::Duration::from_secs(5));
    tokio::pin!(grace);
    tokio::select! {
        _ = async { let _ = tokio::join!(ssh, control); } => {}
        () = &mut grace => tracing::info!("connections were still open at the end"),
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// Running deployments end; applications still answer.
    NoNewWork,
}

async fn hooks(listener: HookListener, platform: Platform) {
    loop {
        match listener.accept().await {
            Ok(conversation) => {
                let platform = platform.clone();
                tokio::spawn(async move { platform.handle_push(conversation).await });
            }
            Err(error) => {
                tracing::warn!(%error, "a git hook could not be heard");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

/// What an earlier life left unfinished, while the doors are open; says what it did, and when all is done.
async fn recover(platform: Platform, recovery: Recovery) {
    let began = std::time::Instant::now();
    let report = platform.recover(recovery).await;
    for Recovered { project, what } in &report {
        tracing::info!(%project, "recovered: {what}");
        say(&format!("commis: recovered {project}: {what}"));
    }
    say(&format!("commis: recovery over in {:.1} s", began.elapsed().as_secs_f64()));
}

/// One line for scripts and for the service manager's log. Nobody may be reading.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// The one line that scripts wait for.
fn announce(platform: &Platform) {
    let addresses = platform.addresses();
    say(&format!("commis: ready ssh={} http={}", addresses.ssh, addresses.http));
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

/// What ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// This server; another one will go on with the applications.
    OfServer,
    OfEverything,
}

/// Applications and their traffic end, or are left to the next server.
async fn end_what_runs(platform: &Platform, end: End) {
    platform.end_one_offs().await;
    match end {
        End::OfServer => platform.router().leave().await,
        End::OfEverything => {
            platform.router().shut_down(TRAFFIC_TIME).await;
            platform.stop_applications().await;
        }
    }
}

/// SIGTERM and SIGINT end the wait, SIGHUP reloads.
async fn wait_for_end(platform: &Platform, file: Option<PathBuf>) -> Result<End, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::internal("listen for signals", &error));
    let (mut term, mut int, mut hup) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(End::OfServer),
            _ = int.recv() => return Ok(End::OfEverything),
            _ = hup.recv() => match config::load(file.as_deref()) {
                Ok(config) => {
                    tracing::info!("configuration read again");
                    let settings = routing::settings(&config, platform.places());
                    let certificates = routing::certificates(&config);
                    platform.reload(config);
                    if let Err(failure) = platform.router().reconfigure(settings, certificates).await {
                        tracing::error!("the router keeps its settings: {failure}");
                    }
                }
                Err(failure) => tracing::error!("configuration not taken: {failure}"),
            },
        }
    }
}
