//! A process that was started and everything it started in turn: its output, its end, its signals, its removal.
//! Starting is [`super::Sandbox`]'s.

use super::lines::LineCutter;
use super::{Stream, ports};
use crate::model::Exit;
use crate::system::Group;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::sync::mpsc;

/// Lines that wait for a reader before the process has to wait.
const LINES_WAITING: usize = 1024;
/// Pieces of bytes that wait at most, and how large one is.
const PIECES_WAITING: usize = 16;
const PIECE: usize = 32 * 1024;
/// How long a killed group may take to be empty before it is killed again, and how often.
const EMPTY_WITHIN: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 5;

/// Who gets a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whom {
    /// The main process and its process group.
    MainGroup,
    /// Every process of the cgroup.
    Everyone,
}

/// How what a program writes reaches its reader.
pub(super) enum Flow {
    /// Line by line.
    Lines,
    /// As it comes, from its two pipes.
    Bytes,
    /// As it comes, from its terminal.
    Terminal(pipe::Receiver),
}

/// Something that runs. Dropping it kills everything and removes the cgroup in the background; [`Running::finish`]
/// waits for that.
pub struct Running {
    /// Of the main process, which leads a session and a process group of this number.
    pub pid: u32,
    /// Lines (or pieces of bytes, as was asked) as they come; ends when nobody can write any more. Unread lines make the process wait.
    pub output: mpsc::Receiver<(Stream, Vec<u8>)>,
    main: Main,
    ground: Ground,
    handover: Option<(UnixStream, Vec<u8>)>,
}

impl Running {
    /// `handover` is our end of the job's standard input and what to write there.
    pub(super) fn new(
        mut child: Child,
        group: Group,
        memory: Option<u64>,
        (handover, flow): ((UnixStream, Vec<u8>), Flow),
    ) -> Self {
        let output = flow.begin(&mut child);
        let pid = child.id().unwrap_or(0);
        let main = Main { child, group: group.clone(), memory, ended: None };
        Self { pid, output, main, ground: Ground { group: Some(group) }, handover: Some(handover) }
    }

    /// Waits for the end of the main process. Others may still run then. May be called again.
    pub async fn wait(&mut self) -> Exit {
        self.main.wait().await
    }

    /// Takes [`Running::output`] away, for a task of its own.
    pub fn take_output(&mut self) -> mpsc::Receiver<(Stream, Vec<u8>)> {
        std::mem::replace(&mut self.output, mpsc::channel(1).1)
    }

    pub fn signal(&self, signal: Signal, whom: Whom) {
        match whom {
            Whom::Everyone if self.main.group.tracks() => self.main.group.signal(signal),
            Whom::MainGroup | Whom::Everyone => self.main.signal_group(signal),
        }
    }

    /// Kills everything that was started, also what left the process group.
    pub fn kill_all(&self) {
        self.main.kill();
    }

    /// Processes that run now.
    pub fn pids(&self) -> Vec<i32> {
        self.main.group.pids()
    }

    /// Bytes of memory in use.
    pub fn memory(&self) -> Option<u64> {
        self.main.group.memory_current()
    }

    /// TCP ports on which something of this cgroup listens, in order.
    pub fn listening_ports(&self) -> Vec<u16> {
        let mut pids = self.main.group.pids();
        // Where no cgroup can be made.
        if let (true, Ok(leader)) = (pids.is_empty(), i32::try_from(self.pid)) {
            pids = ports::process_group(leader);
        }
        ports::listening(&pids)
    }

    /// Kills what is left, waits until nothing runs, and removes the cgroup.
    pub async fn finish(mut self) {
        self.main.kill();
        let _ = self.main.child.wait().await;
        if let Some(group) = self.ground.group.take() {
            clear(group).await;
        }
    }

    /// Gives the job to the fresh process and waits until that has become the program; else the reason why not.
    pub(super) async fn handed_over(&mut self) -> Option<String> {
        let (mut socket, text) = self.handover.take()?;
        let mut answer = Vec::new();
        // A process that died early is seen by its exit, not here.
        let written = socket.write_all(&text).await;
        if written.is_ok() && socket.shutdown().await.is_ok() {
            let _ = socket.read_to_end(&mut answer).await;
        }
        (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
    }

    /// Passes lines on until the main process has ended. Fair on purpose: a child left behind may write without end.
    pub(super) async fn follow(&mut self, lines: &mut (dyn FnMut(Stream, &[u8]) + Send)) -> Exit {
        if let Some(why) = self.handed_over().await {
            return Exit::NotStarted(why);
        }
        loop {
            tokio::select! {
                Some((stream, line)) = self.output.recv() => lines(stream, &line),
                exit = self.main.wait() => return exit,
            }
        }
    }
}

impl Flow {
    fn begin(self, child: &mut Child) -> mpsc::Receiver<(Stream, Vec<u8>)> {
        let waiting = if matches!(self, Flow::Lines) { LINES_WAITING } else { PIECES_WAITING };
        let (sender, output) = mpsc::channel(waiting);
        let (out, err) = (child.stdout.take(), child.stderr.take());
        match self {
            Flow::Lines => {
                drop(out.map(|pipe| tokio::spawn(pump(pipe, Stream::Out, sender.clone()))));
                drop(err.map(|pipe| tokio::spawn(pump(pipe, Stream::Err, sender))));
            }
            Flow::Bytes => {
                drop(out.map(|pipe| tokio::spawn(pour(pipe, Stream::Out, sender.clone()))));
                drop(err.map(|pipe| tokio::spawn(pour(pipe, Stream::Err, sender))));
            }
            Flow::Terminal(shown) => drop(tokio::spawn(pour(shown, Stream::Out, sender))),
        }
        output
    }
}

/// The main process.
struct Main {
    child: Child,
    group: Group,
    memory: Option<u64>,
    ended: Option<Exit>,
}

impl Main {
    async fn wait(&mut self) -> Exit {
        if let Some(exit) = &self.ended {
            return exit.clone();
        }
        let exit = match self.child.wait().await {
            Ok(status) => self.exit_of(status),
            Err(error) => Exit::NotStarted(format!("lost sight of the process: {error}")),
        };
        self.ended.insert(exit).clone()
    }

    /// A process whose child ran out of memory mostly says something misleading; the counter of the group knows.
    fn exit_of(&self, status: ExitStatus) -> Exit {
        match (status.code(), status.signal(), self.memory) {
            (Some(0), _, _) => Exit::Code(0),
            (_, _, Some(limit)) if self.group.oom_kills() > 0 => Exit::OutOfMemory { limit },
            (_, Some(signal), _) => Exit::Signal(signal),
            (code, None, _) => Exit::Code(code.unwrap_or(-1)),
        }
    }

    fn kill(&self) {
        let _ = self.group.kill();
        if !self.group.tracks() {
            self.signal_group(Signal::SIGKILL);
        }
        // It may not have entered its cgroup yet.
        if let Some(pid) = self.pid() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }

    /// Nobody once the main process was waited for: its number may be somebody else's by then.
    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw)
    }

    fn signal_group(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = killpg(pid, signal);
        }
    }
}

/// What must not outlive a [`Running`].
struct Ground {
    group: Option<Group>,
}

impl Drop for Ground {
    fn drop(&mut self) {
        let Some(group) = self.group.take() else { return };
        let _ = group.kill();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(clear(group))),
            Err(_) => drop(group.remove()),
        }
    }
}

async fn clear(group: Group) {
    for _ in 0..ATTEMPTS {
        let _ = group.kill();
        if group.wait_empty(EMPTY_WITHIN).await {
            break;
        }
    }
    if let Err(error) = group.remove() {
        tracing::warn!(group = group.name(), %error, "a cgroup could not be removed");
    }
}

/// Passes bytes on as they come. A terminal whose programs are gone is an error to read, and the end.
async fn pour(mut pipe: impl AsyncRead + Unpin, stream: Stream, sender: mpsc::Sender<(Stream, Vec<u8>)>) {
    let mut buffer = vec![0u8; PIECE];
    loop {
        let count = pipe.read(&mut buffer).await.unwrap_or(0);
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return };
        if sender.send((stream, bytes.to_vec())).await.is_err() {
            return;
        }
    }
}

async fn pump(mut pipe: impl AsyncRead + Unpin, stream: Stream, sender: mpsc::Sender<(Stream, Vec<u8>)>) {
    let mut buffer = vec![0u8; 32 * 1024];
    let mut cutter = LineCutter::default();
    loop {
        let count = pipe.read(&mut buffer).await.unwrap_or(0);
        let mut lines = Vec::new();
        let mut keep = |line: &[u8]| lines.push(line.to_vec());
        match buffer.get(..count) {
            Some(bytes) if count > 0 => cutter.feed(bytes, &mut keep),
            _ => cutter.finish(&mut keep),
        }
        for line in lines {
            // A reader that went away does not stop the process.
            let _ = sender.send((stream, line)).await;
        }
        if count == 0 {
            return;
        }
    }
}
