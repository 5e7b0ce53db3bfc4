//! The server's end of the conversation with one shim: a shim is started or found, asked, heard, and its end is noticed.
//! When a shim is needed is `super::keeper`'s to say.

use super::wire::{self, Asked, Charge, Crash, Identity, Line, Report, Told};
use crate::model::Exit;
use crate::system::{Cgroups, Group};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// How long a shim may take to say who it is; a machine under load starts programs slowly.
const GREETING: Duration = Duration::from_secs(20);
/// How long what was killed may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// Who starts shims, and where they listen.
#[derive(Clone)]
pub struct Starter {
    /// This program.
    pub program: PathBuf,
    /// Holds one socket for each instance; root's alone.
    pub directory: PathBuf,
    pub cgroups: Cgroups,
}

/// A question that is not answered yet. Shims answer in turn.
pub enum Question {
    Ports(oneshot::Sender<Vec<u16>>),
    Recent(usize, oneshot::Sender<Vec<Line>>),
    Crashed(oneshot::Sender<Option<Crash>>),
}

/// A connection to a shim that said who it is.
pub struct Link {
    pub identity: Identity,
    pub first: Report,
    pid: Option<i32>,
    /// When we started it.
    child: Option<Child>,
    told: Lines<BufReader<OwnedReadHalf>>,
    asks: OwnedWriteHalf,
    questions: VecDeque<Question>,
}

impl Starter {
    fn socket(&self, identity: &Identity) -> PathBuf {
        self.directory.join(format!("{}.{}", identity.set, identity.position))
    }

    /// Starts a shim. The socket is there before the shim is, so that whoever comes after us finds it.
    ///
    /// # Errors
    /// [`Exit::NotStarted`].
    pub async fn start(&self, charge: &Charge) -> Result<Link, Exit> {
        let socket = self.socket(&charge.identity);
        let started = self.spawn(charge, &socket).await;
        started.map_err(|error| {
            let _ = std::fs::remove_file(&socket);
            Exit::NotStarted(format!("its shim: {error}"))
        })
    }

    async fn spawn(&self, charge: &Charge, socket: &Path) -> io::Result<Link> {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = net::UnixListener::bind(socket)?;
        let (ours, theirs) = net::UnixStream::pair()?;
        let mut command = Command::new(&self.program);
        command.arg("shim").arg(socket).env_clear().current_dir("/").stderr(Stdio::null());
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::from(OwnedFd::from(listener)));
        let child = command.spawn()?;
        // It holds our ends of both; the command holds theirs.
        drop(command);
        ours.set_nonblocking(true)?;
        let mut ours = UnixStream::from_std(ours)?;
        let text = serde_json::to_vec(charge)?;
        let greeted = async {
            ours.write_all(&text).await?;
            ours.shutdown().await?;
            greet(socket).await
        };
        let mut link = in_time(greeted).await?;
        link.child = Some(child);
        Ok(link)
    }

    /// Connects to every shim that lives, older sets first; what nobody listens at any more is removed.
    pub async fn find(&self) -> io::Result<Vec<Link>> {
        let mut sockets = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            sockets.push(entry?.path());
        }
        let met = sockets.into_iter().map(|socket| async move {
            match in_time(greet(&socket)).await {
                Ok(link) if self.socket(&link.identity) == socket => Some(link),
                Ok(_) | Err(_) => {
                    let _ = std::fs::remove_file(&socket);
                    None
                }
            }
        });
        let mut found: Vec<Link> = futures_util::future::join_all(met).await.into_iter().flatten().collect();
        found.sort_by_key(|link| (link.identity.set, link.identity.position));
        Ok(found)
    }

    /// Ends whatever is left of an instance whose shim is gone.
    pub async fn clear(&self, identity: &Identity) {
        let prefix = identity.group_prefix();
        let groups = self.cgroups.leftovers().into_iter().filter(|name| name.starts_with(&prefix));
        futures_util::future::join_all(groups.map(|name| end(self.cgroups.group(&name)))).await;
        let _ = std::fs::remove_file(self.socket(identity));
    }
}

/// Kills a group and takes it away.
pub async fn end(group: Group) {
    if group.kill().is_ok() && group.wait_empty(GONE).await {
        let _ = group.remove();
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(GREETING, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn greet(socket: &Path) -> io::Result<Link> {
    let stream = UnixStream::connect(socket).await?;
    let pid = stream.peer_cred()?.pid();
    let (reader, asks) = stream.into_split();
    let mut told = BufReader::new(reader).lines();
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "it speaks another language");
    let Some(Told::Hello(identity)) = next(&mut told).await? else { return Err(strange()) };
    let Some(Told::Now(first)) = next(&mut told).await? else { return Err(strange()) };
    Ok(Link { identity, first, pid, child: None, told, asks, questions: VecDeque::new() })
}

/// The next message; `None` at the end.
async fn next(told: &mut Lines<BufReader<OwnedReadHalf>>) -> io::Result<Option<Told>> {
    while let Some(line) = told.next_line().await? {
        // What a later program says beyond what we know is passed over.
        if let Ok(told) = serde_json::from_str(&line) {
            return Ok(Some(told));
        }
    }
    Ok(None)
}

impl Link {
    /// How the instance is, whenever that changes; `None` when the shim is gone. Answers go to those who asked.
    pub async fn report(&mut self) -> Option<Report> {
        loop {
            match next(&mut self.told).await.ok()?? {
                Told::Now(report) => return Some(report),
                Told::Hello(_) => {}
                Told::Ports(ports) => {
                    if let Some(Question::Ports(answer)) = self.questions.pop_front() {
                        let _ = answer.send(ports);
                    }
                }
                Told::Crashed(crash) => {
                    if let Some(Question::Crashed(answer)) = self.questions.pop_front() {
                        let _ = answer.send(crash);
                    }
                }
                Told::Recent(lines) => {
                    if let Some(Question::Recent(_, answer)) = self.questions.pop_front() {
                        let _ = answer.send(lines);
                    }
                }
            }
        }
    }

    pub async fn order(&mut self, asked: Asked) {
        // A shim that is gone is noticed by its silence.
        let _ = self.asks.write_all(&wire::line(&asked)).await;
    }

    pub async fn ask(&mut self, question: Question) {
        let asked = match &question {
            Question::Ports(_) => Asked::Ports,
            Question::Recent(lines, _) => Asked::Recent(*lines),
            Question::Crashed(_) => Asked::Crashed,
        };
        self.questions.push_back(question);
        self.order(asked).await;
    }

    /// SIGKILL to the shim itself.
    pub fn kill(&self) {
        if let Some(pid) = self.pid {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Waits for the end of a shim that has said its last word.
    pub async fn bury(self) {
        if let Some(mut child) = self.child {
            drop((self.told, self.asks));
            if tokio::time::timeout(GONE, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }
}
