//! Bytes of a process into lines, in bounded memory. Pure.

/// Longest line, in bytes; what is longer goes on in the next line.
pub const LONGEST: usize = 8 * 1024;

/// Cuts a stream of bytes into lines. A progress display (`10%\r20%\r`) leaves only its last state.
#[derive(Default)]
pub struct LineCutter {
    line: Vec<u8>,
    /// A carriage return came and nothing after it yet: end of line of Windows, or start of the next state.
    returned: bool,
    /// The line was just cut for its length, so that a newline now ends nothing new.
    cut: bool,
}

impl LineCutter {
    /// Takes more bytes; gives each line that they complete, without its end.
    pub fn feed(&mut self, bytes: &[u8], emit: &mut dyn FnMut(&[u8])) {
        for byte in bytes {
            match byte {
                b'\n' => self.end(emit),
                b'\r' => self.returned = true,
                other => self.push(*other, emit),
            }
        }
    }

    /// The stream has ended: gives what is left, if anything.
    pub fn finish(&mut self, emit: &mut dyn FnMut(&[u8])) {
        if !self.line.is_empty() {
            self.end(emit);
        }
    }

    fn push(&mut self, byte: u8, emit: &mut dyn FnMut(&[u8])) {
        if self.returned {
            self.line.clear();
            self.returned = false;
        }
        self.line.push(byte);
        self.cut = false;
        if self.line.len() >= LONGEST {
            emit(&self.line);
            self.line.clear();
            self.cut = true;
        }
    }

    fn end(&mut self, emit: &mut dyn FnMut(&[u8])) {
        if !self.cut {
            emit(&self.line);
        }
        self.line.clear();
        self.returned = false;
        self.cut = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<String> {
        let mut cutter = LineCutter::default();
        let mut lines = Vec::new();
        let mut emit = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
        chunks.iter().for_each(|chunk| cutter.feed(chunk, &mut emit));
        cutter.finish(&mut emit);
        lines
    }

    #[test]
    fn lines_come_whole_however_the_bytes_arrive() {
        assert_eq!(lines_of(&[b"on", b"e\n\ntw", b"o"]), ["one", "", "two"]);
        assert_eq!(lines_of(&[b"dos\r", b"\nend\r\n"]), ["dos", "end"]);
        assert!(lines_of(&[b""]).is_empty());
    }

    #[test]
    fn a_progress_display_leaves_its_last_state() {
        assert_eq!(lines_of(&[b"10%\r20%", b"\r100%\ndone\n"]), ["100%", "done"]);
        assert_eq!(lines_of(&[b"10%\r20%\r"]), ["20%"]);
    }

    #[test]
    fn a_gigabyte_without_a_newline_is_cut() {
        let long = vec![b'x'; LONGEST];
        assert_eq!(
            lines_of(&[&long, b"\n", &long, b"y\n"]).iter().map(String::len).collect::<Vec<_>>(),
            [LONGEST, LONGEST, 1]
        );
        assert_eq!(lines_of(&[&long, b"\n\n"]).len(), 2);
    }
}
