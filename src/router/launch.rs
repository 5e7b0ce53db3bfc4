//! Starting a router's process, finding one that runs, and letting one take over from another. Sockets are bound here,
//! by root, and handed over; this server keeps them open too, so that connections wait while no router is there.

use super::acme::AcmePlan;
use super::board::Drained;
use super::certificate_files::{self, CertificateFiles};
use super::link::Link;
use super::settings::RouterConfig;
use super::wire::{self, Answer, Order, Role, Start, Welcome};
use crate::model::{Code, Failure};
use crate::system::{UserIds, files, passing};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::process::Child;

const START_TIME: Duration = Duration::from_secs(20);
const HELLO_TIME: Duration = Duration::from_secs(5);

/// What a router is started from.
#[derive(Clone, Debug)]
pub struct Plan {
    pub config: RouterConfig,
    /// The program that has the verb `router-process`: this one.
    pub program: PathBuf,
    /// Which program that is: a router of another one is replaced.
    pub build: String,
    /// Unprivileged, and nobody else's.
    pub user: UserIds,
    pub socket: PathBuf,
    pub snapshot: PathBuf,
    pub log: PathBuf,
    pub log_filter: String,
    pub certificates: Vec<CertificateFiles>,
    pub acme: Option<AcmePlan>,
}

impl Plan {
    /// Those of the admin, and those that were obtained.
    pub fn all_certificates(&self) -> Vec<CertificateFiles> {
        let obtained = self.acme.iter().flat_map(|acme| certificate_files::below(&acme.store));
        self.certificates.iter().cloned().chain(obtained).collect()
    }
}

/// A router that runs, and its sockets.
pub struct Launched {
    pub link: Link,
    pub pid: u32,
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
    config: RouterConfig,
    sockets: BTreeMap<Role, OwnedFd>,
    /// When this server started it.
    child: Option<Child>,
}

/// A router that was replaced and still has something to do.
pub struct Retired {
    pub link: Link,
    /// Where servers that come later find it.
    socket: PathBuf,
}

impl Retired {
    /// Its place goes with it.
    pub fn is_there(&self) -> bool {
        if self.link.is_gone() {
            let _ = fs::remove_file(&self.socket);
        }
        !self.link.is_gone()
    }
}

/// The router that is there when it is the one that is wanted, else a new one; and those that were replaced.
pub async fn find_or_start(plan: &Plan) -> Result<(Launched, Vec<Retired>), Failure> {
    let (found, mut retired) = look(plan).await;
    let Some(found) = found else {
        let sockets = bind_all(plan, None)?;
        return Ok((start(plan, sockets).await?, retired));
    };
    let (found, build) = found;
    if build == plan.build && found.config == plan.config {
        tracing::info!(pid = found.pid, "the router that runs is used");
        return Ok((found, retired));
    }
    let next = take_over(plan, &found).await?;
    retired.extend(found.retire(plan).await);
    Ok((next, retired))
}

/// Starts a router with the sockets of another one, which goes on until it is told to retire.
pub async fn take_over(plan: &Plan, old: &Launched) -> Result<Launched, Failure> {
    let aside = aside(plan, old.pid);
    // It may have lost its place before; then nobody finds it but us.
    let _ = fs::rename(&plan.socket, &aside);
    let started = match bind_all(plan, Some(old)) {
        Ok(sockets) => start(plan, sockets).await,
        Err(failure) => Err(failure),
    };
    if started.is_err() {
        let _ = fs::rename(&aside, &plan.socket);
    }
    started
}

/// Where a router is found that another one stands in the place of.
fn aside(plan: &Plan, pid: u32) -> PathBuf {
    let mut name = plan.socket.as_os_str().to_owned();
    name.push(format!(".{pid}"));
    name.into()
}

/// Drains at every router that may have requests.
pub async fn drain(links: Vec<Link>, order: Order) -> Drained {
    let asked = links.iter().map(|link| link.ask(order.clone()));
    let replies = futures_util::future::join_all(asked).await;
    replies.into_iter().flatten().fold(Drained::default(), |all, reply| match reply.answer {
        Answer::Drained(one) => Drained {
            requests_left: all.requests_left + one.requests_left,
            tunnels_closed: all.tunnels_closed + one.tunnels_closed,
        },
        _ => all,
    })
}

impl Launched {
    /// Another one on the same sockets, after this one died.
    pub async fn again(&mut self, plan: &Plan) -> Result<Launched, Failure> {
        if let Some(child) = &mut self.child {
            // It is gone or deaf; its place is needed either way.
            let _ = child.kill().await;
        }
        let sockets = bind_all(plan, Some(self))?;
        start(plan, sockets).await
    }

    /// Tells it to end without anybody noticing. `Some`: it still has something to do.
    pub async fn retire(self, plan: &Plan) -> Option<Retired> {
        tracing::info!(pid = self.pid, "the router is replaced");
        let socket = aside(plan, self.pid);
        let Self { link, child, .. } = self;
        if let Some(mut child) = child {
            tokio::spawn(async move { child.wait().await });
        }
        tokio::time::timeout(HELLO_TIME, link.ask(Order::Retire)).await.ok().flatten().map(|_| Retired { link, socket })
    }

    /// Ends it for good, with everything it does after `limit`. New connections are refused at once.
    pub async fn end(&mut self, limit: Duration) {
        let Self { link, pid, sockets, child, .. } = self;
        sockets.clear();
        let _ = tokio::time::timeout(HELLO_TIME, link.ask(Order::End)).await;
        if tokio::time::timeout(limit, link.gone()).await.is_err() {
            tracing::warn!(pid, "the router did not end in time");
            let _ = i32::try_from(*pid).map(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL));
        }
        if let Some(child) = child {
            let _ = tokio::time::timeout(HELLO_TIME, child.wait()).await;
        }
    }
}

/// The directories of the snapshot and of the logs; only the latter are the router's own.
pub fn prepare_places(plan: &Plan) -> Result<(), files::FileError> {
    if let Some(directory) = plan.snapshot.parent() {
        files::create_directory(directory, 0o710, Some(UserIds { uid: 0, gid: plan.user.gid }))?;
    }
    match plan.log.parent() {
        Some(directory) => files::create_directory(directory, 0o750, Some(plan.user)),
        None => Ok(()),
    }
}

/// The router in its place, if there is one, and those that were replaced.
async fn look(plan: &Plan) -> (Option<(Launched, String)>, Vec<Retired>) {
    let mut found = find(&plan.socket).await;
    let mut retired = Vec::new();
    for socket in asides(plan) {
        match find(&socket).await {
            // Its server ended before another one was in its place.
            Some(left) if found.is_none() && !left.0.sockets.is_empty() => {
                let _ = fs::rename(&socket, &plan.socket);
                found = Some(left);
            }
            // Told once more: its server may have ended before it could.
            Some((left, _)) => retired.extend(left.retire(plan).await),
            None => drop(fs::remove_file(&socket)),
        }
    }
    (found, retired)
}

fn asides(plan: &Plan) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (plan.socket.parent(), plan.socket.file_name()) else { return Vec::new() };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).map(|entry| entry.path()).collect()
}

/// The router at a socket, if one answers there. Only root can have made the socket.
async fn find(socket: &Path) -> Option<(Launched, String)> {
    let stream = UnixStream::connect(socket).await.ok()?;
    if stream.peer_cred().ok()?.uid() != 0 {
        return None;
    }
    let link = Link::new(stream);
    let welcome = greet(&link, HELLO_TIME).await.ok()?;
    let given = tokio::time::timeout(HELLO_TIME, link.ask(Order::Sockets)).await.ok().flatten()?;
    let Answer::Sockets(roles) = given.answer else { return None };
    let sockets = roles.into_iter().zip(given.descriptors).collect();
    let Welcome { build, config, pid, http, https, .. } = welcome;
    Some((Launched { link, pid, http, https, config, sockets, child: None }, build))
}

async fn greet(link: &Link, patience: Duration) -> Result<Welcome, String> {
    match tokio::time::timeout(patience, link.ask(Order::Hello)).await {
        Ok(Some(reply)) => match reply.answer {
            Answer::Welcome(welcome) => Ok(*welcome),
            Answer::Refused(why) => Err(why),
            _ => Err("it says something else".into()),
        },
        Ok(None) => Err("it ended at once".into()),
        Err(_) => Err("it does not answer".into()),
    }
}

/// Every socket of the plan: those of `old` where they are the same, new ones else.
fn bind_all(plan: &Plan, old: Option<&Launched>) -> Result<BTreeMap<Role, OwnedFd>, Failure> {
    let asked = |config: &RouterConfig| {
        [
            (Role::Http, "router.http", Some(config.listen)),
            (Role::Https, "router.https", config.https),
            (Role::Admin, "router.admin", config.admin),
        ]
    };
    let before = old.map(|old| asked(&old.config));
    let mut sockets = BTreeMap::new();
    for (role, key, address) in asked(&plan.config) {
        let Some(address) = address else { continue };
        let same = before.as_ref().is_some_and(|before| before.contains(&(role, key, Some(address))));
        let kept = old.filter(|_| same).and_then(|old| old.sockets.get(&role));
        let socket = match kept {
            Some(kept) => kept.try_clone().map_err(|error| Failure::internal("keep a socket", &error))?,
            None => listen(key, address)?,
        };
        sockets.insert(role, socket);
    }
    sockets
        .insert(Role::Control, control(plan).map_err(|error| Failure::internal("bind the router's socket", &error))?);
    Ok(sockets)
}

fn listen(key: &str, address: SocketAddr) -> Result<OwnedFd, Failure> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(OwnedFd::from(listener))
    });
    bound.map_err(|error| {
        Failure::new(Code::ServerConfig, format!("{key}: cannot listen on {address}: {error}"))
            .hint("another program has the port; choose another one, or 0 for a free one")
    })
}

/// In the place of the one before, whose router has other connections to its server.
fn control(plan: &Plan) -> io::Result<OwnedFd> {
    match fs::remove_file(&plan.socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = std::os::unix::net::UnixListener::bind(&plan.socket)?;
    fs::set_permissions(&plan.socket, Permissions::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    Ok(OwnedFd::from(socket))
}

async fn start(plan: &Plan, sockets: BTreeMap<Role, OwnedFd>) -> Result<Launched, Failure> {
    let failed = |what: String| {
        Failure::new(Code::Internal, format!("the router does not start: {what}"))
            .hint(format!("its own log is {}", plan.log.display()))
    };
    let (child, stream) = spawn(plan).map_err(|error| failed(error.to_string()))?;
    let order = Start {
        config: plan.config.clone(),
        user: plan.user,
        snapshot: plan.snapshot.clone(),
        log: plan.log.clone(),
        log_filter: plan.log_filter.clone(),
        build: plan.build.clone(),
        certificates: certificate_files::read(&plan.all_certificates()),
        sockets: sockets.keys().copied().collect(),
    };
    let stream = hand_over(stream, order, &sockets).await.map_err(|error| failed(error.to_string()))?;
    let link = Link::new(stream);
    let welcome = greet(&link, START_TIME).await.map_err(failed)?;
    let Welcome { pid, http, https, config, .. } = welcome;
    tracing::info!(pid, %http, "a router is started");
    Ok(Launched { link, pid, http, https, config, sockets, child: Some(child) })
}

/// As for `sandbox-init`: it may not lead a process group, so that it can leave the session.
fn spawn(plan: &Plan) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = tokio::process::Command::new(&plan.program);
    command.arg0("commis").arg("router-process").arg(&plan.socket).env_clear().current_dir("/");
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null());
    Ok((command.kill_on_drop(false).spawn()?, UnixStream::from_std(ours)?))
}

async fn hand_over(mut stream: UnixStream, order: Start, sockets: &BTreeMap<Role, OwnedFd>) -> io::Result<UnixStream> {
    wire::write(&mut stream, 0, order).await?;
    let borrowed: Vec<_> = sockets.values().map(AsFd::as_fd).collect();
    stream.async_io(Interest::WRITABLE, || passing::send(&stream, &borrowed)).await?;
    Ok(stream)
}
