//! Serving: routes and their changes, bodies, failing applications, WebSockets, an orderly end.

use super::support::{Application, World, project_of, read_until, routes, speaking, status};
use crate::router::{Target, strict::tests::HOSTILE};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const OLD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold";
const NEW: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew";

#[tokio::test]
async fn an_unknown_host_gets_a_page_of_ours_and_nobody_elses() {
    let (world, application) = (World::new().await, Application::answering(OLD).await);
    world.route("blog.test", application.port);
    for host in ["other.test", "test", "xblog.test", "blog.test.evil", "127.0.0.1"] {
        let answer = world.get(host, "/").await;
        assert_eq!(status(&answer), 404, "{host}");
        assert!(answer.contains("text/html; charset=utf-8") && !answer.contains("blog"), "{answer}");
    }
    assert_eq!(application.seen().len(), 0);
    assert!(world.get("BLOG.test.:80", "/").await.ends_with("old"));
}

#[tokio::test]
async fn a_project_without_a_live_release_gets_503_and_a_removed_host_404() {
    let world = World::new().await;
    world.router.set(routes("blog.test", Target::NoRelease)).unwrap();
    assert_eq!(status(&world.get("blog.test", "/").await), 503);
    assert!(world.router.remove(&project_of("blog.test")));
    assert_eq!(status(&world.get("blog.test", "/").await), 404);
}

#[tokio::test]
async fn an_authority_gets_its_answer_and_everything_else_is_the_applications() {
    let (world, application) = (World::new().await, Application::answering(OLD).await);
    world.route("a.test", application.port);
    world.challenges.add("token".into(), "token.thumbprint".into());
    let path = "/.well-known/acme-challenge/";
    assert!(world.get("a.test", &format!("{path}token")).await.ends_with("\r\n\r\ntoken.thumbprint"));
    assert!(world.get("a.test", &format!("{path}other")).await.ends_with("old"));
}

#[tokio::test]
async fn a_switch_under_load_fails_no_request() {
    let world = Arc::new(World::new().await);
    let (old, new) = (Application::answering(OLD).await, Application::answering(NEW).await);
    world.route("a.test", old.port);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered, address) = (Arc::clone(&stop), Arc::clone(&answered), world.address);
            tokio::spawn(async move {
                let mut client = TcpStream::connect(address).await.unwrap();
                while !stop.load(Ordering::Relaxed) {
                    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
                    let head = read_until(&mut client, "\r\n\r\n").await;
                    let mut body = [0u8; 3];
                    client.read_exact(&mut body).await.unwrap();
                    assert!(head.starts_with("HTTP/1.1 200") && [*b"old", *b"new"].contains(&body), "{head}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for port in [new.port, old.port].repeat(20) {
        let before = answered.load(Ordering::Relaxed);
        while answered.load(Ordering::Relaxed) < before + 10 {
            tokio::task::yield_now().await;
        }
        world.route("a.test", port);
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(!old.seen().is_empty() && !new.seen().is_empty());
}

#[tokio::test]
async fn connections_to_the_application_are_kept() {
    let (world, application) = (World::new().await, Application::answering(OLD).await);
    world.route("a.test", application.port);
    for _ in 0..20 {
        assert!(world.get("a.test", "/").await.ends_with("old"));
    }
    assert_eq!(*application.connections.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_the_application_closed_costs_nobody_a_request() {
    let world = World::new().await;
    let port = speaking(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(OLD.as_bytes()).await.unwrap();
    })
    .await;
    world.route("a.test", port);
    for request in 0..50 {
        assert!(world.get("a.test", "/").await.ends_with("old"), "{request}");
    }
}

#[tokio::test]
async fn ten_megabytes_go_through_both_ways() {
    let world = World::new().await;
    const SIZE: usize = 10 << 20;
    let port = speaking(|mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
        assert!(head.contains("content-length: 10485760"), "{head}");
        let mut body = vec![0; SIZE];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
    })
    .await;
    world.route("a.test", port);
    let body: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let mut client = TcpStream::connect(world.address).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {SIZE}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&body).await.unwrap();
    assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    let mut back = vec![0; SIZE];
    client.read_exact(&mut back).await.unwrap();
    assert!(back == body);
}

#[tokio::test]
async fn a_body_is_streamed_and_not_collected() {
    let world = World::new().await;
    let port = speaking(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await.unwrap();
        // The rest comes after the client got the first part and said so in its body.
        read_until(&mut stream, "seen\r\n").await;
        stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
    })
    .await;
    world.route("a.test", port);
    let mut client = TcpStream::connect(world.address).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    read_until(&mut client, "first\r\n").await;
    client.write_all(b"4\r\nseen\r\n0\r\n\r\n").await.unwrap();
    assert!(read_until(&mut client, "0\r\n\r\n").await.contains("last"));
}

#[tokio::test]
async fn an_application_in_trouble_gives_502_or_504_for_its_own_requests_only() {
    let world = World::with(|config| {
        config.response_timeout = Duration::from_millis(300);
        config.hold = Duration::from_millis(100);
    })
    .await;
    let healthy = Application::answering(OLD).await;
    world.route("healthy.test", healthy.port);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    world.route("gone.test", gone);
    assert_eq!(status(&world.get("gone.test", "/").await), 502);
    let huge: &'static str = Box::leak(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(1 << 20)).into());
    let endless: &'static str = Box::leak("HTTP/1.1 100 Continue\r\n\r\n".repeat(1000).into());
    for (bad, expected) in [
        ("", 504),
        ("HTTP/1.1 200", 504),
        (endless, 504),
        ("nonsense\r\n\r\n", 502),
        ("HTTP/1.1 99 Low\r\n\r\n", 502),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 502),
        (huge, 502),
    ] {
        let application = Application::answering(bad).await;
        world.route("bad.test", application.port);
        let answer = world.get("bad.test", "/").await;
        assert_eq!(status(&answer), expected, "{:.60?}: {answer:.200}", bad);
        assert!(world.get("healthy.test", "/").await.ends_with("old"));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_made_whole() {
    let world = World::new().await;
    let port = speaking(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await.unwrap();
    })
    .await;
    world.route("a.test", port);
    let answer = world.raw(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_websocket_is_a_tunnel_once_the_application_agrees() {
    let world = World::new().await;
    let port = speaking(|mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
        assert!(head.contains("upgrade: websocket") && head.contains("sec-websocket-key: abc"), "{head}");
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello ";
        stream.write_all(agreed.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    world.route("a.test", port);
    let mut client = TcpStream::connect(world.address).await.unwrap();
    let head = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 101"));
    // Not HTTP, and not judged as such.
    client.write_all(b"\x81\x00\n\n\x00 echo!").await.unwrap();
    assert!(read_until(&mut client, "echo!").await.starts_with("hello "));
    let stopping = tokio::spawn(world.stop());
    assert_eq!(read_until(&mut client, "never").await, "");
    stopping.await.unwrap();
}

#[tokio::test]
async fn what_follows_a_refused_upgrade_is_judged_as_http() {
    let (world, application) = (World::new().await, Application::answering(OLD).await);
    world.route("a.test", application.port);
    let upgrade = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let answer = world.raw(format!("{upgrade}{}", HOSTILE[0]).as_bytes()).await;
    assert_eq!((status(&answer), answer.matches("HTTP/1.1 400").count()), (200, 1), "{answer}");
    assert_eq!(application.seen().len(), 1);
}

#[tokio::test]
async fn a_stopping_router_ends_what_it_began() {
    let world = World::new().await;
    let begun = Arc::new(tokio::sync::Notify::new());
    let (begin, go) = (Arc::clone(&begun), Arc::new(tokio::sync::Notify::new()));
    let going = Arc::clone(&go);
    let port = speaking(move |mut stream| {
        let (begin, going) = (Arc::clone(&begin), Arc::clone(&going));
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            begin.notify_one();
            going.notified().await;
            stream.write_all(OLD.as_bytes()).await.unwrap();
        }
    })
    .await;
    world.route("a.test", port);
    let address = world.address;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    begun.notified().await;
    let stopping = tokio::spawn(world.stop());
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    go.notify_one();
    assert!(read_until(&mut client, "old").await.starts_with("HTTP/1.1 200"));
    stopping.await.unwrap();
}
