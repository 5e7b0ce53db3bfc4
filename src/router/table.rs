//! Which host name leads where. Pure: a value that is copied, changed and put in place whole by [`super::Router`].
//! A host belongs to one project; there is no default route, so an unknown host can never reach anybody's application.

use crate::model::ProjectName;
use std::collections::HashMap;
use std::fmt;

/// A normalised host name: lower case, no port, no final dot, letters digits `-` `.` `_` (or an IPv6 address).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
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

/// Where a host leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    pub project: ProjectName,
    pub target: Target,
}

/// What answers for a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// A process on this port of 127.0.0.1.
    Port(u16),
    /// The project is known and nothing of it serves: answered with a 503 page.
    NoRelease,
}

/// Why a host was not given to a project.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RouteRefused {
    #[error("not a host name: {0:?}")]
    NotAHost(String),
    #[error("host {host} belongs to another project")]
    Taken { host: Host, owner: ProjectName },
}

/// All routes of one server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    routes: HashMap<Host, Route>,
}

impl Table {
    pub fn get(&self, host: &Host) -> Option<&Route> {
        self.routes.get(host)
    }

    /// Leads `host` to `route` and returns where it led before. A host of another project is refused: it has to be
    /// removed there first.
    pub fn switch(&mut self, host: Host, route: Route) -> Result<Option<Route>, RouteRefused> {
        match self.routes.get(&host) {
            Some(old) if old.project != route.project => Err(RouteRefused::Taken { host, owner: old.project.clone() }),
            _ => Ok(self.routes.insert(host, route)),
        }
    }

    pub fn remove(&mut self, host: &Host) -> Option<Route> {
        self.routes.remove(host)
    }

    /// Every route, sorted by host.
    pub fn routes(&self) -> Vec<(Host, Route)> {
        let mut all: Vec<_> = self.routes.iter().map(|(host, route)| (host.clone(), route.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(project: &str, port: u16) -> Route {
        Route { project: ProjectName::parse(project).unwrap(), target: Target::Port(port) }
    }

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
    fn a_switch_returns_what_it_replaced() {
        let host = Host::parse("blog.test").unwrap();
        let mut table = Table::default();
        assert_eq!(table.switch(host.clone(), route("blog", 1)), Ok(None));
        assert_eq!(table.switch(host.clone(), route("blog", 2)), Ok(Some(route("blog", 1))));
        assert_eq!(table.get(&host), Some(&route("blog", 2)));
        assert_eq!(table.get(&Host::parse("other.test").unwrap()), None);
    }

    #[test]
    fn a_host_of_another_project_cannot_be_taken() {
        let mut table = Table::default();
        table.switch(Host::parse("a.test").unwrap(), route("a", 1)).unwrap();
        for theft in ["a.test", "A.TEST", "a.test.", "a.test:80"] {
            let taken = table.switch(Host::parse(theft).unwrap(), route("b", 2));
            assert!(matches!(taken, Err(RouteRefused::Taken { .. })), "{theft}");
        }
        assert_eq!(table.routes(), [(Host::parse("a.test").unwrap(), route("a", 1))]);
    }
}
