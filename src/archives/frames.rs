//! Cutting a compressed stream into its zstd frames without decompressing. Pure over any buffered reader.
//! A release consists of whole small frames that name their size, so memory is bounded by what one frame may claim, before
//! it is given to the decompressor. Everything else in the format (dictionaries, skippable frames, unknown sizes) is refused.

use std::io::{self, BufRead};

/// Largest content of one frame.
pub const MAX_CONTENT: usize = 8 << 20;
/// Largest compressed frame: an incompressible content and its block headers.
pub const MAX_FRAME: usize = MAX_CONTENT + (64 << 10);
/// Descriptor of a window of [`MAX_CONTENT`]: an exponent over 2^10 in its upper five bits.
const MAX_WINDOW: u64 = 13 << 3;
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("it is not a release archive")]
    NotAFrame,
    #[error("a compressed frame does not name its size, or more than {MAX_CONTENT} bytes")]
    Size,
    #[error("a compressed frame looks back further than {MAX_CONTENT} bytes")]
    Window,
    #[error("a compressed frame is longer than its content may be")]
    Long,
    #[error("it ends in the middle")]
    CutOff,
    #[error(transparent)]
    Read(io::Error),
}

/// Reads the next whole frame into `frame`; gives the size of its content, or `None` at the end.
pub fn next(from: &mut impl BufRead, frame: &mut Vec<u8>) -> Result<Option<usize>, FrameError> {
    frame.clear();
    match more(from, frame, 1) {
        Err(FrameError::CutOff) => return Ok(None),
        other => other?,
    }
    more(from, frame, 4)?;
    let descriptor = frame.get(4).copied().unwrap_or_default();
    let single = descriptor & 0x20 != 0;
    if !frame.starts_with(&MAGIC) || descriptor & 0x0b != 0 {
        return Err(FrameError::NotAFrame);
    }
    if !single && number(from, frame, 1)? > MAX_WINDOW {
        return Err(FrameError::Window);
    }
    let (width, add) = match (descriptor >> 6, single) {
        (0, true) => (1, 0),
        (1, _) => (2, 256),
        (2, _) => (4, 0),
        (3, _) => (8, 0),
        _ => return Err(FrameError::Size),
    };
    let size = number(from, frame, width)?.saturating_add(add);
    if size == 0 || size > MAX_CONTENT as u64 {
        return Err(FrameError::Size);
    }
    blocks(from, frame)?;
    more(from, frame, if descriptor & 4 != 0 { 4 } else { 0 })?;
    Ok(Some(size as usize))
}

fn blocks(from: &mut impl BufRead, frame: &mut Vec<u8>) -> Result<(), FrameError> {
    loop {
        let head = number(from, frame, 3)?;
        let length = match (head >> 1) & 3 {
            0 | 2 => head >> 3,
            1 => 1,
            _ => return Err(FrameError::NotAFrame),
        };
        more(from, frame, length as usize)?;
        if head & 1 == 1 {
            return Ok(());
        }
    }
}

/// A little-endian number of up to eight bytes.
fn number(from: &mut impl BufRead, frame: &mut Vec<u8>, width: usize) -> Result<u64, FrameError> {
    let start = frame.len();
    more(from, frame, width)?;
    Ok(frame.iter().skip(start).rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn more(from: &mut impl BufRead, frame: &mut Vec<u8>, count: usize) -> Result<(), FrameError> {
    if frame.len() + count > MAX_FRAME {
        return Err(FrameError::Long);
    }
    let mut rest = count;
    while rest > 0 {
        let ready = match from.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            ready => ready.map_err(FrameError::Read)?,
        };
        let Some(piece) = ready.get(..rest.min(ready.len())).filter(|piece| !piece.is_empty()) else {
            return Err(FrameError::CutOff);
        };
        frame.extend_from_slice(piece);
        let got = piece.len();
        from.consume(got);
        rest -= got;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_size_are_cut_where_they_end() {
        let contents: Vec<Vec<u8>> =
            [1u64, 200, 300, 70_000, 1 << 20].map(|size| (0..size).map(|at| (at * at / 7) as u8).collect()).into();
        let mut stream = Vec::new();
        for content in &contents {
            stream.extend(zstd::bulk::compress(content, 3).unwrap());
        }
        let (mut from, mut frame) = (stream.as_slice(), Vec::new());
        for content in &contents {
            assert_eq!(next(&mut from, &mut frame).unwrap(), Some(content.len()));
            assert_eq!(&zstd::bulk::decompress(&frame, content.len()).unwrap(), content);
        }
        assert_eq!(next(&mut from, &mut frame).unwrap(), None);
    }

    #[test]
    fn what_we_never_write_is_refused_before_it_is_decompressed() {
        let verdict = |bytes: &[u8]| next(&mut &bytes[..], &mut Vec::new()).map_err(|error| error.to_string());
        let empty = zstd::bulk::compress(&[], 3).unwrap();
        let streamed = zstd::stream::encode_all(&[7u8; 100][..], 3).unwrap();
        let huge = zstd::bulk::compress(&vec![0; MAX_CONTENT + 1], 3).unwrap();
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
        for (name, bytes) in [("empty", &empty), ("of unknown size", &streamed), ("huge", &huge)] {
            assert!(verdict(bytes).unwrap_err().contains("size"), "{name}");
        }
        assert!(verdict(&skippable).unwrap_err().contains("not a release"));
        assert!(verdict(b"PK\x03\x04zip").unwrap_err().contains("not a release"));
        assert!(verdict(&huge[..40]).is_err());
        let good = zstd::bulk::compress(&[7; 100], 3).unwrap();
        assert_eq!(verdict(&good), Ok(Some(100)));
        assert_eq!(verdict(&good[..good.len() - 1]), Err("it ends in the middle".into()));
    }
}
