//! Whom the application hears of, and what is counted and written down of requests.

use super::support::{Application, World, project_of, read_until, speaking, status};
use crate::router::{DrainLimits, InstanceAddress, ProxyProtocol};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_trusted_proxy_speaks_for_its_client() {
    let world = World::with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let application = Application::answering(OK).await;
    world.route("a.test", application.port);
    let wire = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 10.0.0.1, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
                X-Forwarded-Host: evil.test\r\nX_Forwarded_For: 10.0.0.2\r\nConnection: close, X-Forwarded-For\r\n\r\n";
    assert_eq!(status(&world.raw(wire.as_bytes()).await), 200);
    let seen = application.seen()[0].to_lowercase();
    for field in [
        "x-forwarded-for: 192.0.2.7",
        "x-real-ip: 192.0.2.7",
        "x-forwarded-proto: https",
        "x-forwarded-port: 443",
        "x-forwarded-host: a.test",
        "forwarded: for=192.0.2.7;host=\"a.test\";proto=https",
    ] {
        assert!(seen.contains(&format!("{field}\r\n")), "{field} in {seen}");
    }
    assert!(!seen.contains("10.0.0.") && !seen.contains("evil"), "{seen}");
}

#[tokio::test]
async fn a_proxy_header_names_the_client_when_it_is_asked_for() {
    let trusted = |config: &mut crate::router::RouterConfig| {
        config.proxy_protocol = ProxyProtocol::Required;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    };
    let world = World::with(trusted).await;
    let application = Application::answering(OK).await;
    world.route("a.test", application.port);
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let mut client = TcpStream::connect(world.address).await.unwrap();
    for piece in ["PROXY TCP4 192.0", ".2.7 10.0.0.1 4000 80\r\n", request] {
        client.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(read_until(&mut client, "ok").await.starts_with("HTTP/1.1 200"));
    assert!(application.seen()[0].to_lowercase().contains("x-forwarded-for: 192.0.2.7\r\n"));
    assert_eq!(world.raw(request.as_bytes()).await, "", "without the header nothing is answered");
    let strangers = World::with(|config| config.proxy_protocol = ProxyProtocol::Required).await;
    strangers.route("a.test", application.port);
    let spoofed = format!("PROXY TCP4 192.0.2.7 10.0.0.1 4000 80\r\n{request}");
    assert_eq!(strangers.raw(spoofed.as_bytes()).await, "", "nobody is trusted");
    assert_eq!(application.seen().len(), 1);
}

#[tokio::test]
async fn requests_are_counted_by_project_and_shown() {
    let world = World::new().await;
    world.route("a.test", Application::answering(OK).await.port);
    for _ in 0..3 {
        world.get("a.test", "/").await;
    }
    world.get("unknown.test", "/").await;
    let metrics = world.admin("/metrics").await;
    for line in [
        "commis_http_requests_total{project=\"a\",code=\"2xx\"} 3",
        "commis_http_requests_total{project=\"\",code=\"4xx\"} 1",
        "commis_http_request_duration_seconds_count{project=\"a\"} 3",
        "commis_http_in_flight{project=\"a\"} 0",
        "commis_instance_out{project=\"a\",instance=\"web.1\"",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert!(world.admin("/healthz").await.ends_with("ok\n"));
    assert_eq!((status(&world.admin("/readyz").await), status(&world.admin("/").await)), (200, 404));
}

#[tokio::test]
async fn each_request_has_a_line_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = path.clone();
    let world = World::with(move |config| config.access_log = Some(log)).await;
    world.route("a.test", Application::answering(OK).await.port);
    let wire = "GET /x?y HTTP/1.1\r\nHost: a.test\r\nUser-Agent: me \"and\" you\r\nConnection: close\r\n\r\n";
    world.raw(wire.as_bytes()).await;
    world.get("unknown.test", "/").await;
    world.raw(b"NONSENSE\r\n\r\n").await;
    world.stop().await;
    let until = std::time::Instant::now() + Duration::from_secs(10);
    let read = || std::fs::read_to_string(&path).unwrap();
    while read().lines().count() < 3 && std::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let text = read();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("127.0.0.1 - - [") && lines[0].ends_with(" \"a.test\" a/web.1"), "{text}");
    assert!(lines[0].contains("\"GET /x?y HTTP/1.1\" 200 2 \"-\" \"me \\x22and\\x22 you\" 0."), "{text}");
    assert!(lines[1].contains("\" 404 ") && lines[1].ends_with("\"unknown.test\" -"), "{text}");
    assert!(lines[2].contains("\" 400 "), "{text}");
}

/// A client that keeps its connection learns with an answer that it has to go; until then it is served.
#[tokio::test]
async fn a_router_that_stops_politely_closes_no_connection_under_a_request() {
    let world = World::new().await;
    world.route("a.test", Application::answering(OK).await.port);
    let mut client = TcpStream::connect(world.address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    assert!(!read_until(&mut client, "ok").await.to_lowercase().contains("connection: close"));
    let address = world.address;
    let stopping = tokio::spawn(world.stop_politely());
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.write_all(request.as_bytes()).await.unwrap();
    let last = read_until(&mut client, "ok").await.to_lowercase();
    assert!(last.starts_with("http/1.1 200") && last.contains("connection: close\r\n"), "{last}");
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "");
    stopping.await.unwrap();
}

#[tokio::test]
async fn what_an_instance_does_is_shown_while_it_does_it() {
    let world = World::new().await;
    let port = speaking(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        read_until(&mut stream, "never").await;
    })
    .await;
    world.route("a.test", port);
    let mut client = TcpStream::connect(world.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    let requests = |world: &World| world.router.loads().iter().map(|one| one.load.requests).sum::<usize>();
    while requests(&world) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(client);
    let limits = DrainLimits { requests: Duration::from_secs(20), tunnels: Duration::ZERO };
    let drained = world.router.drain(&project_of("a.test"), &[InstanceAddress::web(1, port)], limits).await;
    assert_eq!(drained.requests_left, 0, "a client that left is no request");
}
