//! The bytes of one file into another: shared where the file system can, else copied, and summed where that is asked. Holes
//! stay holes.

use super::inventory::Sum;
use crate::system::reflink::reflink;
use nix::errno::Errno;
use nix::fcntl::copy_file_range;
use nix::sys::stat::FileStat;
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
    /// Cleared by the first file that says that none can be.
    shares: AtomicBool,
    /// Smaller files are always copied.
    shares_from: u64,
    sums: Sums,
}

/// What the copy holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Copied {
    pub size: u64,
    pub sum: Sum,
}

/// Of which copies the sum is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sums {
    /// All; what shares its blocks is read for it.
    All,
    /// Those whose bytes pass through here; the others later.
    Passing,
    /// None: then the bytes need not pass through here.
    Unasked,
}

/// What a file takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    pub size: u64,
    pub allocated: u64,
}

impl Extent {
    pub fn of(stat: &FileStat) -> Self {
        Self { size: stat.st_size.max(0) as u64, allocated: stat.st_blocks.max(0) as u64 * 512 }
    }

    fn has_holes(self) -> bool {
        self.allocated.saturating_add(HOLE) < self.size
    }
}

impl Copier {
    pub fn new(sums: Sums, shares_from: u64) -> Self {
        Self { shares: AtomicBool::new(true), shares_from, sums }
    }

    /// Copies a file that was found to take so much: one that grows meanwhile may be as it was, one that shrinks is shorter.
    pub fn copy(&self, from: &File, to: &File, found: Extent, buffer: &mut [u8]) -> io::Result<Copied> {
        if found.size > 0 && found.size >= self.shares_from && self.share(from, to) {
            return match self.sums {
                _ if found.has_holes() => Ok(Copied { size: to.metadata()?.len(), sum: Sum::Holes }),
                Sums::All => sum(to, buffer),
                Sums::Passing | Sums::Unasked => Ok(Copied { size: to.metadata()?.len(), sum: Sum::Later }),
            };
        }
        let size = found.size;
        match self.sums {
            _ if found.has_holes() => copy_segments(from, to, size, buffer).map(|()| Copied { size, sum: Sum::Holes }),
            Sums::All | Sums::Passing => copy_summed(from, to, size, buffer),
            Sums::Unasked => copy_range(from, to, (0, size), buffer).map(|size| Copied { size, sum: Sum::Later }),
        }
    }

    fn share(&self, from: &File, to: &File) -> bool {
        if !self.shares.load(Ordering::Relaxed) {
            return false;
        }
        let Err(error) = reflink(from, to) else { return true };
        // Others say something about this file alone.
        if [Errno::EOPNOTSUPP, Errno::EXDEV, Errno::ENOTTY, Errno::ENOSYS]
            .contains(&Errno::from_raw(error.raw_os_error().unwrap_or(0)))
        {
            self.shares.store(false, Ordering::Relaxed);
        }
        false
    }
}

fn copy_summed(from: &File, to: &File, size: u64, buffer: &mut [u8]) -> io::Result<Copied> {
    let (mut sum, mut at) = (XxHash3_128::new(), 0);
    while at < size {
        let piece = piece(from, (at, size), buffer)?;
        if piece.is_empty() {
            break;
        }
        sum.write(piece);
        to.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(Copied { size: at, sum: Sum::Of(sum.finish_128()) })
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

/// By the kernel alone where it can, and where that is worth setting up; how far it came.
fn copy_range(from: &File, to: &File, (mut at, end): (u64, u64), buffer: &mut [u8]) -> io::Result<u64> {
    while end.saturating_sub(at) > buffer.len() as u64 {
        let (mut source, mut target) = (at as i64, at as i64);
        let want = usize::try_from(end - at).unwrap_or(usize::MAX);
        match copy_file_range(from, Some(&mut source), to, Some(&mut target), want) {
            Ok(0) => return Ok(at),
            Ok(got) => at += got as u64,
            Err(Errno::EINTR) => {}
            Err(Errno::EXDEV | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS) => break,
            Err(error) => return Err(error.into()),
        }
    }
    while at < end {
        let piece = piece(from, (at, end), buffer)?;
        if piece.is_empty() {
            break;
        }
        to.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(at)
}

/// What is read next; nothing at the end.
fn piece<'a>(file: &File, (at, end): (u64, u64), buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
    let got = file.read_at(buffer.get_mut(..want).unwrap_or_default(), at)?;
    Ok(buffer.get(..got).unwrap_or_default())
}

/// Of everything that is in a file.
pub fn sum(file: &File, buffer: &mut [u8]) -> io::Result<Copied> {
    let (mut sum, mut at) = (XxHash3_128::new(), 0);
    loop {
        let piece = piece(file, (at, u64::MAX), buffer)?;
        if piece.is_empty() {
            return Ok(Copied { size: at, sum: Sum::Of(sum.finish_128()) });
        }
        sum.write(piece);
        at += piece.len() as u64;
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
        let sum = copy_summed(&from, &to, 3, &mut [0; 2]).unwrap();
        assert_eq!(std::fs::read(place.path().join("to")).unwrap(), b"old");
        assert_eq!(sum, Copied { size: 3, sum: Sum::Of(XxHash3_128::oneshot(b"old")) });
    }

    #[test]
    fn a_file_of_nothing_but_holes_takes_no_room() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = files(&place);
        from.set_len(8 << 40).unwrap_or_else(|_| from.set_len(1 << 30).unwrap());
        from.write_all_at(b"island", 1 << 20).unwrap();
        let size = from.metadata().unwrap().len();
        let found = Extent { size, allocated: from.metadata().unwrap().blocks() * 512 };
        let copied = Copier::new(Sums::All, 1).copy(&from, &to, found, &mut vec![0; BUFFER]).unwrap();
        assert_eq!(copied, Copied { size, sum: Sum::Holes });
        let copy = to.metadata().unwrap();
        assert_eq!(copy.len(), size);
        assert!(copy.blocks() * 512 < 1 << 20);
        let mut island = [0; 6];
        to.read_at(&mut island, 1 << 20).unwrap();
        assert_eq!(&island, b"island");
    }
}
