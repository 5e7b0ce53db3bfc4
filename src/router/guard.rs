//! Stands between the socket and hyper: hyper is handed whole heads that [`super::strict`] found good, and bodies that end
//! where they say. A refused head is replaced by a stand-in that the service answers with the reason. Also where slow
//! clients lose: see [`Patience`]. What a good request is, is decided in `strict` and `chunks`.

use super::chunks::Chunks;
use super::front::{Front, REFUSED_METHOD};
use super::patience::Patience;
use super::strict::{self, Follows, HEAD_MAX, Refusal};
use bytes::{Buf, BytesMut};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const READ_SIZE: usize = 16 * 1024;
/// How much of what a client still sends after an early answer is read away, so that it gets to read the answer.
const LINGER_BYTES: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(2);
const BODY_TIME: Duration = Duration::from_secs(20);
const WRITE_TIME: Duration = Duration::from_secs(60);

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// To the first byte of the first request, and from the first to the last byte of any head.
    pub header: Duration,
    /// Between requests.
    pub idle: Duration,
}

/// What the next bytes of the socket are.
enum Part {
    Head,
    Body {
        left: u64,
    },
    Chunked(Chunks),
    /// After a request to upgrade: known once the service answered request number `turn`.
    Undecided {
        turn: u64,
    },
    Tunnel,
    Refused,
}

/// What the client is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Nothing,
    FirstByte,
    NextRequest,
    RestOfHead,
    Body,
}

pub struct Guard<S> {
    inner: S,
    front: Arc<Front>,
    times: Times,
    part: Part,
    /// Bytes from the socket; the first `judged` of them may go to hyper.
    pending: BytesMut,
    judged: usize,
    scanned: usize,
    heads: u64,
    ended: bool,
    wait: Wait,
    reading: Patience,
    writing: Patience,
    linger: usize,
}

impl<S> Guard<S> {
    pub fn new(inner: S, front: Arc<Front>, times: Times) -> Self {
        Self {
            inner,
            front,
            times,
            part: Part::Head,
            pending: BytesMut::new(),
            judged: 0,
            scanned: 0,
            heads: 0,
            ended: false,
            wait: Wait::Nothing,
            reading: Patience::new(times.header),
            writing: Patience::new(WRITE_TIME),
            linger: LINGER_BYTES,
        }
    }

    /// Judges what lies in `pending`, as far as it goes.
    fn judge(&mut self, cx: &Context<'_>) -> io::Result<()> {
        match &mut self.part {
            Part::Undecided { turn } if self.front.is_settled(*turn, cx.waker()) => {
                self.part = if self.front.is_tunnel() { Part::Tunnel } else { Part::Head };
                self.judge(cx)?;
            }
            Part::Undecided { .. } => {}
            Part::Head => self.judge_head(),
            Part::Body { left } => {
                self.judged = usize::try_from(*left).unwrap_or(usize::MAX).min(self.pending.len());
                self.spend_body(self.judged);
            }
            Part::Chunked(chunks) => {
                self.judged = chunks.feed(&self.pending).map_err(|refusal| {
                    self.front.refuse(refusal);
                    io::Error::new(io::ErrorKind::InvalidData, refusal)
                })?;
                if chunks.done() {
                    self.next_head();
                }
            }
            Part::Tunnel => self.judged = self.pending.len(),
            Part::Refused => self.pending.clear(),
        }
        Ok(())
    }

    fn judge_head(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let Some(end) = strict::head_end(&self.pending, self.scanned) else {
            self.scanned = self.pending.len();
            if self.scanned > HEAD_MAX {
                self.refuse(Refusal::TooLarge);
            }
            return;
        };
        self.heads += 1;
        self.wait = Wait::Nothing;
        match strict::judge(self.pending.get(..end).unwrap_or_default()) {
            Ok(follows) => {
                self.judged = end;
                self.scanned = 0;
                self.part = match follows {
                    Follows::Head => Part::Head,
                    Follows::Body(left) => Part::Body { left },
                    Follows::Chunked => Part::Chunked(Chunks::new()),
                    Follows::Upgrade => Part::Undecided { turn: self.heads },
                };
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.front.refuse(refusal);
        self.part = Part::Refused;
        self.pending.clear();
        let stand_in = format!("{REFUSED_METHOD} / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n");
        self.pending.extend_from_slice(stand_in.as_bytes());
        self.judged = self.pending.len();
    }

    fn spend_body(&mut self, bytes: usize) {
        if let Part::Body { left } = &mut self.part {
            *left = left.saturating_sub(bytes as u64);
            if *left == 0 {
                self.next_head();
            }
        }
    }

    fn next_head(&mut self) {
        self.part = Part::Head;
        self.scanned = 0;
        self.wait = Wait::Nothing;
    }

    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let size = self.judged.min(buf.remaining());
        buf.put_slice(self.pending.get(..size).unwrap_or_default());
        self.pending.advance(size);
        self.judged -= size;
    }

    /// How many bytes may go from the socket to hyper unseen.
    fn unseen(&self) -> usize {
        match &self.part {
            _ if !self.pending.is_empty() => 0,
            Part::Body { left } => usize::try_from(*left).unwrap_or(usize::MAX),
            Part::Tunnel => usize::MAX,
            _ => 0,
        }
    }

    /// Whose turn it is, and a fresh allowance when that changed.
    fn waits_for(&self) -> Wait {
        let answering = self.front.finished() < self.heads;
        match &self.part {
            Part::Body { .. } | Part::Chunked(_) => Wait::Body,
            Part::Head if answering => Wait::Nothing,
            Part::Head if !self.pending.is_empty() => Wait::RestOfHead,
            Part::Head if self.heads == 0 => Wait::FirstByte,
            Part::Head => Wait::NextRequest,
            Part::Undecided { .. } | Part::Tunnel | Part::Refused => Wait::Nothing,
        }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // First ask to be told, then look: the end of an answer may come in between.
        self.front.wake_at_next_end(cx.waker());
        let wait = self.waits_for();
        if wait != self.wait {
            self.wait = wait;
            self.reading.renew(match wait {
                Wait::NextRequest => self.times.idle,
                Wait::Body => BODY_TIME,
                Wait::Nothing | Wait::FirstByte | Wait::RestOfHead => self.times.header,
            });
        }
        if wait == Wait::Nothing {
            self.reading.pause();
            return Poll::Pending;
        }
        self.reading.poll_expired(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Straight from the socket to hyper: only where whatever fits is part of the body.
    fn poll_direct(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Pending => return self.poll_patience(cx),
            Poll::Ready(result) => result?,
        }
        let size = buf.filled().len() - before;
        self.reading.moved(size);
        self.ended = size == 0;
        self.spend_body(size);
        Poll::Ready(Ok(()))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.part, Part::Undecided { .. }) && self.pending.len() >= HEAD_MAX {
            return Poll::Pending;
        }
        let before = self.pending.len();
        let read = tokio_read_buf(Pin::new(&mut self.inner), cx, &mut self.pending);
        if read.is_pending() {
            return self.poll_patience(cx);
        }
        ready!(read)?;
        let size = self.pending.len() - before;
        self.reading.moved(size);
        self.ended = size == 0;
        Poll::Ready(Ok(()))
    }

    /// After our FIN: reads away what the client still sends, for a moment, because closing a socket with unread bytes
    /// would take the answer away from it.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0u8; 4096];
        while self.linger > 0 {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.linger = self.linger.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.reading.poll_expired(cx),
            }
        }
        Poll::Ready(())
    }
}

fn tokio_read_buf<S: AsyncRead>(inner: Pin<&mut S>, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<()>> {
    let old = into.len();
    into.resize(old + READ_SIZE, 0);
    let mut buf = ReadBuf::new(into.get_mut(old..).unwrap_or_default());
    let result = inner.poll_read(cx, &mut buf);
    let size = if matches!(result, Poll::Ready(Ok(()))) { buf.filled().len() } else { 0 };
    into.truncate(old + size);
    result
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.judged == 0 {
                this.judge(cx)?;
            }
            if this.judged > 0 {
                this.hand_over(buf);
                return Poll::Ready(Ok(()));
            }
            if this.ended {
                // A client that hangs up early still gets the answer to what it sent wrong.
                return if matches!(this.part, Part::Refused) { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
            if this.unseen() >= buf.remaining() {
                return this.poll_direct(cx, buf);
            }
            ready!(this.poll_fill(cx))?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    fn paced(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(size)) => {
                self.writing.moved(size);
                Poll::Ready(Ok(size))
            }
            Poll::Pending => self.writing.poll_expired(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            error => error,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.paced(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, bytes);
        this.paced(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        let unread = matches!(this.part, Part::Refused | Part::Body { .. } | Part::Chunked(_));
        if !unread || this.ended {
            return Poll::Ready(Ok(()));
        }
        if this.linger == LINGER_BYTES {
            this.linger -= 1;
            this.reading.renew(LINGER_TIME);
        }
        this.poll_linger(cx).map(Ok)
    }
}
