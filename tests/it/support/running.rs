//! Commands that go on while a test looks at something else: pushes at a gate, pushes at a terminal.

use super::world::{Ran, signal, wait_at_most};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(90);

type Text = Arc<Mutex<Vec<u8>>>;

/// A command that was started.
pub struct Running {
    what: String,
    child: Child,
    stdin: Option<ChildStdin>,
    texts: [Text; 2],
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    pub fn start(mut command: Command, what: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        let texts = [Text::default(), Text::default()];
        let readers = vec![
            collect(child.stdout.take().expect("stdout"), texts[0].clone()),
            collect(child.stderr.take().expect("stderr"), texts[1].clone()),
        ];
        Self { what: what.to_owned(), stdin: child.stdin.take(), child, texts, readers }
    }

    /// Starts a command at a terminal of its own; its output is both streams as they would be seen there.
    pub fn at_terminal(command: &Command, what: &str) -> Self {
        let mut inside = Command::new("/usr/bin/python3");
        inside.args(["-c", TERMINAL]).arg(command.get_program()).args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                inside.env(name, value);
            }
        }
        if let Some(directory) = command.get_current_dir() {
            inside.current_dir(directory);
        }
        Self::start(inside, what)
    }

    /// Waits until it has said something.
    pub fn until(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.said().contains(text) {
            assert!(Instant::now() < until, "{}: {text:?} was never said, but: {}", self.what, self.said());
            let ended = self.child.try_wait().expect("a child").is_some();
            assert!(!ended || self.said().contains(text), "{}: ended without {text:?}: {}", self.what, self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn said(&self) -> String {
        self.texts.iter().map(|text| String::from_utf8_lossy(&text.lock().expect("a text")).into_owned()).collect()
    }

    /// Keys pressed; `\x03` is Ctrl-C.
    pub fn types(&mut self, keys: &str) {
        let stdin = self.stdin.as_mut().expect("an open keyboard");
        stdin.write_all(keys.as_bytes()).and_then(|()| stdin.flush()).expect("a keyboard");
    }

    pub fn signal(&self, which: Signal) {
        signal(self.child.id(), which);
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended.
    pub fn ended(mut self) -> Ran {
        drop(self.stdin.take());
        let code = wait_at_most(&mut self.child, PATIENCE).expect("an end");
        for reader in self.readers {
            let _ = reader.join();
        }
        let text = |at: usize| String::from_utf8_lossy(&self.texts[at].lock().expect("a text")).into_owned();
        Ran { what: self.what, code, stdout: text(0), stderr: text(1) }
    }
}

fn collect(mut from: impl Read + Send + 'static, to: Text) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            to.lock().expect("a text").extend_from_slice(&buffer[..count]);
        }
    })
}

/// Runs a command with a terminal of its own between our pipes.
const TERMINAL: &str = r#"import os, pty, select, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
keyboard = 0
while True:
    ready, _, _ = select.select([terminal] + ([0] if keyboard == 0 else []), [], [])
    if 0 in ready:
        keys = os.read(0, 4096)
        if keys: os.write(terminal, keys)
        else: keyboard = None
    if terminal in ready:
        try: said = os.read(terminal, 4096)
        except OSError: break
        if not said: break
        os.write(1, said)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"#;

/// Where a script of a project waits until the test lets it go on.
pub struct Gate(TcpListener);

/// A script that stands at a gate.
pub struct Waiting(TcpStream);

impl Gate {
    pub fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    /// A line of bash that waits here.
    pub fn bash(&self) -> String {
        let port = self.0.local_addr().expect("an address").port();
        format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read -r go <&3; [ \"$go\" = go ]\n")
    }

    /// A hook that waits here.
    pub fn hook(&self) -> String {
        format!("#!/bin/bash\necho at the gate\n{}", self.bash())
    }

    /// Waits until a script stands here.
    pub fn reached(&self) -> Waiting {
        self.0.set_nonblocking(true).expect("a listener");
        let until = Instant::now() + PATIENCE;
        loop {
            match self.0.accept() {
                Ok((stream, _)) => return Waiting(stream),
                Err(_) => assert!(Instant::now() < until, "nobody came to the gate"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether somebody stands here now.
    pub fn is_reached(&self) -> bool {
        self.0.set_nonblocking(true).expect("a listener");
        self.0.accept().is_ok()
    }
}

impl Waiting {
    pub fn opens(mut self) {
        self.0.write_all(b"go\n").expect("somebody at the gate");
    }

    /// Waits until the script has gone, as a killed one has.
    pub fn leaves(mut self) {
        self.0.set_nonblocking(false).expect("a stream");
        self.0.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        assert!(matches!(self.0.read(&mut [0; 16]), Ok(0) | Err(_)));
    }
}
