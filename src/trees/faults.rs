//! How an error of the machine becomes a failure that people can act on. Nothing is decided here but the code.
//! What is wrong with an archive or a tree is said where it is found.

use crate::model::{Code, Failure};
use nix::errno::Errno;
use std::io;

/// Names the operation; a full disk or quota gets its own code, everything else is ours or the machine's fault.
pub fn machine(during: impl Into<String>, error: impl Into<io::Error>) -> Failure {
    let (during, error) = (during.into(), error.into());
    let full = [Errno::ENOSPC as i32, Errno::EDQUOT as i32];
    match error.raw_os_error() {
        Some(number) if full.contains(&number) => Failure::new(Code::DiskFull, format!("{during}: no space left"))
            .hint("free space on the file system of the project, or lower the number of releases that are kept"),
        _ => Failure::internal(&during, &error),
    }
}

/// An archive that is not what it should be.
pub fn refused(what: impl Into<String>) -> Failure {
    Failure::new(Code::VerifyFailed, what)
}
