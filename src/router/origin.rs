//! Who asks: the peer of the connection, or whom a trusted proxy speaks for. Pure. Only the last hops that are trusted
//! are believed, from the nearest on: what a client wrote itself never counts.

use super::settings::RouterConfig;
use hyper::header::{HeaderMap, HeaderName};
use std::net::{IpAddr, SocketAddr};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// How the client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// One connection, as far as it is known without reading a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Who connected, or for whom by the PROXY protocol.
    pub peer: SocketAddr,
    /// The address that was connected to.
    pub local: SocketAddr,
    pub scheme: Scheme,
}

/// Who asks and how, as the application is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    pub client: IpAddr,
    pub scheme: Scheme,
    pub port: u16,
}

impl Origin {
    /// Of one request; `fields` are the client's, before ours replace them.
    pub fn of(arrival: Arrival, fields: &HeaderMap, config: &RouterConfig) -> Self {
        let peer = arrival.peer.ip().to_canonical();
        let own = Self { client: peer, scheme: arrival.scheme, port: arrival.local.port() };
        if config.trusted_proxies.is_empty() || !config.trusts(peer) {
            return own;
        }
        let told = scheme(fields);
        let scheme = told.unwrap_or(own.scheme);
        let port = port(fields).unwrap_or(if told.is_some() { scheme.port() } else { own.port });
        Self { client: client(fields, config).unwrap_or(peer), scheme, port }
    }
}

/// The last address of the chain that is not a trusted proxy; of a chain of proxies alone the first.
fn client(fields: &HeaderMap, config: &RouterConfig) -> Option<IpAddr> {
    let lines: Vec<&str> = fields.get_all(FOR).iter().map(|value| value.to_str().unwrap_or("?")).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    let mut nearest = None;
    for hop in hops {
        // What is no address was not written by a proxy of ours, nor is what stands before it.
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        nearest = Some(address.to_canonical());
        if !config.trusts(address) {
            break;
        }
    }
    nearest
}

fn scheme(fields: &HeaderMap) -> Option<Scheme> {
    match fields.get_all(PROTO).iter().next_back()?.as_bytes() {
        b"http" => Some(Scheme::Http),
        b"https" => Some(Scheme::Https),
        _ => None,
    }
}

fn port(fields: &HeaderMap) -> Option<u16> {
    let text = fields.get_all(PORT).iter().next_back()?.to_str().ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn origin(peer: &str, pairs: &[(&'static str, &str)]) -> (String, Scheme, u16) {
        let mut fields = HeaderMap::new();
        for (name, value) in pairs {
            fields.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mut config = RouterConfig::new(address("127.0.0.1:0"));
        config.trusted_proxies = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap()).into();
        let arrival = Arrival { peer: address(peer), local: address("127.0.0.1:8080"), scheme: Scheme::Http };
        let Origin { client, scheme, port } = Origin::of(arrival, &fields, &config);
        (client.to_string(), scheme, port)
    }

    #[test]
    fn strangers_are_not_believed() {
        let spoofed = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "https"), ("x-forwarded-port", "22")];
        for peer in ["192.0.2.7:1", "[2001:db8::1]:1", "127.0.0.1:1", "[::ffff:192.0.2.7]:1"] {
            let (client, scheme, port) = origin(peer, &spoofed);
            assert!(!peer.contains("10.") && client != "127.0.0.1" || peer.starts_with("127."), "{client}");
            assert_eq!((scheme, port), (Scheme::Http, 8080), "{peer}");
        }
    }

    #[test]
    fn a_trusted_proxy_is_believed_as_far_as_the_chain_is_trusted() {
        for (chain, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("127.0.0.1, 192.0.2.7", "192.0.2.7"),
            ("127.0.0.1, 192.0.2.7, 10.0.0.9", "192.0.2.7"),
            ("192.0.2.7,10.0.0.8 , 10.0.0.9", "192.0.2.7"),
            ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
            ("192.0.2.7, unknown", "10.0.0.1"),
            ("nonsense, 10.0.0.9", "10.0.0.9"),
            ("2001:db8::5, fd00::1", "2001:db8::5"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(origin("10.0.0.1:1", &[("x-forwarded-for", chain)]).0, expected, "{chain:?}");
        }
        let lines = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(origin("[::ffff:10.0.0.1]:1", &lines).0, "192.0.2.7", "the last line is the nearest");
    }

    #[test]
    fn a_trusted_proxy_says_how_the_client_speaks() {
        let https = ("x-forwarded-proto", "https");
        assert_eq!(origin("10.0.0.1:1", &[https]), ("10.0.0.1".into(), Scheme::Https, 443));
        assert_eq!(origin("10.0.0.1:1", &[https, ("x-forwarded-port", "8443")]).2, 8443);
        for bad in ["HTTPS", "https, http", "ftp", ""] {
            assert_eq!(origin("10.0.0.1:1", &[("x-forwarded-proto", bad)]).1, Scheme::Http, "{bad:?}");
        }
        for bad in ["0", "-1", "65536", "x"] {
            assert_eq!(origin("10.0.0.1:1", &[("x-forwarded-port", bad)]).2, 8080, "{bad:?}");
        }
    }
}
