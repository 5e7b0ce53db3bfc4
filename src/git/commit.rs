//! Commits that the server itself makes: `config set` changes one file of the pillar this way, and what people edited in
//! place becomes one. Everything else in a repository comes from pushes.

use super::failed::GitError;
use super::refs::{Change, blocking, sync, sync_moved, unless_moved};
use super::repository::{Git, said};
use crate::model::{Code, CommitId, Failure, RefName};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};

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

/// A commit of many changes.
pub struct Commit<'a> {
    /// Made if it does not exist; what it names, if it does, must be the parent or come before it.
    pub branch: RefName,
    pub parent: Option<&'a CommitId>,
    pub message: &'a str,
    /// Becomes `NAME <NAME@commis>`.
    pub author: &'a str,
}

/// What becomes of one path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Changed {
    /// The content is asked for when it is written: of a link, its target.
    Put(Put),
    Remove,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    Plain,
    Program,
    Link,
}

/// Gives the content of a changed path.
pub type Read<'a> = &'a mut (dyn FnMut(&str) -> Result<Vec<u8>, Failure> + Send);

/// Makes the commit and moves the branch to it, durably. A branch that moves meanwhile is an error.
pub async fn commit_file(git: &Git, repository: &Path, file: CommitFile<'_>) -> Result<CommitId, GitError> {
    if !plain_path(file.file) {
        return Err(said("commit", format!("{:?} is no plain file name", file.file).as_bytes()));
    }
    let parent = super::open(repository)?.resolve(&file.branch)?;
    let commit = Commit { branch: file.branch, parent: parent.as_ref(), message: file.message, author: file.author };
    let mut import = Import::begin(git, repository, &commit).await?;
    import.say(&put(file.file, Put::Plain, file.content)).await;
    import.end(commit.branch, parent.clone()).await
}

/// The same for many files.
///
/// # Errors
/// `Refused` for a path that no commit should hold, and whatever `read` says.
pub async fn commit_changes(
    git: &Git,
    repository: &Path,
    commit: Commit<'_>,
    (changes, read): (&[(String, Changed)], Read<'_>),
) -> Result<CommitId, Failure> {
    for (path, _) in changes {
        for part in path.split('/') {
            super::names::check_name(part.as_bytes(), 255).map_err(|why| {
                let shown = super::names::shown(path.as_bytes());
                Failure::new(Code::Refused, format!("{shown}: {}", why.what)).hint(why.hint)
            })?;
        }
    }
    let mut import = Import::begin(git, repository, &commit).await?;
    for (path, change) in changes {
        match change {
            Changed::Remove => import.say(format!("D {}\n", quoted(path)).as_bytes()).await,
            Changed::Put(kind) => import.say(&put(path, *kind, &read(path)?)).await,
        }
    }
    let before = super::open(repository)?.resolve(&commit.branch)?;
    Ok(import.end(commit.branch, before).await?)
}

/// A `git fast-import` that is being told one commit. Dropped before its end it commits nothing.
struct Import {
    child: Child,
    input: ChildStdin,
    repository: PathBuf,
}

impl Import {
    async fn begin(git: &Git, repository: &Path, commit: &Commit<'_>) -> Result<Self, GitError> {
        // In this order on the disk, so that a power cut never leaves a branch at a commit that is not there.
        let args = ["-c", "core.fsync=objects,reference", "fast-import", "--quiet", "--done", "--date-format=now"];
        let mut command = git.command(Some(repository), &args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(GitError::io("cannot start git", &git.program))?;
        let input = child.stdin.take().ok_or_else(|| said("git fast-import", b"no pipes"))?;
        let mut import = Self { child, input, repository: repository.to_owned() };
        import.say(head(commit).as_bytes()).await;
        Ok(import)
    }

    /// A git that gave up early says why on its error stream.
    async fn say(&mut self, bytes: &[u8]) {
        let _ = self.input.write_all(bytes).await;
    }

    /// `before` is where the branch is. After an error other than [`GitError::Unsure`] it still is there.
    async fn end(mut self, branch: RefName, before: Option<CommitId>) -> Result<CommitId, GitError> {
        self.say(b"\nget-mark :1\ndone\n").await;
        drop(self.input);
        let output = self.child.wait_with_output().await.map_err(GitError::io("cannot run git", &self.repository))?;
        let made = std::str::from_utf8(&output.stdout).ok().and_then(|hex| CommitId::parse(hex.trim_end()));
        let (path, before) = (self.repository, before.unwrap_or_else(CommitId::zero));
        let change = |to: CommitId| -> [Change; 1] { [(branch.clone(), before.clone(), to)] };
        let Some(made) = made.filter(|_| output.status.success()) else {
            let error = said("git fast-import", &output.stderr);
            return Err(unless_moved(&path, &change(CommitId::zero()), error));
        };
        let moved = change(made.clone());
        blocking(move || match sync(&path) {
            Ok(()) => sync_moved(&path, &moved),
            Err(error) => Err(unless_moved(&path, &moved, GitError::io("cannot sync", &path)(error))),
        })
        .await?;
        Ok(made)
    }
}

fn head(commit: &Commit<'_>) -> String {
    let author: String = commit.author.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    let author = if author.is_empty() { "commis" } else { &author };
    let from = commit.parent.map(|id| format!("from {id}\n")).unwrap_or_default();
    let Commit { branch, message, .. } = commit;
    let length = message.len();
    format!("commit {branch}\nmark :1\ncommitter {author} <{author}@commis> now\ndata {length}\n{message}\n{from}")
}

fn put(path: &str, kind: Put, content: &[u8]) -> Vec<u8> {
    let mode = match kind {
        Put::Plain => "100644",
        Put::Program => "100755",
        Put::Link => "120000",
    };
    let head = format!("M {mode} inline {}\ndata {}\n", quoted(path), content.len());
    [head.as_bytes(), content, b"\n"].concat()
}

/// As git quotes paths for fast-import; control characters were refused before.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
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

    #[tokio::test]
    async fn many_changes_are_one_commit_with_the_parent_that_is_named() {
        let world = World::new().await;
        let git = &world.git;
        let commit = |parent| Commit {
            branch: RefName::parse("refs/heads/edits/1").unwrap(),
            parent,
            message: "edits",
            author: "jane",
        };
        let put = |path: &str, kind| (path.to_owned(), Changed::Put(kind));
        let changes = [put("a \"b\" \\ c", Put::Plain), put("bin/x", Put::Program), put("l", Put::Link)];
        let mut read = |path: &str| Ok(path.as_bytes().to_vec());
        let first = commit_changes(git, &world.repository, commit(None), (&changes, &mut read)).await.unwrap();
        let changes = [("bin/x".to_owned(), Changed::Remove)];
        let second = commit_changes(git, &world.repository, commit(Some(&first)), (&changes, &mut read)).await.unwrap();
        let listed = git.command(
            Some(&world.repository),
            &["ls-tree", "-r", "--format=%(objectmode) %(path)", "-z", second.as_str()],
        );
        let listed = git.run("git ls-tree", listed).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&listed), ["100644 \"a \\\"b\\\" \\\\ c\"", "120000 l", ""].join("\0"));
        // A branch that is not the parent's stays where it is.
        let changes = [("l".to_owned(), Changed::Remove)];
        assert!(commit_changes(git, &world.repository, commit(Some(&first)), (&changes, &mut read)).await.is_err());
        let hostile = [put(".git/config", Put::Plain)];
        let failure = commit_changes(git, &world.repository, commit(Some(&second)), (&hostile, &mut read)).await;
        assert_eq!(failure.unwrap_err().code, Code::Refused);
        let mut broken = |_: &str| Err(Failure::new(Code::Internal, "gone"));
        let changes = [put("new", Put::Plain)];
        assert!(commit_changes(git, &world.repository, commit(Some(&second)), (&changes, &mut broken)).await.is_err());
        let objects = crate::git::open(&world.repository).unwrap();
        assert_eq!(objects.resolve(&RefName::parse("refs/heads/edits/1").unwrap()).unwrap(), Some(second));
    }
}
