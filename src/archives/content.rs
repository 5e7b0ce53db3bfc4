//! The bytes of one file into another: shared where the file system can, else read, summed and written. Holes stay holes.

use crate::system::reflink::reflink;
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use twox_hash::XxHash3_128;

/// Read and written at once: it stays in a processor's cache between the two.
pub const BUFFER: usize = 128 << 10;
/// A file with less than this missing has no holes worth keeping.
const HOLE: u64 = 64 << 10;

/// What all copies of one tree share.
pub struct Copier {
    /// Cleared by the first file that cannot be.
    shares: AtomicBool,
    sums: Sums,
}

/// What the copy holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copied {
    pub size: u64,
    /// `None` for one that has holes, or whose bytes were not seen.
    pub sum: Option<u128>,
}

/// Of which copies the sum is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sums {
    /// All; what shares its blocks is read for it.
    All,
    /// Those whose bytes pass through here.
    Passing,
}

impl Copier {
    pub fn new(sums: Sums) -> Self {
        Self { shares: AtomicBool::new(true), sums }
    }

    /// Copies about `size` bytes: a file that grows meanwhile may be as it was, one that shrinks is shorter.
    pub fn copy(&self, from: &File, to: &File, size: u64, buffer: &mut [u8]) -> io::Result<Copied> {
        if size > 0 && self.shares.load(Ordering::Relaxed) {
            match reflink(from, to) {
                Ok(()) if self.sums == Sums::Passing => return Ok(Copied { size: to.metadata()?.len(), sum: None }),
                Ok(()) => return sum(to, buffer),
                Err(_) => self.shares.store(false, Ordering::Relaxed),
            }
        }
        match has_holes(from, size)? {
            true => copy_segments(from, to, size, buffer).map(|()| Copied { size, sum: None }),
            false => copy_all(from, to, size, buffer),
        }
    }
}

fn copy_all(from: &File, to: &File, size: u64, buffer: &mut [u8]) -> io::Result<Copied> {
    let (mut sum, mut at) = (XxHash3_128::new(), 0);
    while at < size {
        let want = usize::try_from(size - at).unwrap_or(usize::MAX).min(buffer.len());
        let got = from.read_at(buffer.get_mut(..want).unwrap_or_default(), at)?;
        let Some(piece) = buffer.get(..got).filter(|piece| !piece.is_empty()) else { break };
        sum.write(piece);
        to.write_all_at(piece, at)?;
        at += got as u64;
    }
    Ok(Copied { size: at, sum: Some(sum.finish_128()) })
}

fn has_holes(file: &File, size: u64) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.blocks().saturating_mul(512).saturating_add(HOLE) < size)
}

/// Only where there is data; the rest stays a hole.
fn copy_segments(from: &File, to: &File, size: u64, buffer: &mut [u8]) -> io::Result<()> {
    let limit = i64::try_from(size).unwrap_or(i64::MAX);
    let mut at = 0;
    while at < limit {
        let begin = match lseek(from, at, Whence::SeekData) {
            Ok(begin) => begin.min(limit),
            Err(Errno::ENXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = lseek(from, begin, Whence::SeekHole).unwrap_or(limit).min(limit);
        copy_range(from, to, (begin as u64, end as u64), buffer)?;
        at = end.max(begin + 1);
    }
    to.set_len(size)
}

fn copy_range(from: &File, to: &File, (mut at, end): (u64, u64), buffer: &mut [u8]) -> io::Result<()> {
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let got = from.read_at(buffer.get_mut(..want).unwrap_or_default(), at)?;
        let Some(piece) = buffer.get(..got).filter(|piece| !piece.is_empty()) else { return Ok(()) };
        to.write_all_at(piece, at)?;
        at += got as u64;
    }
    Ok(())
}

fn sum(file: &File, buffer: &mut [u8]) -> io::Result<Copied> {
    let (mut sum, mut at) = (XxHash3_128::new(), 0);
    loop {
        let got = file.read_at(buffer, at)?;
        let Some(piece) = buffer.get(..got).filter(|piece| !piece.is_empty()) else {
            return Ok(Copied { size: at, sum: Some(sum.finish_128()) });
        };
        sum.write(piece);
        at += got as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn files(place: &tempfile::TempDir) -> (File, File) {
        let open = |name: &str| {
            let mut options = File::options();
            options.read(true).write(true).create_new(true).open(place.path().join(name)).unwrap()
        };
        (open("from"), open("to"))
    }

    #[test]
    fn a_file_is_copied_as_it_was_when_it_was_looked_at() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = files(&place);
        from.write_all_at(b"old and new", 0).unwrap();
        let sum = copy_all(&from, &to, 3, &mut [0; 2]).unwrap();
        assert_eq!(std::fs::read(place.path().join("to")).unwrap(), b"old");
        assert_eq!(sum, Copied { size: 3, sum: Some(XxHash3_128::oneshot(b"old")) });
    }

    #[test]
    fn a_file_of_nothing_but_holes_takes_no_room() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = files(&place);
        from.set_len(8 << 40).unwrap_or_else(|_| from.set_len(1 << 30).unwrap());
        from.write_all_at(b"island", 1 << 20).unwrap();
        let size = from.metadata().unwrap().len();
        assert!(Copier::new(Sums::All).copy(&from, &to, size, &mut vec![0; BUFFER]).unwrap().sum.is_none());
        let copy = to.metadata().unwrap();
        assert_eq!(copy.len(), size);
        assert!(copy.blocks() * 512 < 1 << 20);
        let mut island = [0; 6];
        to.read_at(&mut island, 1 << 20).unwrap();
        assert_eq!(&island, b"island");
    }
}
