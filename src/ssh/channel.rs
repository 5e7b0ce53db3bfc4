//! The two-way stream of one exec, as its server sees it: three streams and the news that the client left. How the
//! bytes get there is in `intake` and `outlet`.

use super::intake::Queue;
use super::outlet::Out;
use crate::model::Window;
use bytes::Bytes;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::sync::{mpsc, watch};

/// Most bytes of one write that travel as one piece.
const PIECE: usize = 64 << 10;

/// The two-way stream of one exec.
pub struct Channel {
    pub stdin: ChannelReader,
    pub stdout: ChannelWriter,
    pub stderr: ChannelWriter,
    pub gone: Gone,
    /// The terminal at which the client sits, when it asked for one: lines need carriage returns then.
    pub terminal: Option<Seat>,
    /// The client's address.
    pub peer: SocketAddr,
}

/// A client's terminal.
pub struct Seat {
    /// `$TERM`, as the client says it.
    pub name: String,
    /// How large it is, and becomes.
    pub window: watch::Receiver<Window>,
}

/// How a client left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Departure {
    /// It closed the channel or the connection: Ctrl-C, a killed client.
    Closed,
    /// Silence until the keepalives gave up, or an error: a dead connection.
    Lost,
}

/// News of the client's departure; cheap to clone.
#[derive(Clone)]
pub struct Gone(watch::Receiver<Option<Departure>>);

impl Gone {
    pub(super) fn new(news: watch::Receiver<Option<Departure>>) -> Self {
        Self(news)
    }

    /// Waits until the client has left. The end of its input is not a departure.
    pub async fn wait(&self) -> Departure {
        let mut news = self.0.clone();
        let seen = news.wait_for(Option::is_some).await;
        seen.ok().and_then(|departure| *departure).unwrap_or(Departure::Lost)
    }

    /// How the client left, if it has.
    pub fn now(&self) -> Option<Departure> {
        *self.0.borrow()
    }
}

/// What the client sends. Ends with its end of input; [`io::ErrorKind::ConnectionReset`] when it left before that.
/// Nobody needs to read it: what is not read is put aside, or thrown away once the reader is dropped.
pub struct ChannelReader(pub(super) Arc<Queue>);

impl AsyncRead for ChannelReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buffer)
    }
}

impl Drop for ChannelReader {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// One way to the client. Clones share it. Waits while the client reads slowly; [`io::ErrorKind::BrokenPipe`] once it
/// has left or the exec has ended. Flush and shutdown have nothing to do: order is kept, and the exec's end closes.
pub struct ChannelWriter {
    wrap: fn(Bytes) -> Out,
    queue: mpsc::Sender<Out>,
    waiting: Option<Pin<Box<Waiting>>>,
}

type Waiting = dyn Future<Output = Result<mpsc::OwnedPermit<Out>, SendError<()>>> + Send + Sync;

impl ChannelWriter {
    pub(super) fn new(queue: mpsc::Sender<Out>, wrap: fn(Bytes) -> Out) -> Self {
        Self { wrap, queue, waiting: None }
    }

    /// Sends bytes without copying them.
    pub async fn send(&self, bytes: Bytes) -> io::Result<()> {
        self.queue.send((self.wrap)(bytes)).await.map_err(|_| broken())
    }

    fn poll_permit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<mpsc::OwnedPermit<Out>>> {
        if self.waiting.is_none() {
            match self.queue.clone().try_reserve_owned() {
                Ok(permit) => return Poll::Ready(Ok(permit)),
                Err(TrySendError::Closed(_)) => return Poll::Ready(Err(broken())),
                Err(TrySendError::Full(queue)) => self.waiting = Some(Box::pin(queue.reserve_owned())),
            }
        }
        let Some(waiting) = self.waiting.as_mut() else { return Poll::Pending };
        let permit = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(permit.map_err(|_| broken()))
    }
}

impl Clone for ChannelWriter {
    fn clone(&self) -> Self {
        Self::new(self.queue.clone(), self.wrap)
    }
}

impl AsyncWrite for ChannelWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        if !piece.is_empty() {
            let permit = ready!(self.poll_permit(cx))?;
            permit.send((self.wrap)(Bytes::copy_from_slice(piece)));
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the ssh client is gone")
}
