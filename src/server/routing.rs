//! The router as the roof puts it together: its settings from the configuration, its ports.

use crate::config::ServerConfig;
use crate::layouts::Places;
use crate::model::{Code, Failure};
use crate::router::{Listeners, ProxyProtocol, Router, RouterConfig, Server};
use crate::system::{UserIds, files};
use std::net::SocketAddr;

/// What the configuration asks of the router.
fn settings(config: &ServerConfig, places: &Places) -> RouterConfig {
    let asked = &config.router;
    RouterConfig {
        admin: asked.admin,
        header_timeout: asked.header_timeout,
        response_timeout: asked.response_timeout,
        hold: asked.hold,
        hold_requests: asked.hold_requests as usize,
        trusted_proxies: asked.trusted_proxies.clone(),
        proxy_protocol: if asked.proxy_protocol { ProxyProtocol::Required } else { ProxyProtocol::Off },
        access_log: asked.access_log.then(|| places.access_log()),
        access_log_max: asked.access_log_max,
        ..RouterConfig::new(asked.http)
    }
}

/// Takes the router's ports. Also says where it really listens.
pub async fn bind(config: &ServerConfig, places: &Places, router: &Router) -> Result<(Server, SocketAddr), Failure> {
    let internal = |error: &dyn std::error::Error| Failure::internal("make the router's directory", error);
    files::create_directory(&places.router_logs(), 0o750, Some(UserIds::of(0))).map_err(|error| internal(&error))?;
    let settings = settings(config, places);
    let listeners = Listeners::bind(&settings).await.map_err(|error| {
        Failure::new(Code::ServerConfig, error.to_string())
            .hint("another program has the port; choose another one, or 0 for a free one")
    })?;
    let address = listeners.http.local_addr().map_err(|error| Failure::internal("listen", &error))?;
    Ok((Server::new(settings, listeners, router.board()), address))
}
