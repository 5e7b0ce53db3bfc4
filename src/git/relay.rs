//! What runs as git's `proc-receive` hook: this program again, as the git user, between git and the server's socket.
//! It decides nothing. What git says goes up as it is; what comes down is a frame for git or for the pusher to read.
//!
//! Plain blocking threads, since it lives for one push. Whoever reads the terminal may be gone at any time; that is no
//! reason to stop, so nothing here panics or ends because of a broken pipe. The server's side is in `conversation`.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

/// Bytes for the hook's output, which git reads.
pub const TO_GIT: u8 = b'o';
/// Bytes for the hook's error stream, which the pusher reads.
pub const TO_PUSHER: u8 = b'e';
/// Nothing more comes: the push has been answered.
pub const THE_END: u8 = b'x';
/// Most bytes in one frame; a longer one ends the conversation.
pub const MAX_FRAME: usize = 1 << 20;

/// Runs the hook with the streams of this process. `socket` and `token` are what git inherited as `COMMIS_HOOK_SOCKET`
/// and `COMMIS_PUSH`. The exit code: 0 when the push was answered.
pub fn run_relay(socket: &Path, token: &str) -> i32 {
    relay(socket, token, io::stdin(), io::stdout(), io::stderr())
}

/// Runs as git's `reference-transaction` hook, with its one argument, in the repository: what git has just moved
/// is made durable before the pusher hears of it. Only refs answered with [`super::Verdict::GitMoves`] come here.
pub fn run_reference_transaction(state: &str) -> i32 {
    let synced = || nix::unistd::syncfs(std::fs::File::open(".")?).map_err(io::Error::from);
    if state == "committed" && synced().is_err() { 1 } else { 0 }
}

/// One frame: kind, length, bytes. `bytes` longer than a frame are the caller's to cut.
pub fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[kind], length.as_slice(), bytes].concat()
}

fn relay(
    socket: &Path,
    token: &str,
    mut from_git: impl Read + Send + 'static,
    mut to_git: impl Write,
    mut to_pusher: impl Write,
) -> i32 {
    let connected = UnixStream::connect(socket).and_then(|mut server| {
        server.write_all(format!("{token}\n").as_bytes())?;
        Ok((server.try_clone()?, server))
    });
    let Ok((mut up, mut down)) = connected else {
        let _ = to_pusher.write_all(b"error: the Commis server does not answer, nothing was changed; try again\n");
        return 1;
    };
    // Not joined: it may wait for git's next byte for ever, and ends with the process.
    thread::spawn(move || {
        let _ = io::copy(&mut from_git, &mut up);
        let _ = up.shutdown(Shutdown::Write);
    });
    match forward(&mut down, &mut to_git, &mut to_pusher) {
        Ok(()) => 0,
        Err(_) => {
            let gone = "error: the Commis server went away before it gave a verdict\n\
                        hint: push again, or ask it with: ssh commis@<host> show <project>\n";
            let _ = to_pusher.write_all(gone.as_bytes());
            1
        }
    }
}

/// Carries frames down until the one that says it was the last.
fn forward(down: &mut UnixStream, to_git: &mut impl Write, to_pusher: &mut impl Write) -> io::Result<()> {
    loop {
        let mut head = [0u8; 5];
        down.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_FRAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        down.read_exact(&mut bytes)?;
        let _ = match kind {
            THE_END => return Ok(()),
            TO_GIT => to_git.write_all(&bytes).and_then(|()| to_git.flush()),
            TO_PUSHER => to_pusher.write_all(&bytes).and_then(|()| to_pusher.flush()),
            _ => Ok(()),
        };
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// Started by real pushes of other tests, see `scratch`: git's stream is descriptor 3, because the test
    /// program prints to 1.
    #[test]
    #[ignore = "runs as the hook of other tests"]
    fn acts_as_the_hook() {
        let socket = std::env::var("COMMIS_HOOK_SOCKET").unwrap();
        let token = std::env::var("COMMIS_PUSH").unwrap();
        let to_git = std::fs::OpenOptions::new().write(true).open("/proc/self/fd/3").unwrap();
        std::process::exit(relay(Path::new(&socket), &token, io::stdin(), to_git, io::stderr()));
    }

    /// The same for the other hook; its success is left as a file for the test to see.
    #[test]
    #[ignore = "runs as the hook of other tests"]
    fn acts_as_the_sync() {
        let state = std::env::var("HOOK_STATE").unwrap();
        let code = run_reference_transaction(&state);
        if state == "committed" && code == 0 {
            std::fs::write("synced", "").unwrap();
        }
        std::process::exit(code);
    }

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn with_server(answer: Vec<u8>, to_pusher: impl Write) -> (i32, Vec<u8>, Vec<u8>) {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&answer).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            heard
        });
        let mut to_git = Vec::new();
        let code = relay(&socket, "t0ken", &b"0000 from git"[..], &mut to_git, to_pusher);
        (code, to_git, server.join().unwrap())
    }

    #[test]
    fn both_directions_are_carried_verbatim() {
        let answer = [frame(TO_PUSHER, b"building\n"), frame(TO_GIT, b"0000"), frame(THE_END, b"")].concat();
        let mut pusher = Vec::new();
        let (code, to_git, heard) = with_server(answer, &mut pusher);
        assert_eq!((code, to_git.as_slice(), pusher.as_slice()), (0, &b"0000"[..], &b"building\n"[..]));
        assert_eq!(heard, b"t0ken\n0000 from git");
    }

    #[test]
    fn a_pusher_who_left_does_not_stop_the_answer() {
        let answer = [frame(TO_PUSHER, b"x"), frame(TO_GIT, b"0000"), frame(THE_END, b"")].concat();
        let (code, to_git, _) = with_server(answer, Gone);
        assert_eq!((code, to_git.as_slice()), (0, &b"0000"[..]));
    }

    #[test]
    fn a_server_that_dies_before_the_verdict_is_told() {
        for answer in [vec![], frame(TO_GIT, b"0000"), vec![b'o', 0xff, 0xff, 0xff, 0xff], vec![b'e', 0, 0]] {
            let mut pusher = Vec::new();
            let (code, _, _) = with_server(answer, &mut pusher);
            assert_eq!(code, 1);
            assert!(pusher.starts_with(b"error: the Commis server went away"));
        }
        let mut pusher = Vec::new();
        assert_eq!(relay(Path::new("/nonexistent/s"), "t", io::empty(), io::sink(), &mut pusher), 1);
        assert!(pusher.starts_with(b"error: the Commis server does not answer"));
    }
}
