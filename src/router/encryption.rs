//! What is asked of clients that speak without TLS, and promised to those that speak with it. Pure.

use super::board::Site;
use super::names::Host;
use super::origin::{Origin, Scheme};
use super::settings::RouterConfig;
use super::table::Encryption;
use hyper::Request;
use hyper::header::{HOST, HeaderValue};

/// Where a client has to go instead, when it does not speak TLS and has to.
pub fn redirect<B>(config: &RouterConfig, site: &Site, origin: Origin, request: &Request<B>) -> Option<HeaderValue> {
    if origin.scheme == Scheme::Https || !is_required(config, site) {
        return None;
    }
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).and_then(Host::parse)?;
    let port = match config.https.map(|address| address.port()) {
        None | Some(0 | 443) => String::new(),
        Some(port) => format!(":{port}"),
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    HeaderValue::from_str(&format!("https://{host}{port}{path}")).ok()
}

/// The promise that the host will speak TLS.
pub fn hsts(config: &RouterConfig, site: &Site, origin: Origin) -> Option<HeaderValue> {
    let seconds = config.hsts.as_secs();
    let promised = origin.scheme == Scheme::Https && seconds > 0 && is_required(config, site);
    promised.then(|| HeaderValue::from_str(&format!("max-age={seconds}")).ok()).flatten()
}

fn is_required(config: &RouterConfig, site: &Site) -> bool {
    match site.encryption {
        Encryption::AsServer => config.redirect,
        Encryption::Required => true,
        Encryption::Optional => false,
    }
}
