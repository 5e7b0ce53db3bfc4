//! Moving refs, always by one git transaction as the git user, and making what was moved durable.
//!
//! The order that keeps an acknowledged push: [`sync`] the objects, then move the ref, then [`sync_refs`], then answer.
//! A ref held by [`PreparedUpdate`] cannot be moved by anybody else meanwhile. Whether a ref may move is decided
//! elsewhere: git's own rules on rewinds and deletions do not apply to what goes through `proc-receive`.

use super::at_work::AtWork;
use super::failed::GitError;
use super::repository::{Git, said};
use crate::model::{CommitId, RefName};
use crate::system::removal;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

/// How long a git that gave up may take to say why.
const PATIENCE: Duration = Duration::from_secs(5);

/// One ref, from `old` (zero: it must not exist) to `new` (zero: delete it).
pub type Change = (RefName, CommitId, CommitId);

/// Moves refs, all or none, each only if it still is at its old value. git's own words are in the error.
pub async fn update(git: &Git, repository: &Path, changes: &[Change]) -> Result<(), GitError> {
    PreparedUpdate::prepare(git, repository, changes).await?.commit().await
}

/// Makes `HEAD` name a branch.
pub async fn point_head(git: &Git, repository: &Path, branch: &RefName) -> Result<(), GitError> {
    let command = git.command(Some(repository), &["symbolic-ref", "HEAD", branch.as_str()]);
    git.run("git symbolic-ref", command).await.map(drop)
}

/// A transaction whose locks are held and whose old values were checked. Dropped, it is given up and the refs are as
/// they were; that also happens when this process dies.
pub struct PreparedUpdate {
    // Goes first: without input git gives up.
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    git: Ending,
    repository: PathBuf,
    changes: Vec<Change>,
}

/// A git that is waited for in the background when nobody else does: only then is it known whether it was killed.
struct Ending(Option<(Child, AtWork)>);

impl Ending {
    async fn wait(&mut self) {
        if let Some((child, work)) = self.0.as_mut() {
            note_end(child, work).await;
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let (Some((mut child, work)), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { note_end(&mut child, &work).await });
        }
    }
}

async fn note_end(child: &mut Child, work: &AtWork) {
    if child.wait().await.is_ok_and(|status| status.signal().is_some()) {
        work.was_killed();
    }
}

impl PreparedUpdate {
    /// Takes the locks; the error says which ref is where it should not be, or is locked.
    pub async fn prepare(git: &Git, repository: &Path, changes: &[Change]) -> Result<Self, GitError> {
        // The ref's content is flushed before it gets its name; the directory is our part.
        let args = ["-c", "core.fsync=-all,reference", "update-ref", "--stdin"];
        let mut command = git.command(Some(repository), &args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Killed, git would leave its lock files behind; without input it removes them and ends.
        command.kill_on_drop(false);
        let work = AtWork::begin(repository);
        let mut child = command.spawn().map_err(GitError::io("cannot start git", &git.program))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(said("git update-ref", b"no pipes"));
        };
        let output = BufReader::new(output).lines();
        let (git, repository) = (Ending(Some((child, work))), repository.to_owned());
        let mut prepared = Self { input, output, git, repository, changes: changes.to_vec() };
        prepared.say(&script(changes)).await?;
        prepared.hear("start: ok").await?;
        prepared.hear("prepare: ok").await?;
        Ok(prepared)
    }

    /// Moves the refs and makes that durable. After an error other than [`GitError::Unsure`] they are as they were.
    pub async fn commit(mut self) -> Result<(), GitError> {
        if let Err(error) = self.committed().await {
            drop(self.input);
            // Mostly it ends at once; one that hangs on its disk may still move them, and then nobody knows.
            let _ = tokio::time::timeout(PATIENCE, self.git.wait()).await;
            return Err(unless_moved(&self.repository, &self.changes, error));
        }
        drop(self.input);
        let (mut git, repository, changes) = (self.git, self.repository, self.changes);
        // The refs are moved; git only has to leave.
        let ((), synced) = tokio::join!(git.wait(), blocking(move || sync_moved(&repository, &changes)));
        synced
    }

    async fn committed(&mut self) -> Result<(), GitError> {
        self.say("commit\n").await?;
        self.hear("commit: ok").await
    }

    async fn say(&mut self, text: &str) -> Result<(), GitError> {
        match self.input.write_all(text.as_bytes()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.complaint().await),
        }
    }

    async fn hear(&mut self, expected: &str) -> Result<(), GitError> {
        match self.output.next_line().await {
            Ok(Some(line)) if line == expected => Ok(()),
            _ => Err(self.complaint().await),
        }
    }

    /// What git said before it gave up.
    async fn complaint(&mut self) -> GitError {
        let mut stderr = Vec::new();
        if let Some(stream) = self.git.0.as_mut().and_then(|(child, _)| child.stderr.take()) {
            let mut stream = stream.take(64 << 10);
            let read = stream.read_to_end(&mut stderr);
            let _ = tokio::time::timeout(PATIENCE, read).await;
        }
        said("git update-ref", &stderr)
    }
}

/// Makes everything that is written in the repository durable: flushes its whole file system, which costs what other
/// programs have left to write there. Call it for the objects *before* a ref moves to them.
pub fn sync(repository: &Path) -> std::io::Result<()> {
    let directory = fs::File::open(repository)?;
    nix::unistd::syncfs(&directory)?;
    Ok(())
}

/// Makes refs durable that were just moved: an error is [`GitError::Unsure`].
pub(super) fn sync_moved(repository: &Path, changes: &[Change]) -> Result<(), GitError> {
    let names: Vec<RefName> = changes.iter().map(|(name, _, _)| name.clone()).collect();
    sync_refs(repository, &names).map_err(|error| unsure(changes, error))
}

/// The error of a git that was to move refs: [`GitError::Unsure`] unless they are seen to be where they were.
pub(super) fn unless_moved(repository: &Path, changes: &[Change], error: GitError) -> GitError {
    let as_before = super::open(repository).is_ok_and(|objects| {
        changes
            .iter()
            .all(|(name, old, _)| objects.resolve(name).is_ok_and(|now| now.unwrap_or_else(CommitId::zero) == *old))
    });
    if as_before { error } else { unsure(changes, error) }
}

fn unsure(changes: &[Change], error: GitError) -> GitError {
    let refs: Vec<&str> = changes.iter().map(|(name, _, _)| name.as_str()).collect();
    GitError::Unsure { refs: refs.join(", "), source: Box::new(error) }
}

/// Makes moved or deleted refs durable: the file, and every directory down to it. What is not there needs nothing; what
/// cannot be looked at, because the disk is gone for one, is not durable.
pub fn sync_refs(repository: &Path, refs: &[RefName]) -> Result<(), GitError> {
    let mut done = std::collections::HashSet::new();
    for name in refs {
        let file = repository.join(name.as_str());
        sync_what_is_there(&file)?;
        for directory in file.ancestors().skip(1).take_while(|directory| directory.starts_with(repository)) {
            if done.insert(directory.to_owned()) {
                sync_what_is_there(directory)?;
            }
        }
    }
    Ok(())
}

fn sync_what_is_there(path: &Path) -> Result<(), GitError> {
    match fs::File::open(path).and_then(|open| open.sync_all()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        synced => synced.map_err(GitError::io("cannot sync", path)),
    }
}

/// Whether a ref of the repository is locked: by a git that is at work, or by one that was killed.
pub fn has_locks(repository: &Path) -> std::io::Result<bool> {
    Ok(!ref_locks(repository)?.is_empty())
}

/// Removes lock files and half-received objects that a crash left. Only when no git runs in the repository: at the
/// start of the server, and by [`AtWork`].
pub fn clear_left_overs(repository: &Path) -> std::io::Result<()> {
    for lock in ref_locks(repository)? {
        fs::remove_file(lock)?;
    }
    for entry in fs::read_dir(repository)?.chain(fs::read_dir(repository.join("objects"))?) {
        let entry = entry?;
        let (name, is_dir) = (entry.file_name(), entry.file_type()?.is_dir());
        if is_dir && name.to_string_lossy().starts_with("tmp_objdir-") {
            removal::remove_directory(&entry.path())?;
        } else if !is_dir && name.to_string_lossy().ends_with(".lock") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn ref_locks(repository: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut locks, mut waiting) = (Vec::new(), vec![repository.join("refs")]);
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            } else if entry.file_name().to_string_lossy().ends_with(".lock") {
                locks.push(entry.path());
            }
        }
    }
    Ok(locks)
}

/// Runs something that waits for the disk away from the threads that wait for events.
pub(super) async fn blocking(work: impl FnOnce() -> Result<(), GitError> + Send + 'static) -> Result<(), GitError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|stopped| Err(GitError::Command { command: "sync", stderr: stopped.to_string() }))
}

fn script(changes: &[Change]) -> String {
    let lines = changes.iter().map(|(name, old, new)| match (old.is_zero(), new.is_zero()) {
        (_, true) => format!("delete {name} {old}\n"),
        (true, false) => format!("create {name} {new}\n"),
        (false, false) => format!("update {name} {new} {old}\n"),
    });
    ["start\n".to_owned()].into_iter().chain(lines).chain(["prepare\n".to_owned()]).collect()
}

#[cfg(test)]
#[path = "refs_tests.rs"]
mod tests;
