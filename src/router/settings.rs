//! What a router is told to be: plain data that can cross to the router's own process. Pure. What a key means to
//! people stands in `config/server.toml`.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of the HTTP front.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RouterConfig {
    /// Port 0 picks a free one.
    pub listen: SocketAddr,
    /// TLS; `None`: off.
    pub https: Option<SocketAddr>,
    /// Clients without TLS are sent to it, unless a project says otherwise.
    pub redirect: bool,
    /// How long clients remember that a host speaks TLS; nothing: they are not asked to.
    pub hsts: Duration,
    /// Metrics and health; `None`: off.
    pub admin: Option<SocketAddr>,
    /// From accept to the first byte of a request, and from there to the end of its head.
    pub header_timeout: Duration,
    /// How long a connection may idle between requests.
    pub idle_timeout: Duration,
    /// How long an application may take to begin its answer.
    pub response_timeout: Duration,
    /// How long a request is held while all instances of its project are out, and how many of one project at a time.
    pub hold: Duration,
    pub hold_requests: usize,
    /// How long requests may go on after the router was told to stop.
    pub drain_timeout: Duration,
    /// How long WebSockets may go on then.
    pub tunnel_grace: Duration,
    /// Connections at a time, in all and from one address (the machine's own and trusted proxies are not counted).
    pub connections: usize,
    pub connections_per_address: usize,
    /// Whose `X-Forwarded-*` and PROXY headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    pub proxy_protocol: ProxyProtocol,
    /// Written in the combined format; `None`: no log.
    pub access_log: Option<PathBuf>,
    /// Bytes after which the log is begun anew; the last one stays beside it.
    pub access_log_max: u64,
}

/// Whether connections begin with a header that says whose they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ProxyProtocol {
    Off,
    /// Version 1 or 2, from trusted proxies; anything else is closed.
    Required,
}

impl RouterConfig {
    /// The defaults, listening on `listen`.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            https: None,
            redirect: false,
            hsts: Duration::ZERO,
            admin: None,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            response_timeout: Duration::from_secs(60),
            hold: Duration::from_secs(5),
            hold_requests: 1_000,
            drain_timeout: Duration::from_secs(10),
            tunnel_grace: Duration::from_secs(10),
            connections: 20_000,
            connections_per_address: 500,
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            access_log: None,
            access_log_max: 100_000_000,
        }
    }

    /// An address as itself, also when it is written as an IPv6 one.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&address))
    }
}
