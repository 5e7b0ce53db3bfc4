//! The PROXY protocol, versions 1 and 2: the header with which a trusted proxy says whose connection this is. Looks at
//! the socket without taking anything, then takes exactly the header. What may send one is `settings`'.

use ppp::{PartialResult, v1, v2};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const LINE: &[u8] = b"PROXY ";
/// Longest header of version 1.
const LINE_MAX: usize = 107;
/// How version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longer headers carry things that nobody here reads.
const LARGEST: usize = 2 * 1024;
/// Between two looks at a header that has not arrived whole, which hardly ever happens.
const AGAIN: Duration = Duration::from_millis(5);

/// A whole header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Header {
    length: usize,
    /// `None`: the proxy speaks for itself.
    source: Option<SocketAddr>,
}

/// Takes the header off the stream. `None`: the peer of the socket is meant.
pub async fn accept(stream: &mut TcpStream, patience: Duration) -> io::Result<Option<SocketAddr>> {
    let read = tokio::time::timeout(patience, look(stream));
    let header = read.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let mut taken = vec![0; header.length];
    stream.read_exact(&mut taken).await?;
    Ok(header.source)
}

async fn look(stream: &TcpStream) -> io::Result<Header> {
    let mut seen = [0; LARGEST];
    loop {
        let size = stream.peek(&mut seen).await?;
        if let Some(header) = parse(seen.get(..size).unwrap_or_default())? {
            return Ok(header);
        }
        if size == 0 || size == LARGEST {
            return Err(malformed());
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// `None`: not whole yet. That of a line is decided here: the parser takes half an address for a bad one.
fn parse(bytes: &[u8]) -> io::Result<Option<Header>> {
    if begins(bytes, LINE) {
        let line = bytes.windows(2).take(LINE_MAX).position(|end| end == b"\r\n").and_then(|end| bytes.get(..end + 2));
        return match line.map(v1::Header::try_from) {
            Some(Ok(header)) => Ok(Some(Header { length: header.header.len(), source: source_v1(&header) })),
            None if bytes.len() < LINE_MAX => Ok(None),
            Some(Err(_)) | None => Err(malformed()),
        };
    }
    if !begins(bytes, SIGNATURE) {
        return Err(malformed());
    }
    match v2::Header::try_from(bytes) {
        Ok(header) => Ok(Some(Header { length: header.len(), source: source_v2(&header) })),
        Err(error) if error.is_incomplete() => Ok(None),
        Err(_) => Err(malformed()),
    }
}

/// As far as there are bytes.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(byte, expected)| byte == expected)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY header")
}

fn source_v1(header: &v1::Header<'_>) -> Option<SocketAddr> {
    match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
    }
}

fn source_v2(header: &v2::Header<'_>) -> Option<SocketAddr> {
    match (header.command, header.addresses) {
        (v2::Command::Local, _) | (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
        (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => Some((ip.source_address, ip.source_port).into()),
        (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => Some((ip.source_address, ip.source_port).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_taken_whole_and_nothing_after_it() {
        let line = "PROXY TCP4 192.0.2.7 10.0.0.1 4000 80\r\n";
        let expected = Header { length: line.len(), source: Some("192.0.2.7:4000".parse().unwrap()) };
        assert_eq!(parse(format!("{line}GET / HTTP/1.1\r\n").as_bytes()).unwrap(), Some(expected));
        for cut in 1..line.len() {
            assert_eq!(parse(&line.as_bytes()[..cut]).unwrap(), None, "{cut}");
        }
        let unknown = parse(b"PROXY UNKNOWN\r\n").unwrap().unwrap();
        assert_eq!(unknown, Header { length: 15, source: None });
    }

    #[test]
    fn version_two_is_understood() {
        let mut binary = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        binary.extend([0x21, 0x11, 0, 12, 192, 0, 2, 7, 10, 0, 0, 1, 0x0f, 0xa0, 0, 80]);
        let expected = Header { length: 28, source: Some("192.0.2.7:4000".parse().unwrap()) };
        assert_eq!(parse(&[binary.clone(), b"GET /".to_vec()].concat()).unwrap(), Some(expected));
        assert_eq!(parse(&binary[..20]).unwrap(), None);
        binary[12] = 0x20;
        assert_eq!(parse(&binary).unwrap().unwrap().source, None, "LOCAL is the proxy itself");
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 x 10.0.0.1 1 2\r\n", "PROXY TCP4 192.0.2.7\r\n", "\r\n\r\nx"]
        {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
