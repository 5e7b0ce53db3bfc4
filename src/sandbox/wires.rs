//! How a program that somebody talks with is connected: pipes of its own, or a terminal. The server makes them; the
//! program's end travels to `super::init` over the socket that brings the job, and is put into place there.

use super::init::{Obstacle, during};
use crate::model::Window;
use crate::system::{UserIds, job::Job, terminal};
use nix::cmsg_space;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stdin, pipe2};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, IsTerminal, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use tokio::net::unix::pipe;

/// What connects a program with whoever talks with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wires {
    /// Input, output and errors apart.
    Pipes,
    /// A terminal: one way in, one way out.
    Terminal(Window),
}

/// Both ends, before the program has its own.
pub(super) struct Laid {
    pub(super) theirs: OwnedFd,
    pub(super) input: pipe::Sender,
    pub(super) terminal: Option<Shown>,
}

/// Our side of a terminal.
pub(super) struct Shown {
    pub(super) output: pipe::Receiver,
    pub(super) screen: OwnedFd,
}

impl Wires {
    pub(super) fn lay(self, user: UserIds) -> io::Result<Laid> {
        match self {
            Wires::Pipes => {
                let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
                Ok(Laid { theirs, input: pipe::Sender::from_owned_fd(ours)?, terminal: None })
            }
            Wires::Terminal(window) => {
                let pair = terminal::make(window, user)?;
                // They are no pipes, but wait and do not block like them.
                let input = pipe::Sender::from_owned_fd_unchecked(pair.shown.try_clone()?)?;
                let output = pipe::Receiver::from_owned_fd_unchecked(pair.shown.try_clone()?)?;
                Ok(Laid { theirs: pair.inside, input, terminal: Some(Shown { output, screen: pair.shown }) })
            }
        }
    }
}

/// Sends the program's end ahead of the job, with a blank, which JSON passes over.
pub(super) fn send(socket: &UnixStream, theirs: &OwnedFd) -> io::Result<()> {
    let descriptors = [theirs.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(b" ")], &rights, MsgFlags::empty(), None)?;
    Ok(())
}

/// Reads the job, and takes the end that came with it, if one did.
pub(super) fn receive(mut socket: &File) -> Result<(Job, Option<OwnedFd>), Obstacle> {
    const READING: &str = "reading the job";
    let mut text = vec![0; 4096];
    let (count, wire) = first(socket, &mut text).map_err(during(READING))?;
    text.truncate(count);
    socket.read_to_end(&mut text).map_err(during(READING))?;
    let job = serde_json::from_slice(&text).map_err(during(READING))?;
    Ok((job, wire))
}

fn first(socket: &File, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = cmsg_space!([std::os::fd::RawFd; 1]);
    let mut pieces = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut pieces, Some(&mut space), flags)?;
    let mut wire = None;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = part {
            // SAFETY: the kernel has just made these for us, and nothing else knows them.
            wire = descriptors.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).next();
        }
    }
    Ok((message.bytes, wire))
}

/// Puts the end into place, in a session of its own: nothing is an empty input, a terminal is everything, anything else
/// is the input.
pub(super) fn connect(wire: Option<OwnedFd>) -> io::Result<()> {
    let Some(wire) = wire else {
        return Ok(dup2_stdin(open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?)?);
    };
    if wire.is_terminal() {
        return terminal::sit_at(&wire);
    }
    Ok(dup2_stdin(wire)?)
}
