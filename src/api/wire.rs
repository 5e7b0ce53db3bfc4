//! The serialised shapes of the control API. Keys are only ever added.

use super::keyboard::TerminalWords;
use crate::verbs::Invocation;
use serde::{Deserialize, Serialize};

/// A verb as it crosses the socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    #[serde(flatten)]
    pub invocation: Invocation,
    /// What was piped into the client.
    #[serde(default)]
    pub input: String,
    /// The terminal at which the client sits, when what follows is what is typed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<TerminalWords>,
}

/// One piece of the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Text for standard output.
    Out(String),
    /// Text for standard error.
    Err(String),
    /// Bytes for standard output, as they are.
    Raw(Vec<u8>),
    /// Bytes for standard error, as they are.
    RawErr(Vec<u8>),
    /// The end: the exit code.
    Exit(u8),
}

/// One line of the answer; after `raw` and `rawerr` come so many bytes that are no line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Out(String),
    Err(String),
    Raw(usize),
    RawErr(usize),
    Exit(u8),
}

impl Frame {
    /// As one line of JSON, with what follows it.
    pub fn line(self) -> Vec<u8> {
        let (line, follows) = match self {
            Frame::Out(text) => (Line::Out(text), Vec::new()),
            Frame::Err(text) => (Line::Err(text), Vec::new()),
            Frame::Raw(bytes) => (Line::Raw(bytes.len()), bytes),
            Frame::RawErr(bytes) => (Line::RawErr(bytes.len()), bytes),
            Frame::Exit(code) => (Line::Exit(code), Vec::new()),
        };
        let mut wire = serde_json::to_vec(&line).unwrap_or_default();
        wire.push(b'\n');
        wire.extend_from_slice(&follows);
        wire
    }

    /// Takes the next whole frame from what has come so far; lines that nobody understands are passed over.
    pub fn take(pending: &mut Vec<u8>) -> Option<Frame> {
        loop {
            let end = pending.iter().position(|byte| *byte == b'\n')? + 1;
            let frame = match serde_json::from_slice(pending.get(..end).unwrap_or_default()) {
                Ok(Line::Raw(length)) => return take_bytes(pending, (end, length)).map(Frame::Raw),
                Ok(Line::RawErr(length)) => return take_bytes(pending, (end, length)).map(Frame::RawErr),
                Ok(Line::Out(text)) => Some(Frame::Out(text)),
                Ok(Line::Err(text)) => Some(Frame::Err(text)),
                Ok(Line::Exit(code)) => Some(Frame::Exit(code)),
                Err(_) => None,
            };
            pending.drain(..end);
            if frame.is_some() {
                return frame;
            }
        }
    }
}

/// The bytes after a line that ends here, when all of them are there; takes both away then.
fn take_bytes(pending: &mut Vec<u8>, (end, length): (usize, usize)) -> Option<Vec<u8>> {
    let bytes = pending.get(end..end.checked_add(length)?)?.to_vec();
    pending.drain(..end + length);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let frames = [
            Frame::Err("a\n".into()),
            Frame::Raw(b"\n{\"exit\":3}\n\xff".to_vec()),
            Frame::RawErr(vec![0xfe]),
            Frame::Out("ü".into()),
            Frame::Exit(1),
        ];
        let wire: Vec<u8> = frames.iter().flat_map(|frame| frame.clone().line()).collect();
        let (mut pending, mut seen) = (Vec::new(), Vec::new());
        for byte in wire {
            pending.push(byte);
            seen.extend(Frame::take(&mut pending));
        }
        assert_eq!(seen, frames);
        let mut newer = b"{\"picture\":1}\n{\"exit\":0}\n".to_vec();
        assert_eq!(Frame::take(&mut newer), Some(Frame::Exit(0)));
    }
}
