//! Connections to applications, kept between requests. Knows ports only; what is sent over them is `exchange`'s.

use super::exchange::Upload;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
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

/// Idle connections by port. Cheap to clone; all clones are one pool.
#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<HashMap<u16, Slot>>>);

#[derive(Default)]
struct Slot {
    /// Grows when the port is forgotten, so that connections lent out before then do not come back.
    generation: u64,
    idle: Vec<(SendRequest<Upload>, Instant)>,
}

/// A connection in use. Give it back with [`Lease::give_back`] after a whole exchange, or drop it to close it.
pub struct Lease {
    pool: Pool,
    port: u16,
    generation: u64,
    pub sender: SendRequest<Upload>,
    /// Whether it carried a request before.
    pub reused: bool,
}

impl Pool {
    /// A connection that is open as far as anybody knows, or a new one.
    pub async fn lease(&self, port: u16) -> io::Result<Lease> {
        while let Some(mut lease) = self.take(port) {
            if lease.sender.ready().await.is_ok() {
                return Ok(lease);
            }
        }
        self.lease_new(port).await
    }

    pub async fn lease_new(&self, port: u16) -> io::Result<Lease> {
        let generation = self.slots().entry(port).or_default().generation;
        let (sender, connection) = connect(port).await?;
        tokio::spawn(connection);
        Ok(Lease { pool: self.clone(), port, generation, sender, reused: false })
    }

    /// Closes what is idle and lets nothing come back that is lent out now.
    pub fn forget(&self, port: u16) {
        if let Some(slot) = self.slots().get_mut(&port) {
            slot.generation += 1;
            slot.idle.clear();
        }
    }

    fn take(&self, port: u16) -> Option<Lease> {
        let mut slots = self.slots();
        let slot = slots.get_mut(&port)?;
        while let Some((sender, since)) = slot.idle.pop() {
            if !sender.is_closed() && since.elapsed() < IDLE_TIME {
                let generation = slot.generation;
                return Some(Lease { pool: self.clone(), port, generation, sender, reused: true });
            }
        }
        None
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<u16, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The exchange is over and left nothing on the wire.
    pub fn give_back(self) {
        let Lease { pool, port, generation, sender, .. } = self;
        if sender.is_closed() {
            return;
        }
        let mut slots = pool.slots();
        if let Some(slot) = slots.get_mut(&port).filter(|slot| slot.generation == generation) {
            slot.idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE_TIME);
            if slot.idle.len() < IDLE_MAX {
                slot.idle.push((sender, Instant::now()));
            }
        }
    }
}

/// A new connection to an application on this machine and the work that keeps it going.
pub async fn connect(port: u16) -> io::Result<(SendRequest<Upload>, impl Future<Output = ()> + Send)> {
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
