//! The hidden verb `shim`: one small process for each instance. It is the parent of the application's process, takes its
//! output to the log, and starts it again when it ends; so applications go on, and are looked after, while the server is
//! restarted, replaced or dead. The server's side of it is `super::keeper`.
//!
//! Called by `main` before any thread exists. Standard input is a socket with the `Charge`; standard output is the
//! listening socket of this instance, made by the server so that nobody can look for it too early.

use super::instance::{Instance, Order};
use super::logs::AppLog;
use super::reporting::{self, Reports};
use super::wire::{self, Charge, Report};
use crate::sandbox::Sandbox;
use crate::system::{clock, memory};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{dup2_stdin, dup2_stdout, setsid};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// This program's image, also after its file was replaced.
const SELF: &str = "/proc/self/exe";
/// How long the thread that writes waits for more.
const WRITER_WAITS: Duration = Duration::from_millis(200);

/// Lives until its instance is stopped; the exit code. `socket` is the path of the listening socket.
pub fn run(socket: Option<PathBuf>) -> u8 {
    let begun = begin();
    let result = begun.and_then(|(charge, listener)| {
        // The one other thread writes the log, and is gone while there is nothing to write.
        memory::share_heaps(1);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.max_blocking_threads(1).thread_keep_alive(WRITER_WAITS);
        let runtime = runtime.enable_all().build()?;
        runtime.block_on(serve(charge, listener, socket.as_deref()))
    });
    // Whoever started it sees that nobody answers; there is nobody else to tell.
    u8::from(result.is_err())
}

/// Leaves the server's session and takes over what it gave.
fn begin() -> io::Result<(Charge, net::UnixListener)> {
    // A leader of a process group cannot, and need not.
    let _ = setsid();
    umask(Mode::from_bits_truncate(0o022));
    let given = io::stdin().as_fd().try_clone_to_owned()?;
    let listener = io::stdout().as_fd().try_clone_to_owned()?;
    let nothing: OwnedFd = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    let mut text = Vec::new();
    net::UnixStream::from(given).take(wire::LONGEST).read_to_end(&mut text)?;
    // A server that died while it spoke is not obeyed by half.
    let charge = serde_json::from_slice(&text)?;
    Ok((charge, net::UnixListener::from(listener)))
}

async fn serve(charge: Charge, listener: net::UnixListener, socket: Option<&Path>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let (orders, receiver) = mpsc::unbounded_channel();
    obey_signals(orders.clone())?;
    let before = charge.before;
    let first = Report::starting(clock::now(), charge.restarts);
    let reports = Reports::new(Report { starts: before.starts, failures: before.failures, ..first });
    let sandbox = Sandbox::new(SELF.into(), Arc::new(charge.cgroups.clone()));
    let identity = charge.identity.clone();
    let log = AppLog::open(charge.log.clone());
    let instance = Instance { sandbox, charge, reports: reports.clone(), log, socket: socket.map(Path::to_owned) };
    tokio::select! {
        () = instance.live(receiver) => {}
        () = reporting::serve(listener, identity, reports, orders) => {}
    }
    // Its last report is on its way to whoever listens.
    tokio::task::yield_now().await;
    if let Some(socket) = socket {
        let _ = std::fs::remove_file(socket);
    }
    Ok(())
}

/// A service manager stops it as it stops everything else.
fn obey_signals(orders: mpsc::UnboundedSender<Order>) -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    for ignored in [SignalKind::interrupt(), SignalKind::hangup()] {
        let mut signals = signal(ignored)?;
        tokio::spawn(async move { while signals.recv().await.is_some() {} });
    }
    tokio::spawn(async move {
        while term.recv().await.is_some() {
            let _ = orders.send(Order::Stop);
        }
    });
    Ok(())
}
