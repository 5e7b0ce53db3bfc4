//! The hidden verb `sandbox-init`: from a fresh copy of this program to somebody else's program, in one straight line.
//!
//! Called by `main` before any thread or runtime exists. The job is on standard input, which is one end of a socket;
//! the same socket, closed by a successful start, tells the server why a start failed.
//! No decision is taken here: everything stands in the [`Job`].

use super::{program, view, wires};
use crate::system::{Job, powers};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, execve, setsid};
use std::ffi::CString;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;

/// Exit code when the program was not found, as a shell's.
const NOT_FOUND: i32 = 127;
/// Exit code when anything else stood in the way.
const CANNOT_START: i32 = 126;

/// Why the program did not start, in one line.
pub struct Obstacle {
    what: String,
    code: i32,
}

/// Says during what an error occurred.
pub fn during<W: Display, E: Display>(what: W) -> impl FnOnce(E) -> Obstacle {
    move |error| Obstacle { what: format!("{what}: {error}"), code: CANNOT_START }
}

/// Becomes the job's program. Returns only when that failed, with the exit code.
pub fn run() -> i32 {
    let report = take_report();
    let Err(obstacle) = report.as_ref().map_err(|error| during("standard input")(error)).and_then(become_program)
    else {
        return CANNOT_START;
    };
    // The server tells it in its own words; only when it cannot be reached is there nobody but the log.
    let told = report.is_ok_and(|mut report| report.write_all(obstacle.what.as_bytes()).is_ok());
    if !told {
        let _ = writeln!(io::stderr(), "commis: cannot start: {}", obstacle.what);
    }
    obstacle.code
}

/// A second descriptor of the socket on standard input; closed when the program starts.
fn take_report() -> io::Result<File> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn become_program(input: &File) -> Result<(), Obstacle> {
    umask(Mode::from_bits_truncate(0o022));
    let (job, wire) = wires::receive(input)?;
    for directory in &job.cgroups {
        let file = directory.join("cgroup.procs");
        fs::write(&file, "0").map_err(during(file.display()))?;
    }
    setsid().map_err(during("leaving the session"))?;
    wires::connect(wire).map_err(during("standard input"))?;
    view::build(&job)?;
    powers::limit(job.limits).map_err(during("limits"))?;
    powers::become_user(job.user).map_err(during("becoming the user"))?;
    powers::close_others_on_exec().map_err(during("closing files"))?;
    powers::default_signals().map_err(during("signals"))?;
    chdir(&job.directory).map_err(during(job.directory.display()))?;
    execute(&job)
}

fn execute(job: &Job) -> Result<(), Obstacle> {
    let not_found = |what: String| Obstacle { what, code: NOT_FOUND };
    let Some(name) = job.argv.first() else { return Err(not_found("no program is named".into())) };
    let path = job.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str());
    let Some(file) = program::find(name, path) else {
        return Err(not_found(format!("{name}: no such program in PATH")));
    };
    let text = |text: String| CString::new(text).map_err(during("argument or variable"));
    let args = job.argv.iter().map(|arg| text(arg.clone())).collect::<Result<Vec<_>, _>>()?;
    let env = job.env.iter().map(|(name, value)| text(format!("{name}={value}"))).collect::<Result<Vec<_>, _>>()?;
    let program = text(file.to_string_lossy().into_owned())?;
    let Err(error) = execve(&program, &args, &env);
    let code = if file.exists() { CANNOT_START } else { NOT_FOUND };
    Err(Obstacle { what: program::explain(&file, error), code })
}
