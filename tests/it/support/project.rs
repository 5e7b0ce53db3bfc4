//! A developer's side of a project: a working copy, and pushes from it with the real git.

use super::running::Running;
use super::world::{Ran, World, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A project and its working copy.
pub struct Project<'a> {
    world: &'a World,
    pub name: String,
    pub directory: PathBuf,
    key: String,
}

/// A push that has ended.
#[must_use = "say how it ended"]
#[derive(Debug)]
pub struct Pushed(pub Ran);

impl<'a> Project<'a> {
    pub fn new(world: &'a World, name: &str) -> Self {
        let directory = world.path("work").join(name);
        std::fs::create_dir_all(&directory).expect("a working copy");
        let project = Self { world, name: name.to_owned(), directory, key: "admin".to_owned() };
        project.git(&["init", "-q", "-b", "main"]).succeeded();
        project
    }

    /// The same working copy again, for instance after its server was started anew.
    pub fn at(world: &'a World, name: &str, directory: &Path) -> Self {
        Self { world, name: name.to_owned(), directory: directory.to_owned(), key: "admin".to_owned() }
    }

    /// Pushes with another key.
    pub fn by(mut self, key: &str) -> Self {
        key.clone_into(&mut self.key);
        self
    }

    /// A copy of one of tests/apps, committed.
    pub fn app(self, app: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps").join(app);
        let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(&self.directory).status();
        assert!(copied.is_ok_and(|status| status.success()), "copy {app}");
        self.commit("first")
    }

    pub fn write(self, path: &str, text: &str) -> Self {
        let file = self.directory.join(path);
        std::fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
        std::fs::write(file, text).expect("a file");
        self
    }

    /// An executable file.
    pub fn script(self, path: &str, text: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let project = self.write(path, text);
        let file = project.directory.join(path);
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        project
    }

    pub fn remove(self, path: &str) -> Self {
        std::fs::remove_file(self.directory.join(path)).expect("a file to remove");
        self
    }

    pub fn commit(self, message: &str) -> Self {
        self.git(&["add", "-A"]).succeeded();
        self.git(&["commit", "-q", "--allow-empty", "-m", message]).succeeded();
        self
    }

    /// A tiny web application whose page says `text`: one Python process, nothing to build.
    pub fn saying(self, text: &str) -> Self {
        self.write("Procfile", "web: python3 server.py\n")
            .write("server.py", SERVER)
            .write("page.txt", text)
            .commit(text)
    }

    /// Pushes the current commit to a branch, as CI does: the progress is not on a terminal.
    pub fn push(&self, branch: &str) -> Pushed {
        self.push_with(&["--porcelain", &self.url(), &format!("HEAD:refs/heads/{branch}")])
    }

    pub fn push_with(&self, args: &[&str]) -> Pushed {
        let words: Vec<&str> = ["push"].into_iter().chain(args.iter().copied()).collect();
        Pushed(self.git(&words))
    }

    /// Starts a push that the test does not wait for.
    pub fn starts_pushing(&self, branch: &str) -> Running {
        let target = format!("HEAD:refs/heads/{branch}");
        Running::start(self.git_command(&["push", "--porcelain", &self.url(), &target]), &format!("push {}", self.name))
    }

    /// Starts a push as somebody at a terminal does.
    pub fn starts_pushing_at_terminal(&self, branch: &str) -> Running {
        let target = format!("HEAD:refs/heads/{branch}");
        Running::at_terminal(&self.git_command(&["push", &self.url(), &target]), &format!("push {}", self.name))
    }

    /// The same working copy in the hands of another key.
    pub fn with_key(&self, key: &str) -> Project<'a> {
        Project { world: self.world, name: self.name.clone(), directory: self.directory.clone(), key: key.to_owned() }
    }

    pub fn pillar_url(&self) -> String {
        format!("{}/pillar", self.url())
    }

    pub fn url(&self) -> String {
        format!("ssh://commis@127.0.0.1:{}/{}", self.world.ssh, self.name)
    }

    pub fn git(&self, args: &[&str]) -> Ran {
        run(self.git_command(args), "", &format!("git {}", args.join(" ")))
    }

    /// git in the working copy, reading nobody's configuration.
    pub fn git_command(&self, args: &[&str]) -> Command {
        let ssh = format!("ssh {}", self.world.ssh_options(&self.key).join(" "));
        let mut command = Command::new("git");
        command.args(args).current_dir(&self.directory).env_clear();
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.world.path("work"));
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "Jane"),
            ("GIT_AUTHOR_EMAIL", "jane@example.com"),
            ("GIT_COMMITTER_NAME", "Jane"),
            ("GIT_COMMITTER_EMAIL", "jane@example.com"),
            ("GIT_SSH_COMMAND", &ssh),
        ] {
            command.env(name, value);
        }
        command
    }

    /// Where the server keeps it.
    pub fn place(&self, name: &str) -> PathBuf {
        self.world.path("srv").join(&self.name).join(name)
    }

    /// What a ref of the server's repository says, by asking it.
    pub fn remote_ref(&self, name: &str) -> Option<String> {
        let listed = self.git(&["ls-remote", &self.url(), name]);
        listed.stdout.split_whitespace().next().map(str::to_owned)
    }

    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).succeeded().stdout.trim().to_owned()
    }
}

impl Pushed {
    pub fn succeeds(&self) -> &Self {
        self.0.succeeded();
        self
    }

    /// Rejected: git's exit code is 1 and the reason begins with this code.
    pub fn is_rejected(&self, code: &str) -> &Self {
        self.0.failed(1);
        let reason = format!("({code}: ");
        assert!(self.0.stdout.contains(&reason), "no {reason} in {:#?}", self.0);
        self
    }

    pub fn says(&self, text: &str) -> &Self {
        self.0.says(text);
        self
    }

    pub fn is_silent_about(&self, text: &str) -> &Self {
        self.0.is_silent_about(text);
        self
    }
}

/// Serves `page.txt` on `$PORT`.
const SERVER: &str = r#"import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open('page.txt', 'rb').read()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Page).serve_forever()
"#;
