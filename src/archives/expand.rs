//! From a compressed file to the stream in it, one frame at a time on a thread of its own, under limits that hold before
//! anything reads the stream. What the stream says is `unpack`'s business.

use super::frames::{self, FrameError};
use super::unpack::UnpackLimits;
use crate::model::Failure;
use crate::model::words::hex;
use crate::trees::faults::{machine, refused};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

/// The ratio is judged from here on.
const RATIO_FROM: u64 = 64 << 20;

/// What a frame becomes.
pub type Segment = Result<Arc<Vec<u8>>, Failure>;

/// Decompresses the whole file into `segments` and gives its sha256; stops when nobody listens any more.
pub fn decompress(file: File, limits: &UnpackLimits, segments: &SyncSender<Segment>) -> Result<String, Failure> {
    let mut from = Hashing { file: BufReader::with_capacity(256 << 10, file), hash: Sha256::new(), read: 0 };
    let mut frame = Vec::new();
    let mut zstd = zstd::bulk::Decompressor::new().map_err(|error| machine("decompress", error))?;
    let mut total = 0u64;
    while let Some(size) = frames::next(&mut from, &mut frame).map_err(frame_failure)? {
        total += size as u64;
        within(total, from.read, limits)?;
        let content = zstd.decompress(&frame, size).map_err(|_| refused("it cannot be decompressed"))?;
        if content.len() != size {
            return Err(refused("a compressed frame has another size than it names"));
        }
        if segments.send(Ok(Arc::new(content))).is_err() {
            break;
        }
    }
    Ok(hex(&from.hash.finalize().0))
}

fn within(total: u64, read: u64, limits: &UnpackLimits) -> Result<(), Failure> {
    // Headers and padding come on top of what the files hold.
    let overhead = limits.entries.saturating_mul(3 * 512).saturating_add(1 << 20);
    if total > limits.bytes.saturating_add(overhead) {
        return Err(refused(format!("it unpacks to more than {} bytes", limits.bytes)));
    }
    match limits.ratio {
        Some(ratio) if total > RATIO_FROM && total / read.max(1) > ratio => {
            Err(refused(format!("it unpacks to more than {ratio} times its size")))
        }
        _ => Ok(()),
    }
}

fn frame_failure(error: FrameError) -> Failure {
    match error {
        FrameError::Read(error) => machine("read the archive", error),
        other => refused(other.to_string()),
    }
}

/// Sums up what is taken out of it.
struct Hashing {
    file: BufReader<File>,
    hash: Sha256,
    read: u64,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.fill_buf()?.read(buffer)?;
        self.consume(got);
        Ok(got)
    }
}

impl BufRead for Hashing {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.file.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.hash.update(self.file.buffer().get(..count).unwrap_or_default());
        self.read += count as u64;
        self.file.consume(count);
    }
}

/// The stream, put together from its segments.
pub struct Tape {
    segments: Receiver<Segment>,
    current: Arc<Vec<u8>>,
    at: usize,
}

impl Tape {
    pub fn new(segments: Receiver<Segment>) -> Self {
        Self { segments, current: Arc::default(), at: 0 }
    }

    pub fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        let mut rest = buffer;
        while !rest.is_empty() {
            let (segment, range) = self.piece(rest.len() as u64)?;
            let bytes = segment.get(range).unwrap_or_default();
            let (now, later) = rest.split_at_mut(bytes.len().min(rest.len()));
            now.copy_from_slice(bytes);
            rest = later;
        }
        Ok(())
    }

    /// The next bytes, at least one and at most `want`, without copying them. `want` is not 0.
    pub fn piece(&mut self, want: u64) -> Result<(Arc<Vec<u8>>, Range<usize>), Failure> {
        if self.at_end()? {
            return Err(refused("it ends in the middle"));
        }
        let end = self.current.len().min(self.at.saturating_add(usize::try_from(want).unwrap_or(usize::MAX)));
        let range = self.at..end;
        self.at = end;
        Ok((self.current.clone(), range))
    }

    /// Whether a content of this size stands in one piece.
    pub fn holds(&mut self, size: u64) -> Result<bool, Failure> {
        Ok(size > 0 && !self.at_end()? && (self.current.len() - self.at) as u64 >= size)
    }

    pub fn zeros(&mut self, count: usize) -> Result<(), Failure> {
        let mut padding = [0; super::header::BLOCK];
        let padding = padding.get_mut(..count).unwrap_or_default();
        self.exactly(padding)?;
        if padding.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(refused("there is something in the padding")) }
    }

    pub fn at_end(&mut self) -> Result<bool, Failure> {
        while self.at >= self.current.len() {
            match self.segments.recv() {
                Ok(segment) => (self.current, self.at) = (segment?, 0),
                Err(_) => return Ok(true),
            }
        }
        Ok(false)
    }
}
