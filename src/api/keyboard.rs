//! What somebody types at a terminal, as it crosses the control socket: keys and changes of the window, in order. Pure.

use crate::model::Window;
use serde::{Deserialize, Serialize};

/// More keys at once than anybody types, or pastes into one read.
const KEYS_MAX: usize = 1 << 20;

/// A terminal, as the call that begins at it names it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TerminalWords {
    /// `$TERM`.
    pub name: String,
    pub columns: u16,
    pub rows: u16,
}

/// One thing that happens at a terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Typed {
    Keys(Vec<u8>),
    Window(Window),
}

/// One line; after `keys` come so many bytes that are no line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Keys(usize),
    Window(u16, u16),
}

impl Typed {
    pub fn line(self) -> Vec<u8> {
        let (line, follows) = match self {
            Typed::Keys(keys) => (Line::Keys(keys.len()), keys),
            Typed::Window(Window { columns, rows }) => (Line::Window(columns, rows), Vec::new()),
        };
        let mut wire = serde_json::to_vec(&line).unwrap_or_default();
        wire.push(b'\n');
        wire.extend_from_slice(&follows);
        wire
    }

    /// Takes the next whole thing from what has come so far; lines that nobody understands are passed over.
    pub fn take(pending: &mut Vec<u8>) -> Option<Typed> {
        loop {
            let end = pending.iter().position(|byte| *byte == b'\n')? + 1;
            let typed = match serde_json::from_slice(pending.get(..end).unwrap_or_default()) {
                Ok(Line::Keys(length)) if length <= KEYS_MAX => {
                    let keys = pending.get(end..end + length)?.to_vec();
                    pending.drain(..end + length);
                    return Some(Typed::Keys(keys));
                }
                Ok(Line::Window(columns, rows)) => Some(Typed::Window(Window { columns, rows })),
                Ok(Line::Keys(_)) | Err(_) => None,
            };
            pending.drain(..end);
            if typed.is_some() {
                return typed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_comes_out_as_it_went_in_however_it_is_cut() {
        let typed = [
            Typed::Keys(b"ls\r\n{\"keys\":9}\n".to_vec()),
            Typed::Window(Window { columns: 80, rows: 24 }),
            Typed::Keys(vec![3]),
        ];
        let wire: Vec<u8> = typed.iter().flat_map(|one| one.clone().line()).collect();
        let (mut pending, mut seen) = (Vec::new(), Vec::new());
        for byte in wire {
            pending.push(byte);
            seen.extend(Typed::take(&mut pending));
        }
        assert_eq!(seen, typed);
        let mut odd = b"{\"mouse\":1}\n{\"keys\":99999999999}\n{\"window\":[1,2]}\n".to_vec();
        assert_eq!(Typed::take(&mut odd), Some(Typed::Window(Window { columns: 1, rows: 2 })));
    }
}
