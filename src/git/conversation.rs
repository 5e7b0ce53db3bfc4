//! The server's end of the hook socket: takes the relays of pushes in, reads what each push asks, carries lines to the
//! pusher and at last the answer to git. What is said is decided by the caller; which bytes mean what is in
//! `proc_receive`. The other end is `relay`.

use super::failed::GitError;
use super::proc_receive::{Conversation, Received, Step, Verdict};
use super::relay::{MAX_FRAME, THE_END, TO_GIT, TO_PUSHER, frame};
use crate::system::UserIds;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;

const MAX_TOKEN: usize = 128;
/// A relay sends its token at once, and git its list right after.
const PATIENCE: Duration = Duration::from_secs(30);

/// The socket that relays come to.
pub struct HookListener {
    listener: UnixListener,
    path: PathBuf,
    user: UserIds,
}

/// One push, between the hello of its relay and its answer.
pub struct HookConversation {
    /// What the relay inherited as `COMMIS_PUSH`. The caller refuses one that it did not give out.
    pub token: String,
    reader: OwnedReadHalf,
    writer: HookWriter,
    received: Option<Received>,
}

/// Carries lines to the pusher; may be cloned and sent away.
#[derive(Clone)]
pub struct HookWriter(Arc<Mutex<OwnedWriteHalf>>);

impl HookListener {
    /// Binds the socket, taking the place of one that a dead server left. Its directory becomes the git user's, 0700.
    pub fn bind(path: &Path, user: UserIds) -> io::Result<Self> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::create_dir_all(parent)?;
        fs::set_permissions(parent, fs::Permissions::from_mode(0o700))?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        if nix::unistd::geteuid().is_root() {
            chown(path, Some(user.uid), Some(user.gid))?;
            chown(parent, Some(user.uid), Some(user.gid))?;
        }
        Ok(Self { listener, path: path.to_owned(), user })
    }

    /// The next push whose relay has said its token. Connections of other users, and those that say none, are closed.
    pub async fn accept(&self) -> io::Result<HookConversation> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let allowed = [self.user.uid, nix::unistd::geteuid().as_raw()];
            if !stream.peer_cred().is_ok_and(|peer| allowed.contains(&peer.uid())) {
                continue;
            }
            match tokio::time::timeout(Duration::from_secs(2), greet(stream)).await {
                Ok(Ok(conversation)) => return Ok(conversation),
                Ok(Err(_)) | Err(_) => continue,
            }
        }
    }
}

impl Drop for HookListener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl HookConversation {
    /// Everything the push asks. Its objects are permanent by now, its refs have not moved. Once.
    pub async fn read_push(&mut self) -> Result<Received, GitError> {
        let read = tokio::time::timeout(PATIENCE, self.converse()).await;
        let received = read.map_err(|_| GitError::Protocol("git said nothing for 30 s".into()))??;
        self.received = Some(received.clone());
        Ok(received)
    }

    /// Lines for the pusher.
    pub fn writer(&self) -> HookWriter {
        self.writer.clone()
    }

    /// Sends bytes to the pusher's terminal. Waits as long as that does not take them: never call it from what must
    /// go on. A pusher who left is not an error.
    pub async fn stderr(&self, bytes: &[u8]) {
        self.writer.stderr(bytes).await;
    }

    /// Ready when git's end is gone: the push was answered, or its connection was lost.
    pub async fn gone(&mut self) {
        let mut rest = [0u8; 256];
        while matches!(self.reader.read(&mut rest).await, Ok(1..)) {}
    }

    /// Answers the push: one verdict for each command of [`Self::read_push`], in that order. An error means that git
    /// is gone, which changes nothing about what was done.
    pub async fn answer(self, verdicts: &[Verdict]) -> Result<(), GitError> {
        let received = self.received.unwrap_or_default();
        let answer = received.answer(verdicts).map_err(|error| GitError::Protocol(error.to_string()))?;
        let gone = |error: io::Error| GitError::Protocol(format!("git is gone: {error}"));
        self.writer.send(TO_GIT, &answer).await.map_err(gone)?;
        self.writer.send(THE_END, &[]).await.map_err(gone)
    }

    async fn converse(&mut self) -> Result<Received, GitError> {
        let protocol = |error: &dyn std::error::Error| GitError::Protocol(error.to_string());
        let mut conversation = Conversation::default();
        let mut buffer = vec![0u8; 64 << 10];
        loop {
            let count = self.reader.read(&mut buffer).await.map_err(|error| protocol(&error))?;
            if count == 0 {
                return Err(GitError::Protocol("git ended in the middle of its list".into()));
            }
            conversation.feed(buffer.get(..count).unwrap_or(&[]));
            loop {
                match conversation.step().map_err(|error| protocol(&error))? {
                    Step::NeedMore => break,
                    Step::Say(bytes) => self.writer.send(TO_GIT, &bytes).await.map_err(|error| protocol(&error))?,
                    Step::Done(received) => return Ok(received),
                }
            }
        }
    }
}

impl HookWriter {
    /// See [`HookConversation::stderr`]. `false`: the pusher is gone.
    pub async fn stderr(&self, bytes: &[u8]) -> bool {
        self.send(TO_PUSHER, bytes).await.is_ok()
    }

    async fn send(&self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        let mut socket = self.0.lock().await;
        if bytes.is_empty() {
            return socket.write_all(&frame(kind, bytes)).await;
        }
        for piece in bytes.chunks(MAX_FRAME) {
            socket.write_all(&frame(kind, piece)).await?;
        }
        Ok(())
    }
}

async fn greet(stream: UnixStream) -> io::Result<HookConversation> {
    let (mut reader, writer) = stream.into_split();
    let mut token = Vec::new();
    loop {
        match reader.read_u8().await? {
            b'\n' => break,
            byte if token.len() < MAX_TOKEN => token.push(byte),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    let token = String::from_utf8(token).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(HookConversation { token, reader, writer: HookWriter(Arc::new(Mutex::new(writer))), received: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[tokio::test]
    async fn the_socket_is_the_git_users_alone_and_takes_a_dead_ones_place() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("hook/hook.sock");
        let user = UserIds::of(399_001);
        let first = HookListener::bind(&path, user).unwrap();
        std::mem::forget(first);
        let listener = HookListener::bind(&path, user).unwrap();
        let (socket, parent) = (fs::metadata(&path).unwrap(), fs::metadata(path.parent().unwrap()).unwrap());
        assert_eq!((socket.mode() & 0o777, parent.mode() & 0o777), (0o600, 0o700));
        if nix::unistd::geteuid().is_root() {
            assert_eq!((socket.uid(), parent.uid()), (user.uid, user.uid));
        }
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_connection_without_a_token_does_not_stop_the_next_one() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("hook/hook.sock");
        let listener = HookListener::bind(&path, UserIds::of(399_001)).unwrap();
        for bad in [&b""[..], &[b'a'; 200][..], b"\xff\n"] {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(bad).await.unwrap();
        }
        let mut good = UnixStream::connect(&path).await.unwrap();
        good.write_all(b"t0ken\nhello").await.unwrap();
        let mut conversation = listener.accept().await.unwrap();
        assert_eq!(conversation.token, "t0ken");
        assert!(conversation.read_push().await.is_err());
        let mut patient = tokio::spawn(async move { conversation.gone().await });
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut patient).await.is_err());
        drop(good);
        patient.await.unwrap();
    }
}
