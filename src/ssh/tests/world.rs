//! A door with a toy reception on a free port, keys made by ssh-keygen, and commands for the real client.

use crate::model::actor::Rank;
use crate::model::{Actor, Door as Way};
use crate::ssh::{Channel, Departure, FirstStart, PresentedKey, Reception, Request, SshConfig, bind, keys};
use bytes::Bytes;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub struct World {
    place: tempfile::TempDir,
    pub address: SocketAddr,
    pub toy: Arc<Toy>,
    departures: Mutex<mpsc::Receiver<Departure>>,
    runtime: Option<tokio::runtime::Runtime>,
    close: Mutex<Option<oneshot::Sender<()>>>,
    door: JoinHandle<()>,
}

/// Knows one key; serves a few words.
pub struct Toy {
    known: keys::PublicKeyRecord,
    departed: mpsc::Sender<Departure>,
    pub recognised: Mutex<Vec<String>>,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(adjust: impl FnOnce(&mut SshConfig)) -> Self {
        Self::with_key(&["-t", "ed25519"], adjust)
    }

    /// `kind` is what ssh-keygen makes the known key from.
    pub fn with_key(kind: &[&str], adjust: impl FnOnce(&mut SshConfig)) -> Self {
        let place = tempfile::tempdir().unwrap();
        keygen(&place.path().join("known"), kind);
        keygen(&place.path().join("stranger"), &["-t", "ed25519"]);
        let line = std::fs::read_to_string(place.path().join("known.pub")).unwrap();
        let (departed, departures) = mpsc::channel();
        let known = keys::parse_public_key(&line).unwrap();
        let toy = Arc::new(Toy { known, departed, recognised: Mutex::default() });
        let mut config = SshConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            grace: Duration::from_secs(20),
            max_unauthenticated: 100,
            max_unauthenticated_per_source: 8,
            max_channels: 10,
            keepalive: Duration::from_secs(15),
            projects_root: "/srv/projects".into(),
            host_key: place.path().join("host_key"),
        };
        adjust(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let door = runtime.block_on(bind(config, FirstStart::Yes)).unwrap();
        let address = door.local_addr();
        let (close, closed) = oneshot::channel();
        let shutdown = async move { closed.await.unwrap_or(()) };
        let door = runtime.spawn(door.serve(toy.clone(), shutdown));
        let (departures, close) = (Mutex::new(departures), Mutex::new(Some(close)));
        Self { place, address, toy, departures, runtime: Some(runtime), close, door }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub fn ssh(&self, options: &[&str], command: &[&str]) -> Command {
        self.ssh_as("known", "commis", options, command)
    }

    pub fn ssh_as(&self, key: &str, user: &str, options: &[&str], command: &[&str]) -> Command {
        let mut ssh = Command::new("timeout");
        // The first of two settings counts, so that options can override what follows.
        ssh.args(["60", "ssh", "-F", "/dev/null"]).args(options);
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]);
        ssh.args(["-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-p"]).arg(self.address.port().to_string());
        ssh.arg("-i").arg(self.path(key));
        ssh.arg(format!("{user}@127.0.0.1")).args(command).stdin(Stdio::null()).env_remove("SSH_AUTH_SOCK");
        ssh
    }

    /// Next news of a client that left while `wait` was served.
    pub fn departure(&self) -> Departure {
        self.departures.lock().unwrap().recv_timeout(Duration::from_secs(30)).unwrap()
    }

    /// Begins to close the door.
    pub fn close(&self) {
        self.close.lock().unwrap().take().unwrap().send(()).unwrap();
    }

    pub fn is_closed(&self) -> bool {
        self.door.is_finished()
    }

    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = self.runtime.as_ref().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), work).await.unwrap() })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub fn keygen(file: &Path, arguments: &[&str]) {
    let done = Command::new("ssh-keygen").args(["-q", "-N", "", "-f"]).arg(file).args(arguments).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// Runs a command with this on its standard input.
pub fn feed(mut command: Command, input: Vec<u8>) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // The server may not want it all.
    let feeder = std::thread::spawn(move || drop(std::io::Write::write_all(&mut stdin, &input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

/// Starts a command and waits for its first line.
pub fn started(mut command: Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    assert_eq!(line, "waiting\n");
    child
}

/// Ends a client, whose `timeout` passes the signal on.
pub fn signal(child: &mut Child, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
    child.wait().unwrap();
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Reception for Toy {
    async fn knows(&self, key: &PresentedKey) -> bool {
        key.blob == self.known.blob
    }

    async fn recognise(&self, key: &PresentedKey) -> Option<Actor> {
        self.recognised.lock().unwrap().push(key.fingerprint.clone());
        let fingerprint = Some(key.fingerprint.clone());
        let actor = Actor { name: "ada".into(), fingerprint, rank: Rank::Admin, door: Way::Ssh };
        (key.blob == self.known.blob).then_some(actor)
    }

    async fn serve(&self, actor: Actor, request: Request, mut channel: Channel) -> u32 {
        match request {
            Request::Verb(words) => self.verb(&words, channel).await,
            other => {
                let said = format!("{} {other:?}\n", actor.name);
                channel.stdout.write_all(said.as_bytes()).await.unwrap();
                0
            }
        }
    }
}

fn seat(channel: &Channel) -> String {
    channel.terminal.as_ref().map_or("none\n".to_owned(), |seat| {
        let window = *seat.window.borrow();
        format!("{} {}x{}\n", seat.name, window.columns, window.rows)
    })
}

impl Toy {
    async fn verb(&self, words: &[String], mut channel: Channel) -> u32 {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["echo", rest @ ..] => channel.stdout.write_all(format!("{}\n", rest.join(" ")).as_bytes()).await.unwrap(),
            ["both"] => {
                channel.stderr.write_all(b"err").await.unwrap();
                channel.stdout.send(Bytes::from_static(b"out")).await.unwrap();
            }
            ["seat"] => channel.stdout.write_all(seat(&channel).as_bytes()).await.unwrap(),
            ["exit", status] => return status.parse().unwrap(),
            ["panic"] => panic!("as asked"),
            ["cat"] => drop(tokio::io::copy(&mut channel.stdin, &mut channel.stdout).await),
            ["deaf", bytes] => {
                // stdin stays open and unread
                let chunk = Bytes::from(vec![b'x'; bytes.parse::<usize>().unwrap() / 100]);
                for _ in 0..100 {
                    channel.stdout.send(chunk.clone()).await.unwrap();
                }
            }
            ["late"] => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                drop(tokio::io::copy(&mut channel.stdin, &mut channel.stdout).await);
            }
            ["wait"] => {
                channel.stdout.write_all(b"waiting\n").await.unwrap();
                self.departed.send(channel.gone.wait().await).unwrap();
                let mut rest = Vec::new();
                // A truncated input must not look like a whole one.
                assert!(channel.stdin.read_to_end(&mut rest).await.is_err());
                assert!(channel.stdout.write_all(b"x").await.is_err());
            }
            _ => return 64,
        }
        0
    }
}
