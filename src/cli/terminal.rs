//! The terminal at which somebody types a verb: what they type, and how large it is, as the server takes it.

use super::client::PIECE;
use crate::api::keyboard::{TerminalWords, Typed};
use crate::model::Failure;
use crate::system::terminal::{self, Raw};
use bytes::Bytes;
use std::io::{IsTerminal, stdin, stdout};
use std::os::fd::AsFd;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Things typed that wait for the server.
const WAITING: usize = 16;

/// Raw while it lives.
pub struct Seat {
    pub words: TerminalWords,
    _raw: Raw,
}

impl Seat {
    /// `None` unless both input and output are a terminal.
    ///
    /// # Errors
    /// When the terminal cannot be made raw.
    pub fn take(name: Option<String>) -> Result<Option<Self>, Failure> {
        if !(stdin().is_terminal() && stdout().is_terminal()) {
            return Ok(None);
        }
        let window = terminal::window(stdin().as_fd()).unwrap_or_default();
        let words = TerminalWords { name: name.unwrap_or_default(), columns: window.columns, rows: window.rows };
        let raw = Raw::of(stdin().as_fd()).map_err(|error| Failure::internal("take the terminal", &error))?;
        Ok(Some(Self { words, _raw: raw }))
    }
}

/// What is typed and what becomes of the window, as lines of the wire. For a runtime that ends with the verb.
pub fn typed() -> mpsc::Receiver<Bytes> {
    let (sender, lines) = mpsc::channel(WAITING);
    tokio::spawn(windows(sender.clone()));
    tokio::spawn(async move {
        let (mut keys, mut piece) = (tokio::io::stdin(), vec![0; PIECE]);
        while let Ok(count @ 1..) = keys.read(&mut piece).await {
            let typed = Typed::Keys(piece.get(..count).unwrap_or_default().to_vec());
            if sender.send(typed.line().into()).await.is_err() {
                return;
            }
        }
    });
    lines
}

async fn windows(sender: mpsc::Sender<Bytes>) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    while changes.recv().await.is_some() {
        let Some(window) = terminal::window(stdin().as_fd()) else { continue };
        if sender.send(Typed::Window(window).line().into()).await.is_err() {
            return;
        }
    }
}
