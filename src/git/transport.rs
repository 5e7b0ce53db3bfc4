//! The two programs behind a clone and a push, ready to be connected to a client: argument list, settings and
//! environment, nothing else. Who may run them is asked by the door; what a push means is answered by the hook
//! (`conversation`).

use super::repository::Git;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// What one push needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceiveOptions {
    /// Says to the server, through the hook, which push this is. Random, for one push only.
    pub token: String,
    /// Where the hook finds the server.
    pub hook_socket: PathBuf,
    /// `GIT_PROTOCOL` as the client sent it; ignored unless it has the usual shape.
    pub protocol: Option<String>,
    /// Most bytes of pack that are taken.
    pub max_push: u64,
}

/// Settings of a push. `procReceiveRefs=refs` has no letters in front, so that new, moved and deleted refs of every
/// kind are ours to answer, one by one.
const RECEIVE: [&str; 17] = [
    "receive.procReceiveRefs=refs",
    "receive.advertisePushOptions=true",
    "receive.advertiseAtomic=true",
    "receive.shallowUpdate=true",
    "receive.keepAlive=5",
    // On the disk before they have their names: an object that a power cut left empty would be there for git ever after, and
    // the same push be refused. One flush for all loose ones. References: those that git moves itself, `Verdict::GitMoves`.
    "core.fsync=-all,objects,pack-metadata,reference",
    "core.fsyncMethod=batch",
    "receive.autogc=false",
    "receive.updateServerInfo=false",
    // Measured: 100 and 1 cost the same for a small push, and loose objects do not pile up one pack for each push.
    "receive.unpackLimit=100",
    "transfer.hideRefs=refs/commis",
    "transfer.fsckObjects=true",
    "receive.fsckObjects=true",
    // Faults of old tools that stand in many well-known histories and do no harm.
    "receive.fsck.zeroPaddedFilemode=ignore",
    "receive.fsck.badTimezone=ignore",
    "receive.fsck.missingSpaceBeforeDate=ignore",
    "receive.fsck.missingEmail=ignore",
];

const UPLOAD: [&str; 6] = [
    "transfer.hideRefs=refs/commis",
    "uploadpack.allowFilter=true",
    "uploadpack.allowAnySHA1InWant=false",
    "uploadpack.allowTipSHA1InWant=false",
    "uploadpack.allowReachableSHA1InWant=false",
    "uploadpack.keepAlive=5",
];

/// `git receive-pack` in `repository`, all three streams piped. Every ref of the push is answered through the hook.
pub fn receive_pack(git: &Git, repository: &Path, options: &ReceiveOptions) -> Command {
    let hooks = format!("core.hooksPath={}", git.hooks.display());
    let size = format!("receive.maxInputSize={}", options.max_push);
    let mut settings: Vec<&str> = RECEIVE.to_vec();
    settings.extend([hooks.as_str(), size.as_str()]);
    let mut command = serve(git, repository, "receive-pack", &settings);
    command.env("COMMIS_HOOK_SOCKET", &options.hook_socket).env("COMMIS_PUSH", &options.token);
    protocol(&mut command, options.protocol.as_deref());
    command
}

/// `git upload-pack` in `repository`, all three streams piped. `client` is the `GIT_PROTOCOL` that the client sent.
pub fn upload_pack(git: &Git, repository: &Path, client: Option<&str>) -> Command {
    let mut command = serve(git, repository, "upload-pack", &UPLOAD);
    protocol(&mut command, client);
    command
}

fn serve(git: &Git, repository: &Path, program: &str, settings: &[&str]) -> Command {
    let args: Vec<&str> = settings.iter().flat_map(|setting| ["-c", setting]).chain([program]).collect();
    let mut command = git.command(None, &args);
    command.arg(repository).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn protocol(command: &mut Command, client: Option<&str>) {
    let plain = |text: &&str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"=:.-".contains(&byte);
        text.len() <= 64 && text.starts_with("version=") && text.bytes().all(known)
    };
    if let Some(version) = client.filter(plain) {
        command.env("GIT_PROTOCOL", version);
    }
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
