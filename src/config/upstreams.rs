//! The servers that cook for this one: `[upstreams.NAME]`, where NAME is the environment whose releases come from there.
//!
//! Pure. How they are asked is `upstream`'s business.

use super::kinds::{Kind, kind};
use super::settings::Settings;
use crate::model::Failure;
use std::collections::BTreeMap;

/// Keys of each section.
pub(super) const KEYS: [&str; 2] = ["url", "host_key"];
/// The port of a server that says nothing else.
const PORT: u16 = 2222;

/// One server that cooks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upstream {
    pub user: String,
    pub host: String,
    pub port: u16,
    /// `ssh-ed25519 AAAA...`; no other host is talked to.
    pub host_key: String,
}

/// Where an upstream is.
struct Address {
    user: String,
    host: String,
    port: u16,
}

pub(super) fn read(from: &Settings) -> Result<BTreeMap<String, Upstream>, Failure> {
    let mut upstreams = BTreeMap::new();
    for name in from.members("upstreams") {
        let key = |key: &str| format!("upstreams.{name}.{key}");
        let Address { user, host, port } = from.need(&key("url"), address())?;
        if !is_environment(&name) {
            return Err(from.refuse(&key("url"), "is not the name of an environment: letters, digits and dashes"));
        }
        let host_key = from.need(&key("host_key"), host_key())?;
        upstreams.insert(name, Upstream { user, host, port, host_key });
    }
    Ok(upstreams)
}

/// `[a-z][a-z0-9-]*`, 40 at most.
fn is_environment(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    plain && name.len() <= 40 && name.starts_with(|c: char| c.is_ascii_lowercase())
}

fn address() -> Kind<Address> {
    kind("ssh://USER@HOST:PORT", |raw| parse(raw.text()?))
}

/// An IPv6 address stands in brackets.
fn parse(text: &str) -> Option<Address> {
    let (user, place) = text.strip_prefix("ssh://")?.trim_end_matches('/').split_once('@')?;
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => PORT,
    };
    let plain = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    (plain(user, b"-_") && plain(host, b"-.:")).then(|| Address { user: user.to_owned(), host: host.to_owned(), port })
}

fn host_key() -> Kind<String> {
    kind("a host key, as `commis hostkey` prints it there: ssh-ed25519 AAAA...", |raw| {
        let text = raw.text()?.trim();
        // The host before it stands in `url` as well.
        let key = if text.starts_with("ssh-") { text } else { text.split_once(' ')?.1 };
        let (kind, rest) = key.split_once(' ')?;
        let body = rest.split(' ').next()?;
        let plain = body.starts_with("AAAA") && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
        (kind == "ssh-ed25519" && plain && body.len() == 68).then(|| format!("{kind} {body}"))
    })
}
