//! One line for each request, in the combined format with what a router adds: seconds, host, instance. Lines go to a
//! thread of their own over a queue of bounded length; when the disk is slower than requests they are dropped and
//! counted, and no request waits.

use crate::model::Time;
use hyper::header::HeaderValue;
use hyper::{Method, Uri, Version};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

const QUEUE: usize = 8 * 1024;
/// Of a field that the client wrote, in bytes.
const FIELD_MAX: usize = 2 * 1024;

/// One answered request.
pub struct Line {
    pub at: Time,
    pub client: IpAddr,
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub status: u16,
    /// Of the body, as far as it was sent.
    pub bytes: u64,
    pub referer: Option<HeaderValue>,
    pub agent: Option<HeaderValue>,
    pub host: Option<HeaderValue>,
    /// `blog web.1`; `None`: the router's own answer.
    pub instance: Option<String>,
    pub took: Duration,
}

/// Where lines go.
pub struct AccessLog {
    queue: SyncSender<Line>,
    dropped: AtomicU64,
}

impl AccessLog {
    /// Opens the file and starts its thread, which ends with the log. The file is begun anew at `largest` bytes.
    pub fn open(path: &Path, largest: u64) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let mut target = Target::open(path.to_owned(), largest)?;
        std::thread::Builder::new().name("access-log".into()).spawn(move || write(&lines, &mut target))?;
        Ok(Self { queue, dropped: AtomicU64::new(0) })
    }

    pub fn note(&self, line: Line) {
        if self.queue.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that nobody will read.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

struct Target {
    path: PathBuf,
    largest: u64,
    size: u64,
    file: BufWriter<File>,
}

impl Target {
    fn open(path: PathBuf, largest: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(&path)?;
        Ok(Self { size: file.metadata()?.len(), path, largest, file: BufWriter::new(file) })
    }

    fn add(&mut self, line: &str) -> io::Result<()> {
        if self.size >= self.largest {
            self.file.flush()?;
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *self = Self::open(self.path.clone(), self.largest)?;
        }
        self.size += line.len() as u64;
        self.file.write_all(line.as_bytes())
    }
}

/// Writes until nobody can send any more. A full disk costs lines, nothing else.
fn write(lines: &Receiver<Line>, target: &mut Target) {
    while let Ok(first) = lines.recv() {
        let mut next = Ok(first);
        while let Ok(line) = next {
            let _ = target.add(&text(&line));
            next = lines.try_recv();
        }
        let _ = target.file.flush();
        if next.is_err_and(|error| error == TryRecvError::Disconnected) {
            return;
        }
    }
}

/// `192.0.2.7 - - [20/Nov/2026:10:41:07 +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8" 0.003 "blog.test" blog/web.1`
fn text(line: &Line) -> String {
    let at = jiff::Timestamp::from_millisecond(line.at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let mut text = format!("{} - - [{}] \"{} ", line.client, at.strftime("%d/%b/%Y:%H:%M:%S +0000"), line.method);
    let path = line.uri.path_and_query().map_or("*", |path| path.as_str());
    quoted(&mut text, path.as_bytes());
    let _ = write!(text, " {:?}\" {} {} \"", line.version, line.status, line.bytes);
    quoted(&mut text, line.referer.as_ref().map_or(b"-", |value| value.as_bytes()));
    text.push_str("\" \"");
    quoted(&mut text, line.agent.as_ref().map_or(b"-", |value| value.as_bytes()));
    let _ = write!(text, "\" {}.{:03} \"", line.took.as_secs(), line.took.subsec_millis());
    quoted(&mut text, line.host.as_ref().map_or(b"-", |value| value.as_bytes()));
    let _ = writeln!(text, "\" {}", line.instance.as_deref().unwrap_or("-"));
    text
}

/// Nothing a client writes can look like the end of its field or of the line.
fn quoted(text: &mut String, bytes: &[u8]) {
    for byte in bytes.iter().take(FIELD_MAX) {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                let _ = write!(text, "\\x{byte:02x}");
            }
            plain => text.push(*plain as char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(agent: &str) -> Line {
        Line {
            at: Time(1_795_171_267_123),
            client: "192.0.2.7".parse().unwrap(),
            method: Method::GET,
            uri: "/a?b=\"c".parse().unwrap_or_default(),
            version: Version::HTTP_11,
            status: 200,
            bytes: 5,
            referer: None,
            agent: HeaderValue::from_bytes(agent.as_bytes()).ok(),
            host: Some(HeaderValue::from_static("blog.test")),
            instance: Some("blog/web.1".into()),
            took: Duration::from_millis(3),
        }
    }

    #[test]
    fn a_line_is_the_combined_format_and_more() {
        let expected = "192.0.2.7 - - [20/Nov/2026:10:41:07 +0000] \"GET /a?b=\\x22c HTTP/1.1\" 200 5 \"-\" \"curl/8\" 0.003 \"blog.test\" blog/web.1\n";
        assert_eq!(
            text(&Line { uri: "/a?b=%22c".parse().unwrap(), ..line("curl/8") }),
            expected.replace("\\x22", "%22")
        );
    }

    #[test]
    fn what_a_client_writes_stays_in_its_field() {
        let shown = text(&line("a\" 200 \\ \u{e9}"));
        assert!(shown.contains("\"a\\x22 200 \\x5c \\xc3\\xa9\""), "{shown}");
        assert!(text(&line(&"a".repeat(10_000))).len() < 3_000);
    }

    #[test]
    fn lines_reach_the_file_which_is_begun_anew_when_it_is_large() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let mut target = Target::open(path.clone(), 300).unwrap();
        let (queue, lines) = sync_channel(100);
        for _ in 0..10 {
            queue.send(line("curl/8")).unwrap();
        }
        drop(queue);
        write(&lines, &mut target);
        let read = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((read(&path), read(&path.with_extension("log.1"))), (1, 3));
    }

    #[test]
    fn a_queue_that_is_full_drops_and_counts() {
        let (queue, lines) = sync_channel(1);
        let log = AccessLog { queue, dropped: AtomicU64::new(0) };
        log.note(line("kept"));
        log.note(line("dropped"));
        assert_eq!((log.dropped(), lines.try_iter().count()), (1, 1));
    }
}
