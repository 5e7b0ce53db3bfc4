//! Listens, accepts, and gives every connection a task of its own. No failure of a connection or of accept ends the
//! door; only its shutdown does.

use super::Reception;
use super::algorithms;
use super::connection::{self, House, Newcomer};
use super::doorstep::Doorstep;
use super::host_key::{self, FirstStart};
use crate::model::{Code, Failure};
use russh::keys::PrivateKey;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: u32 = 1024;
/// Pause after accept failed for want of descriptors or memory.
const RETRY: Duration = Duration::from_millis(100);

/// Settings of the door.
#[derive(Clone, Debug)]
pub struct SshConfig {
    pub listen: SocketAddr,
    /// From accept to a proved key.
    pub grace: Duration,
    /// Connections in the middle of authentication; as many again may be silent.
    pub max_unauthenticated: usize,
    /// The same, of one IPv4 address or IPv6 /64. More wait for their turn.
    pub max_unauthenticated_per_source: usize,
    /// Channels of one connection at a time.
    pub max_channels: usize,
    /// Silence after which the client is asked whether it lives; four unanswered questions mean it is lost.
    pub keepalive: Duration,
    /// Root of the absolute paths in remotes.
    pub projects_root: PathBuf,
    /// The host key. Unread input that does not fit into memory goes to nameless files in the same directory.
    pub host_key: PathBuf,
}

/// A door that listens.
pub struct Door {
    config: SshConfig,
    listener: TcpListener,
    local: SocketAddr,
    key: PrivateKey,
}

/// Loads (or makes) the host key and listens. [`Code::ServerConfig`] when either does not work.
pub async fn bind(config: SshConfig, first_start: FirstStart) -> Result<Door, Failure> {
    let key = host_key::load_or_create(&config.host_key, first_start)?;
    let refused = |error| Failure::new(Code::ServerConfig, format!("ssh.listen {}: {error}", config.listen));
    let listener = listen(config.listen).map_err(refused)?;
    let local = listener.local_addr().map_err(refused)?;
    Ok(Door { config, listener, local, key })
}

impl Door {
    /// The address in use: port 0 of the settings has become a real one.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// `ssh-ed25519 AAAA...`
    pub fn host_key_line(&self) -> String {
        host_key::public_line(&self.key)
    }

    /// `SHA256:...` of the host key.
    pub fn host_key_fingerprint(&self) -> String {
        host_key::fingerprint(&self.key)
    }

    /// Serves until `shutdown`, then accepts nobody and returns when everything that runs has been served. Dropping
    /// the future ends every connection at once.
    pub async fn serve<R: Reception>(self, reception: Arc<R>, shutdown: impl Future<Output = ()> + Send) {
        let (close, closing) = watch::channel(false);
        let house = Arc::new(House {
            protocol: Arc::new(algorithms::configuration(&self.config, self.key)),
            doorstep: Doorstep::new(self.config.max_unauthenticated, self.config.max_unauthenticated_per_source),
            config: self.config,
            reception,
            closing,
        });
        let mut connections = JoinSet::new();
        tokio::select! {
            () = shutdown => {}
            () = accept(&self.listener, &house, &mut connections) => {}
        }
        drop(self.listener);
        close.send_replace(true);
        while connections.join_next().await.is_some() {}
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// For ever.
async fn accept<R: Reception>(listener: &TcpListener, house: &Arc<House<R>>, connections: &mut JoinSet<()>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    // Here and not in the task, so that who comes first is the first to give way.
                    let evicted = house.doorstep.arrive();
                    connections.spawn(connection::run(house.clone(), Newcomer { socket, peer, evicted }));
                }
                Err(error) => {
                    tracing::warn!("ssh: accept: {error}");
                    tokio::time::sleep(RETRY).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
