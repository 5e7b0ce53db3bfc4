//! Terminals: one made for a job, and the one that somebody sits at. The unsafe calls for that stand here; who gets
//! one, and what goes through it, is decided elsewhere.

use super::UserIds;
use crate::model::Window;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::{Mode, fchmod};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A fresh terminal: the side of whoever shows it, and the side of the programs.
pub struct Pair {
    /// Does not block. When its last copy is closed the programs get SIGHUP.
    pub shown: OwnedFd,
    pub inside: OwnedFd,
}

/// Makes a terminal that belongs to `user` and nobody else.
///
/// # Errors
/// The kernel's, mostly because there are too many.
pub fn make(window: Window, user: UserIds) -> io::Result<Pair> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let inside = open(ptsname_r(&master)?.as_str(), flags, Mode::empty())?;
    fchown(&inside, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?;
    fchmod(&inside, Mode::from_bits_truncate(0o600))?;
    let shown = owned(&master)?;
    fcntl(&shown, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
    resize(shown.as_fd(), window)?;
    Ok(Pair { shown, inside })
}

fn owned(master: &PtyMaster) -> io::Result<OwnedFd> {
    master.as_fd().try_clone_to_owned()
}

/// Says how large it is now; the programs get SIGWINCH.
///
/// # Errors
/// The kernel's.
pub fn resize(shown: BorrowedFd<'_>, window: Window) -> io::Result<()> {
    let size = libc::winsize { ws_row: window.rows, ws_col: window.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: reads one winsize, which lives until the call returns.
    let done = unsafe { libc::ioctl(shown.as_raw_fd(), libc::TIOCSWINSZ, &size) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How large the terminal is; `None` when this is no terminal.
pub fn window(terminal: BorrowedFd<'_>) -> Option<Window> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: writes one winsize, which lives until the call returns.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &mut size) };
    (done == 0).then_some(Window { columns: size.ws_col, rows: size.ws_row })
}

/// Makes the terminal this process' own: the controlling one of its session, and its three streams. For the leader of a
/// session that has none.
///
/// # Errors
/// The kernel's.
pub fn sit_at(inside: &OwnedFd) -> io::Result<()> {
    // SAFETY: takes a plain number.
    if unsafe { libc::ioctl(inside.as_raw_fd(), libc::TIOCSCTTY, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    dup2_stdin(inside)?;
    dup2_stdout(inside)?;
    Ok(dup2_stderr(inside)?)
}

/// Every key goes through as it is while this lives; afterwards the terminal is what it was.
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// # Errors
    /// The kernel's, when this is no terminal.
    pub fn of(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let terminal = terminal.try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&terminal, SetArg::TCSADRAIN, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that has gone away needs nothing.
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}
