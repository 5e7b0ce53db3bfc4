//! TLS and HTTP/2: who gets which certificate, what an application sees, what ends a connection.

use super::support::{Application, World, read_until, routes, speaking, status};
use crate::router::certificates::{CertificateText, KeyText};
use crate::router::{Encryption, InstanceAddress, Target};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Paper {
    text: CertificateText,
    der: CertificateDer<'static>,
}

fn paper(names: &[&str]) -> Paper {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = KeyText(made.signing_key.serialize_pem());
    Paper { text: CertificateText { chain: made.cert.pem(), key }, der: made.cert.der().clone() }
}

async fn encrypted() -> (World, Application, Paper) {
    let world = World::with(|config| {
        config.https = Some("127.0.0.1:0".parse().unwrap());
        config.header_timeout = Duration::from_secs(2);
    })
    .await;
    let (application, paper) = (Application::answering(OK).await, paper(&["a.test", "*.wild.test"]));
    world.route("a.test", application.port);
    world.certificates.replace(std::slice::from_ref(&paper.text));
    (world, application, paper)
}

async fn shake(world: &World, name: &str, trusted: &Paper, protocols: &[&str]) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(world.https.unwrap()).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn get_h1(world: &World, name: &str, trusted: &Paper) -> String {
    let mut stream = shake(world, name, trusted, &["http/1.1"]).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

type Sender = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

async fn h2(world: &World, trusted: &Paper) -> Sender {
    let stream = shake(world, "a.test", trusted, &["h2"]).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn an_application_hears_that_the_client_speaks_tls() {
    let (world, application, paper) = encrypted().await;
    assert_eq!(status(&get_h1(&world, "a.test", &paper).await), 200);
    let seen = application.seen()[0].to_lowercase();
    assert!(seen.contains("x-forwarded-proto: https\r\n") && seen.contains("proto=https\r\n"), "{seen}");
    let port = world.https.unwrap().port();
    assert!(seen.contains(&format!("x-forwarded-port: {port}\r\n")), "{seen}");
    let metrics = world.admin("/metrics").await;
    let expiry = "commis_cert_expiry_timestamp_seconds{host=\"*.wild.test\"} ";
    let at = metrics.split(expiry).nth(1).and_then(|rest| rest.lines().next()?.parse::<i64>().ok());
    assert!(at.is_some_and(|at| at > 1_800_000_000), "{metrics}");
}

#[tokio::test]
async fn http2_arrives_as_one_well_formed_request_of_http1() {
    let (world, application, paper) = encrypted().await;
    let mut sender = h2(&world, &paper).await;
    let request = Request::get("https://a.test/x?y").header("cookie", "a=1").header("cookie", "b=2");
    let request = request.header("te", "trailers").header("x-forwarded-for", "10.0.0.1");
    let answer = sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, hyper::Version::HTTP_2));
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    let seen = application.seen()[0].to_lowercase();
    assert!(seen.starts_with("get /x?y http/1.1\r\n") && seen.contains("host: a.test\r\n"), "{seen}");
    assert!(seen.contains("cookie: a=1; b=2\r\n") && !seen.contains("10.0.0.1") && !seen.contains("te:"), "{seen}");
    for round in 0..50 {
        let request = Request::get("https://a.test/").body(Empty::new()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200, "{round}");
    }
}

#[tokio::test]
async fn http2_that_names_two_hosts_reaches_no_application() {
    let (world, application, paper) = encrypted().await;
    let mut sender = h2(&world, &paper).await;
    for request in [
        Request::get("https://a.test/").header("host", "b.test"),
        Request::get("https://a.test/").header("host", "a.test").header("host", "a.test"),
        Request::builder().method("TRACE").uri("https://a.test/"),
        Request::builder().method("COMMIS-REFUSED").uri("https://a.test/"),
    ] {
        let answer = sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
        assert!(matches!(answer.status().as_u16(), 400 | 405), "{answer:?}");
    }
    let unknown = Request::get("https://other.test/").body(Empty::new()).unwrap();
    assert_eq!(sender.send_request(unknown).await.unwrap().status(), 404);
    assert_eq!(application.seen().len(), 0);
}

#[tokio::test]
async fn the_certificate_is_that_of_the_name_and_strangers_get_none() {
    let (world, _, paper) = encrypted().await;
    assert_eq!(status(&get_h1(&world, "x.wild.test", &paper).await), 404, "the name has a certificate and no project");
    for stranger in ["b.test", "wild.test", "x.y.wild.test"] {
        assert!(shake(&world, stranger, &paper, &[]).await.is_err(), "{stranger}");
    }
}

#[tokio::test]
async fn new_certificates_come_without_a_connection_that_drops() {
    let (world, _, old) = encrypted().await;
    let mut kept = shake(&world, "a.test", &old, &["http/1.1"]).await.unwrap();
    let new = paper(&["a.test"]);
    world.certificates.replace(std::slice::from_ref(&new.text));
    assert_eq!(status(&get_h1(&world, "a.test", &new).await), 200);
    assert!(shake(&world, "a.test", &old, &[]).await.is_err());
    kept.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = kept.read_to_string(&mut answer).await;
    assert_eq!(status(&answer), 200);
}

#[test]
fn a_key_of_another_certificate_is_refused_and_nothing_shows_it() {
    let (one, other) = (paper(&["a.test"]), paper(&["a.test"]));
    let mixed = CertificateText { chain: one.text.chain.clone(), key: other.text.key.clone() };
    assert!(crate::router::certificates::Certificate::read(&mixed).is_err());
    assert!(crate::router::certificates::Certificate::read(&one.text).is_ok());
}

#[tokio::test]
async fn clients_without_tls_are_sent_to_it_where_that_is_asked() {
    let world = World::with(|config| {
        config.https = Some("127.0.0.1:0".parse().unwrap());
        config.hsts = Duration::from_secs(3600);
    })
    .await;
    let (application, paper) = (Application::answering(OK).await, paper(&["a.test", "b.test"]));
    world.certificates.replace(std::slice::from_ref(&paper.text));
    for (host, encryption) in [("a.test", Encryption::Required), ("b.test", Encryption::AsServer)] {
        let target = Target::Instances(vec![InstanceAddress::web(1, application.port)]);
        world.router.set(crate::router::Routes { encryption, ..routes(host, target) }).unwrap();
    }
    let moved = world.get("a.test:1234", "/x?y").await;
    let port = world.https.unwrap().port();
    assert!(status(&moved) == 308 && moved.contains(&format!("location: https://a.test:{port}/x?y\r\n")), "{moved}");
    assert_eq!(status(&world.get("b.test", "/").await), 200);
    let promise = "strict-transport-security: max-age=3600\r\n";
    assert!(get_h1(&world, "a.test", &paper).await.contains(promise));
    assert!(!get_h1(&world, "b.test", &paper).await.contains(promise));
}

#[tokio::test]
async fn a_websocket_goes_through_tls() {
    let (world, _, paper) = encrypted().await;
    let port = speaking(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(agreed.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    world.route("a.test", port);
    let mut stream = shake(&world, "a.test", &paper, &["http/1.1"]).await.unwrap();
    let head = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(stream.read_u8().await.unwrap());
    }
    assert!(got.starts_with(b"HTTP/1.1 101"));
    stream.write_all(b"\x81\x00echo").await.unwrap();
    let mut echo = [0; 6];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"\x81\x00echo");
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// GET / of a.test, by the static table.
const GET: &[u8] = b"\x82\x84\x87\x41\x06a.test";

#[tokio::test]
async fn floods_of_frames_end_their_own_connection_only() {
    let (world, _, paper) = encrypted().await;
    let reset = |at: u32| [frame(1, 5, at * 2 + 1, GET), frame(3, 0, at * 2 + 1, &[0, 0, 0, 8])].concat();
    let resets: Vec<u8> = (0..20_000).flat_map(reset).collect();
    let continued: Vec<u8> = std::iter::once(frame(1, 1, 1, GET))
        .chain((0..20_000).map(|_| frame(9, 0, 1, b"\x00\x01x\x01y")))
        .flatten()
        .collect();
    for (what, flood) in [("resets", resets), ("continuations", continued)] {
        let mut stream = shake(&world, "a.test", &paper, &["h2"]).await.unwrap();
        let begun = [PREFACE, &frame(4, 0, 0, &[]), &flood].concat();
        let (mut reading, mut writing) = tokio::io::split(&mut stream);
        let write = async {
            let _ = writing.write_all(&begun).await;
            let _ = writing.flush().await;
        };
        let mut got = Vec::new();
        let read = async { drop(reading.read_to_end(&mut got).await) };
        let ended = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(write, read) }).await;
        assert!(ended.is_ok(), "{what}: the connection goes on");
        let mut sender = h2(&world, &paper).await;
        let request = Request::get("https://a.test/").body(Empty::new()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200, "{what}");
    }
}

#[tokio::test]
async fn who_shakes_hands_and_asks_nothing_is_let_go() {
    let (world, _, paper) = encrypted().await;
    for protocol in ["h2", "http/1.1"] {
        let mut stream = shake(&world, "a.test", &paper, &[protocol]).await.unwrap();
        let mut rest = Vec::new();
        let read = stream.read_to_end(&mut rest);
        assert!(tokio::time::timeout(Duration::from_secs(20), read).await.is_ok(), "{protocol}");
    }
    let mut silent = TcpStream::connect(world.https.unwrap()).await.unwrap();
    let mut rest = Vec::new();
    let read = silent.read_to_end(&mut rest);
    assert!(tokio::time::timeout(Duration::from_secs(20), read).await.is_ok(), "without a handshake");
}
