//! From the end of a script to the failure that people read. A script that ran out of disk mostly says so itself, and
//! then the disk is what failed, not the script.

use crate::model::{Code, Exit, Failure};
use crate::notify::words;
use crate::system::files;
use std::path::Path;

/// With less than this free, a script that fails fails for want of it.
const NO_ROOM: u64 = 1 << 20;

/// What became of a script.
pub struct Ran {
    pub exit: Exit,
    pub seconds: f64,
    /// A line of it said so.
    pub no_space: bool,
}

/// The words of every libc for ENOSPC and EDQUOT.
pub fn tells_of_no_space(line: &str) -> bool {
    ["No space left on device", "Disk quota exceeded"].iter().any(|words| line.contains(words))
}

/// `buildpack python: exit 1 after 12 s`.
pub fn failure(code: Code, title: &str, ran: &Ran, root: &Path) -> Failure {
    let after = match ran.exit {
        Exit::TimedOut { .. } | Exit::NotStarted(_) | Exit::Cancelled => String::new(),
        Exit::Code(_) | Exit::Signal(_) | Exit::OutOfMemory { .. } => {
            format!(" after {}", words::duration(ran.seconds))
        }
    };
    let failure = Failure::new(code, format!("{title}: {}{after}", ran.exit));
    let failure = match ran.exit {
        Exit::OutOfMemory { .. } => failure.hint("raise [builds] memory in commis.toml, or need less"),
        Exit::TimedOut { .. } => {
            failure.hint("raise [builds] timeout in commis.toml, or [build] timeout in .commis/project.toml")
        }
        Exit::Code(_) | Exit::Signal(_) | Exit::Cancelled | Exit::NotStarted(_) => failure,
    };
    or_full_disk(failure, ran, root)
}

/// The same failure, unless the disk of `root` is full.
pub fn or_full_disk(failure: Failure, ran: &Ran, root: &Path) -> Failure {
    let Ok(free) = files::free_bytes(root) else { return failure };
    let what = match (free < NO_ROOM, ran.no_space) {
        (true, _) => format!("{}: no space left, {} free below {}", failure.what, words::size(free), root.display()),
        // It gave back what it had taken, or another file system is meant.
        (false, true) => format!("{}: it ran out of space", failure.what),
        (false, false) => return failure,
    };
    Failure::new(Code::DiskFull, what).hint("free space on the server, then push again")
}
