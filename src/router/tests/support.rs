//! A router in a box, an application that writes down what it got, and a client that sends raw bytes.

use crate::model::ProjectName;
use crate::router::board::Board;
use crate::router::certificates::Certificates;
use crate::router::challenges::Challenges;
use crate::router::connection::Ending;
use crate::router::server::{Listeners, Server};
use crate::router::{Encryption, Host, InstanceAddress, Name, RouterConfig, Routes, Target};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running router; stops with the test.
pub struct World {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub https: Option<SocketAddr>,
    pub certificates: Certificates,
    pub challenges: Challenges,
    pub router: Board,
    stop: Option<oneshot::Sender<Ending>>,
    served: JoinHandle<()>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut RouterConfig)) -> Self {
        let mut config = RouterConfig::new("127.0.0.1:0".parse().unwrap());
        config.drain_timeout = Duration::from_secs(5);
        config.tunnel_grace = Duration::from_secs(1);
        config.admin = Some("127.0.0.1:0".parse().unwrap());
        change(&mut config);
        let http = TcpListener::bind(config.listen).await.unwrap();
        let admin = TcpListener::bind(config.admin.unwrap()).await.unwrap();
        let https = match config.https {
            Some(address) => Some(TcpListener::bind(address).await.unwrap()),
            None => None,
        };
        config.https = https.as_ref().map(|listener| listener.local_addr().unwrap());
        let (encrypted, certificates) = (config.https, Certificates::default());
        let challenges = Challenges::default();
        let listeners = Listeners { http, https, admin: Some(admin) };
        let (stop, stopped) = oneshot::channel();
        let (address, router) = (listeners.http.local_addr().unwrap(), Board::default());
        let admin = listeners.admin.as_ref().unwrap().local_addr().unwrap();
        let server = Server::new(config, listeners, (router.clone(), challenges.clone(), certificates.clone()));
        let told = async move { stopped.await.unwrap_or(Ending::Now) };
        let served = tokio::spawn(async move { server.serve(told).await.unwrap() });
        Self { address, admin, https: encrypted, certificates, challenges, router, stop: Some(stop), served }
    }

    pub fn route(&self, host: &str, port: u16) {
        self.route_to(host, &[port]);
    }

    /// `web.1`, `web.2` and so on, on these ports.
    pub fn route_to(&self, host: &str, ports: &[u16]) {
        let set = ports.iter().zip(1..).map(|(port, index)| InstanceAddress::web(index, *port)).collect();
        self.router.set(routes(host, Target::Instances(set))).unwrap();
    }

    /// Sends `bytes` on a connection of its own and returns everything that comes back.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = client.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("the connection stays open").ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub async fn get(&self, host: &str, path: &str) -> String {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await
    }

    /// Tells the router to stop; ready when it has.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.served.await.unwrap();
    }

    /// The same, so that nobody notices who comes later.
    pub async fn stop_politely(mut self) {
        self.stop.take().unwrap().send(Ending::Politely).unwrap();
        self.served.await.unwrap();
    }

    /// What the listener for those who look after the server says.
    pub async fn admin(&self, path: &str) -> String {
        let mut client = TcpStream::connect(self.admin).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// `a.test` belongs to project `a`.
pub fn routes(host: &str, target: Target) -> Routes {
    Routes {
        project: project_of(host),
        names: vec![Name::whole(Host::parse(host).unwrap())],
        target,
        encryption: Encryption::AsServer,
    }
}

pub fn project_of(host: &str) -> ProjectName {
    ProjectName::parse(host.split('.').next().unwrap()).unwrap()
}

/// Status code of the first answer in `raw`.
pub fn status(raw: &str) -> u16 {
    raw.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// An application that keeps connections open, writes down every request head (and body that came with it) and
/// answers each with the same bytes.
#[derive(Clone)]
pub struct Application {
    pub port: u16,
    pub seen: Arc<Mutex<Vec<String>>>,
    pub connections: Arc<Mutex<usize>>,
}

impl Application {
    pub async fn answering(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this =
            Self { port: listener.local_addr().unwrap().port(), seen: Arc::default(), connections: Arc::default() };
        let application = this.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *application.connections.lock().unwrap() += 1;
                tokio::spawn(application.clone().converse(stream, answer));
            }
        });
        this
    }

    async fn converse(self, mut stream: TcpStream, answer: &'static str) {
        let (mut got, mut chunk) = (Vec::new(), [0u8; 4096]);
        while let Ok(size @ 1..) = stream.read(&mut chunk).await {
            got.extend_from_slice(&chunk[..size]);
            while let Some(end) = got.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4) {
                let head = String::from_utf8_lossy(&got[..end]).to_lowercase();
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
                let whole = end + length.map_or(0, |length| length.parse::<usize>().unwrap());
                if got.len() < whole {
                    break;
                }
                let request: Vec<u8> = got.drain(..whole).collect();
                self.seen.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }

    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// A port that gives whatever `speak` makes of each connection.
pub async fn speaking<F, Fut>(speak: F) -> u16
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(speak(stream));
        }
    });
    port
}

/// Reads from `stream` up to and including `until`.
pub async fn read_until(stream: &mut TcpStream, until: &str) -> String {
    let (mut got, mut byte) = (Vec::new(), [0u8; 1]);
    while !got.ends_with(until.as_bytes()) {
        match stream.read(&mut byte).await {
            Ok(1) => got.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&got).into_owned()
}
