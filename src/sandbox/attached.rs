//! A program that somebody talks with: bytes as they are, both ways, until it ends or whoever talks has left.
//! What is only listened to, line by line, is [`super::Sandbox::run`]'s.

use super::wires::Wires;
use super::{Running, Sandbox, Stream, Task, Whom};
use crate::model::{Exit, Window};
use crate::system::terminal;
use nix::sys::signal::Signal;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

/// A program that runs, with its input and its output. Dropping it kills everything that it started.
pub struct Attached {
    running: Running,
    output: mpsc::Receiver<(Stream, Vec<u8>)>,
    input: Option<pipe::Sender>,
    screen: Option<OwnedFd>,
}

/// Why nothing runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotStarted {
    pub why: String,
    /// As a shell would say it: 127 when there is no such program, 126 for everything else.
    pub status: u8,
}

const CANNOT_START: u8 = 126;

impl Sandbox {
    /// Starts a program to talk with. Nothing here looks at `task.deadline`.
    ///
    /// # Errors
    /// Why it could not be started; nothing of it is left then.
    pub async fn attach(&self, task: Task, wires: Wires) -> Result<Attached, NotStarted> {
        let refused = |why: String| NotStarted { why, status: CANNOT_START };
        let laid = wires.lay(task.job.user).map_err(|error| refused(format!("terminal or pipe: {error}")))?;
        let (mut running, input, screen) = self.launch_wired(task, laid).map_err(|exit| match exit {
            Exit::NotStarted(why) => refused(why),
            other => refused(other.to_string()),
        })?;
        let Some(why) = running.handed_over().await else {
            let output = running.take_output();
            return Ok(Attached { running, output, input: Some(input), screen });
        };
        let status = running.wait().await.status();
        running.finish().await;
        Err(NotStarted { why, status })
    }
}

impl Attached {
    /// What the program reads; dropping it is the end of its input. Once.
    pub fn take_input(&mut self) -> Option<pipe::Sender> {
        self.input.take()
    }

    /// Bytes of both streams as they come, a terminal's all of [`Stream::Out`]; ends when nobody can write any more.
    /// Unread bytes make the program wait; nobody reading is a broken pipe. Once.
    pub fn take_output(&mut self) -> mpsc::Receiver<(Stream, Vec<u8>)> {
        std::mem::replace(&mut self.output, mpsc::channel(1).1)
    }

    /// Waits for the end of the program itself. May be called again.
    pub async fn wait(&mut self) -> Exit {
        self.running.wait().await
    }

    /// Whoever looks at the terminal sees so much of it now.
    pub fn resize(&self, window: Window) {
        if let Some(screen) = &self.screen {
            // A program that has ended needs no size.
            let _ = terminal::resize(screen.as_fd(), window);
        }
    }

    /// Nobody talks any more: everything is asked to end, in the way it expects, and has the grace to do so.
    pub async fn hang_up(&mut self, grace: Duration) -> Exit {
        let signal = if self.screen.is_some() { Signal::SIGHUP } else { Signal::SIGTERM };
        self.running.signal(signal, Whom::Everyone);
        // What is stopped (Ctrl-Z) cannot hear.
        self.running.signal(Signal::SIGCONT, Whom::Everyone);
        match tokio::time::timeout(grace, self.running.wait()).await {
            Ok(exit) => exit,
            Err(_) => Exit::Cancelled,
        }
    }

    /// Kills what the program left behind; what it wrote can still be read.
    pub fn kill_all(&self) {
        self.running.kill_all();
    }

    /// Kills what is left, waits until nothing runs, and removes the cgroup.
    pub async fn finish(self) {
        self.running.finish().await;
    }
}
