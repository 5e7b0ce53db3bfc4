//! One commit with one changed file, made by the server itself: `config set` writes the pillar this way. Everything
//! else in a repository comes from pushes.

use super::failed::GitError;
use super::refs::{blocking, sync, sync_refs};
use super::repository::{Git, said};
use crate::model::{CommitId, RefName};
use std::path::Path;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;

/// What to commit. The content may be secret, hence no `Debug`.
pub struct CommitFile<'a> {
    /// Made if it does not exist; otherwise the commit goes on top of it.
    pub branch: RefName,
    /// Parts of `[A-Za-z0-9._-]`, joined by `/`.
    pub file: &'a str,
    pub content: &'a [u8],
    pub message: &'a str,
    /// Becomes `NAME <NAME@commis>`.
    pub author: &'a str,
}

/// Makes the commit and moves the branch to it, durably. A branch that moves meanwhile is an error.
pub async fn commit_file(git: &Git, repository: &Path, commit: CommitFile<'_>) -> Result<CommitId, GitError> {
    let branch = commit.branch.clone();
    if !plain_path(commit.file) {
        return Err(said("commit", format!("{:?} is no plain file name", commit.file).as_bytes()));
    }
    let head = super::open(repository)?.resolve(&branch)?;
    // In this order on the disk, so that a power cut never leaves a branch at a commit that is not there.
    let args = ["-c", "core.fsync=objects,reference", "fast-import", "--quiet", "--done", "--date-format=now"];
    let mut command = git.command(Some(repository), &args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(GitError::io("cannot start git", &git.program))?;
    let stream = stream(&commit, head.as_ref());
    if let Some(mut input) = child.stdin.take() {
        // A git that gave up early says why on its error stream.
        let _ = input.write_all(&stream).await;
    }
    let output = child.wait_with_output().await.map_err(GitError::io("cannot run git", &git.program))?;
    let made = std::str::from_utf8(&output.stdout).ok().and_then(|hex| CommitId::parse(hex.trim_end()));
    let Some(made) = made.filter(|_| output.status.success()) else {
        return Err(said("git fast-import", &output.stderr));
    };
    let path = repository.to_owned();
    blocking(move || {
        sync(&path).map_err(GitError::io("cannot sync", &path))?;
        sync_refs(&path, &[branch])
    })
    .await?;
    Ok(made)
}

fn stream(commit: &CommitFile<'_>, head: Option<&CommitId>) -> Vec<u8> {
    let author: String = commit.author.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    let author = if author.is_empty() { "commis" } else { &author };
    let from = head.map(|id| format!("from {id}\n")).unwrap_or_default();
    let CommitFile { branch, file, content, message, .. } = commit;
    let head = format!(
        "commit {branch}\nmark :1\ncommitter {author} <{author}@commis> now\ndata {}\n{message}\n{from}M 100644 inline {file}\ndata {}\n",
        message.len(),
        content.len()
    );
    [head.as_bytes(), content, b"\nget-mark :1\ndone\n"].concat()
}

fn plain_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    path.len() <= 1024
        && path.split('/').all(|part| super::names::check_name(part.as_bytes(), 255).is_ok() && part.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::scratch::World;

    fn file<'a>(name: &'a str, content: &'a [u8]) -> CommitFile<'a> {
        let branch = RefName::parse("refs/heads/main").unwrap();
        CommitFile { branch, file: name, content, message: "set A\nand B", author: "jane <x>\n" }
    }

    #[tokio::test]
    async fn a_setting_becomes_a_commit_on_top_of_the_others() {
        let world = World::new().await;
        let first = commit_file(&world.git, &world.repository, file("init.yaml", b"a: 1\n")).await.unwrap();
        let second = commit_file(&world.git, &world.repository, file("more/x.yaml", b"b: 2")).await.unwrap();
        let objects = crate::git::open(&world.repository).unwrap();
        assert_eq!(objects.resolve(&RefName::parse("refs/heads/main").unwrap()).unwrap(), Some(second.clone()));
        assert!(objects.is_ancestor(&first, &second).unwrap());
        assert_eq!(objects.subject(&second).unwrap(), "set A");
        assert_eq!(objects.read_file(&second, "init.yaml", 100).unwrap().as_deref(), Some(&b"a: 1\n"[..]));
        assert_eq!(objects.read_file(&second, "more/x.yaml", 100).unwrap().as_deref(), Some(&b"b: 2"[..]));
        let log = world.git.command(Some(&world.repository), &["log", "-1", "--format=%an <%ae>", "main"]);
        assert_eq!(world.git.run("git log", log).await.unwrap(), b"janex <janex@commis>\n");
    }

    #[tokio::test]
    async fn only_plain_file_names_are_written() {
        let world = World::new().await;
        for name in ["", "../x", "a b", "a\nb", ".git/config", "/etc/x", "\"x\""] {
            assert!(commit_file(&world.git, &world.repository, file(name, b"")).await.is_err(), "{name}");
        }
    }
}
