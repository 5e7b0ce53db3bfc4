//! From a stream of entries to a compressed file, on several threads. The stream is cut into segments, each becomes a zstd
//! frame of its own, and the frames are written in order, so the bytes do not depend on the number of threads.
//!
//! Where it is cut depends on sizes and on names alone: a change in one file leaves the frames of other files as they were.
//! What the stream says is `pack`'s business.

use super::faults::machine;
use super::listing::hex;
use crate::model::{Code, Failure};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

/// Size of a full segment; larger files are cut.
const SEGMENT: usize = 4 << 20;
/// From this size on a segment may end early, where a name says so.
const EARLY: usize = 2 << 20;
/// One name in so many ends a segment.
const ONE_IN: u32 = 32;
const LEVEL: i32 = 3;

/// The compressed file.
pub struct Compressed {
    /// Lower-case hex.
    pub sha256: String,
    pub bytes: u64,
}

/// Takes the stream.
pub struct Segments {
    current: Vec<u8>,
    filled: usize,
    index: usize,
    raw: SyncSender<Raw>,
    spare: Receiver<Vec<u8>>,
}

struct Raw {
    index: usize,
    bytes: Vec<u8>,
    filled: usize,
}

type Frame = (usize, io::Result<Vec<u8>>);

/// Compresses what `fill` puts into the segments.
pub fn through<T>(
    out: File,
    threads: usize,
    fill: impl FnOnce(&mut Segments) -> Result<T, Failure>,
) -> Result<(T, Compressed), Failure> {
    let threads = threads.max(1);
    let (raw, raw_in) = sync_channel::<Raw>(1);
    let (frames, frames_in) = sync_channel::<Frame>(threads);
    let (spare, spare_in) = channel();
    let raw_in = Arc::new(Mutex::new(raw_in));
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || write_in_order(out, frames_in));
        for _ in 0..threads {
            let (raw_in, frames, spare) = (raw_in.clone(), frames.clone(), spare.clone());
            scope.spawn(move || compress(&raw_in, &frames, &spare));
        }
        // Sending to workers that are gone must fail instead of waiting: nothing of theirs stays here.
        drop((raw_in, frames, spare));
        let mut segments = Segments { current: vec![0; SEGMENT], filled: 0, index: 0, raw, spare: spare_in };
        let filled = fill(&mut segments).and_then(|value| segments.flush().map(|()| value));
        drop(segments);
        let written = writer.join().unwrap_or_else(|_| Err(stopped()));
        // A writer that stopped is the reason why filling did, not the other way round.
        match (filled, written) {
            (Ok(value), Ok(compressed)) => Ok((value, compressed)),
            (Err(failure), Ok(_)) => Err(failure),
            (_, Err(failure)) => Err(failure),
        }
    })
}

impl Segments {
    /// Announces an entry of `needed` bytes: an entry that fits into a segment is never cut.
    pub fn begin(&mut self, path: &str, needed: u64) -> Result<(), Failure> {
        let crowded = self.filled as u64 + needed > SEGMENT as u64;
        let chosen = self.filled >= EARLY && fnv1a(path).is_multiple_of(ONE_IN);
        if self.filled > 0 && (crowded || chosen) { self.flush() } else { Ok(()) }
    }

    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = self.space()?;
            let count = space.len().min(rest.len());
            let (now, later) = rest.split_at(count);
            space.iter_mut().zip(now).for_each(|(slot, byte)| *slot = *byte);
            self.advance(count);
            rest = later;
        }
        Ok(())
    }

    /// Where the next bytes of the stream go; never empty. [`Self::advance`] says how many came.
    pub fn space(&mut self) -> Result<&mut [u8], Failure> {
        if self.filled == SEGMENT {
            self.flush()?;
        }
        Ok(self.current.get_mut(self.filled..).unwrap_or_default())
    }

    pub fn advance(&mut self, count: usize) {
        self.filled = (self.filled + count).min(SEGMENT);
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.filled == 0 {
            return Ok(());
        }
        let fresh = self.spare.try_recv().unwrap_or_else(|_| vec![0; SEGMENT]);
        let bytes = std::mem::replace(&mut self.current, fresh);
        let raw = Raw { index: self.index, bytes, filled: self.filled };
        self.index += 1;
        self.filled = 0;
        self.raw.send(raw).map_err(|_| stopped())
    }
}

fn stopped() -> Failure {
    Failure::new(Code::Internal, "compression stopped")
}

fn compress(raw: &Mutex<Receiver<Raw>>, frames: &SyncSender<Frame>, spare: &Sender<Vec<u8>>) {
    let mut zstd = zstd::bulk::Compressor::new(LEVEL);
    loop {
        let next = match raw.lock() {
            Ok(raw) => raw.recv(),
            Err(_) => return,
        };
        let Ok(Raw { index, bytes, filled }) = next else { return };
        let content = bytes.get(..filled).unwrap_or_default();
        let frame = match &mut zstd {
            Ok(zstd) => zstd.compress(content),
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        // Nobody may be waiting for the buffer any more.
        let _ = spare.send(bytes);
        if frames.send((index, frame)).is_err() {
            return;
        }
    }
}

fn write_in_order(mut out: File, frames: Receiver<Frame>) -> Result<Compressed, Failure> {
    let during = |error| machine("write the archive", error);
    let (mut waiting, mut next) = (BTreeMap::new(), 0);
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    for (index, frame) in frames {
        waiting.insert(index, frame);
        while let Some(frame) = waiting.remove(&next) {
            let frame = frame.map_err(|error| machine("compress the archive", error))?;
            out.write_all(&frame).map_err(during)?;
            hash.update(&frame);
            bytes += frame.len() as u64;
            next += 1;
        }
    }
    Ok(Compressed { sha256: hex(&hash.finalize().0), bytes })
}

fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn compressed(threads: usize, stream: &[u8]) -> (Vec<u8>, Compressed) {
        let mut file = tempfile::tempfile().unwrap();
        let (_, sum) = through(file.try_clone().unwrap(), threads, |segments| segments.put(stream)).unwrap();
        let mut bytes = Vec::new();
        io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        (bytes, sum)
    }

    #[test]
    fn the_number_of_threads_does_not_change_a_byte() {
        let stream: Vec<u8> =
            (0..3 * SEGMENT as u32 + 77).map(|at| (at.wrapping_mul(2_654_435_761) >> 27) as u8).collect();
        let (one, sum) = compressed(1, &stream);
        for threads in [2, 5] {
            assert!(compressed(threads, &stream).0 == one, "{threads} threads");
        }
        assert_eq!(sum.sha256, hex(&Sha256::digest(&one).0));
        assert_eq!(sum.bytes, one.len() as u64);
        assert!(zstd::stream::decode_all(&one[..]).unwrap() == stream);
    }

    #[test]
    fn a_full_disk_is_the_failure_and_not_a_hang() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let failure =
            through(full, 2, |segments| (0..9).try_for_each(|_| segments.put(&vec![1; SEGMENT]))).err().unwrap();
        assert_eq!(failure.code, Code::DiskFull);
    }
}
