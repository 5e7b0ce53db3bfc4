//! The server's side of a job: starts this program again as `sandbox-init`, hands the job over, and sees to it that
//! nothing of it is left. What happens inside the fresh process stands in [`super::init`].

use super::running::{Flow, Running};
use super::wires::{self, Laid};
use super::{Cancel, Stream, Task};
use crate::model::Exit;
use crate::system::{Cgroups, GroupLimits};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::pipe;

/// How long output is still taken after everything that could write it was killed.
const DRAIN: Duration = Duration::from_secs(1);

/// Starts jobs. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    program: PathBuf,
    cgroups: Arc<Cgroups>,
}

impl Sandbox {
    /// `program` is this program (`/proc/self/exe`, or the path of a test's copy): it must know the verb `sandbox-init`.
    pub fn new(program: PathBuf, cgroups: Arc<Cgroups>) -> Self {
        Self { program, cgroups }
    }

    /// This program.
    pub fn program(&self) -> &std::path::Path {
        &self.program
    }

    pub fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }

    /// Runs a task to its end. Each line goes to `lines` as it comes, without its end, at most
    /// [`super::lines::LONGEST`] bytes, in order per stream. When this returns, everything the task started is dead and
    /// its cgroup is gone, whatever happened.
    pub async fn run(&self, task: Task, lines: &mut (dyn FnMut(Stream, &[u8]) + Send), cancel: &Cancel) -> Exit {
        if cancel.is_cancelled() {
            return Exit::Cancelled;
        }
        let deadline = task.deadline;
        let mut running = match self.launch(task) {
            Ok(running) => running,
            Err(exit) => return exit,
        };
        let exit = tokio::select! {
            exit = running.follow(lines) => exit,
            exit = stopped(deadline, cancel) => exit,
        };
        running.kill_all();
        let drain = async {
            while let Some((stream, line)) = running.output.recv().await {
                lines(stream, &line);
            }
        };
        let _ = tokio::time::timeout(DRAIN, drain).await;
        running.finish().await;
        exit
    }

    /// Starts something that stays. `Err` is [`Exit::NotStarted`] with the reason. Nothing here looks at
    /// `task.deadline`.
    pub async fn start(&self, task: Task) -> Result<Running, Exit> {
        let mut running = self.launch(task)?;
        match running.handed_over().await {
            None => Ok(running),
            Some(why) => {
                running.finish().await;
                Err(Exit::NotStarted(why))
            }
        }
    }

    /// Makes the cgroup and the process; the job still has to be handed over.
    fn launch(&self, task: Task) -> Result<Running, Exit> {
        self.launch_with(task, Flow::Lines, None)
    }

    /// The same of what somebody talks with: its input, and the screen of its terminal if it has one.
    pub(super) fn launch_wired(
        &self,
        task: Task,
        laid: Laid,
    ) -> Result<(Running, pipe::Sender, Option<OwnedFd>), Exit> {
        let Laid { theirs, input, terminal } = laid;
        let (flow, screen) = match terminal {
            Some(shown) => (Flow::Terminal(shown.output), Some(shown.screen)),
            None => (Flow::Bytes, None),
        };
        Ok((self.launch_with(task, flow, Some(theirs))?, input, screen))
    }

    fn launch_with(&self, task: Task, flow: Flow, wire: Option<OwnedFd>) -> Result<Running, Exit> {
        let refused = |what: &str, error: &dyn std::fmt::Display| Exit::NotStarted(format!("{what}: {error}"));
        let GroupLimits { memory, .. } = task.group;
        let group = self.cgroups.create(&task.name, task.group).map_err(|error| refused("cgroup", &error))?;
        let mut job = task.job;
        job.cgroups = group.join_paths();
        let spawned = serde_json::to_vec(&job).map_err(std::io::Error::other).and_then(|text| {
            let (ours, theirs) = UnixStream::pair()?;
            if let Some(wire) = &wire {
                wires::send(&ours, wire)?;
            }
            ours.set_nonblocking(true)?;
            Ok((self.spawn(theirs)?, tokio::net::UnixStream::from_std(ours)?, text))
        });
        match spawned {
            Ok((child, socket, text)) => Ok(Running::new(child, group, memory, ((socket, text), flow))),
            Err(error) => {
                let _ = group.remove();
                Err(refused("process", &error))
            }
        }
    }

    /// `system::command` is for programs that keep their parent's session; this one must be able to leave it, so it
    /// may not lead a process group yet.
    fn spawn(&self, socket: UnixStream) -> std::io::Result<tokio::process::Child> {
        let mut command = tokio::process::Command::new(&self.program);
        command.arg("sandbox-init").env_clear().current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::from(OwnedFd::from(socket))).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn()
    }
}

/// Waits for the end of patience: the task's own deadline, or somebody's cancelling.
async fn stopped(deadline: Option<Duration>, cancel: &Cancel) -> Exit {
    let Some(deadline) = deadline else {
        cancel.cancelled().await;
        return Exit::Cancelled;
    };
    tokio::select! {
        () = cancel.cancelled() => Exit::Cancelled,
        () = tokio::time::sleep(deadline) => Exit::TimedOut { after: deadline.as_secs() },
    }
}
