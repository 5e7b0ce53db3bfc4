//! Reads an application's log back: its last lines, and then every line that comes, over rotations. Writing is
//! [`super::logs`]; the two share nothing but the files.

use super::logs::{KEPT, aside};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// Most lines that are looked back at.
pub const TAIL_MAX: usize = 10_000;
const POLL: Duration = Duration::from_millis(100);
const READ_SIZE: u64 = 256 * 1024;

/// The last `count` lines (at most [`TAIL_MAX`]), oldest first; none when there is no log yet.
pub fn tail(path: &Path, count: usize) -> io::Result<Vec<String>> {
    let count = count.min(TAIL_MAX);
    let mut lines = VecDeque::new();
    for number in 0..=KEPT {
        if lines.len() >= count {
            break;
        }
        let Some(file) = open(&aside(path, number))? else { continue };
        let length = file.metadata()?.len();
        prepend_last(&file, length, count, &mut lines)?;
    }
    Ok(lines.into())
}

/// The last `tail` lines and then every new one, until the receiver is dropped. A log that does not exist yet is waited
/// for. Lines that a follower is too slow for are held back on disk, and lost only with the oldest file.
pub fn follow(path: PathBuf, tail: usize) -> mpsc::Receiver<String> {
    let (lines, receiver) = mpsc::channel(256);
    tokio::spawn(async move {
        let mut follower = Follower::new(path);
        let mut first = Some(tail.min(TAIL_MAX));
        while !lines.is_closed() {
            let tail = first.take();
            let read = tokio::task::spawn_blocking(move || {
                let read = match tail {
                    Some(count) => follower.begin(count),
                    None => follower.read(),
                };
                (follower, read)
            });
            let Ok((back, read)) = read.await else { return };
            follower = back;
            let batch = match read {
                Ok(batch) => batch,
                Err(error) => return tracing::warn!(%error, "a log cannot be followed any more"),
            };
            let idle = batch.is_empty();
            for line in batch {
                if lines.send(line).await.is_err() {
                    return;
                }
            }
            if idle {
                tokio::time::sleep(POLL).await;
            }
        }
    });
    receiver
}

/// Adds the last lines of the first `length` bytes of `file` in front of `lines`, up to `count` in all.
fn prepend_last(mut file: &File, length: u64, count: usize, lines: &mut VecDeque<String>) -> io::Result<()> {
    let mut window = READ_SIZE.min(length);
    loop {
        file.seek(SeekFrom::Start(length - window))?;
        let mut bytes = Vec::new();
        file.take(window).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let whole = window == length;
        // What the window begins with is mostly half a line.
        let found: Vec<&str> = text.lines().skip(usize::from(!whole)).collect();
        let wanted = count - lines.len();
        if whole || found.len() >= wanted {
            for line in found.into_iter().rev().take(wanted) {
                lines.push_front(line.to_owned());
            }
            return Ok(());
        }
        window = (window * 2).min(length);
    }
}

struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end is not written yet.
    half: Vec<u8>,
}

impl Follower {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None, half: Vec::new() }
    }

    /// Opens the log at its end and gives its last lines.
    fn begin(&mut self, count: usize) -> io::Result<Vec<String>> {
        let mut number = 0;
        let mut newest = open(&self.path)?;
        // Between two files there is none for a moment.
        while newest.is_none() && number < KEPT {
            number += 1;
            newest = open(&aside(&self.path, number))?;
        }
        let Some(mut file) = newest else { return Ok(Vec::new()) };
        let length = file.metadata()?.len();
        let mut lines = VecDeque::new();
        prepend_last(&file, length, count, &mut lines)?;
        number = self.number_of(&file)?.unwrap_or(number) + 1;
        while lines.len() < count && number <= KEPT {
            if let Some(older) = open(&aside(&self.path, number))? {
                prepend_last(&older, older.metadata()?.len(), count, &mut lines)?;
            }
            number += 1;
        }
        file.seek(SeekFrom::Start(length))?;
        self.file = Some(file);
        Ok(lines.into())
    }

    /// The lines that came since the last call; none when there are none.
    fn read(&mut self) -> io::Result<Vec<String>> {
        let Some(file) = &self.file else {
            self.file = self.oldest_unread()?;
            return Ok(Vec::new());
        };
        // Where the file stands is looked at before it is read: if it was put aside by then, nothing is added to it.
        let number = self.number_of(file)?;
        let mut bytes = std::mem::take(&mut self.half);
        let old = bytes.len();
        let mut reader: &File = file;
        reader.by_ref().take(READ_SIZE).read_to_end(&mut bytes)?;
        let ended = bytes.len() == old;
        let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        self.half = bytes.split_off(end);
        if ended && number != Some(0) {
            self.next_file(number)?;
        }
        Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }

    /// Goes on with the file that was begun after the one just read to its end. Stays if files move meanwhile.
    fn next_file(&mut self, number: Option<usize>) -> io::Result<()> {
        let next = match number {
            Some(number) => open(&aside(&self.path, number - 1))?,
            None => self.oldest_unread()?,
        };
        let unmoved = match &self.file {
            Some(file) => self.number_of(file)? == number,
            None => true,
        };
        if unmoved && next.is_some() {
            self.file = next;
        }
        Ok(())
    }

    fn oldest_unread(&self) -> io::Result<Option<File>> {
        let mut oldest = None;
        for number in 0..=KEPT {
            oldest = open(&aside(&self.path, number))?.or(oldest);
        }
        Ok(oldest)
    }

    /// Which of the files this is by now: 0 is being written, `None` is deleted.
    fn number_of(&self, file: &File) -> io::Result<Option<usize>> {
        let ours = file.metadata()?;
        let is_ours = |number: &usize| {
            let found = std::fs::metadata(aside(&self.path, *number));
            found.is_ok_and(|found| (found.dev(), found.ino()) == (ours.dev(), ours.ino()))
        };
        Ok((0..=KEPT).find(is_ours))
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::logs::AppLog;

    async fn written(log: &AppLog, numbers: std::ops::Range<u32>) {
        for number in numbers {
            log.write(format!("line {number}")).await;
        }
        log.flush().await;
    }

    fn lines(numbers: std::ops::Range<u32>) -> Vec<String> {
        numbers.map(|number| format!("line {number}")).collect()
    }

    #[tokio::test]
    async fn the_tail_reaches_back_over_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.log");
        assert_eq!(tail(&path, 5).unwrap(), lines(0..0));
        let log = AppLog::rotating(path.clone(), 100);
        for ten in 0..3 {
            written(&log, ten * 10..ten * 10 + 10).await;
        }
        written(&log, 30..33).await;
        assert_eq!(tail(&path, 1).unwrap(), lines(32..33));
        assert_eq!(tail(&path, 8).unwrap(), lines(25..33));
        assert_eq!(tail(&path, 100).unwrap(), lines(0..33));
    }

    #[test]
    fn the_tail_of_a_long_file_is_exact() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.log");
        let all: Vec<String> = (0..9000).map(|number| format!("{number} {}", "x".repeat(number % 300))).collect();
        std::fs::write(&path, all.join("\n") + "\n").unwrap();
        for count in [0, 1, 1000, 5000, 9000, 10_000] {
            assert_eq!(tail(&path, count).unwrap(), all[9000 - count.min(9000)..], "{count}");
        }
    }

    #[tokio::test]
    async fn a_follower_sees_every_line_once_over_many_rotations() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.log");
        let log = AppLog::rotating(path.clone(), 500);
        written(&log, 0..5).await;
        let mut follower = Follower::new(path);
        assert_eq!(follower.begin(2).unwrap(), lines(3..5));
        let mut seen = Vec::new();
        for step in 0..40 {
            written(&log, 5 + step * 60..5 + (step + 1) * 60).await;
            for _ in 0..step % 7 {
                seen.extend(follower.read().unwrap());
            }
        }
        for _ in 0..50 {
            seen.extend(follower.read().unwrap());
        }
        assert_eq!(seen.last(), lines(2404..2405).last());
        let numbers: Vec<u32> = seen.iter().map(|line| line[5..].parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "a line came twice or out of order");
    }

    #[tokio::test]
    async fn following_begins_before_the_log_does_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.log");
        let mut follower = follow(path.clone(), 10);
        let log = AppLog::rotating(path, 2000);
        written(&log, 0..500).await;
        for expected in lines(0..500) {
            assert_eq!(follower.recv().await, Some(expected));
        }
    }
}
