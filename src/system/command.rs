//! The one way to start a plain child process: program, arguments, directory, user and environment are all required,
//! the environment starts empty, and the child leads a process group of its own. Jobs in a prepared view go through
//! `sandbox/` instead.

use super::UserIds;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

/// A child process, ready to be spawned: no inherited environment, stdin and stdout and stderr null until set.
/// Setting a user also clears the supplementary groups.
#[allow(clippy::disallowed_methods)]
pub fn command<A: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = A>,
    directory: &Path,
    user: UserIds,
    env: &[(&str, &str)],
) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program);
    command.args(args).current_dir(directory).env_clear().envs(env.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if nix::unistd::geteuid().is_root() {
        command.uid(user.uid).gid(user.gid);
    }
    command.process_group(0).kill_on_drop(true);
    command
}
