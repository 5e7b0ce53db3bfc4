//! The corpus of heads: what is taken, what is refused. The same heads go over real sockets in `tests.rs`.

use super::*;
use proptest::prelude::*;

/// Heads that no application may ever see. Each ends in an empty line of some kind.
pub const HOSTILE: &[&str] = &[
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test/b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x@a.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test:http\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a test\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET http://x@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET /a#b HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET /a\\b HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET /\tHTTP/1.1\r\nHost: a.test\r\n\r\n",
    " GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET /\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: a.test\r\n\r\n",
    "GET / HTTP/1.2\r\nHost: a.test\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: a.test\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\n",
    "GET / http/1.1\r\nHost: a.test\r\n\r\n",
    "G<T / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "COMMIS-REFUSED / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET / HTTP/1.1\nHost: a.test\n\n",
    "GET / HTTP/1.1\r\nHost: a.test\n\r\n",
    "GET / HTTP/1.1\nHost: a.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\rb\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\0b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\x1bb\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\n folded\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\n\tX: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost : a.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nX Y: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\n: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nno colon\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3, 3\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +3\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: -3\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0x3\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3 \x0b\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length:\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked;q=1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding : chunked\r\n\r\n",
    "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\n",
];

#[test]
fn every_hostile_head_is_refused() {
    for head in HOSTILE {
        let end = head_end(head.as_bytes(), 0).unwrap();
        assert!(judge(&head.as_bytes()[..end]).is_err(), "{head:?}");
    }
}

#[test]
fn ordinary_requests_are_taken() {
    for (head, follows) in [
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", Follows::Head),
        ("GET / HTTP/1.0\r\nhost:a.test:80\r\n\r\n", Follows::Head),
        ("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", Follows::Head),
        ("GET http://A.test/x?y=1 HTTP/1.1\r\nHost: a.test:80\r\n\r\n", Follows::Head),
        ("GET /a?b=[1]|%00 HTTP/1.1\r\nHost: a.test\r\nX:\r\nY: \tcaf\u{e9} \r\n\r\n", Follows::Head),
        ("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", Follows::Head),
        ("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 12\r\n\r\n", Follows::Body(12)),
        ("POST / HTTP/1.1\r\nHost: a.test\r\ntransfer-encoding: Chunked\r\n\r\n", Follows::Chunked),
        (
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
            Follows::Upgrade,
        ),
        ("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", Follows::Head),
        ("GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n", Follows::Head),
    ] {
        assert_eq!(judge(head.as_bytes()), Ok(follows), "{head:?}");
    }
}

#[test]
fn too_many_fields_and_too_many_bytes_are_too_large() {
    let many = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n", "X: y\r\n".repeat(100));
    assert_eq!(judge(many.as_bytes()), Err(Refusal::TooLarge));
    let fits = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n", "X: y\r\n".repeat(99));
    assert_eq!(judge(fits.as_bytes()), Ok(Follows::Head));
    let long = format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n", "y".repeat(HEAD_MAX));
    assert_eq!(judge(long.as_bytes()), Err(Refusal::TooLarge));
}

proptest! {
    #[test]
    fn the_end_of_a_head_is_found_however_it_arrives(fields in 0usize..5, cut in 1usize..9) {
        let head = format!("GET / HTTP/1.1\r\n{}\r\nrest", "Name: value\r\n".repeat(fields));
        let (mut seen, mut found) = (0, None);
        for end in (cut..).step_by(cut).map(|end| end.min(head.len())) {
            found = head_end(&head.as_bytes()[..end], seen);
            seen = end;
            if found.is_some() || end == head.len() {
                break;
            }
        }
        prop_assert_eq!(found, Some(head.len() - 4));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), from in 0usize..400) {
        let _ = head_end(&bytes, from);
        let _ = judge(&bytes);
    }
}
