//! Input that nobody has read yet and that does not fit into memory: a queue of bytes in a file without a name, which
//! the kernel removes with the last descriptor. Only `intake` uses it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes moved at a time.
const BLOCK: usize = 1 << 20;
/// The file may grow to this before the queue takes nothing more until it has been emptied.
const LIMIT: u64 = 4 << 30;

/// First in, first out: the bytes `read..written` of the file, then `tail`.
pub(super) struct Spill {
    directory: PathBuf,
    file: Option<Arc<File>>,
    written: u64,
    read: u64,
    tail: Vec<u8>,
}

impl Spill {
    /// Nothing yet; a file is made in `directory` when there is a first block.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, file: None, written: 0, read: 0, tail: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.read == self.written && self.tail.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.written >= LIMIT
    }

    /// Forgets everything, the file too.
    pub(super) fn clear(&mut self) {
        self.file = None;
        (self.read, self.written) = (0, 0);
        self.tail.clear();
    }

    pub(super) async fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tail.extend_from_slice(bytes);
        if self.tail.len() < BLOCK {
            return Ok(());
        }
        let (file, block, at) = (self.file().await?, std::mem::take(&mut self.tail), self.written);
        self.written += block.len() as u64;
        blocking(move || file.write_all_at(&block, at)).await
    }

    /// The next bytes; empty when there are none.
    pub(super) async fn pop(&mut self) -> io::Result<Vec<u8>> {
        if self.read == self.written {
            return Ok(std::mem::take(&mut self.tail));
        }
        let (file, at) = (self.file().await?, self.read);
        let length = (self.written - at).min(BLOCK as u64);
        self.read += length;
        let emptied = self.read == self.written;
        if emptied {
            (self.read, self.written) = (0, 0);
        }
        blocking(move || {
            let mut block = vec![0; length as usize];
            file.read_exact_at(&mut block, at)?;
            if emptied {
                file.set_len(0)?;
            }
            Ok(block)
        })
        .await
    }

    async fn file(&mut self) -> io::Result<Arc<File>> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let directory = self.directory.clone();
        let file = Arc::new(blocking(move || nameless(&directory)).await?);
        self.file = Some(file.clone());
        Ok(file)
    }
}

fn nameless(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    if let Ok(file) = options.clone().custom_flags(nix::libc::O_TMPFILE).open(directory) {
        return Ok(file);
    }
    let path = directory.join(format!(".spill-{}", crate::system::entropy::hex(8)?));
    let file = options.create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_goes_in_comes_out_in_order_and_leaves_no_file() {
        let place = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(place.path().into());
        let mut expected = Vec::new();
        let mut seen = Vec::new();
        for round in 0..9u8 {
            let bytes = vec![round; 700_000];
            expected.extend_from_slice(&bytes);
            spill.push(&bytes).await.unwrap();
            if round % 4 == 3 {
                seen.extend(spill.pop().await.unwrap());
            }
        }
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
        while !spill.is_empty() {
            seen.extend(spill.pop().await.unwrap());
        }
        assert!(seen == expected);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_is_an_error() {
        let mut spill = Spill::new("/nowhere".into());
        assert!(spill.push(&vec![0; BLOCK]).await.is_err());
    }
}
