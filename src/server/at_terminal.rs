//! Verbs that were not made for a terminal, said at one (`ssh -t`): the client's terminal is raw then, so that lines need
//! their carriage returns, and Ctrl-C is a byte like any other.

use crate::ssh::{ChannelReader, Seat};
use tokio::io::AsyncReadExt;

/// Ctrl-C.
const INTERRUPT: u8 = 3;

/// Where text goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lines {
    /// To a pipe.
    Plain,
    /// To a raw terminal.
    Returned,
}

impl Lines {
    pub fn at(seat: Option<&Seat>) -> Self {
        if seat.is_some() { Lines::Returned } else { Lines::Plain }
    }

    pub fn of(self, text: &str) -> Vec<u8> {
        match self {
            Lines::Plain => text.as_bytes().to_vec(),
            Lines::Returned => text.replace('\n', "\r\n").into_bytes(),
        }
    }
}

/// Returns when Ctrl-C was typed; what else is typed is nobody's.
pub async fn interrupted(keys: Option<ChannelReader>) {
    let Some(mut keys) = keys else { return std::future::pending().await };
    let mut piece = [0; 256];
    loop {
        match keys.read(&mut piece).await {
            Ok(0) | Err(_) => std::future::pending().await,
            Ok(count) if piece.iter().take(count).any(|byte| *byte == INTERRUPT) => return,
            Ok(_) => {}
        }
    }
}
