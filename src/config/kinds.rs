//! What a value of a configuration file may be: each kind says in words what it should be and reads it.
//!
//! Pure. Ranges and shapes stand here; which key has which kind stands in `server` and `project`, and where a
//! value was written stands in `settings`.

use ipnet::IpNet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Component, PathBuf};
use std::time::Duration;

/// A value as it was written.
#[derive(Clone, PartialEq)]
pub enum Raw {
    Text(String),
    Integer(i64),
    Bool(bool),
    List(Vec<Raw>),
    /// From the environment, where everything is text: the key decides what it is.
    Loose(String),
    /// A float, a date or a section: no key wants one; the text shows it.
    Other(String),
}

impl Raw {
    /// The value as an error shows it: short and on one line.
    pub fn shown(&self) -> String {
        match self {
            Raw::Text(text) | Raw::Loose(text) => {
                let short: String = text.chars().take(40).collect();
                let more = if short.len() < text.len() { "…" } else { "" };
                format!("\"{}{more}\"", short.escape_debug())
            }
            Raw::Integer(number) => number.to_string(),
            Raw::Bool(flag) => flag.to_string(),
            Raw::List(_) => "a list".into(),
            Raw::Other(shown) => shown.clone(),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Raw::Text(text) | Raw::Loose(text) => Some(text),
            Raw::Integer(_) | Raw::Bool(_) | Raw::List(_) | Raw::Other(_) => None,
        }
    }

    fn integer(&self) -> Option<i64> {
        match self {
            Raw::Integer(number) => Some(*number),
            Raw::Loose(text) => text.trim().parse().ok(),
            Raw::Text(_) | Raw::Bool(_) | Raw::List(_) | Raw::Other(_) => None,
        }
    }
}

type Reader<T> = Box<dyn Fn(&Raw) -> Option<T>>;

/// A kind of value: `should` completes "should be …", `read` gives the value or `None`.
pub struct Kind<T> {
    pub should: String,
    pub read: Reader<T>,
}

pub(super) fn kind<T>(should: impl Into<String>, read: impl Fn(&Raw) -> Option<T> + 'static) -> Kind<T> {
    Kind { should: should.into(), read: Box::new(read) }
}

/// Text for which `accepts` holds.
pub fn text(should: &str, accepts: fn(&str) -> bool) -> Kind<String> {
    kind(should, move |raw| raw.text().filter(|text| accepts(text)).map(str::to_owned))
}

/// One of a few words.
pub fn word<T: 'static>(should: &str, parse: fn(&str) -> Option<T>) -> Kind<T> {
    kind(should, move |raw| raw.text().and_then(parse))
}

pub fn flag() -> Kind<bool> {
    kind("true or false", |raw| match raw {
        Raw::Bool(flag) => Some(*flag),
        Raw::Loose(text) => text.trim().parse().ok(),
        Raw::Text(_) | Raw::Integer(_) | Raw::List(_) | Raw::Other(_) => None,
    })
}

/// A whole number from `least` to `most`.
pub fn count(least: u32, most: u32) -> Kind<u32> {
    kind(format!("a number from {least} to {most}"), move |raw| {
        raw.integer().and_then(|n| u32::try_from(n).ok()).filter(|n| (least..=most).contains(n))
    })
}

/// A size from `least` to `most` bytes: `"2GB"` or a number of bytes.
pub fn size(least: u64, most: u64) -> Kind<u64> {
    let should = format!("a size such as \"512MB\", from {} to {}", size_words(least), size_words(most));
    kind(should, move |raw| {
        let bytes = raw.integer().and_then(|n| u64::try_from(n).ok()).or_else(|| raw.text().and_then(parse_size));
        bytes.filter(|n| (least..=most).contains(n))
    })
}

/// A part of a hundred from `least` to `most`: `"10%"`.
pub fn percent(least: u32, most: u32) -> Kind<u32> {
    kind(format!("a part of a hundred such as \"10%\", from {least}% to {most}%"), move |raw| {
        let number = raw.text().and_then(|text| text.trim().strip_suffix('%')?.trim_end().parse().ok());
        number.filter(|n| (least..=most).contains(n))
    })
}

/// The size that somebody wrote in a command: `5GB`, `5G` or a number of bytes.
pub fn size_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let short = text.strip_suffix(['K', 'M', 'G', 'T']).is_some();
    parse_size(&if short { format!("{text}B") } else { text.to_owned() })
}

/// A time from `least` to `most` milliseconds: `"20s"`.
pub fn duration(least: u64, most: u64) -> Kind<Duration> {
    let should = format!("a time such as \"20s\", from {} to {}", duration_words(least), duration_words(most));
    kind(should, move |raw| {
        let millis = raw.text().and_then(parse_duration).filter(|n| (least..=most).contains(n));
        millis.map(Duration::from_millis)
    })
}

pub fn absolute_path() -> Kind<PathBuf> {
    kind("an absolute path without ..", |raw| raw.text().and_then(parse_absolute_path))
}

/// An absolute path, or `None` for an empty text.
pub fn absolute_path_or_empty() -> Kind<Option<PathBuf>> {
    kind("empty or an absolute path without ..", |raw| match raw.text() {
        Some("") => Some(None),
        Some(text) => parse_absolute_path(text).map(Some),
        None => None,
    })
}

/// A list of absolute paths, perhaps empty; from the environment with commas.
pub fn absolute_paths() -> Kind<Vec<PathBuf>> {
    kind("a list of absolute paths without ..", |raw| match raw {
        Raw::List(items) => items.iter().map(|item| item.text().and_then(parse_absolute_path)).collect(),
        Raw::Loose(text) if text.trim().is_empty() => Some(Vec::new()),
        Raw::Loose(text) => text.split(',').map(|item| parse_absolute_path(item.trim())).collect(),
        Raw::Text(_) | Raw::Integer(_) | Raw::Bool(_) | Raw::Other(_) => None,
    })
}

/// `HOST:PORT`; the host is an IP address or `localhost`, so that no name service is asked.
pub fn socket_address() -> Kind<SocketAddr> {
    kind("HOST:PORT", |raw| {
        let text = raw.text()?;
        match text.strip_prefix("localhost:") {
            Some(port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, parse_port(port)?))),
            None => text.parse().ok(),
        }
    })
}

/// An address, or empty for none.
pub fn socket_address_or_empty() -> Kind<Option<SocketAddr>> {
    let address = socket_address();
    kind(format!("{}, or empty", address.should), move |raw| match raw.text() {
        Some("") => Some(None),
        _ => (address.read)(raw).map(Some),
    })
}

/// Networks such as `10.0.0.0/8`, or single addresses; the list may be empty.
pub fn networks() -> Kind<Vec<IpNet>> {
    let network = |text: &str| text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
    kind("a list of networks such as \"10.0.0.0/8\"", move |raw| match raw {
        Raw::List(items) => items.iter().map(|item| network(item.text()?)).collect(),
        Raw::Loose(text) if text.trim().is_empty() => Some(Vec::new()),
        Raw::Loose(text) => text.split(',').map(|item| network(item.trim())).collect(),
        Raw::Text(_) | Raw::Integer(_) | Raw::Bool(_) | Raw::Other(_) => None,
    })
}

/// A list of texts for each of which `accepts` holds, not empty; from the environment with commas.
pub fn list(should: &str, accepts: fn(&str) -> bool) -> Kind<Vec<String>> {
    kind(should, move |raw| {
        let items: Option<Vec<String>> = match raw {
            Raw::List(items) => items.iter().map(|item| item.text().map(str::to_owned)).collect(),
            Raw::Loose(text) => Some(text.split(',').map(|item| item.trim().to_owned()).collect()),
            Raw::Text(_) | Raw::Integer(_) | Raw::Bool(_) | Raw::Other(_) => None,
        };
        items.filter(|items| !items.is_empty() && items.iter().all(|item| accepts(item)))
    })
}

/// The first of two kinds that reads the value; `should` speaks for both.
pub fn either<T: 'static>(should: &str, first: Kind<T>, second: Kind<T>) -> Kind<T> {
    kind(should, move |raw| (first.read)(raw).or_else(|| (second.read)(raw)))
}

/// The same kind with its value made into something else.
pub fn mapped<T: 'static, U: 'static>(inner: Kind<T>, change: fn(T) -> U) -> Kind<U> {
    kind(inner.should.clone(), move |raw| (inner.read)(raw).map(change))
}

/// A name that may stand in an environment: `[A-Za-z_][A-Za-z0-9_]*`, at most 255 bytes.
pub fn is_variable_name(text: &str) -> bool {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn parse_absolute_path(text: &str) -> Option<PathBuf> {
    let path = PathBuf::from(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    (path.is_absolute() && plain && !text.chars().any(char::is_control)).then_some(path)
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Splits `"20s"` into 20 and `"s"`.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, unit.trim()))
}

/// Bytes of `"64KB"`, `"512MB"`, `"2GB"`, `"1TB"` or `"1000"`, with units of thousands.
fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text.trim())?;
    let factor = match unit {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Milliseconds of `"250ms"`, `"20s"`, `"30m"`, `"1h"` or `"2d"`.
fn parse_duration(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text.trim())?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn size_words(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "KB")];
    in_units(bytes, &units).unwrap_or_else(|| format!("{bytes} bytes"))
}

fn duration_words(millis: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    in_units(millis, &units).unwrap_or_else(|| format!("{millis}ms"))
}

fn in_units(number: u64, units: &[(u64, &str)]) -> Option<String> {
    let (factor, unit) = units.iter().find(|(factor, _)| number != 0 && number.is_multiple_of(*factor))?;
    Some(format!("{}{unit}", number / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads<T>(kind: &Kind<T>, text: &str) -> Option<T> {
        (kind.read)(&Raw::Text(text.into()))
    }

    #[test]
    fn times_are_numbers_with_a_unit() {
        let kind = duration(0, u64::MAX);
        for (text, millis) in [("250ms", 250), ("20s", 20_000), ("30m", 1_800_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(reads(&kind, text), Some(Duration::from_millis(millis)), "{text}");
        }
        for bad in
            ["", "20", "s", "-1s", "1.5s", "20 secs", "20S", "99999999999999999999s", "9999999999999999999h", "²s"]
        {
            assert_eq!(reads(&kind, bad), None, "{bad}");
        }
        assert_eq!((kind.read)(&Raw::Integer(20)), None, "a number without a unit could be anything");
    }

    #[test]
    fn sizes_are_bytes_or_numbers_with_a_unit() {
        let kind = size(0, u64::MAX);
        for (text, bytes) in
            [("64KB", 64_000), ("512MB", 512_000_000), ("2GB", 2_000_000_000), ("12", 12), ("1 MB", 1_000_000)]
        {
            assert_eq!(reads(&kind, text), Some(bytes), "{text}");
        }
        assert_eq!((kind.read)(&Raw::Integer(4096)), Some(4096));
        assert_eq!((kind.read)(&Raw::Integer(-1)), None);
        for bad in ["", "MB", "1.5GB", "1GiB", "99999999999999TB", "-2GB"] {
            assert_eq!(reads(&kind, bad), None, "{bad}");
        }
    }

    #[test]
    fn parts_and_sizes_of_commands_are_read() {
        let kind = percent(1, 90);
        assert_eq!([reads(&kind, "10%"), reads(&kind, "90 %"), reads(&kind, "91%")], [Some(10), Some(90), None]);
        assert_eq!([reads(&kind, "10"), reads(&kind, "%"), reads(&kind, "-1%")], [None, None, None]);
        assert_eq!(
            [size_of("5G"), size_of("5GB"), size_of("64K")],
            [Some(5_000_000_000), Some(5_000_000_000), Some(64_000)]
        );
        assert_eq!(
            [size_of("5 G"), size_of("G"), size_of("none"), size_of("5X")],
            [Some(5_000_000_000), None, None, None]
        );
    }

    #[test]
    fn a_range_is_said_in_the_units_people_write() {
        assert_eq!(duration(1_000, 3_600_000).should, "a time such as \"20s\", from 1s to 1h");
        assert_eq!(size(1, 2_000_000_000).should, "a size such as \"512MB\", from 1 bytes to 2GB");
        assert_eq!(reads(&duration(1_000, 3_600_000), "2h"), None);
        assert_eq!((count(1, 10).read)(&Raw::Integer(11)), None);
    }

    #[test]
    fn an_address_is_a_number_and_a_port() {
        let kind = socket_address();
        for good in ["0.0.0.0:80", "[::1]:0", "127.0.0.1:65535", "localhost:80"] {
            assert!(reads(&kind, good).is_some(), "{good}");
        }
        for bad in ["80", ":80", "example.com:80", "0.0.0.0", "0.0.0.0:65536", "localhost:+8", "localhost:", "::1:80:"]
        {
            assert!(reads(&kind, bad).is_none(), "{bad}");
        }
        assert!((kind.read)(&Raw::Integer(80)).is_none());
    }

    #[test]
    fn a_path_is_absolute_and_plain() {
        let kind = absolute_path();
        assert_eq!(reads(&kind, "/srv/projects"), Some(PathBuf::from("/srv/projects")));
        for bad in ["", "srv", "./srv", "/srv/../etc", "/srv\n", "~/srv", "/a\0b"] {
            assert_eq!(reads(&kind, bad), None, "{bad:?}");
        }
        assert_eq!(reads(&absolute_path_or_empty(), ""), Some(None));
    }

    #[test]
    fn the_environment_writes_everything_as_text() {
        let loose = |text: &str| Raw::Loose(text.into());
        assert_eq!((count(1, 10).read)(&loose("7")), Some(7));
        assert_eq!((flag().read)(&loose("false")), Some(false));
        assert_eq!((list("names", |_| true).read)(&loose("main, next")), Some(vec!["main".into(), "next".into()]));
        assert_eq!((count(1, 10).read)(&Raw::Text("7".into())), None, "a file has numbers of its own");
    }

    #[test]
    fn what_was_found_is_shown_short_and_on_one_line() {
        assert_eq!(Raw::Text("a\nb".into()).shown(), "\"a\\nb\"");
        assert_eq!(Raw::Text("x".repeat(100)).shown().chars().count(), 43);
    }
}
