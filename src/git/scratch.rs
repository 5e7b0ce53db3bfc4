//! A server side and a client side for the tests of this room: a real repository of a git user, real pushes by a real
//! client through [`super::transport`], the hook and the socket, all in one temporary directory. Needs root.

use super::conversation::HookListener;
use super::install::{PROC_RECEIVE, REFERENCE_TRANSACTION, install_hooks};
use super::proc_receive::{Received, Verdict};
use super::refs::{self, Change};
use super::transport::{ReceiveOptions, receive_pack, upload_pack};
use super::{Git, GitError};
use crate::model::{CommitId, RefName};
use crate::system::UserIds;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub const TOKEN: &str = "t0ken";

pub struct World {
    place: tempfile::TempDir,
    pub git: Git,
    pub repository: PathBuf,
    /// A work tree with one commit on main.
    pub client: PathBuf,
}

/// How a push ended, seen by the client and by the server.
pub struct Pushed {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub received: Option<Received>,
}

impl World {
    pub async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        open_to_all(place.path());
        let root = place.path();
        let git = Git { program: "/usr/bin/git".into(), user: UserIds::of(399_001), hooks: root.join("hooks") };
        let world = Self { repository: root.join("project.git"), client: root.join("client"), place, git };
        world.git.create(&world.repository).await.unwrap();
        world.client_git(world.root(), &["init", "-q", "-b", "main", "client"]);
        world.file("readme", "hello");
        world.commit("first commit");
        world
    }

    pub fn root(&self) -> &Path {
        self.place.path()
    }

    pub fn file(&self, name: &str, content: &str) {
        let path = self.client.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Commits everything in the work tree.
    pub fn commit(&self, message: &str) -> CommitId {
        self.ok(&["add", "-A"]);
        self.ok(&["commit", "-q", "--allow-empty", "-m", message]);
        CommitId::parse(&self.ok(&["rev-parse", "HEAD"])).unwrap()
    }

    /// A git command of the client, in its work tree, that has to succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        self.client_git(&self.client, args)
    }

    /// The id of an object made from bytes, unchecked, as an attacker would.
    pub fn object(&self, kind: &str, bytes: &[u8]) -> String {
        let mut child = self
            .client_command(&self.client, &["hash-object", "-w", "--literally", "-t", kind, "--stdin"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        said_ok(child.wait_with_output().unwrap())
    }

    /// A commit whose tree is these entries: mode, name, object id.
    pub fn commit_of(&self, entries: &[(&str, &[u8], &str)]) -> CommitId {
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|(mode, name, id)| [mode.as_bytes(), b" ", name, b"\0", &unhex(id)].concat())
            .collect();
        let tree = self.object("tree", &bytes);
        CommitId::parse(&self.ok(&["commit-tree", "-m", "x", &tree])).unwrap()
    }

    /// Pushes; the server answers with what `decide` says, and moves the refs that it says `Ok` to.
    pub async fn push(&self, args: &[&str], decide: impl FnOnce(&Received) -> Vec<Verdict>) -> Pushed {
        let listener = self.listen();
        let remote = self.remote();
        let argv = [&["push", remote.as_str()], args].concat();
        let mut command = tokio::process::Command::from(self.client_command(&self.client, &argv));
        let pushing = command.output();
        let serving = async {
            let mut hook = listener.accept().await.unwrap();
            assert_eq!(hook.token, TOKEN);
            let received = hook.read_push().await.unwrap();
            hook.stderr(b"-----> looking\n").await;
            let mut verdicts = decide(&received);
            for (command, verdict) in received.commands.iter().zip(&mut verdicts) {
                let Ok(name) = &command.name else { continue };
                let change = (name.clone(), command.old.clone(), command.new.clone());
                if *verdict == Verdict::Ok
                    && let Err(error) = self.moved(change).await
                {
                    *verdict = Verdict::Ng(error.to_string());
                }
            }
            hook.answer(&verdicts).await.unwrap();
            received
        };
        tokio::pin!(pushing, serving);
        let mut received = None;
        let output = loop {
            tokio::select! {
                biased;
                done = &mut serving, if received.is_none() => received = Some(done),
                output = &mut pushing => break output.unwrap(),
            }
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Pushed { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr), received }
    }

    /// A push of which every ref is accepted.
    pub async fn pushed(&self, args: &[&str]) {
        let pushed = self.push(args, |received| received.all(&Verdict::Ok)).await;
        assert_eq!(pushed.code, Some(0), "{}", pushed.stderr);
    }

    /// A fresh clone of the repository.
    pub fn cloned(&self, name: &str) -> PathBuf {
        let upload = self.script("upload", &upload_pack(&self.git, &self.repository, None));
        self.client_git(self.root(), &["clone", "-q", &upload, name]);
        self.root().join(name)
    }

    /// The client's name for the repository when it pushes.
    pub fn remote(&self) -> String {
        let options = ReceiveOptions {
            token: TOKEN.into(),
            hook_socket: self.socket(),
            protocol: Some("version=1".into()),
            max_push: 100 << 20,
        };
        self.script("receive", &receive_pack(&self.git, &self.repository, &options))
    }

    /// The server's socket, with the test program as the hooks. The hook that syncs leaves `synced` in the repository.
    pub fn listen(&self) -> HookListener {
        let test = self.root().join("test");
        install_hooks(&test, &std::env::current_exe().unwrap(), self.git.user).unwrap();
        let start = format!("exec 3>&1 >/dev/null\nexec {}/proc-receive --exact", test.display());
        fs::create_dir_all(&self.git.hooks).unwrap();
        for (hook, name) in [(PROC_RECEIVE, "acts_as_the_hook"), (REFERENCE_TRANSACTION, "acts_as_the_sync")] {
            let to = format!("git::relay::tests::{name} --ignored --nocapture -q");
            fs::write(self.git.hooks.join(hook), format!("#!/bin/sh\nexport HOOK_STATE=$1\n{start} {to}\n")).unwrap();
            open_to_all(&self.git.hooks.join(hook));
        }
        HookListener::bind(&self.socket(), self.git.user).unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.root().join("hook/hook.sock")
    }

    async fn moved(&self, change: Change) -> Result<(), GitError> {
        refs::sync(&self.repository).unwrap();
        refs::update(&self.git, &self.repository, &[change]).await
    }

    /// A command as a script that becomes the git user, and the address under which git runs it.
    fn script(&self, name: &str, command: &tokio::process::Command) -> String {
        let command = command.as_std();
        let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap().replace('\'', "'\\''"));
        let env =
            command.get_envs().map(|(key, value)| format!("{}={}", key.to_str().unwrap(), quoted(value.unwrap())));
        let argv = [command.get_program()].into_iter().chain(command.get_args()).map(quoted);
        let words: Vec<String> = env.chain(argv).collect();
        let uid = self.git.user.uid;
        let path = self.root().join(name);
        let become_git = format!("exec setpriv --reuid={uid} --regid={uid} --clear-groups env -i");
        fs::write(&path, format!("#!/bin/sh\ncd /\n{become_git} {}\n", words.join(" "))).unwrap();
        open_to_all(&path);
        format!("ext::{}", path.display())
    }

    fn client_git(&self, directory: &Path, args: &[&str]) -> String {
        said_ok(self.client_command(directory, args).output().unwrap())
    }

    #[allow(clippy::disallowed_methods)]
    fn client_command(&self, directory: &Path, args: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/git");
        command.args(["-c", "protocol.ext.allow=always", "-c", "user.name=a", "-c", "user.email=a@b"]).args(args);
        command.current_dir(directory).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.root());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A branch of this name.
pub fn branch(name: &str) -> RefName {
    RefName::parse(&format!("refs/heads/{name}")).unwrap()
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn said_ok(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
