//! What reaches an application and what does not: hostile bytes, spoofed fields, slow clients.

use super::support::{Application, World, read_until, status};
use crate::router::strict::tests::HOSTILE;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn served() -> (World, Application) {
    let (world, application) = (World::new().await, Application::answering(OK).await);
    world.route("a.test", application.port);
    (world, application)
}

#[tokio::test]
async fn hostile_heads_are_answered_and_reach_no_application() {
    let (world, application) = served().await;
    for head in HOSTILE {
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
        let answer = world.raw(format!("{head}{smuggled}").as_bytes()).await;
        assert!(matches!(status(&answer), 400 | 405 | 431 | 505), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answer}");
    }
    assert_eq!(application.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_hostile_head_behind_a_good_one_does_not_reach_it_either() {
    let (world, application) = served().await;
    for head in HOSTILE {
        let answer = world.raw(format!("GET /good HTTP/1.1\r\nHost: a.test\r\n\r\n{head}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{head:?}: {answer}");
    }
    assert_eq!(application.seen().len(), HOSTILE.len());
    assert!(application.seen().iter().all(|seen| seen.starts_with("GET /good ")));
}

/// The known-bad control: hyper alone takes what the guard refuses, so the corpus does test something.
#[tokio::test]
async fn without_the_guard_hostile_heads_are_served() {
    use hyper::{Request, Response, body::Incoming, service::service_fn};
    let port = super::support::speaking(|stream| async move {
        let service = service_fn(|_: Request<Incoming>| async {
            Ok::<_, std::convert::Infallible>(Response::new(String::from("served")))
        });
        let io = hyper_util::rt::TokioIo::new(stream);
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
    })
    .await;
    let mut served = 0;
    for head in HOSTILE {
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        let _ = client.read_to_string(&mut answer).await;
        served += usize::from(status(&answer) == 200);
    }
    assert!(served >= 5, "{served}");
}

#[tokio::test]
async fn pipelined_requests_and_their_bodies_arrive_one_by_one() {
    let (world, application) = served().await;
    let wire = "POST /1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n\
                POST /3 HTTP/1.1\r\nHost: A.test:80\r\nConnection: close\r\nContent-Length: 2\r\n\r\nxy";
    let answer = world.raw(wire.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 3, "{answer}");
    let seen = application.seen();
    assert!(seen[0].starts_with("POST /1 ") && seen[0].ends_with("\r\n\r\nhello"), "{seen:?}");
    assert!(seen[1].starts_with("GET /2 "), "{seen:?}");
    assert!(seen[2].starts_with("POST /3 ") && seen[2].ends_with("\r\n\r\nxy"), "{seen:?}");
}

#[tokio::test]
async fn the_application_sees_the_true_client() {
    let (world, application) = served().await;
    let wire = "GET http://a.test/x?y HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 10.0.0.1\r\nX_Forwarded_For: 10.0.0.2\r\n\
                X-Real-IP: 10.0.0.3\r\nForwarded: for=10.0.0.4\r\nConnection: close, X-Forwarded-For\r\nAccept: */*\r\n\r\n";
    assert_eq!(status(&world.raw(wire.as_bytes()).await), 200);
    let seen = application.seen()[0].to_lowercase();
    assert!(seen.starts_with("get /x?y http/1.1\r\n"), "{seen}");
    assert!(seen.contains("x-forwarded-for: 127.0.0.1\r\n") && seen.contains("host: a.test\r\n"), "{seen}");
    assert!(seen.contains("accept: */*\r\n") && !seen.contains("10.0.0.") && !seen.contains("connection:"), "{seen}");
}

#[tokio::test]
async fn a_malformed_chunk_ends_the_connection() {
    let (world, application) = served().await;
    let wire = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n\
                GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let answer = world.raw(wire.as_bytes()).await;
    assert_ne!(status(&answer), 200, "{answer}");
    assert!(!application.seen().iter().any(|seen| seen.contains("GET /smuggled")));
}

#[tokio::test]
async fn a_head_that_never_ends_is_refused() {
    let (world, application) = served().await;
    let answer = world.raw(format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(40_000)).as_bytes()).await;
    assert_eq!(status(&answer), 431);
    assert_eq!(application.seen().len(), 0);
}

#[tokio::test]
async fn slow_clients_are_let_go() {
    let world = World::with(|config| {
        config.header_timeout = Duration::from_millis(200);
        config.idle_timeout = Duration::from_millis(200);
    })
    .await;
    let application = Application::answering(OK).await;
    world.route("a.test", application.port);
    for beginning in ["", "GET / HTTP/1.1\r\nHost: a.test\r\nX-a: ", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"] {
        let answer = world.raw(beginning.as_bytes()).await;
        assert_eq!(answer.matches("200 OK").count(), usize::from(beginning.ends_with("\r\n\r\n")), "{beginning:?}");
    }
    // Drip by drip is no faster.
    let mut client = TcpStream::connect(world.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n").await.unwrap();
    let mut sent = 0;
    while client.write_all(b"X: y\r\n").await.is_ok() && sent < 200 {
        sent += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(sent < 200);
}

#[tokio::test]
async fn a_slow_answer_does_not_count_against_the_client() {
    let world = World::with(|config| {
        config.header_timeout = Duration::from_millis(100);
        config.idle_timeout = Duration::from_millis(100);
    })
    .await;
    let port = super::support::speaking(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
        stream.write_all(b"2\r\ncd\r\n0\r\n\r\n").await.unwrap();
    })
    .await;
    world.route("a.test", port);
    let answer = world.raw(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(answer.contains("ab") && answer.contains("cd") && answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn who_hangs_up_after_a_hostile_head_still_gets_the_reason() {
    let (world, _) = served().await;
    let mut client = TcpStream::connect(world.address).await.unwrap();
    client.write_all(HOSTILE[0].as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), 400, "{answer}");
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let world = World::new().await;
    let port = super::support::speaking(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.unwrap();
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    world.route("a.test", port);
    let mut client = TcpStream::connect(world.address).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 900000\r\n\r\n").await.unwrap();
    let (mut read, mut write) = client.split();
    let (_, answer) = tokio::join!(write.write_all(&[b'x'; 900_000]), async {
        let mut answer = [0u8; 12];
        read.read_exact(&mut answer).await.unwrap();
        answer
    });
    assert_eq!(&answer, b"HTTP/1.1 413");
}
