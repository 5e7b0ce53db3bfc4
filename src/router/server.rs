//! The listening side of the router: accepts connections within limits and lets them end in order.

use super::access_log::AccessLog;
use super::account::Books;
use super::board::Board;
use super::certificates::Certificates;
use super::challenges::Challenges;
use super::connection::{self, Ending};
use super::guard::Times;
use super::origin::{Arrival, Scheme};
use super::proxy::Shared;
use super::settings::{ProxyProtocol, RouterConfig};
use super::{admin, connection_h2, proxy_protocol};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A router that holds its ports and is ready to serve.
pub struct Server {
    config: RouterConfig,
    listeners: Listeners,
    board: Board,
    challenges: Challenges,
    certificates: Certificates,
}

/// The sockets of a router, bound by whoever may.
pub struct Listeners {
    pub http: TcpListener,
    pub https: Option<TcpListener>,
    pub admin: Option<TcpListener>,
}

impl Server {
    pub fn new(
        config: RouterConfig,
        listeners: Listeners,
        (board, challenges, certificates): (Board, Challenges, Certificates),
    ) -> Self {
        Self { config, listeners, board, challenges, certificates }
    }

    /// Serves until `told` is ready; then takes no more connections, lets requests under way end, and returns after at
    /// most the drain time.
    pub async fn serve(self, told: impl Future<Output = Ending>) -> io::Result<()> {
        let (ending, ended) = watch::channel(Ending::Open);
        let (closing, closed) = watch::channel(false);
        let (alive, mut tunnels) = mpsc::channel(1);
        let Server { config, listeners, board, challenges, certificates } = self;
        let (drain, grace) = (config.drain_timeout, config.tunnel_grace);
        let books = books(&config)?;
        let shared =
            Arc::new(Shared { board, challenges, certificates, books, config, ending: ended, closing: closed, alive });
        let admin = listeners.admin.map(|listener| tokio::spawn(admin::serve(listener, Arc::clone(&shared))));
        let (mut connections, mut encrypted) = (JoinSet::new(), JoinSet::new());
        let floor = Floor::new(Arc::clone(&shared));
        let https = floor.accept_encrypted(listeners.https, &mut encrypted);
        let how = tokio::select! {
            () = floor.accept(&listeners.http, None, &mut connections) => Ending::Now,
            ended = https => return ended,
            how = told => how,
        };
        let begun = tokio::time::Instant::now();
        drop((listeners.http, floor, shared));
        ending.send_replace(how);
        let requests = async {
            while connections.join_next().await.is_some() {}
            while encrypted.join_next().await.is_some() {}
        };
        // Who is not done by then is cut off: the operator wants the server to stop.
        let _ = tokio::time::timeout_at(begun + drain, requests).await;
        ending.send_replace(Ending::Now);
        connections.shutdown().await;
        encrypted.shutdown().await;
        if let Some(admin) = admin {
            admin.abort();
            let _ = admin.await;
        }
        if tokio::time::timeout_at(begun + grace, tunnels.recv()).await.is_err() {
            closing.send_replace(true);
            tunnels.recv().await;
        }
        Ok(())
    }
}

fn books(config: &RouterConfig) -> io::Result<Arc<Books>> {
    let log = config.access_log.as_deref().map(|path| AccessLog::open(path, config.access_log_max)).transpose()?;
    Ok(Arc::new(Books { log, ..Books::default() }))
}

/// Where connections are taken in.
struct Floor {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    addresses: Addresses,
}

impl Floor {
    fn new(shared: Arc<Shared>) -> Self {
        let places = Arc::new(Semaphore::new(shared.config.connections));
        Self { shared, places, addresses: Addresses::default() }
    }

    /// Only returns when the certificates cannot be used at all.
    async fn accept_encrypted(&self, https: Option<TcpListener>, connections: &mut JoinSet<()>) -> io::Result<()> {
        let Some(listener) = https else { return std::future::pending().await };
        let tls = self.shared.certificates.tls().map_err(io::Error::other)?;
        self.accept(&listener, Some(TlsAcceptor::from(Arc::new(tls))), connections).await;
        Ok(())
    }

    async fn accept(&self, listener: &TcpListener, tls: Option<TlsAcceptor>, connections: &mut JoinSet<()>) {
        let config = &self.shared.config;
        let times = Times { header: config.header_timeout, idle: config.idle_timeout };
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            let (stream, peer) = next(listener).await;
            let counted = !config.trusts(peer.ip()) && !peer.ip().to_canonical().is_loopback();
            let most = if counted { config.connections_per_address } else { usize::MAX };
            let Some(turn) = self.addresses.enter(peer.ip(), most) else { continue };
            let held: (OwnedSemaphorePermit, Visitor) = (place, turn);
            let (shared, tls) = (Arc::clone(&self.shared), tls.clone());
            connections.spawn(async move {
                shared.books.connections.fetch_add(1, Ordering::Relaxed);
                let books = Arc::clone(&shared.books);
                if let Err(error) = visit(stream, peer, shared, (times, tls)).await {
                    tracing::debug!(%peer, %error, "connection not taken");
                }
                books.connections.fetch_sub(1, Ordering::Relaxed);
                drop(held);
            });
        }
    }
}

async fn visit(
    mut stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    (times, tls): (Times, Option<TlsAcceptor>),
) -> io::Result<()> {
    // Without it an answer may wait 40 ms for an acknowledgement; a socket that refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr()?;
    let told = match shared.config.proxy_protocol {
        ProxyProtocol::Off => None,
        ProxyProtocol::Required if shared.config.trusts(peer.ip()) => {
            proxy_protocol::accept(&mut stream, times.header).await?
        }
        ProxyProtocol::Required => return Err(io::ErrorKind::PermissionDenied.into()),
    };
    let peer = told.unwrap_or(peer);
    let Some(tls) = tls else {
        let arrival = Arrival { peer, local, scheme: Scheme::Http };
        connection::serve(stream, arrival, shared, times).await;
        return Ok(());
    };
    let arrival = Arrival { peer, local, scheme: Scheme::Https };
    let shaken = tokio::time::timeout(times.header, tls.accept(stream)).await;
    let stream = shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => connection_h2::serve(stream, arrival, shared, times).await,
        _ => connection::serve(stream, arrival, shared, times).await,
    }
    Ok(())
}

async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // Out of descriptors, or a connection that is gone already: neither may stop the server nor make it spin.
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// How many connections each address has.
#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of one address, for as long as it lives.
struct Visitor {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    fn enter(&self, address: IpAddr, most: usize) -> Option<Visitor> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Visitor { addresses: self.clone(), address })
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let mut counts = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
