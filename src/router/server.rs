//! The listening side of the router: accepts connections within limits and lets them end in order.

use super::board::Holding;
use super::guard::Times;
use super::proxy::Shared;
use super::{Router, connection};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

/// Settings of the HTTP front.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// Port 0 picks a free one.
    pub listen: SocketAddr,
    /// From accept to the first byte of a request, and from there to the end of its head.
    pub header_timeout: Duration,
    /// How long a connection may idle between requests.
    pub idle_timeout: Duration,
    /// How long an application may take to begin its answer.
    pub response_timeout: Duration,
    /// How long a request is held while all instances of its project are out, and how many of one project at a time.
    pub hold: Duration,
    pub hold_requests: usize,
    /// How long requests and WebSockets may go on after the server was told to stop.
    pub drain_timeout: Duration,
    /// Connections at a time, in all and from one address (the machine's own addresses are not counted).
    pub connections: usize,
    pub connections_per_address: usize,
}

impl RouterConfig {
    /// The defaults, listening on `listen`.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            response_timeout: Duration::from_secs(60),
            hold: Duration::from_secs(5),
            hold_requests: 1_000,
            drain_timeout: Duration::from_secs(10),
            connections: 20_000,
            connections_per_address: 500,
        }
    }
}

/// A router that holds its port and is ready to serve.
pub struct Server {
    config: RouterConfig,
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

/// Takes the port. Errors are those of the socket.
pub async fn bind(config: RouterConfig, router: Router) -> io::Result<Server> {
    let listener = TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    Ok(Server { config, listener, address, router })
}

impl Server {
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Serves until `shutdown` is ready; then takes no more connections, lets requests under way end, and returns
    /// after at most the drain time.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let (draining, drained) = watch::channel(false);
        let (closing, closed) = watch::channel(false);
        let (alive, mut tunnels) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            board: self.router.board.clone(),
            holding: Holding { time: self.config.hold, most: self.config.hold_requests },
            response_timeout: self.config.response_timeout,
            closing: closed,
            alive,
        });
        let mut connections = JoinSet::new();
        tokio::select! {
            () = self.accept(&shared, &drained, &mut connections) => {}
            () = shutdown => {}
        }
        let limit = tokio::time::Instant::now() + self.config.drain_timeout;
        drop((self.listener, shared));
        draining.send_replace(true);
        let requests = async { while connections.join_next().await.is_some() {} };
        // Who is not done by then is cut off: the operator wants the server to stop.
        let _ = tokio::time::timeout_at(limit, requests).await;
        connections.abort_all();
        while connections.join_next().await.is_some() {}
        if tokio::time::timeout_at(limit, tunnels.recv()).await.is_err() {
            closing.send_replace(true);
            tunnels.recv().await;
        }
    }

    async fn accept(&self, shared: &Arc<Shared>, draining: &watch::Receiver<bool>, connections: &mut JoinSet<()>) {
        let times = Times { header: self.config.header_timeout, idle: self.config.idle_timeout };
        let places = Arc::new(Semaphore::new(self.config.connections));
        let addresses = Addresses::default();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (stream, peer) = self.next().await;
            let Some(turn) = addresses.enter(peer.ip(), self.config.connections_per_address) else { continue };
            let held: (OwnedSemaphorePermit, Visitor) = (place, turn);
            let serve = connection::serve(stream, peer, Arc::clone(shared), times, draining.clone());
            connections.spawn(async move {
                serve.await;
                drop(held);
            });
        }
    }

    async fn next(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                // Out of descriptors, or a connection that is gone already: neither may stop the server nor make it spin.
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
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
        if *count >= most && !address.to_canonical().is_loopback() {
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
