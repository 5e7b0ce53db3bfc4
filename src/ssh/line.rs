//! A client's TCP connection as russh reads and writes it: every read acknowledges at once (a push is many small
//! round trips, and delayed acknowledgements cost more than the whole session), and the read side alone tells how the
//! connection ended.

use nix::sys::socket::Shutdown;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes read at a time: two packets of bulk data.
const BUFFER: usize = 64 << 10;

/// The stream given to russh.
pub(super) struct Line {
    socket: Arc<TcpStream>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// We have said goodbye: however the client hangs up now, it is the end and not an error.
    closing: bool,
}

/// Ends the connection for both sides when dropped, whatever still holds the stream.
pub(super) struct HangUp(pub(super) Arc<TcpStream>);

impl Drop for HangUp {
    fn drop(&mut self) {
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

impl Line {
    pub(super) fn new(socket: Arc<TcpStream>) -> Self {
        // A socket that is already dead says so at the first read.
        let _ = socket.set_nodelay(true);
        Self { socket, buffer: Vec::new(), start: 0, end: 0, closing: false }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER];
        }
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_read(&mut self.buffer) {
                Ok(count) => {
                    let _ = self.socket.set_quickack(true);
                    (self.start, self.end) = (0, count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) if self.closing => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.start == self.end {
            ready!(self.poll_fill(cx))?;
        }
        let count = (self.end - self.start).min(out.remaining());
        out.put_slice(self.buffer.get(self.start..self.start + count).unwrap_or_default());
        self.start += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    /// What cannot be delivered because the client hung up is thrown away: its last words, which say whether it
    /// meant to, are still to be read.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            match self.socket.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if hung_up(&error) => return Poll::Ready(Ok(bytes.len())),
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closing = true;
        let _ = shutdown(&self.socket, Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}

fn hung_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn shutdown(socket: &TcpStream, how: Shutdown) -> nix::Result<()> {
    nix::sys::socket::shutdown(socket.as_raw_fd(), how)
}
