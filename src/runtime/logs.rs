//! The log of one application: lines of all its instances, each written by its own shim, in one file, rotated by size, never
//! lost between two files.
//! Reading it back and following it is [`super::follow`]; how a line looks is `super::words`.

use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, oneshot};

/// Size at which a file is put aside, and how many of those are kept as `app.log.1` (youngest) to `app.log.5`.
const ROTATE_AT: u64 = 10 << 20;
pub const KEPT: usize = 5;
/// Lines that wait for the disk before their writers have to wait.
const LINES_WAITING: usize = 1024;

/// A log that is being written. Clones write to the same file; it is closed when the last one is gone.
#[derive(Clone)]
pub struct AppLog(mpsc::Sender<Message>);

enum Message {
    Line(String),
    Flush(oneshot::Sender<()>),
}

impl AppLog {
    /// Begins to write at the end of `path`, whose directory is made when the first line comes.
    pub fn open(path: PathBuf) -> Self {
        Self::rotating(path, ROTATE_AT)
    }

    pub(super) fn rotating(path: PathBuf, rotate_at: u64) -> Self {
        let (sender, messages) = mpsc::channel(LINES_WAITING);
        let file = Appending { path, rotate_at, file: None };
        tokio::spawn(Writer { file, healthy: true }.work(messages));
        Self(sender)
    }

    /// Takes one line, without its end. Waits when the disk is behind; never fails: an application does not stop
    /// because its log cannot be written.
    pub async fn write(&self, line: String) {
        let _ = self.0.send(Message::Line(line)).await;
    }

    /// Returns when everything taken before is in the file.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.0.send(Message::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }
}

struct Writer {
    file: Appending,
    healthy: bool,
}

impl Writer {
    async fn work(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut batch = Vec::new();
        while messages.recv_many(&mut batch, 256).await > 0 {
            let mut text = String::new();
            let mut waiting = Vec::new();
            for message in batch.drain(..) {
                match message {
                    Message::Line(line) => text.extend([line.as_str(), "\n"]),
                    Message::Flush(done) => waiting.push(done),
                }
            }
            let written = self.append(text).await;
            self.tell(written);
            for done in waiting {
                let _ = done.send(());
            }
        }
    }

    /// A disk may take its time.
    async fn append(&mut self, text: String) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let mut file = self.file.take();
        let appended = tokio::task::spawn_blocking(move || {
            let written = file.append(text.as_bytes());
            (file, written)
        });
        let (file, written) = appended.await.map_err(io::Error::other)?;
        self.file = file;
        written
    }

    /// Once per trouble, not once per line.
    fn tell(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) => self.healthy = true,
            Err(error) if self.healthy => {
                self.healthy = false;
                tracing::warn!(path = %self.file.path.display(), %error, "an application's log cannot be written");
            }
            Err(_) => {}
        }
    }
}

/// A file that several processes write to, each a whole number of lines at a time; any of them may put it aside.
struct Appending {
    path: PathBuf,
    rotate_at: u64,
    file: Option<File>,
}

impl Appending {
    fn take(&mut self) -> Self {
        Self { path: self.path.clone(), rotate_at: self.rotate_at, file: self.file.take() }
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) if is_at(&file, &self.path) => file,
            _ => open(&self.path)?,
        };
        file.write_all(text)?;
        if file.metadata()?.len() >= self.rotate_at {
            // Without the rename the old file goes on being written: too long is better than lost.
            rotate(file, &self.path)?;
        } else {
            self.file = Some(file);
        }
        Ok(())
    }
}

/// Whether the file still has its name.
fn is_at(file: &File, path: &Path) -> bool {
    let inode = |metadata: io::Result<Metadata>| metadata.map(|metadata| (metadata.dev(), metadata.ino())).ok();
    inode(file.metadata()).is_some_and(|ours| inode(path.symlink_metadata()) == Some(ours))
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// One at a time; who comes second finds it done.
fn rotate(file: File, path: &Path) -> io::Result<()> {
    let locked = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
    if !is_at(&locked, path) {
        return Ok(());
    }
    for number in (1..KEPT).rev() {
        match std::fs::rename(aside(path, number), aside(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(path, aside(path, 1))
}

/// `app.log.3`; number 0 is the file that is written now.
pub fn aside(path: &Path, number: usize) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_of_all_writers_end_up_in_order_and_old_files_are_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blog/app.log");
        let log = AppLog::rotating(path.clone(), 1000);
        for number in 0..2000 {
            log.write(format!("line {number}")).await;
            if number % 10 == 9 {
                log.flush().await;
            }
        }
        let text = |number| std::fs::read_to_string(aside(&path, number)).unwrap_or_default();
        let all: String = (0..=KEPT).rev().map(text).collect();
        let lines: Vec<&str> = all.lines().collect();
        let first = 2000 - lines.len();
        let expected: Vec<String> = (first..2000).map(|number| format!("line {number}")).collect();
        assert_eq!(lines, expected);
        assert!(lines.len() > 400 && !aside(&path, KEPT + 1).exists());
    }

    #[tokio::test]
    async fn several_writers_of_one_file_lose_no_line_when_any_of_them_rotates_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.log");
        let logs: Vec<AppLog> = (0..3).map(|_| AppLog::rotating(path.clone(), 20_000)).collect();
        for number in 0..600 {
            for (writer, log) in logs.iter().enumerate() {
                log.write(format!("{writer}:{number:04} {}", "x".repeat(20))).await;
            }
            if number % 7 == 0 {
                futures_util::future::join_all(logs.iter().map(AppLog::flush)).await;
            }
        }
        futures_util::future::join_all(logs.iter().map(AppLog::flush)).await;
        let text = |number| std::fs::read_to_string(aside(&path, number)).unwrap_or_default();
        let all: String = (0..=KEPT).rev().map(text).collect();
        assert!(aside(&path, 2).exists(), "it was put aside");
        for writer in 0..3 {
            let prefix = format!("{writer}:");
            let numbers: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix(&prefix)?.get(..4)).collect();
            let expected: Vec<String> = (0..600).map(|number| format!("{number:04}")).collect();
            assert_eq!(numbers, expected);
        }
    }

    #[tokio::test]
    async fn a_log_goes_on_where_it_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.log");
        for line in ["one", "two"] {
            let log = AppLog::open(path.clone());
            log.write(line.into()).await;
            log.flush().await;
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_written_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        let log = AppLog::open(directory.path().join("file/app.log"));
        for _ in 0..5000 {
            log.write("lost".into()).await;
        }
        log.flush().await;
    }
}
