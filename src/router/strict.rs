//! What is a request head and what is not. Pure. Everything that two parsers could read differently is refused here,
//! never repaired: hyper and the application only ever see heads that this file found good.

use super::names::Host;

/// Largest request head, in bytes.
pub const HEAD_MAX: usize = 32 * 1024;
const FIELDS_MAX: usize = 100;

/// Why a request is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// 400.
    #[error("{0}")]
    Bad(&'static str),
    /// 405.
    #[error("this method is not served here")]
    Method,
    /// 431.
    #[error("the head of the request is too large")]
    TooLarge,
    /// 505.
    #[error("only HTTP 1.0 and 1.1 are spoken here")]
    Version,
}

/// What follows a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follows {
    /// No body: the next request, or nothing.
    Head,
    /// A body of this many bytes, more than none.
    Body(u64),
    Chunked,
    /// Asks to change to WebSocket: what follows is known once the application answered.
    Upgrade,
}

/// Judges a whole head, its empty line included.
pub fn judge(head: &[u8]) -> Result<Follows, Refusal> {
    let Some(text) = head.strip_suffix(b"\r\n\r\n") else { return Err(Refusal::Bad("the head does not end")) };
    if head.len() > HEAD_MAX {
        return Err(Refusal::TooLarge);
    }
    let mut lines = text.split(|b| *b == b'\n').peekable();
    let first = lines.next().unwrap_or_default();
    let line = RequestLine::parse(without_cr(first, lines.peek().is_none())?)?;
    let mut fields = Fields::default();
    while let Some(raw) = lines.next() {
        fields.add(without_cr(raw, lines.peek().is_none())?)?;
    }
    fields.judge(&line)
}

/// A line without its CR; the last one lost its CR LF with the end of the head. Any other CR is refused by the caller's
/// rule on control characters.
fn without_cr(line: &[u8], is_last: bool) -> Result<&[u8], Refusal> {
    match line.strip_suffix(b"\r") {
        Some(bare) if !is_last => Ok(bare),
        None if is_last => Ok(line),
        _ => Err(Refusal::Bad("a line does not end in CR LF")),
    }
}

struct RequestLine<'a> {
    method: &'a str,
    target: &'a str,
    minor: u8,
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, Refusal> {
        const BAD: Refusal = Refusal::Bad("malformed request line");
        let text = std::str::from_utf8(line).map_err(|_| BAD)?;
        let mut words = text.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(BAD);
        };
        if !is_token(method.as_bytes()) || target.is_empty() || !target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BAD);
        }
        let minor = match version {
            "HTTP/1.1" => 1,
            "HTTP/1.0" => 0,
            other if other.starts_with("HTTP/") => return Err(Refusal::Version),
            _ => return Err(BAD),
        };
        if matches!(method, "CONNECT" | "TRACE") || method == super::front::REFUSED_METHOD {
            return Err(Refusal::Method);
        }
        Ok(Self { method, target, minor })
    }

    /// Origin form, `*` for OPTIONS, or absolute form naming the same host as the `Host` field.
    fn check_target(&self, host: &Host) -> Result<(), Refusal> {
        const BAD: Refusal = Refusal::Bad("malformed request target");
        if self.target.contains(['#', '\\', '"', '<', '>']) {
            return Err(BAD);
        }
        if self.target.starts_with('/') || (self.target == "*" && self.method == "OPTIONS") {
            return Ok(());
        }
        let lower = self.target.to_ascii_lowercase();
        let Some(rest) = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://")) else {
            return Err(BAD);
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        match Host::parse(authority) {
            Some(named) if named == *host => Ok(()),
            _ => Err(Refusal::Bad("the request target and Host name different hosts")),
        }
    }
}

#[derive(Default)]
struct Fields<'a> {
    count: usize,
    host: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
    upgrade: Option<&'a [u8]>,
    asks_upgrade: bool,
}

impl<'a> Fields<'a> {
    fn add(&mut self, line: &'a [u8]) -> Result<(), Refusal> {
        self.count += 1;
        if self.count > FIELDS_MAX {
            return Err(Refusal::TooLarge);
        }
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            return Err(Refusal::Bad("a header field without a colon"));
        };
        let (name, value) = (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default());
        if !is_token(name) {
            return Err(Refusal::Bad("a header field with a malformed name"));
        }
        if value.iter().any(|b| (b.is_ascii_control() && *b != b'\t') || *b == 0x7f) {
            return Err(Refusal::Bad("a header field with a control character"));
        }
        self.keep(name, value.trim_ascii())
    }

    fn keep(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        let slot = match name.to_ascii_lowercase().as_slice() {
            b"host" => &mut self.host,
            b"content-length" => &mut self.length,
            b"transfer-encoding" => &mut self.coding,
            b"upgrade" => &mut self.upgrade,
            b"connection" => {
                self.asks_upgrade |=
                    value.split(|b| *b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
                return Ok(());
            }
            _ => return Ok(()),
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(Refusal::Bad("a header field that may stand once stands twice")),
        }
    }

    fn judge(&self, line: &RequestLine<'_>) -> Result<Follows, Refusal> {
        let host = self.host.and_then(|value| std::str::from_utf8(value).ok()).and_then(Host::parse);
        let Some(host) = host else { return Err(Refusal::Bad("no Host field that names a host")) };
        line.check_target(&host)?;
        let body = self.body(line)?;
        let websocket = self.upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"));
        if !(websocket && self.asks_upgrade && line.minor == 1) {
            return Ok(body);
        }
        match body {
            Follows::Head if line.method == "GET" => Ok(Follows::Upgrade),
            _ => Err(Refusal::Bad("an upgrade with a body or another method than GET")),
        }
    }

    fn body(&self, line: &RequestLine<'_>) -> Result<Follows, Refusal> {
        match (self.length, self.coding) {
            (None, None) => Ok(Follows::Head),
            (Some(_), Some(_)) => Err(Refusal::Bad("both Content-Length and Transfer-Encoding")),
            (None, Some(_)) if line.minor == 0 => Err(Refusal::Bad("Transfer-Encoding in HTTP/1.0")),
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Follows::Chunked),
            (None, Some(_)) => Err(Refusal::Bad("a Transfer-Encoding other than chunked")),
            (Some(length), None) => match parse_length(length) {
                Some(0) => Ok(Follows::Head),
                Some(bytes) => Ok(Follows::Body(bytes)),
                None => Err(Refusal::Bad("malformed Content-Length")),
            },
        }
    }
}

fn parse_length(value: &[u8]) -> Option<u64> {
    let plain = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// How many bytes of `bytes` make a whole head, looked for from `from` on (the place where the last look ended).
/// A bare LF in front is left to [`judge`]: `\n\n` and `\n\r\n` end a head too, so that it gets its answer at once.
pub fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let start = from.saturating_sub(3);
    let window = bytes.get(start..)?;
    let mut newlines = window.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at).peekable();
    while let Some(at) = newlines.next() {
        match newlines.peek() {
            Some(next) if *next == at + 1 || (*next == at + 2 && window.get(at + 1) == Some(&b'\r')) => {
                return Some(start + next + 1);
            }
            _ => {}
        }
    }
    // A head may not begin with an empty line either.
    let empty_first = bytes.starts_with(b"\n") || bytes.starts_with(b"\r\n");
    empty_first.then(|| bytes.iter().position(|b| *b == b'\n').map(|at| at + 1)).flatten()
}

#[cfg(test)]
#[path = "strict_tests.rs"]
pub mod tests;
