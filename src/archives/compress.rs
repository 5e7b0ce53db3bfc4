//! From a stream of entries to a compressed file, on several threads. The stream is cut into segments, each becomes a zstd
//! frame of its own, and the frames are written in order, so the bytes do not depend on the number of threads.
//!
//! Where it is cut depends on sizes and on names alone: a change in one file leaves the frames of other files as they were.
//! What the stream says is `pack`'s business.

use super::remembered::{self, Identity, Place, Remembered};
use crate::model::words::hex;
use crate::model::{Code, Failure};
use crate::trees::faults::machine;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
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
    pub frames: Vec<FrameNote>,
}

/// Where a frame came to stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameNote {
    /// Digest of what is in it: headers as they are, contents by their sha256. `None` where a large file was cut.
    pub key: Option<[u8; 32]>,
    pub offset: u64,
    pub length: u64,
    /// Of the compressed bytes.
    pub sum: [u8; 16],
}

/// A file of which the digest is known, and which is read only when its segment has to be compressed.
pub struct Unread {
    /// As whoever reads knows it.
    pub number: usize,
    pub path: String,
    pub identity: Identity,
}

/// Reads files that were left unread.
pub trait Contents {
    /// Fills `into`, exactly.
    fn read(&mut self, file: &Unread, into: &mut [u8]) -> Result<(), Failure>;
}

/// Takes the stream.
pub struct Segments<'a> {
    current: Vec<u8>,
    filled: usize,
    index: usize,
    key: Sha256,
    /// In this segment is a part of a file that is cut.
    cut: bool,
    /// The entry that was announced last is larger than a segment.
    large: bool,
    unread: Vec<(Range<usize>, Unread)>,
    pub(super) known: Option<&'a Remembered>,
    pub(super) contents: &'a mut dyn Contents,
    work: SyncSender<Work>,
    spare: Receiver<Vec<u8>>,
}

/// One frame to be.
struct Work {
    index: usize,
    key: Option<[u8; 32]>,
    how: How,
}

enum How {
    Compress { bytes: Vec<u8>, filled: usize },
    Copy(Place),
}

struct Frame {
    index: usize,
    key: Option<[u8; 32]>,
    bytes: io::Result<(Vec<u8>, [u8; 16])>,
}

/// What helps: an earlier archive, and whoever reads what was left unread.
pub struct Help<'a> {
    pub known: Option<&'a Remembered>,
    pub contents: &'a mut dyn Contents,
}

/// Compresses what `fill` puts into the segments.
pub fn through<T>(
    out: File,
    threads: usize,
    help: Help<'_>,
    fill: impl FnOnce(&mut Segments<'_>) -> Result<T, Failure>,
) -> Result<(T, Compressed), Failure> {
    let threads = threads.max(1);
    let (work, work_in) = sync_channel::<Work>(threads);
    let (frames, frames_in) = sync_channel::<Frame>(threads);
    let (spare, spare_in) = channel();
    let work_in = Arc::new(Mutex::new(work_in));
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || write_in_order(out, frames_in));
        for _ in 0..threads {
            let (work_in, frames, spare) = (work_in.clone(), frames.clone(), spare.clone());
            scope.spawn(move || compress(&work_in, help.known, &frames, &spare));
        }
        // Sending to workers that are gone must fail instead of waiting: nothing of theirs stays here.
        drop((work_in, frames, spare));
        let mut segments = Segments::new(Help { known: help.known, contents: help.contents }, (work, spare_in));
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

impl<'a> Segments<'a> {
    fn new(help: Help<'a>, (work, spare): (SyncSender<Work>, Receiver<Vec<u8>>)) -> Self {
        Self {
            current: vec![0; SEGMENT],
            filled: 0,
            index: 0,
            key: Sha256::new(),
            cut: false,
            large: false,
            unread: Vec::new(),
            known: help.known,
            contents: help.contents,
            work,
            spare,
        }
    }

    /// Announces an entry of `needed` bytes: an entry that fits into a segment is never cut.
    pub fn begin(&mut self, path: &str, needed: u64) -> Result<(), Failure> {
        let crowded = self.filled as u64 + needed > SEGMENT as u64;
        let chosen = self.filled >= EARLY && fnv1a(path).is_multiple_of(ONE_IN);
        self.large = false;
        if self.filled > 0 && (crowded || chosen) {
            self.flush()?;
        }
        self.large = needed > SEGMENT as u64;
        self.cut |= self.large;
        Ok(())
    }

    /// Bytes that are what they say: headers, documents, padding.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let crosses = self.filled + bytes.len() > SEGMENT;
        self.cut |= crosses;
        self.key.update(bytes);
        self.put_content(bytes)?;
        self.cut |= crosses;
        Ok(())
    }

    /// Bytes of a content; [`Self::content_is`] says what it came to.
    pub fn put_content(&mut self, bytes: &[u8]) -> Result<(), Failure> {
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

    /// The digest of the content that came last.
    pub fn content_is(&mut self, sha256: &[u8; 32]) {
        self.key.update(sha256);
    }

    /// Leaves room for a content of this size and digest; `false` when it must be read after all.
    pub fn leave_unread(&mut self, size: usize, sha256: &[u8; 32], file: Unread) -> bool {
        let end = self.filled + size;
        if self.large || end > SEGMENT {
            return false;
        }
        self.unread.push((self.filled..end, file));
        self.filled = end;
        self.content_is(sha256);
        true
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
        let key = self.key.finalize_reset().0;
        let key = (!self.cut).then_some(key);
        let place = key.and_then(|key| self.known.and_then(|known| known.frame(&key)));
        let how = match place {
            Some(place) => How::Copy(place),
            None => self.whole_segment()?,
        };
        self.unread.clear();
        self.work.send(Work { index: self.index, key, how }).map_err(|_| stopped())?;
        self.index += 1;
        self.filled = 0;
        self.cut = self.large;
        Ok(())
    }

    /// The segment with what was left unread in it.
    fn whole_segment(&mut self) -> Result<How, Failure> {
        for (range, file) in self.unread.drain(..) {
            self.contents.read(&file, self.current.get_mut(range).unwrap_or_default())?;
        }
        let fresh = self.spare.try_recv().unwrap_or_else(|_| vec![0; SEGMENT]);
        Ok(How::Compress { bytes: std::mem::replace(&mut self.current, fresh), filled: self.filled })
    }
}

fn stopped() -> Failure {
    Failure::new(Code::Internal, "compression stopped")
}

fn compress(
    work: &Mutex<Receiver<Work>>,
    known: Option<&Remembered>,
    frames: &SyncSender<Frame>,
    spare: &Sender<Vec<u8>>,
) {
    let mut zstd = zstd::bulk::Compressor::new(LEVEL);
    loop {
        let next = match work.lock() {
            Ok(work) => work.recv(),
            Err(_) => return,
        };
        let Ok(Work { index, key, how }) = next else { return };
        let bytes = match how {
            // Reading compares it with the sum.
            How::Copy(place) => known
                .map_or_else(|| Err(io::Error::other("no archive")), |known| known.read(place))
                .map(|bytes| (bytes, place.sum)),
            How::Compress { bytes, filled } => {
                let content = bytes.get(..filled).unwrap_or_default();
                let frame = match &mut zstd {
                    Ok(zstd) => zstd.compress(content),
                    Err(error) => Err(io::Error::other(error.to_string())),
                };
                // Nobody may be waiting for the buffer any more.
                let _ = spare.send(bytes);
                frame.map(|frame| {
                    let sum = remembered::sum(&frame);
                    (frame, sum)
                })
            }
        };
        if frames.send(Frame { index, key, bytes }).is_err() {
            return;
        }
    }
}

fn write_in_order(mut out: File, frames: Receiver<Frame>) -> Result<Compressed, Failure> {
    let during = |error| machine("write the archive", error);
    let (mut waiting, mut next) = (BTreeMap::new(), 0);
    let (mut hash, mut offset, mut notes) = (Sha256::new(), 0, Vec::new());
    for frame in frames {
        waiting.insert(frame.index, frame);
        while let Some(Frame { key, bytes, .. }) = waiting.remove(&next) {
            let (bytes, sum) = bytes.map_err(|error| machine("compress the archive", error))?;
            out.write_all(&bytes).map_err(during)?;
            hash.update(&bytes);
            let length = bytes.len() as u64;
            notes.push(FrameNote { key, offset, length, sum });
            offset += length;
            next += 1;
        }
    }
    Ok(Compressed { sha256: hex(&hash.finalize().0), bytes: offset, frames: notes })
}

fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    struct Nothing;

    impl Contents for Nothing {
        fn read(&mut self, _: &Unread, _: &mut [u8]) -> Result<(), Failure> {
            unreachable!("nothing is left unread")
        }
    }

    fn compressed(threads: usize, stream: &[u8]) -> (Vec<u8>, Compressed) {
        let mut file = tempfile::tempfile().unwrap();
        let help = Help { known: None, contents: &mut Nothing };
        let (_, sum) = through(file.try_clone().unwrap(), threads, help, |segments| segments.put(stream)).unwrap();
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
        let help = Help { known: None, contents: &mut Nothing };
        let fill = |segments: &mut Segments<'_>| (0..9).try_for_each(|_| segments.put(&vec![1; SEGMENT]));
        let failure = through(full, 2, help, fill).err().unwrap();
        assert_eq!(failure.code, Code::DiskFull);
    }
}
