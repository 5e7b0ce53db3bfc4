//! Which header fields cross the router, in both directions. Pure. Fields about one connection stay on it, fields that
//! say who the client is are ours alone, and the application can rely on them.

use super::origin::Origin;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

/// Fields that belong to one connection, whatever its `Connection` field says.
const HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Makes a client's fields those of the request to the application. `host` is the `Host` field as the client wrote it,
/// already found good.
pub fn to_application(fields: &mut HeaderMap, origin: Origin, host: &HeaderValue) {
    strip_hop(fields);
    let foreign: Vec<HeaderName> = fields.keys().filter(|name| is_ours(name.as_str())).cloned().collect();
    for name in foreign {
        fields.remove(name);
    }
    // The router answers `100-continue` itself, when the application reads.
    fields.remove(header::EXPECT);
    fields.insert(header::HOST, host.clone());
    let client = text(&origin.client.to_string());
    fields.insert("x-forwarded-for", client.clone());
    fields.insert("x-real-ip", client);
    fields.insert("x-forwarded-host", host.clone());
    fields.insert("x-forwarded-proto", HeaderValue::from_static(origin.scheme.as_str()));
    fields.insert("x-forwarded-port", HeaderValue::from(origin.port));
    fields.insert(header::FORWARDED, forwarded(origin, host));
}

/// Makes an application's fields those of the answer to the client.
pub fn to_client(fields: &mut HeaderMap) {
    strip_hop(fields);
}

/// Whether a good request asks to change to WebSocket. Agrees with [`super::strict::Follows::Upgrade`].
pub fn asks_websocket(method: &hyper::Method, version: hyper::Version, fields: &HeaderMap) -> bool {
    let named = fields.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let asked = tokens(fields).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    named && asked && method == hyper::Method::GET && version == hyper::Version::HTTP_11
}

fn tokens(fields: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let all = fields.get_all(header::CONNECTION).into_iter();
    all.flat_map(|value| value.as_bytes().split(|b| *b == b',')).map(|token| token.trim_ascii())
}

fn strip_hop(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(fields).filter_map(|token| HeaderName::from_bytes(token).ok()).collect();
    for name in named {
        fields.remove(name);
    }
    for name in HOP {
        fields.remove(name);
    }
}

/// Fields that a client may not set: those we set, and those that a gateway interface would confuse with them
/// (`X_Forwarded_For` and `X-Forwarded-For` are one variable in CGI and WSGI; `Proxy` becomes `HTTP_PROXY`).
fn is_ours(name: &str) -> bool {
    name.contains('_') || name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip" | "proxy")
}

fn forwarded(origin: Origin, host: &HeaderValue) -> HeaderValue {
    let client = match origin.client {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("\"[{ip}]\""),
    };
    let (host, proto) = (host.to_str().unwrap_or_default(), origin.scheme.as_str());
    text(&format!("for={client};host=\"{host}\";proto={proto}"))
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::origin::Scheme;

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn sent(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = fields(pairs);
        let host = HeaderValue::from_static("blog.test:8080");
        to_application(
            &mut map,
            Origin { client: "192.0.2.7".parse().unwrap(), scheme: Scheme::Https, port: 8443 },
            &host,
        );
        map
    }

    #[test]
    fn the_application_hears_the_true_client_only() {
        let map = sent(&[
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "127.0.0.1"),
            ("x-forwarded-port", "22"),
            ("x-real-ip", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1"),
            ("proxy", "http://evil.test"),
            ("connection", "x-forwarded-for, x-forwarded-proto"),
        ]);
        let all: Vec<_> = map.get_all("x-forwarded-for").iter().collect();
        assert_eq!(all, ["192.0.2.7"]);
        assert_eq!(map.get("x-real-ip").unwrap(), "192.0.2.7");
        assert_eq!(map.get("x-forwarded-proto").unwrap(), "https");
        assert_eq!(map.get_all("x-forwarded-port").iter().collect::<Vec<_>>(), ["8443"]);
        assert_eq!(map.get("x-forwarded-host").unwrap(), "blog.test:8080");
        assert_eq!(map.get("forwarded").unwrap(), "for=192.0.2.7;host=\"blog.test:8080\";proto=https");
        for gone in ["x_forwarded_for", "proxy", "connection"] {
            assert_eq!(map.get(gone), None, "{gone}");
        }
    }

    #[test]
    fn fields_of_one_connection_stay_on_it() {
        let mut map = fields(&[
            ("connection", "keep-alive, X-Secret"),
            ("keep-alive", "timeout=5"),
            ("x-secret", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("set-cookie", "a=1"),
        ]);
        to_client(&mut map);
        assert_eq!(map.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["set-cookie"]);
        let request = sent(&[("connection", "host, cookie"), ("cookie", "a=1"), ("accept", "*/*")]);
        assert_eq!((request.get("host").unwrap(), request.get("cookie")), (&"blog.test:8080".parse().unwrap(), None));
        assert_eq!(request.get("accept").unwrap(), "*/*");
    }
}
