//! The section `router` of the server's configuration: its fields, and the kind and range of each key.
//!
//! Pure. What a key means to people stands in `server.toml`.

use super::kinds::{self, Kind, absolute_path, count, duration, flag, size, text};
use super::sections::{DAY, HOUR, TERABYTE};
use super::settings::Settings;
use crate::model::Failure;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Router {
    pub http: SocketAddr,
    /// TLS; `None`: off.
    pub https: Option<SocketAddr>,
    /// Clients without TLS are sent to it.
    pub redirect: bool,
    /// Nothing: clients are not asked to remember.
    pub hsts: Duration,
    /// Lower case; project `p` answers at `p.<domain>`.
    pub domain: String,
    pub header_timeout: Duration,
    pub response_timeout: Duration,
    pub hold: Duration,
    /// Of one project at a time.
    pub hold_requests: u32,
    pub drain: Duration,
    pub tunnel_grace: Duration,
    /// Metrics and health; `None`: off.
    pub admin: Option<SocketAddr>,
    /// `10.0.0.0/8`, `2001:db8::1`.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections begin with a PROXY header.
    pub proxy_protocol: bool,
    pub access_log: bool,
    pub access_log_max: u64,
}

impl Router {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            http: from.need("router.http", kinds::socket_address())?,
            https: from.need("router.https", kinds::socket_address_or_empty())?,
            redirect: from.need("router.redirect", flag())?,
            hsts: from.need("router.hsts", duration(0, 730 * DAY))?,
            domain: from.need("router.domain", text("a host name in lower case", is_domain))?,
            header_timeout: from.need("router.header_timeout", duration(100, HOUR))?,
            response_timeout: from.need("router.response_timeout", duration(100, DAY))?,
            hold: from.need("router.hold", duration(0, HOUR))?,
            hold_requests: from.need("router.hold_requests", count(0, 1_000_000))?,
            drain: from.need("router.drain", duration(0, DAY))?,
            tunnel_grace: from.need("router.tunnel_grace", duration(0, DAY))?,
            admin: from.need("router.admin", kinds::socket_address_or_empty())?,
            trusted_proxies: from.need("router.trusted_proxies", kinds::networks())?,
            proxy_protocol: from.need("router.proxy_protocol", required())?,
            access_log: from.need("router.access_log", flag())?,
            access_log_max: from.need("router.access_log_max", size(10_000, TERABYTE))?,
        })
    }
}

/// Certificates from an authority.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acme {
    /// URL of its directory; `None`: no authority is asked.
    pub directory: Option<String>,
    pub email: Option<String>,
    /// Root certificates for its own TLS; `None`: the machine's.
    pub roots: Option<PathBuf>,
    pub check: Duration,
}

impl Acme {
    pub(super) fn read(from: &Settings) -> Result<Self, Failure> {
        let url = text("an https URL, or empty", |url| url.is_empty() || url.starts_with("https://"));
        let email = text("an address of mail, or empty", |email| email.is_empty() || email.contains('@'));
        Ok(Self {
            directory: Some(from.need("acme.directory", url)?).filter(|url| !url.is_empty()),
            email: Some(from.need("acme.email", email)?).filter(|email| !email.is_empty()),
            roots: from.need("acme.roots", kinds::absolute_path_or_empty())?,
            check: from.need("acme.check", duration(1_000, DAY))?,
        })
    }
}

/// A chain of certificates and its key, both files in PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFiles {
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// Keys of each section `[certificates.NAME]`.
pub(super) const CERTIFICATE_KEYS: [&str; 2] = ["chain", "key"];

pub(super) fn certificates(from: &Settings) -> Result<BTreeMap<String, CertificateFiles>, Failure> {
    let read = |name: String| {
        let chain = from.need(&format!("certificates.{name}.chain"), absolute_path())?;
        let key = from.need(&format!("certificates.{name}.key"), absolute_path())?;
        Ok((name, CertificateFiles { chain, key }))
    };
    from.members("certificates").into_iter().map(read).collect()
}

fn required() -> Kind<bool> {
    kinds::word("off or required", |word| match word {
        "off" => Some(false),
        "required" => Some(true),
        _ => None,
    })
}

/// Labels of letters, digits and dashes with dots between them, in lower case.
fn is_domain(text: &str) -> bool {
    let label_ok = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 200 && text.split('.').all(label_ok)
}
