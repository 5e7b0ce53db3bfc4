//! Talking with a program: what is typed goes in, what it writes comes out, until it ends, or nobody listens any more.
//! What is run, and who may, is decided by the verb.

use super::{Input, NobodyListens, Talk, Told};
use crate::model::Exit;
use crate::model::Window;
use crate::sandbox::{Attached, Cancel, Stream};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};

/// How long output is still taken after everything that could write it was killed.
const DRAIN: Duration = Duration::from_secs(1);
/// Ctrl-D: at a terminal the end of the input is a key.
const END_OF_INPUT: u8 = 4;

/// What has to be heard during a conversation.
pub(super) struct Ears<'a> {
    pub(super) talk: &'a Talk,
    /// The server, or the project, is coming to its end.
    pub(super) cancel: &'a Cancel,
    /// What a program has between being asked to end and being killed.
    pub(super) grace: Duration,
}

/// Talks until the end; nothing of the program is left then.
pub(super) async fn converse(mut attached: Attached, input: Input, ears: &Ears<'_>) -> Exit {
    let (bytes, terminal) = input.take();
    let mut windows = terminal.as_ref().map(|terminal| terminal.window.clone());
    let typing = attached.take_input().map(|to| tokio::spawn(type_in(bytes, to, terminal.is_some())));
    let mut output = attached.take_output();
    let mut open = true;
    let exit = loop {
        tokio::select! {
            piece = output.recv(), if open => match piece {
                None => open = false,
                Some(piece) => if pass_on(piece, ears).await.is_err() { break None },
            },
            exit = attached.wait() => break Some(exit),
            window = next(&mut windows) => attached.resize(window),
            () = ears.talk.0.closed() => break None,
            () = ears.cancel.cancelled() => break None,
        }
    };
    if let Some(typing) = typing {
        typing.abort();
    }
    let exit = match exit {
        Some(exit) => {
            attached.kill_all();
            while let Ok(Some(piece)) = tokio::time::timeout(DRAIN, output.recv()).await {
                if pass_on(piece, ears).await.is_err() {
                    break;
                }
            }
            exit
        }
        None => {
            // Who writes to nobody is told so by the pipe.
            drop(output);
            attached.hang_up(ears.grace).await
        }
    };
    attached.finish().await;
    exit
}

async fn pass_on((stream, bytes): (Stream, Vec<u8>), ears: &Ears<'_>) -> Result<(), NobodyListens> {
    let told = match stream {
        Stream::Out => Told::Raw(bytes),
        Stream::Err => Told::RawErr(bytes),
    };
    tokio::select! {
        sent = ears.talk.0.send(told) => sent.map_err(|_| NobodyListens),
        () = ears.cancel.cancelled() => Err(NobodyListens),
    }
}

/// For ever, where there is no terminal, or its window stays as it is.
async fn next(windows: &mut Option<watch::Receiver<Window>>) -> Window {
    if let Some(window) = windows
        && window.changed().await.is_ok()
    {
        return *window.borrow_and_update();
    }
    std::future::pending().await
}

/// Ends with the input, or with the program that reads it.
async fn type_in(mut from: Box<dyn AsyncRead + Send + Unpin>, mut to: pipe::Sender, at_terminal: bool) {
    let all = tokio::io::copy(&mut from, &mut to).await;
    if at_terminal && all.is_ok() {
        // A program that has ended reads no more.
        let _ = to.write_all(&[END_OF_INPUT]).await;
    }
}

/// Sends text to whoever listens, in the stream for talk.
pub(super) async fn say(talk: &mpsc::Sender<Told>, text: &str) {
    // Who does not listen has the exit code.
    let _ = talk.send(Told::Err(format!("{text}\n").into_bytes())).await;
}
