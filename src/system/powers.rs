//! Giving powers up, in the last moments before a process becomes somebody else's program. The few unsafe calls for
//! that stand here; the order in which they are made is `sandbox::init`'s.

use super::{Limits, UserIds};
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::io;

/// Core files, open files, file size. Never more than what this process itself may.
pub fn limit(limits: Limits) -> io::Result<()> {
    lower(Resource::RLIMIT_CORE, 0)?;
    lower(Resource::RLIMIT_NOFILE, limits.open_files)?;
    lower(Resource::RLIMIT_FSIZE, limits.file_size)
}

/// Becomes the user, with no other groups, no capabilities and no way back: not even a set-uid program gives any.
pub fn become_user(user: UserIds) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    if !uid.is_root() {
        drop_bounding_set();
    }
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    // SAFETY: prctl with plain numbers.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    prctl::set_no_new_privs()?;
    Ok(())
}

/// Every descriptor but 0, 1 and 2 will close when this process becomes another program.
pub fn close_others_on_exec() -> io::Result<()> {
    // SAFETY: marks descriptors; closes nothing now.
    let done = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Signals as a fresh program expects them. The Rust runtime ignores SIGPIPE, and that would be inherited.
pub fn default_signals() -> io::Result<()> {
    // SAFETY: only the default action is set.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

fn lower(resource: Resource, wanted: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    let value = wanted.min(hard);
    setrlimit(resource, value, value)?;
    Ok(())
}

/// A second fence: with no_new_privs nothing could use these anyway. The kernel says EINVAL after its last capability.
fn drop_bounding_set() {
    // SAFETY: prctl with plain numbers.
    let drop_one = |capability: libc::c_int| unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    for capability in 0..64 {
        if drop_one(capability) < 0 {
            break;
        }
    }
}
