//! A job: everything that is needed to start one process in a prepared place, as data.
//!
//! It is carried out by this program itself, started again under the hidden verb `sandbox-init`, single-threaded and
//! as root, which builds the view, enters the cgroups, gives up every power and becomes the job's program. The
//! job arrives as JSON on its standard input, so that no secret stands in an argument list.

use super::UserIds;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One process to start. Standard input of the program is empty, unless a pipe or a terminal comes with the job
/// (`sandbox::wires`); output goes where the starter says.
#[derive(Clone, Serialize, Deserialize)]
pub struct Job {
    /// Program and arguments. The program is an absolute path *inside the view*, or a bare name looked up in `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment. May hold secrets, hence no `Debug` on this type.
    pub env: Vec<(String, String)>,
    /// Working directory, as seen inside the view.
    pub directory: PathBuf,
    pub user: UserIds,
    pub view: View,
    pub limits: Limits,
    /// Directories of cgroup hierarchies to enter before anything else (`cgroup.procs` is written there).
    pub cgroups: Vec<PathBuf>,
}

/// What of the file system the job sees, in a private mount namespace (private propagation, nothing leaks out).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct View {
    /// This directory is covered by a small empty file system of its own, so that only what `binds` puts back is there:
    /// the project's root, whose repositories, pillar and releases are nobody's business inside.
    pub cover: Option<PathBuf>,
    /// Bind mounts, in order, after the cover. Missing targets below `cover` are made (directory or empty file).
    pub binds: Vec<Bind>,
    /// Whether /tmp and /var/tmp are the machine's or the job's own.
    pub tmp: Privacy,
    /// The name of the user inside: /etc/passwd and /etc/group get one more line each.
    pub identity: Option<Identity>,
    /// Which network the job reaches.
    #[serde(default)]
    pub network: Network,
    /// A mount namespace that is there (`/proc/<pid>/ns/mnt`): it is entered, and nothing else of this is built.
    #[serde(default)]
    pub inside: Option<PathBuf>,
}

/// Which network a job reaches. Sockets that have a path are files, and follow the view instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Network {
    /// The machine's.
    #[default]
    Host,
    /// A loopback of its own and nothing else.
    None,
}

/// Whose a directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Privacy {
    #[default]
    Private,
    Shared,
}

/// One bind mount: nosuid and nodev always.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bind {
    pub source: PathBuf,
    pub target: PathBuf,
    pub access: Access,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// What `id` and `whoami` say inside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    pub name: String,
    pub home: PathBuf,
}

/// Limits of one process (rlimits); those of its whole group are [`super::cgroups::GroupLimits`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    pub open_files: u64,
    /// Largest file that may be written, in bytes.
    pub file_size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open_files: 16_384, file_size: 16 << 30 }
    }
}
