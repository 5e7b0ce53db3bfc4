//! The bare repositories: their making, their fixed settings, and the one way a git command of ours is started.
//!
//! Nothing is read from a configuration that anybody else could have written: each repository has one small file of
//! ours, and every setting that matters comes with the command. Reading objects is in `objects`, moving refs in `refs`.

use super::failed::GitError;
use super::text::visible;
use crate::system::{UserIds, command, entropy, removal};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The configuration file of each repository, to the byte.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";
const HEAD: &str = "ref: refs/heads/main\n";
/// Oldest git that knows `proc-receive`.
const MINIMUM: (u32, u32, u32) = (2, 29, 0);

/// Settings of every git command, whatever it does.
const SETTINGS: [&str; 7] = [
    "safe.bareRepository=explicit",
    "protocol.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    // The server makes objects and refs durable itself, once, before it answers: see `refs::sync`.
    "core.fsync=-all",
    // Larger blobs are streamed instead of being held in memory.
    "core.bigFileThreshold=32m",
    "advice.graftFileDeprecated=false",
];

/// The git program, the user it runs as, and the directory of hooks every repository uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Git {
    pub program: PathBuf,
    pub user: UserIds,
    /// `core.hooksPath`: root's, filled by [`super::install::install_hooks`].
    pub hooks: PathBuf,
}

impl Git {
    /// Makes a bare repository at `path` whose `HEAD` is `refs/heads/main`: mode 0700, the git user's, durable. The
    /// directory that is to hold it must exist and let the git user through. A repository that is there already is
    /// checked instead: one whose configuration is not ours, to the byte, is an error.
    pub async fn create(&self, path: &Path) -> Result<(), GitError> {
        let (user, path) = (self.user, path.to_owned());
        let made = tokio::task::spawn_blocking(move || create(&path, user)).await;
        made.unwrap_or_else(|stopped| Err(GitError::Command { command: "create", stderr: stopped.to_string() }))
    }

    /// The version of the git program; older than 2.29 is an error.
    pub async fn version(&self) -> Result<(u32, u32, u32), GitError> {
        let output = self.run("git version", self.command(None, &["version"])).await?;
        let text = String::from_utf8_lossy(&output);
        let too_old = || GitError::Version { found: visible(text.trim().as_bytes(), 60) };
        let version = parse_version(&text).ok_or_else(too_old)?;
        if version < MINIMUM { Err(too_old()) } else { Ok(version) }
    }

    /// A git command, as the git user, in `repository`. Standard streams are closed until set.
    pub(super) fn command(&self, repository: Option<&Path>, args: &[&str]) -> tokio::process::Command {
        self.command_with(repository, args, &[])
    }

    /// The same with more of an environment.
    pub(super) fn command_with(
        &self,
        repository: Option<&Path>,
        args: &[&str],
        more: &[(&str, &str)],
    ) -> tokio::process::Command {
        let mut env = vec![
            ("HOME", "/nonexistent"),
            ("PATH", "/usr/bin:/bin"),
            ("LANG", "C.UTF-8"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
        ];
        env.extend_from_slice(more);
        let settings = SETTINGS.iter().flat_map(|setting| ["-c", setting]);
        let argv: Vec<&str> = settings.chain(args.iter().copied()).collect();
        let mut command = command::command(&self.program, argv, Path::new("/"), self.user, &env);
        if let Some(repository) = repository {
            command.env("GIT_DIR", repository);
        }
        command
    }

    /// Runs a command to its end. Its output, or what it said on its error stream.
    pub(super) async fn run(
        &self,
        what: &'static str,
        mut command: tokio::process::Command,
    ) -> Result<Vec<u8>, GitError> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.output().await.map_err(GitError::io("cannot start git", &self.program))?;
        if output.status.success() { Ok(output.stdout) } else { Err(said(what, &output.stderr)) }
    }
}

/// The error of a command that ended badly.
pub(super) fn said(command: &'static str, stderr: &[u8]) -> GitError {
    GitError::Command { command, stderr: visible(stderr.trim_ascii(), 500) }
}

/// Flushes a directory, so that names in it survive a power cut.
pub(super) fn sync_directory(path: &Path) -> Result<(), GitError> {
    fs::File::open(path).and_then(|directory| directory.sync_all()).map_err(GitError::io("cannot sync", path))
}

fn create(path: &Path, user: UserIds) -> Result<(), GitError> {
    if path.join("HEAD").exists() {
        return check(path);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(GitError::Repository { path: path.into(), what: "not a place for a repository".into() });
    };
    let random = entropy::hex(4).map_err(GitError::io("no random bytes", path))?;
    let fresh = parent.join(format!(".{}.{random}.new", name.to_string_lossy()));
    let made = fill(&fresh, user).and_then(|()| {
        fs::rename(&fresh, path).map_err(GitError::io("cannot put the new repository here", path))?;
        sync_directory(parent)
    });
    if made.is_err() {
        let _ = removal::remove_directory(&fresh);
    }
    // Two pushes may make the same project at once; both find a good repository.
    made.or_else(|error| if path.join("HEAD").exists() { check(path) } else { Err(error) })
}

fn fill(at: &Path, user: UserIds) -> Result<(), GitError> {
    for part in ["", "objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags", "info"] {
        let directory = if part.is_empty() { at.to_owned() } else { at.join(part) };
        let make = || {
            fs::create_dir(&directory)?;
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
            own(&directory, user)
        };
        make().map_err(GitError::io("cannot make", &directory))?;
    }
    for (name, content) in [("HEAD", HEAD), ("config", CONFIG)] {
        let file = at.join(name);
        let write = || {
            let mut open = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
            open.write_all(content.as_bytes())?;
            open.sync_all()?;
            own(&file, user)
        };
        write().map_err(GitError::io("cannot write", &file))?;
    }
    for part in ["objects", "refs", ""] {
        sync_directory(&at.join(part))?;
    }
    Ok(())
}

fn own(path: &Path, user: UserIds) -> std::io::Result<()> {
    if nix::unistd::geteuid().is_root() { chown(path, Some(user.uid), Some(user.gid)) } else { Ok(()) }
}

fn check(path: &Path) -> Result<(), GitError> {
    let config = path.join("config");
    let mut text = String::new();
    fs::File::open(&config)
        .and_then(|file| file.take(64 << 10).read_to_string(&mut text))
        .map_err(GitError::io("cannot read", &config))?;
    if text == CONFIG {
        return Ok(());
    }
    let ours: Vec<&str> = CONFIG.lines().collect();
    let strange = text.lines().find(|line| !ours.contains(line)).unwrap_or("a line is missing");
    let what = format!("not the configuration that was written here: {}", visible(strange.trim().as_bytes(), 80));
    Err(GitError::Repository { path: config, what })
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.trim().strip_prefix("git version ")?.split(['.', ' ']).map(str::parse);
    let major = numbers.next()?.ok()?;
    let minor = numbers.next()?.ok()?;
    Some((major, minor, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::scratch::World;
    use std::os::unix::fs::MetadataExt;

    #[tokio::test]
    async fn a_new_repository_is_bare_private_and_gits_own() {
        let world = World::new().await;
        world.git.create(&world.repository).await.unwrap();
        let metadata = fs::metadata(&world.repository).unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (world.git.user.uid, 0o700));
        let head = world.git.command(Some(&world.repository), &["symbolic-ref", "HEAD"]);
        assert_eq!(world.git.run("git symbolic-ref", head).await.unwrap(), b"refs/heads/main\n");
        let fsck = world.git.command(Some(&world.repository), &["fsck", "--strict"]);
        world.git.run("git fsck", fsck).await.unwrap();
        assert_eq!(
            fs::read_dir(world.root()).unwrap().filter(|e| e.as_ref().unwrap().file_name() == ".new").count(),
            0
        );
    }

    #[tokio::test]
    async fn a_repository_whose_configuration_was_changed_is_not_used() {
        let world = World::new().await;
        let config = world.repository.join("config");
        fs::write(&config, format!("{CONFIG}\tsshCommand = id\n")).unwrap();
        let error = world.git.create(&world.repository).await.unwrap_err();
        assert!(error.to_string().contains("sshCommand = id"), "{error}");
    }

    #[tokio::test]
    async fn a_git_without_proc_receive_is_too_old() {
        let world = World::new().await;
        assert!(world.git.version().await.unwrap() >= MINIMUM);
        assert_eq!(parse_version("git version 2.39.5"), Some((2, 39, 5)));
        assert_eq!(parse_version("git version 2.47.3 (Apple Git-1)"), Some((2, 47, 3)));
        assert_eq!(parse_version("hello"), None);
        let missing = Git { program: "/nonexistent/git".into(), ..world.git.clone() };
        assert!(missing.version().await.is_err());
    }
}
