//! What is known of an archive that was packed here: which frame holds which entries, and the digests of the files in it.
//! Packing the next release copies the frames of entries that are the same, and does not read files that are.
//!
//! It stands beside the archive (`.frames`), is only ever a help, and is refused as a whole when anything in it is odd.
//! The bytes of an archive are the same with it and without.

use super::compress::FrameNote;
use super::frames;
use crate::model::Failure;
use crate::trees::settle;
use nix::sys::stat::FileStat;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use twox_hash::XxHash3_128;

/// Stands beside an archive and goes with it.
pub const SUFFIX: &str = ".frames";
const MAGIC: &[u8; 16] = b"commis-frames-2\n";
/// Key, offset, length, sum.
const FRAME: usize = 32 + 8 + 8 + 16;
/// Identity and digest.
const FILE: usize = Identity::LENGTH + 32;
/// Of as many files as an archive may hold.
const LONGEST: u64 = 64 << 20;

/// By what a file is known again: when this is the same, its content is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity([u8; Identity::LENGTH]);

impl Identity {
    const LENGTH: usize = 1 + 5 * 8;

    /// A blob of git.
    pub fn of_blob(id: &[u8]) -> Self {
        let mut bytes = [0; Self::LENGTH];
        let (tag, rest) = bytes.split_at_mut(1);
        tag.fill(1);
        rest.iter_mut().zip(id).for_each(|(place, byte)| *place = *byte);
        Self(bytes)
    }

    /// A file on the disk. Its ctime is set by the kernel alone: nobody but root can change the content and keep it.
    pub fn of_stat(stat: &FileStat) -> Self {
        let nanoseconds =
            |seconds: i64, part: i64| (seconds as u64).wrapping_mul(1_000_000_000).wrapping_add(part as u64);
        let fields = [
            stat.st_dev,
            stat.st_ino,
            stat.st_size as u64,
            nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        ];
        let mut bytes = [0; Self::LENGTH];
        let (tag, rest) = bytes.split_at_mut(1);
        tag.fill(2);
        rest.chunks_exact_mut(8).zip(fields).for_each(|(place, field)| place.copy_from_slice(&field.to_le_bytes()));
        Self(bytes)
    }
}

/// Where a frame is in the archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    offset: u64,
    length: u64,
    pub(super) sum: [u8; 16],
}

/// An earlier archive with what is known of it.
pub struct Remembered {
    archive: File,
    frames: HashMap<[u8; 32], Place>,
    files: HashMap<Identity, [u8; 32]>,
    damaged: AtomicBool,
}

impl Remembered {
    /// `None` when nothing, or nothing whole, is known.
    pub fn of(archive: &Path) -> Option<Self> {
        let notes = settle::suffixed(archive, SUFFIX);
        let length = notes.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?.len();
        let bytes = if length <= LONGEST { std::fs::read(&notes).ok()? } else { return None };
        let archive = File::open(archive).ok()?;
        let (frames, files) = parse(&bytes, archive.metadata().ok()?.len())?;
        Some(Self { archive, frames, files, damaged: AtomicBool::new(false) })
    }

    pub fn frame(&self, key: &[u8; 32]) -> Option<Place> {
        self.frames.get(key).copied()
    }

    /// The sha256 of a file's content.
    pub fn file(&self, identity: &Identity) -> Option<[u8; 32]> {
        self.files.get(identity).copied()
    }

    /// The frame, when it still is what it was.
    pub fn read(&self, place: Place) -> std::io::Result<Vec<u8>> {
        let mut frame = vec![0; place.length as usize];
        self.archive.read_exact_at(&mut frame, place.offset)?;
        if sum(&frame) == place.sum {
            return Ok(frame);
        }
        self.damaged.store(true, Ordering::Relaxed);
        Err(std::io::Error::other("the archive before is damaged"))
    }

    /// Whether a frame was not what it should be: then packing is to be done without this.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }
}

/// The sum of a frame, for [`FrameNote`]. It finds what a disk did to it, nothing more: whoever could write there is root.
pub fn sum(frame: &[u8]) -> [u8; 16] {
    XxHash3_128::oneshot(frame).to_le_bytes()
}

/// Writes what is known of a new archive beside it.
pub fn write(archive: &Path, frames: &[FrameNote], files: &[(Identity, [u8; 32])]) -> Result<(), Failure> {
    let mut bytes = MAGIC.to_vec();
    let keyed = || frames.iter().filter_map(|frame| frame.key.map(|key| (key, frame)));
    bytes.extend_from_slice(&(keyed().count() as u64).to_le_bytes());
    bytes.extend_from_slice(&(files.len() as u64).to_le_bytes());
    for (key, frame) in keyed() {
        bytes.extend_from_slice(&key);
        bytes.extend_from_slice(&frame.offset.to_le_bytes());
        bytes.extend_from_slice(&frame.length.to_le_bytes());
        bytes.extend_from_slice(&frame.sum);
    }
    for (identity, sha256) in files {
        bytes.extend_from_slice(&identity.0);
        bytes.extend_from_slice(sha256);
    }
    let seal = Sha256::digest(&bytes).0;
    bytes.extend_from_slice(&seal);
    settle::write_whole(&settle::suffixed(archive, SUFFIX), &bytes)
}

type Parsed = (HashMap<[u8; 32], Place>, HashMap<Identity, [u8; 32]>);

fn parse(bytes: &[u8], archive_bytes: u64) -> Option<Parsed> {
    let (body, seal) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Sha256::digest(body).0 != *seal {
        return None;
    }
    let rest = body.strip_prefix(MAGIC)?;
    let (counts, rest) = rest.split_at_checked(16)?;
    let frame_count = usize::try_from(number(counts.get(..8)?)?).ok()?;
    let file_count = usize::try_from(number(counts.get(8..)?)?).ok()?;
    let (frame_bytes, file_bytes) = rest.split_at_checked(frame_count.checked_mul(FRAME)?)?;
    if file_bytes.len() != file_count.checked_mul(FILE)? {
        return None;
    }
    let frames = frame_bytes.chunks_exact(FRAME).map(|record| frame(record, archive_bytes));
    let files = file_bytes.chunks_exact(FILE).map(|record| {
        let (identity, sha256) = record.split_at_checked(Identity::LENGTH)?;
        Some((Identity(identity.try_into().ok()?), sha256.try_into().ok()?))
    });
    Some((frames.collect::<Option<_>>()?, files.collect::<Option<_>>()?))
}

fn frame(record: &[u8], archive_bytes: u64) -> Option<([u8; 32], Place)> {
    let (key, rest) = record.split_at_checked(32)?;
    let (offset, length) = (number(rest.get(..8)?)?, number(rest.get(8..16)?)?);
    let inside = offset.checked_add(length)? <= archive_bytes && length <= frames::MAX_FRAME as u64;
    let sum = rest.get(16..)?.try_into().ok()?;
    inside.then_some((key.try_into().ok()?, Place { offset, length, sum }))
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_odd_is_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let archive = scratch.path().join("a.tar.zst");
        std::fs::write(&archive, b"0123456789").unwrap();
        let note = FrameNote { key: Some([7; 32]), offset: 2, length: 3, sum: sum(b"234") };
        let unkeyed = FrameNote { key: None, ..note.clone() };
        let file = (Identity::of_blob(&[5; 20]), [9; 32]);
        write(&archive, &[note.clone(), unkeyed], &[file]).unwrap();
        let known = Remembered::of(&archive).unwrap();
        assert_eq!(known.read(known.frame(&[7; 32]).unwrap()).unwrap(), b"234");
        assert_eq!((known.file(&file.0), known.file(&Identity::of_blob(&[6; 20]))), (Some([9; 32]), None));
        assert!(!known.is_damaged());

        let notes = settle::suffixed(&archive, SUFFIX);
        let good = std::fs::read(&notes).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(parse(&bad, 10).is_none(), "byte {at}");
            assert!(parse(&good[..at], 10).is_none(), "cut at {at}");
        }
        assert!(parse(&good, 4).is_none(), "a frame that leads out of the archive");
        std::fs::write(&archive, b"0123X56789").unwrap();
        let known = Remembered::of(&archive).unwrap();
        assert!(known.read(known.frame(&[7; 32]).unwrap()).is_err() && known.is_damaged());
    }
}
