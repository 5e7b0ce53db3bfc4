//! The log of a deployment while it grows: one file, any number of readers. What a pusher sees are the file's bytes.

use super::filter::clean_line;
use crate::system::reading;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The writing end; cheap to clone. Lines are written whole.
#[derive(Clone)]
pub struct DeploymentLog {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    file: Mutex<std::fs::File>,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Progress {
    bytes: u64,
    state: LogState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LogState {
    Growing,
    Complete,
}

impl DeploymentLog {
    /// Creates (or empties) the file, 0640.
    pub fn create(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = reading::create_log(path)?;
        let (progress, _) = watch::channel(Progress { bytes: 0, state: LogState::Growing });
        Ok(Self { shared: Arc::new(Shared { path: path.to_owned(), file: Mutex::new(file), progress }) })
    }

    /// For more lines in a log that an earlier life began; it is made when it is gone.
    pub fn resume(path: &Path) -> io::Result<Self> {
        let Ok(file) = reading::open_log(path) else { return Self::create(path) };
        let bytes = file.metadata()?.len();
        let (progress, _) = watch::channel(Progress { bytes, state: LogState::Growing });
        Ok(Self { shared: Arc::new(Shared { path: path.to_owned(), file: Mutex::new(file), progress }) })
    }

    /// Adds a line to the log of a deployment that has no writer any more.
    pub fn append(path: &Path, text: &str) -> io::Result<()> {
        reading::open_log(path)?.write_all(format!("{text}\n").as_bytes())
    }

    /// Appends one line. A log that cannot be written never stops a deployment: the line is lost for readers of the
    /// file and the next one may work.
    pub fn line(&self, text: &str) {
        // Whoever wrote it: one line, printable, so that nothing foreign in it becomes a line or a sequence of its own.
        let mut bytes = clean_line(text.as_bytes()).into_bytes();
        bytes.push(b'\n');
        let mut file = self.shared.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if file.write_all(&bytes).is_ok() {
            self.shared.progress.send_modify(|progress| progress.bytes += bytes.len() as u64);
        }
    }

    /// No more lines will come; readers end.
    pub fn complete(&self) {
        self.shared.progress.send_modify(|progress| progress.state = LogState::Complete);
    }

    /// A reader from the first byte.
    pub fn reader(&self) -> io::Result<LogReader> {
        Ok(LogReader {
            file: std::fs::File::open(&self.shared.path)?,
            read: 0,
            progress: self.shared.progress.subscribe(),
        })
    }
}

/// Follows a log from its beginning to its end.
pub struct LogReader {
    file: std::fs::File,
    read: u64,
    progress: watch::Receiver<Progress>,
}

impl LogReader {
    /// The next bytes, as soon as there are any; `None` at the end of a complete log.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let now = *self.progress.borrow_and_update();
            if now.bytes > self.read {
                let mut buffer = vec![0; usize::try_from((now.bytes - self.read).min(64 * 1024)).unwrap_or(64 * 1024)];
                self.file.seek(SeekFrom::Start(self.read)).ok()?;
                let count = self.file.read(&mut buffer).ok().filter(|count| *count > 0)?;
                buffer.truncate(count);
                self.read += count as u64;
                return Some(buffer);
            }
            if now.state == LogState::Complete {
                return None;
            }
            self.progress.changed().await.ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_sees_every_byte_and_then_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blog/1.log");
        let log = DeploymentLog::create(&path).unwrap();
        log.line("early");
        let mut reader = log.reader().unwrap();
        let writer = log.clone();
        let task = tokio::spawn(async move {
            for n in 0..100 {
                writer.line(&format!("line {n}"));
                tokio::task::yield_now().await;
            }
            writer.complete();
        });
        let mut seen = Vec::new();
        while let Some(bytes) = reader.next().await {
            seen.extend(bytes);
        }
        task.await.unwrap();
        assert_eq!(seen, std::fs::read(&path).unwrap());
        assert!(seen.starts_with(b"early\nline 0\n") && seen.ends_with(b"line 99\n"));
    }
}
