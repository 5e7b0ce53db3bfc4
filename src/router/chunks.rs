//! Follows a chunked body byte by byte, to know where it ends and that every line of it is as the standard says.
//! Pure; decoding is hyper's, after these bytes were found good.

use super::strict::Refusal;

const LINE_MAX: usize = 256;
const TRAILERS_MAX: usize = 8 * 1024;

/// Where in the body we are.
#[derive(Clone, Debug)]
enum At {
    /// In the size line, `digits` hexadecimal digits read.
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        size: u64,
        length: usize,
    },
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the start of a trailer line or of the final empty line.
    TrailerStart,
    Trailer,
    TrailerLf,
    FinalLf,
    Done,
}

/// The scanner of one body.
#[derive(Clone, Debug)]
pub struct Chunks {
    at: At,
    trailer_bytes: usize,
}

impl Chunks {
    pub fn new() -> Self {
        Self { at: At::Size { digits: 0, size: 0 }, trailer_bytes: 0 }
    }

    /// Reads on and says how many of `bytes` belong to the body.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty() && !self.done()) {
            used += self.advance(rest)?;
        }
        Ok(used)
    }

    pub fn done(&self) -> bool {
        matches!(self.at, At::Done)
    }

    fn advance(&mut self, rest: &[u8]) -> Result<usize, Refusal> {
        if let At::Data { left } = self.at {
            let step = left.min(rest.len() as u64);
            self.at = if step == left { At::DataCr } else { At::Data { left: left - step } };
            return Ok(step as usize);
        }
        let Some(byte) = rest.first() else { return Ok(0) };
        self.at = self.after(*byte)?;
        Ok(1)
    }

    fn after(&mut self, byte: u8) -> Result<At, Refusal> {
        const BAD: Refusal = Refusal::Bad("malformed chunked body");
        if matches!(self.at, At::TrailerStart | At::Trailer) {
            self.trailer_bytes += 1;
        }
        if self.trailer_bytes > TRAILERS_MAX {
            return Err(Refusal::TooLarge);
        }
        match (&self.at, byte) {
            (At::Size { digits, size }, b) if b.is_ascii_hexdigit() && *digits < 15 => {
                let digit = (b as char).to_digit(16).unwrap_or(0);
                Ok(At::Size { digits: digits + 1, size: size * 16 + u64::from(digit) })
            }
            (At::Size { digits: 1.., size }, b'\r') => Ok(At::SizeEnd { size: *size }),
            (At::Size { digits: 1.., size }, b';') => Ok(At::Extension { size: *size, length: 0 }),
            (At::Extension { size, .. }, b'\r') => Ok(At::SizeEnd { size: *size }),
            (At::Extension { size, length }, b'\t' | b' '..=b'~') if *length < LINE_MAX => {
                Ok(At::Extension { size: *size, length: length + 1 })
            }
            (At::SizeEnd { size: 0 }, b'\n') => Ok(At::TrailerStart),
            (At::SizeEnd { size }, b'\n') => Ok(At::Data { left: *size }),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size { digits: 0, size: 0 }),
            (At::TrailerStart, b'\r') => Ok(At::FinalLf),
            (At::TrailerStart, b) if b.is_ascii_alphanumeric() => Ok(At::Trailer),
            (At::Trailer, b'\r') => Ok(At::TrailerLf),
            (At::Trailer, b'\t' | b' '..=b'~') => Ok(At::Trailer),
            (At::TrailerLf, b'\n') => Ok(At::TrailerStart),
            (At::FinalLf, b'\n') => Ok(At::Done),
            _ => Err(BAD),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_body_ends_where_it_ends() {
        for (body, rest) in [
            ("0\r\n\r\n", "GET /"),
            ("5\r\nhello\r\n0\r\n\r\n", "x"),
            ("5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n", ""),
        ] {
            let mut chunks = Chunks::new();
            assert_eq!(chunks.feed(format!("{body}{rest}").as_bytes()), Ok(body.len()), "{body:?}");
            assert!(chunks.done());
        }
    }

    #[test]
    fn sloppy_chunks_are_refused() {
        for bad in [
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "\r\n0\r\n\r\n",
            "0x5\r\nhello",
            " 5\r\nhello",
            "5 \r\nhello",
            "-1\r\n",
            "fffffffffffffffff\r\n",
            "5;\nx",
            "0\r\n\n",
            "0\r\n X: folded\r\n\r\n",
            "0\r\nX: a\nY: b\r\n\r\n",
        ] {
            assert!(Chunks::new().feed(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn the_cut_of_the_input_does_not_matter(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5), cut in 1usize..7) {
            let mut wire = Vec::new();
            for body in &bodies {
                wire.extend(format!("{:x}\r\n", body.len()).bytes());
                wire.extend(body);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
            let mut chunks = Chunks::new();
            for piece in wire.chunks(cut) {
                prop_assert!(!chunks.done());
                prop_assert_eq!(chunks.feed(piece), Ok(piece.len()));
            }
            prop_assert!(chunks.done());
        }

        #[test]
        fn no_input_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Chunks::new().feed(&bytes);
        }
    }
}
