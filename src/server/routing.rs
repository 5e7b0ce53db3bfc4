//! The router as the roof puts it together: its settings from the configuration, its places, its user.

use crate::config::ServerConfig;
use crate::layouts::Places;
use crate::model::Failure;
use crate::router::{AcmePlan, CertificateFiles, Plan, ProxyProtocol, Router, RouterConfig};
use crate::system::UserIds;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use twox_hash::XxHash3_128;

/// This very program, also when another one lies in its place by now.
const PROGRAM: &str = "/proc/self/exe";

/// Finds the router of an earlier server, or starts one.
pub async fn start(config: &ServerConfig, places: &Places) -> Result<Router, Failure> {
    let build = build_of(Path::new(PROGRAM)).map_err(|error| Failure::internal("read this program", &error))?;
    let plan = Plan {
        config: settings(config, places),
        program: PROGRAM.into(),
        build,
        user: router_user(config),
        socket: places.router_socket(),
        snapshot: places.router_snapshot(),
        log: places.router_log(),
        log_filter: config.log.filter.clone(),
        certificates: certificates(config),
        acme: acme(config, places),
    };
    Router::start(plan).await
}

/// What the configuration asks of the router.
pub fn settings(config: &ServerConfig, places: &Places) -> RouterConfig {
    let asked = &config.router;
    RouterConfig {
        admin: asked.admin,
        https: asked.https,
        redirect: asked.redirect,
        hsts: asked.hsts,
        header_timeout: asked.header_timeout,
        response_timeout: asked.response_timeout,
        hold: asked.hold,
        hold_requests: asked.hold_requests as usize,
        drain_timeout: asked.drain,
        tunnel_grace: asked.tunnel_grace,
        trusted_proxies: asked.trusted_proxies.clone(),
        proxy_protocol: if asked.proxy_protocol { ProxyProtocol::Required } else { ProxyProtocol::Off },
        access_log: asked.access_log.then(|| places.access_log()),
        access_log_max: asked.access_log_max,
        ..RouterConfig::new(asked.http)
    }
}

/// Where the configuration says that certificates are.
pub fn certificates(config: &ServerConfig) -> Vec<CertificateFiles> {
    let files = config.certificates.iter().map(|(name, files)| CertificateFiles {
        name: name.clone(),
        chain: files.chain.clone(),
        key: files.key.clone(),
    });
    files.collect()
}

fn acme(config: &ServerConfig, places: &Places) -> Option<AcmePlan> {
    let asked = &config.acme;
    Some(AcmePlan {
        directory: asked.directory.clone()?,
        email: asked.email.clone(),
        roots: asked.roots.clone(),
        store: places.acme(),
        every: asked.check,
    })
}

/// The last number of the range; projects get those before it.
fn router_user(config: &ServerConfig) -> UserIds {
    UserIds::of(config.users.first + config.users.count - 1)
}

/// A sum of the program: a router of another one is replaced at the next start.
fn build_of(program: &Path) -> io::Result<String> {
    let mut file = File::open(program)?;
    let (mut sum, mut piece) = (XxHash3_128::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(format!("{:032x}", sum.finish_128())),
            size => sum.write(piece.get(..size).unwrap_or_default()),
        }
    }
}
