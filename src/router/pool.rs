//! Connections to one instance, kept between requests. What is sent over them is `exchange`'s.

use super::exchange::Upload;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

const CONNECT_TIME: Duration = Duration::from_secs(5);
const IDLE_TIME: Duration = Duration::from_secs(30);
const IDLE_MAX: usize = 64;
/// Largest head of an application's answer.
const ANSWER_HEAD_MAX: usize = 64 * 1024;

/// Idle connections to one port. Cheap to clone; all clones are one pool.
#[derive(Clone)]
pub struct Pool {
    port: u16,
    slot: Arc<Mutex<Slot>>,
}

#[derive(Default)]
struct Slot {
    /// Grows when the pool is closed, so that connections lent out before then do not come back.
    generation: u64,
    idle: Vec<(SendRequest<Upload>, Instant)>,
}

/// A connection in use. Give it back with [`Lease::give_back`] after a whole exchange, or drop it to close it.
pub struct Lease {
    pool: Pool,
    generation: u64,
    pub sender: SendRequest<Upload>,
    /// Whether it carried a request before.
    pub reused: bool,
}

impl Pool {
    pub fn new(port: u16) -> Self {
        Self { port, slot: Arc::default() }
    }

    /// A connection that is open as far as anybody knows, or a new one.
    pub async fn lease(&self) -> io::Result<Lease> {
        while let Some(mut lease) = self.take() {
            if lease.sender.ready().await.is_ok() {
                return Ok(lease);
            }
        }
        self.lease_new().await
    }

    pub async fn lease_new(&self) -> io::Result<Lease> {
        let generation = self.slot().generation;
        let (sender, connection) = connect(self.port).await?;
        tokio::spawn(connection);
        Ok(Lease { pool: self.clone(), generation, sender, reused: false })
    }

    /// Closes what is idle and lets nothing come back that is lent out now.
    pub fn close(&self) {
        let mut slot = self.slot();
        slot.generation += 1;
        slot.idle.clear();
    }

    fn take(&self) -> Option<Lease> {
        let mut slot = self.slot();
        while let Some((sender, since)) = slot.idle.pop() {
            if !sender.is_closed() && since.elapsed() < IDLE_TIME {
                return Some(Lease { pool: self.clone(), generation: slot.generation, sender, reused: true });
            }
        }
        None
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The exchange is over and left nothing on the wire.
    pub fn give_back(self) {
        let Lease { pool, generation, sender, .. } = self;
        if sender.is_closed() {
            return;
        }
        let mut slot = pool.slot();
        if slot.generation == generation {
            slot.idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE_TIME);
            if slot.idle.len() < IDLE_MAX {
                slot.idle.push((sender, Instant::now()));
            }
        }
    }
}

/// A new connection to an application on this machine and the work that keeps it going.
async fn connect(port: u16) -> io::Result<(SendRequest<Upload>, impl Future<Output = ()> + Send)> {
    let stream = tokio::time::timeout(CONNECT_TIME, TcpStream::connect((Ipv4Addr::LOCALHOST, port)))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    let mut builder = http1::Builder::new();
    builder.max_header_size(ANSWER_HEAD_MAX);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Errors of the connection reach whoever waits for its answer.
    let work = async move { drop(connection.with_upgrades().await) };
    Ok((sender, work))
}
