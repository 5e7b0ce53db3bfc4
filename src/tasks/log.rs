//! The log of one run, bounded: its beginning and its end are kept, and what is left out between them is counted.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Takes lines; the file has the beginning at once, the end when it is finished.
pub struct BoundedLog {
    file: File,
    /// Bytes that still go to the file as they come.
    room: u64,
    /// What came after that: the last lines, of at most `half` bytes together.
    tail: VecDeque<String>,
    tail_bytes: u64,
    half: u64,
    left_out: u64,
}

impl BoundedLog {
    /// Begins anew; the directory must be there. `most` is bytes.
    ///
    /// # Errors
    /// The machine's.
    pub fn create(path: &Path, most: u64) -> io::Result<Self> {
        let file = File::options().create(true).write(true).truncate(true).mode(0o640).open(path)?;
        let half = most / 2;
        Ok(Self { file, room: half, tail: VecDeque::new(), tail_bytes: 0, half, left_out: 0 })
    }

    /// Takes a line without its end.
    ///
    /// # Errors
    /// The machine's; the line is lost.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        let bytes = line.len() as u64 + 1;
        if self.tail.is_empty() && bytes <= self.room {
            self.room -= bytes;
            return self.file.write_all(format!("{line}\n").as_bytes());
        }
        self.tail.push_back(line.to_owned());
        self.tail_bytes += bytes;
        while self.tail_bytes > self.half {
            let Some(oldest) = self.tail.pop_front() else { break };
            self.tail_bytes -= oldest.len() as u64 + 1;
            self.left_out += 1;
        }
        Ok(())
    }

    /// Writes the end.
    ///
    /// # Errors
    /// The machine's.
    pub fn finish(mut self) -> io::Result<()> {
        if self.left_out > 0 {
            writeln!(self.file, "... {} lines left out ...", self.left_out)?;
        }
        self.tail.iter().try_for_each(|line| writeln!(self.file, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(lines: usize, most: u64) -> String {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log");
        let mut log = BoundedLog::create(&path, most).unwrap();
        (0..lines).for_each(|number| log.line(&format!("line {number:04}")).unwrap());
        log.finish().unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn what_fits_is_there_as_it_came() {
        assert_eq!(logged(3, 1000), "line 0000\nline 0001\nline 0002\n");
        assert_eq!(logged(100, 1000).lines().count(), 100);
    }

    #[test]
    fn of_much_the_beginning_and_the_end_stay() {
        let text = logged(5000, 1000);
        assert!(text.len() < 1100 && text.starts_with("line 0000\n") && text.ends_with("line 4999\n"), "{text}");
        assert!(text.contains("\n... 4900 lines left out ...\nline 4950\n"), "{text}");
    }
}
