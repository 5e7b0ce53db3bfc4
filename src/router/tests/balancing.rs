//! Many instances: who gets a request, who is left out, who waits, and when an instance has nothing left to do.

use super::support::{Application, World, project_of, read_until, routes, speaking, status};
use crate::router::{DrainLimits, Drained, InstanceAddress, Maintenance, Name, Prefix, Target};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const ONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none";
const TWO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo";
const LONG: DrainLimits = DrainLimits { requests: Duration::from_secs(20), tunnels: Duration::from_secs(20) };

/// A port that nobody listens on.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// Takes each request and answers it once it is let go.
async fn waiting(go: Arc<Semaphore>, begun: Arc<Semaphore>) -> u16 {
    speaking(move |mut stream| {
        let (go, begun) = (Arc::clone(&go), Arc::clone(&begun));
        async move {
            while !read_until(&mut stream, "\r\n\r\n").await.is_empty() {
                begun.add_permits(1);
                go.acquire().await.unwrap().forget();
                stream.write_all(ONE.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

async fn request(world: &World, method: &str) -> TcpStream {
    let mut client = TcpStream::connect(world.address).await.unwrap();
    let head = format!("{method} / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    client
}

#[tokio::test]
async fn the_instance_with_the_fewest_requests_is_asked() {
    let world = World::new().await;
    let (go, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (busy, other) = (waiting(Arc::clone(&go), Arc::clone(&begun)).await, Application::answering(TWO).await);
    world.route_to("a.test", &[busy]);
    let mut first = request(&world, "GET").await;
    begun.acquire().await.unwrap().forget();
    world.route_to("a.test", &[busy, other.port]);
    for _ in 0..20 {
        assert!(world.get("a.test", "/").await.ends_with("two"));
    }
    go.add_permits(1);
    assert!(read_until(&mut first, "one").await.ends_with("one"));
}

#[tokio::test]
async fn instances_with_as_much_to_do_are_asked_in_turn() {
    let world = World::new().await;
    let (one, two) = (Application::answering(ONE).await, Application::answering(TWO).await);
    world.route_to("a.test", &[one.port, two.port]);
    for _ in 0..20 {
        world.get("a.test", "/").await;
    }
    assert_eq!((one.seen().len(), two.seen().len()), (10, 10));
}

#[tokio::test]
async fn an_instance_that_refuses_costs_nobody_a_request_and_comes_back() {
    let world = World::with(|config| config.hold = Duration::ZERO).await;
    let (dead, alive) = (free_port().await, Application::answering(ONE).await);
    world.route_to("a.test", &[dead, alive.port]);
    for method in ["GET", "POST"].repeat(20) {
        assert!(read_until(&mut request(&world, method).await, "one").await.ends_with("one"));
    }
    let back = TcpListener::bind(("127.0.0.1", dead)).await.unwrap();
    world.router.is_back(&project_of("a.test"), &InstanceAddress::web(1, dead));
    let asked = tokio::spawn(async move { back.accept().await.is_ok() });
    while !asked.is_finished() {
        drop(request(&world, "GET").await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(asked.await.unwrap());
}

#[tokio::test]
async fn a_single_instance_that_restarts_fails_no_request() {
    let world = World::with(|config| config.hold = Duration::from_secs(20)).await;
    let port = free_port().await;
    world.route("a.test", port);
    let mut waiting = Vec::new();
    for method in ["GET", "POST"].repeat(10) {
        waiting.push(request(&world, method).await);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while !read_until(&mut stream, "\r\n\r\n").await.is_empty() {
                    stream.write_all(ONE.as_bytes()).await.unwrap();
                }
            });
        }
    });
    for mut client in waiting {
        assert!(read_until(&mut client, "one").await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn who_waits_for_an_instance_gets_the_one_that_takes_its_place() {
    let world = World::with(|config| config.hold = Duration::from_secs(20)).await;
    world.route("a.test", free_port().await);
    let mut waiting = request(&world, "POST").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.route("a.test", Application::answering(TWO).await.port);
    assert!(read_until(&mut waiting, "two").await.ends_with("two"));
    world.route("a.test", free_port().await);
    let mut waiting = request(&world, "POST").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.router.remove(&project_of("a.test"));
    assert_eq!(status(&read_until(&mut waiting, "\r\n\r\n").await), 404);
}

#[tokio::test]
async fn waiting_has_an_end_and_room_for_so_many() {
    let world = World::with(|config| (config.hold, config.hold_requests) = (Duration::from_millis(400), 1)).await;
    world.route("a.test", free_port().await);
    let mut first = request(&world, "GET").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let crowded = world.get("a.test", "/").await.to_lowercase();
    assert!(status(&crowded) == 503 && crowded.contains("retry-after: 1\r\n"), "{crowded}");
    assert_eq!(status(&read_until(&mut first, "\r\n\r\n").await), 502);
}

#[tokio::test]
async fn only_what_may_be_repeated_is_sent_again_when_an_instance_breaks() {
    let world = World::with(|config| config.hold = Duration::from_secs(2)).await;
    let got = Arc::new(Semaphore::new(0));
    let seen = Arc::clone(&got);
    let breaking = speaking(move |mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            seen.add_permits(1);
        }
    })
    .await;
    let alive = Application::answering(ONE).await;
    for (method, expected) in [("GET", 200), ("POST", 502)] {
        // Whichever is asked first: both have had their turn after two.
        world.route_to("a.test", &[breaking]);
        let (mut client, answered) = (request(&world, method).await, got.acquire().await.unwrap());
        answered.forget();
        world.route_to("a.test", &[alive.port]);
        assert_eq!(status(&read_until(&mut client, "\r\n\r\n").await), expected, "{method}");
    }
    assert!(alive.seen().iter().all(|seen| seen.starts_with("GET ")), "{:?}", alive.seen());
}

#[tokio::test]
async fn a_drain_ends_with_the_last_request_and_gives_no_new_ones() {
    let world = World::new().await;
    let (go, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (old, new) = (waiting(Arc::clone(&go), Arc::clone(&begun)).await, Application::answering(TWO).await);
    world.route("a.test", old);
    let mut client = request(&world, "GET").await;
    begun.acquire().await.unwrap().forget();
    world.route("a.test", new.port);
    let (router, leaving) = (world.router.clone(), [InstanceAddress::web(1, old)]);
    let short = DrainLimits { requests: Duration::from_millis(50), ..LONG };
    let cut = router.drain(&project_of("a.test"), &leaving, short).await;
    assert_eq!(cut, Drained { requests_left: 1, tunnels_closed: 0 });
    let drain = tokio::spawn(async move { router.drain(&project_of("a.test"), &leaving, LONG).await });
    assert!(world.get("a.test", "/").await.ends_with("two"));
    assert!(!drain.is_finished());
    go.add_permits(1);
    assert!(read_until(&mut client, "one").await.ends_with("one"));
    assert_eq!(drain.await.unwrap(), Drained::default());
    assert_eq!(begun.available_permits(), 0, "no other request came");
}

#[tokio::test]
async fn tunnels_have_their_own_time_and_are_closed_then() {
    let world = World::new().await;
    let port = speaking(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello";
        stream.write_all(agreed.as_bytes()).await.unwrap();
        read_until(&mut stream, "never").await;
    })
    .await;
    world.route("a.test", port);
    let mut client = TcpStream::connect(world.address).await.unwrap();
    let head = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    assert!(read_until(&mut client, "hello").await.ends_with("hello"));
    world.route("a.test", Application::answering(TWO).await.port);
    let limits = DrainLimits { tunnels: Duration::from_millis(100), ..LONG };
    let drained = world.router.drain(&project_of("a.test"), &[InstanceAddress::web(1, port)], limits).await;
    assert_eq!(drained, Drained { requests_left: 0, tunnels_closed: 1 });
    assert_eq!(read_until(&mut client, "never").await, "");
}

/// What a client sent and nobody read would make of the end of a connection a reset, which takes what was said before.
#[tokio::test]
async fn a_tunnel_that_is_closed_ends_in_order_after_the_applications_last_words() {
    let world = World::new().await;
    let port = speaking(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello";
        stream.write_all(agreed.as_bytes()).await.unwrap();
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap();
        stream.write_all(b"goodbye").await.unwrap();
    })
    .await;
    world.route("a.test", port);
    let mut client = TcpStream::connect(world.address).await.unwrap();
    let head = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    assert!(read_until(&mut client, "hello").await.ends_with("hello"));
    world.route("a.test", Application::answering(TWO).await.port);
    let (mut reading, mut writing) = client.into_split();
    let talks = tokio::spawn(async move { while writing.write_all(&[b'x'; 4096]).await.is_ok() {} });
    let limits = DrainLimits { tunnels: Duration::from_millis(100), ..LONG };
    let drained = world.router.drain(&project_of("a.test"), &[InstanceAddress::web(1, port)], limits).await;
    assert_eq!(drained.tunnels_closed, 1);
    let mut said = String::new();
    reading.read_to_string(&mut said).await.expect("an end in order");
    assert_eq!(said, "goodbye");
    talks.abort();
}

#[tokio::test]
async fn no_drain_misses_a_request_that_chose_just_before() {
    let world = Arc::new(World::new().await);
    let apps = [Application::answering(ONE).await, Application::answering(TWO).await];
    world.route("a.test", apps[0].port);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                for _ in 0..50 {
                    assert_eq!(status(&world.get("a.test", "/").await), 200);
                }
            })
        })
        .collect();
    for (new, old) in [(1, 0), (0, 1)].repeat(20) {
        world.route("a.test", apps[new].port);
        let leaving = [InstanceAddress::web(1, apps[old].port)];
        assert_eq!(world.router.drain(&project_of("a.test"), &leaving, LONG).await, Drained::default());
        let before = apps[old].seen().len();
        assert!(world.get("a.test", "/").await.ends_with(["one", "two"][new]));
        assert_eq!(apps[old].seen().len(), before, "a drained instance was asked");
    }
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn maintenance_is_the_projects_own_page_until_it_is_over() {
    let world = World::new().await;
    let application = Application::answering(ONE).await;
    world.route("a.test", application.port);
    let project = project_of("a.test");
    for (page, shown) in [(Some("<p>Back at nine".to_owned()), "<p>Back at nine"), (None, "being worked on")] {
        assert!(world.router.maintain(&project, Maintenance::On { page, retry_after: Duration::from_secs(90) }));
        let answer = world.get("a.test", "/").await;
        assert!(status(&answer) == 503 && answer.contains(shown), "{answer}");
        assert!(answer.to_lowercase().contains("retry-after: 90\r\n"), "{answer}");
        world.route("a.test", application.port);
        assert_eq!(status(&world.get("a.test", "/").await), 503, "a deployment does not end it");
    }
    assert!(world.router.maintain(&project, Maintenance::Off));
    assert!(world.get("a.test", "/").await.ends_with("one"));
}

#[tokio::test]
async fn only_the_paths_of_a_prefix_lead_anywhere() {
    let world = World::new().await;
    let mut api =
        routes("a.test", Target::Instances(vec![InstanceAddress::web(1, Application::answering(ONE).await.port)]));
    api.names = vec![Name { prefix: Prefix::parse("/api").unwrap(), ..api.names[0].clone() }];
    world.router.set(api).unwrap();
    for (path, expected) in [("/api", 200), ("/api/x?y", 200), ("/apis", 404), ("/", 404), ("/x/../api", 404)] {
        assert_eq!(status(&world.get("a.test", path).await), expected, "{path}");
    }
}
