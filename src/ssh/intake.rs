//! One task per channel that takes everything the client sends, always: russh's connection stands still, output
//! included, as soon as one channel's input is not taken. Memory first; when that is full, a reader that makes
//! progress is waited for (so a slow index-pack slows the push down), and input that nobody reads goes to a
//! [`Spill`]. The same task sees the client leave.

use super::channel::Departure;
use super::spill::Spill;
use bytes::{Buf, Bytes};
use russh::{ChannelMsg, ChannelReadHalf};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::sync::{Notify, watch};

/// Bytes of one channel in memory.
const ROOM: usize = 8 << 20;
/// With this many bytes left, more are welcome.
const LOW: usize = ROOM - (1 << 20);
/// How long the whole connection may wait for a reader before its input is put aside.
const PATIENCE: Duration = Duration::from_millis(100);

/// Bytes between the task and the reader.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    drained: Notify,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Bytes>,
    held: usize,
    end: Option<End>,
    reader: Option<Waker>,
    abandoned: bool,
}

/// What comes after the last byte.
#[derive(Clone, Copy)]
enum End {
    Eof,
    /// The client left without it, or its input could not be kept.
    Broken,
}

impl Queue {
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        let before = buffer.filled().len();
        while buffer.remaining() > 0 {
            let Some(chunk) = state.chunks.front_mut() else { break };
            let count = chunk.len().min(buffer.remaining());
            buffer.put_slice(chunk.get(..count).unwrap_or_default());
            chunk.advance(count);
            if chunk.is_empty() {
                state.chunks.pop_front();
            }
            state.held -= count;
        }
        if state.held <= LOW {
            self.drained.notify_one();
        }
        if buffer.filled().len() > before || buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        match state.end {
            Some(End::Eof) => Poll::Ready(Ok(())),
            Some(End::Broken) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Nobody will read any more.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        state.chunks.clear();
        state.held = 0;
        self.drained.notify_one();
    }

    fn push(&self, bytes: Bytes) {
        let mut state = self.lock();
        if state.abandoned || bytes.is_empty() {
            return;
        }
        state.held += bytes.len();
        state.chunks.push_back(bytes);
        wake(state);
    }

    /// The first end is the one that counts.
    fn end(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        wake(state);
    }

    fn is_full(&self) -> bool {
        self.lock().held >= ROOM
    }

    fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    async fn low(&self) {
        while self.lock().held > LOW {
            self.drained.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// The task's own things.
pub(super) struct Intake {
    client: ChannelReadHalf,
    queue: Arc<Queue>,
    spill: Spill,
    input: Input,
}

/// What the client's input is up to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    Ended,
    /// Could not be kept; the reader has been told.
    Failed,
}

impl Intake {
    /// `directory` is where input goes that does not fit into memory.
    pub(super) fn new(client: ChannelReadHalf, queue: Arc<Queue>, directory: PathBuf) -> Self {
        Self { client, queue, spill: Spill::new(directory), input: Input::Open }
    }

    /// Runs until the client has left, and announces how. `connection` says how the whole connection ended.
    pub(super) async fn run(
        mut self,
        news: watch::Sender<Option<Departure>>,
        mut connection: watch::Receiver<Option<Departure>>,
    ) {
        let departure = match self.until_close().await {
            Some(departure) => departure,
            None => match connection.wait_for(Option::is_some).await {
                Ok(departure) => departure.unwrap_or(Departure::Lost),
                Err(_) => Departure::Lost,
            },
        };
        news.send_replace(Some(departure));
        self.queue.end(End::Broken);
    }

    /// `None`: the connection is over.
    async fn until_close(&mut self) -> Option<Departure> {
        loop {
            if self.input == Input::Ended && self.spill.is_empty() {
                self.queue.end(End::Eof);
            }
            tokio::select! {
                message = self.client.wait(), if !self.spill.is_full() => match message? {
                    ChannelMsg::Data { data } => self.take(data).await,
                    ChannelMsg::Eof if self.input == Input::Open => self.input = Input::Ended,
                    ChannelMsg::Close => return Some(Departure::Closed),
                    _ => {}
                },
                () = self.queue.low(), if !self.spill.is_empty() => self.refill().await,
            }
        }
    }

    async fn take(&mut self, data: Bytes) {
        if self.queue.is_abandoned() {
            return self.spill.clear();
        }
        if self.input != Input::Open {
            return;
        }
        if self.spill.is_empty() {
            if self.queue.is_full() {
                // Either outcome is fine: room, or the spill below.
                let _ = tokio::time::timeout(PATIENCE, self.queue.low()).await;
            }
            if !self.queue.is_full() {
                return self.queue.push(data);
            }
        }
        if let Err(error) = self.spill.push(&data).await {
            self.fail(&error);
        }
    }

    async fn refill(&mut self) {
        match self.spill.pop().await {
            Ok(bytes) => self.queue.push(bytes.into()),
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &io::Error) {
        tracing::error!("ssh: input of a channel could not be put aside: {error}");
        self.input = Input::Failed;
        self.spill.clear();
        self.queue.end(End::Broken);
    }
}
