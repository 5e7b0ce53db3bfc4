//! What a request is found by: host names and path prefixes, read strictly and compared by their normal form. Pure.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A name of a project: a host, and the paths below it that are meant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Name {
    pub host: Host,
    pub prefix: Prefix,
}

impl Name {
    /// Every path of a host.
    pub fn whole(host: Host) -> Self {
        Self { host, prefix: Prefix::root() }
    }
}

/// A normalised host name: lower case, no port, no final dot, letters digits `-` `.` `_` (or an IPv6 address).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(String);

impl Host {
    /// Reads what a `Host` header or a person writes: `Blog.example.com.:8080` is `blog.example.com`.
    /// `None` when it is no host name at all.
    pub fn parse(text: &str) -> Option<Self> {
        let name = without_port(text)?;
        let name = name.strip_suffix('.').unwrap_or(name);
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let plain = match name.starts_with('[') {
            true => bare.parse::<std::net::Ipv6Addr>().is_ok(),
            false => is_name(name),
        };
        plain.then(|| Self(name.to_ascii_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Host {
    /// Whether somebody elsewhere could know it: a name with several labels, not an address.
    pub fn is_public(&self) -> bool {
        let last = self.0.rsplit('.').next().unwrap_or_default();
        let local = matches!(last, "localhost" | "local" | "internal" | "lan");
        self.0.contains('.') && !self.0.contains(['_', '[']) && !local && !last.bytes().all(|b| b.is_ascii_digit())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn without_port(text: &str) -> Option<&str> {
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (name, rest) = text.split_at_checked(end)?;
    let port = match rest.strip_prefix(':') {
        Some(port) => port,
        None if rest.is_empty() => return Some(name),
        None => return None,
    };
    (port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit())).then_some(name)
}

fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

impl TryFrom<String> for Host {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("not a host name: {text:?}"))
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.0
    }
}

/// A path without its final slash: `/api` is `/api` and what is below it, not `/apis`. The whole host is the empty text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(String);

impl Prefix {
    pub fn root() -> Self {
        Self(String::new())
    }

    /// Reads what a person writes: `/api/` is `/api`. `None` for what a request could write in two ways: escapes, dots,
    /// empty parts.
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_suffix('/').unwrap_or(text);
        let plain = |part: &str| {
            let safe = part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
            safe && !part.is_empty() && part != "." && part != ".."
        };
        let good = bare.is_empty() || bare.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain));
        (good && text.len() <= 255).then(|| Self(bare.to_owned()))
    }

    /// Whether a path of a request, without its query, is meant.
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.0.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            || self.0.is_empty()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("not a path prefix: {text:?}"))
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_host_are_one_host() {
        let plain = Host::parse("blog.example.com").unwrap();
        for same in ["BLOG.example.com", "blog.example.com.", "blog.example.com:8080", "Blog.Example.COM.:80"] {
            assert_eq!(Host::parse(same).as_ref(), Some(&plain), "{same}");
        }
        assert_eq!(Host::parse("[::1]:80").unwrap().as_str(), "[::1]");
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        let long = format!("{}.example", "a".repeat(64));
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            "a b",
            "a/b",
            "a@b",
            "user:pw@b",
            "a:b",
            "a:123456",
            "[::1",
            "[zz]",
            "[::1]x",
            "-a",
            "a\0",
            "é",
            "*.example",
            "a,b",
            &long,
        ] {
            assert_eq!(Host::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_prefix_is_whole_parts_of_a_path() {
        let api = Prefix::parse("/api/").unwrap();
        for (path, covered) in [("/api", true), ("/api/", true), ("/api/x", true), ("/apis", false), ("/", false)] {
            assert_eq!(api.covers(path), covered, "{path}");
        }
        for whole in ["", "/"] {
            assert!(Prefix::parse(whole).unwrap().covers("/anything"), "{whole:?}");
        }
        assert!(Prefix::root().covers("*"));
        for bad in ["api", "//", "/a//b", "/a/../b", "/a/.", "/%61", "/a?b", "/a b", "/a#"] {
            assert_eq!(Prefix::parse(bad), None, "{bad}");
        }
    }
}
