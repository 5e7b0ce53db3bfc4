//! Open descriptors on their way from one process to another, over a unix socket. One byte carries them, so that both
//! sides know where in the stream they are.

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// At most so many at a time.
pub const MOST: usize = 16;

/// Sends one byte and these with it.
pub fn send(socket: impl AsFd, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let carried: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_fd().as_raw_fd(), &[IoSlice::new(&[0])], carried, flags, None)?;
    Ok(())
}

/// Takes one byte and what came with it. Nothing of it is inherited by programs that this process starts.
pub fn receive(socket: impl AsFd) -> io::Result<Vec<OwnedFd>> {
    let mut byte = [0];
    let mut space = cmsg_space!([RawFd; MOST]);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut taken = Vec::new();
    for carried in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = carried {
            // SAFETY: the kernel made these descriptors for this process just now, and nobody else owns them.
            taken.extend(raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    match message.bytes {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(taken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_listening_socket_arrives_open_and_the_stream_goes_on() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        ours.write_all(b"before").unwrap();
        send(&ours, &[listener.as_fd()]).unwrap();
        ours.write_all(b"after").unwrap();
        drop(listener);
        let mut before = [0; 6];
        theirs.read_exact(&mut before).unwrap();
        let taken = receive(&theirs).unwrap();
        let listener = TcpListener::from(taken.into_iter().next().unwrap());
        TcpStream::connect(address).unwrap();
        assert!(listener.accept().is_ok());
        let mut after = [0; 5];
        theirs.read_exact(&mut after).unwrap();
        assert_eq!((&before, &after), (b"before", b"after"));
    }

    #[test]
    fn an_end_of_the_stream_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(ours);
        assert_eq!(receive(&theirs).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
