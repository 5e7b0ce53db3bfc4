//! The hidden verb `router-process`: the router as a process of its own. It has its sockets and settings from the server
//! that started it, leaves that server's session, becomes an unprivileged user, and reads its routes from the snapshot.
//! From then on it needs nobody: servers come and go on its control socket.
//!
//! Called by `main` before any thread or runtime exists. What it does for a server is `control`'s.

use super::board::Board;
use super::certificates::Certificates;
use super::challenges::Challenges;
use super::connection::Ending;
use super::control::{Control, Held};
use super::server::{Listeners, Server};
use super::snapshot;
use super::wire::{Answer, Message, Role, Start};
use crate::system::{passing, powers};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{chdir, dup2_stderr, setsid};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// What a router's process has before it serves.
struct Begun {
    start: Start,
    sockets: BTreeMap<Role, OwnedFd>,
    server: UnixStream,
}

/// Routes until it is told to end; returns the exit code.
pub fn run() -> i32 {
    match begin() {
        Ok(begun) => match serve(begun) {
            Ok(()) => 0,
            Err(error) => {
                tracing::error!(%error, "the router ends");
                1
            }
        },
        Err(_) => 1,
    }
}

/// Up to becoming the user; what stands in the way is told to the server.
fn begin() -> io::Result<Begun> {
    let mut server = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let begun = take_over(&mut server);
    match begun {
        Ok((start, sockets)) => Ok(Begun { start, sockets, server }),
        Err(error) => {
            let text = serde_json::to_vec(&Message { id: 1, body: Answer::Refused(error.to_string()) })?;
            server.write_all(&u32::try_from(text.len()).unwrap_or(0).to_be_bytes())?;
            server.write_all(&text)?;
            Err(error)
        }
    }
}

fn take_over(server: &mut UnixStream) -> io::Result<(Start, BTreeMap<Role, OwnedFd>)> {
    let mut length = [0; 4];
    server.read_exact(&mut length)?;
    let mut text = vec![0; u32::from_be_bytes(length) as usize];
    server.read_exact(&mut text)?;
    let Message::<Start> { body: start, .. } = serde_json::from_slice(&text)?;
    let sockets = start.sockets.iter().copied().zip(passing::receive(&*server)?).collect();
    setsid()?;
    raise_open_files()?;
    // Others may not enter the directory above; whoever stands in this one already needs no way to it.
    let place = start.log.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    chdir(place)?;
    powers::become_user(start.user)?;
    let mut log = OpenOptions::new();
    let log = log.create(true).append(true).mode(0o640).open(Path::new(start.log.file_name().unwrap_or_default()))?;
    dup2_stderr(log)?;
    let filter = tracing_subscriber::EnvFilter::try_new(&start.log_filter)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).init();
    Ok((start, sockets))
}

/// As many as root allows: two for each request under way.
fn raise_open_files() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

fn serve(begun: Begun) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(route(begun));
    // Nothing that is left over may keep the process.
    runtime.shutdown_background();
    ended
}

async fn route(begun: Begun) -> io::Result<()> {
    let Begun { start, sockets, server } = begun;
    let board = board_of(&start.snapshot);
    let (certificates, challenges) = (Certificates::default(), Challenges::default());
    certificates.replace(&start.certificates);
    let listeners = Listeners {
        http: tcp(&sockets, Role::Http)?,
        https: tcp(&sockets, Role::Https).ok(),
        admin: tcp(&sockets, Role::Admin).ok(),
    };
    let held = Held {
        http: listeners.http.local_addr()?,
        https: listeners.https.as_ref().and_then(|listener| listener.local_addr().ok()),
        admin: listeners.admin.as_ref().and_then(|listener| listener.local_addr().ok()),
    };
    let control_socket = sockets.get(&Role::Control).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let doors = UnixListener::from(control_socket.try_clone()?);
    doors.set_nonblocking(true)?;
    let doors = tokio::net::UnixListener::from_std(doors)?;
    let mut config = start.config.clone();
    config.access_log = config.access_log.and_then(|path| path.file_name().map(PathBuf::from));
    // The port that was really taken, for redirects.
    config.https = held.https;
    let (control, told) =
        Control::new((board.clone(), certificates.clone(), challenges.clone()), start, (held, sockets));
    server.set_nonblocking(true)?;
    tokio::spawn(Arc::clone(&control).converse(tokio::net::UnixStream::from_std(server)?));
    tokio::spawn(Arc::clone(&control).receive(doors));
    let mut term = signal(SignalKind::terminate())?;
    tracing::info!(pid = std::process::id(), "routing");
    let ending = async {
        tokio::select! {
            how = told => how.unwrap_or(Ending::Now),
            _ = term.recv() => Ending::Politely,
        }
    };
    let served = Server::new(config, listeners, (board, challenges, certificates)).serve(ending).await;
    tracing::info!(pid = std::process::id(), "drained");
    served
}

/// The routes as the last server wrote them.
fn board_of(snapshot: &Path) -> Board {
    let board = Board::default();
    match snapshot::read(snapshot) {
        Ok(table) => board.replace(table),
        Err(error) => tracing::error!(%error, "the snapshot cannot be read; waiting for a server"),
    }
    board
}

fn tcp(sockets: &BTreeMap<Role, OwnedFd>, role: Role) -> io::Result<tokio::net::TcpListener> {
    let socket = sockets.get(&role).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let listener = std::net::TcpListener::from(socket.try_clone()?);
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}
