//! What is a request of HTTP/2 and what is not. Pure. The library refuses what is no HTTP/2; this refuses what
//! [`super::strict`] refuses of HTTP/1, and makes of the rest what an application expects: one Host, one Cookie.

use super::names::Host;
use super::strict::Refusal;
use hyper::Method;
use hyper::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderValue, TE};
use hyper::http::request::Parts;

/// Largest list of fields, in bytes, as HTTP/2 counts them.
pub const LIST_MAX: u32 = 32 * 1024;
const FIELDS_MAX: usize = 100;

/// Judges a head and puts its parts in order.
pub fn admit(parts: &mut Parts) -> Result<(), Refusal> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) || parts.method.as_str() == super::front::REFUSED_METHOD
    {
        return Err(Refusal::Method);
    }
    if parts.headers.len() > FIELDS_MAX {
        return Err(Refusal::TooLarge);
    }
    let host = host(parts)?;
    target(parts)?;
    if parts.headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(Refusal::Bad("a header field that may stand once stands twice"));
    }
    parts.headers.insert(HOST, host);
    parts.headers.remove(TE);
    join_cookies(parts);
    Ok(())
}

/// The authority; a Host field beside it has to name the same host, and stands in for it where there is none.
fn host(parts: &Parts) -> Result<HeaderValue, Refusal> {
    const BAD: Refusal = Refusal::Bad("no authority that names a host");
    let mut fields = parts.headers.get_all(HOST).iter();
    let (field, more) = (fields.next(), fields.next());
    if more.is_some() {
        return Err(Refusal::Bad("a header field that may stand once stands twice"));
    }
    let parse = |value: &HeaderValue| value.to_str().ok().and_then(Host::parse);
    let authority = parts.uri.authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    match (authority.transpose().map_err(|_| BAD)?, field) {
        (Some(authority), None) => parse(&authority).map(|_| authority).ok_or(BAD),
        (None, Some(field)) => parse(field).map(|_| field.clone()).ok_or(BAD),
        (Some(authority), Some(field)) => match (parse(&authority), parse(field)) {
            (Some(one), Some(other)) if one == other => Ok(authority),
            _ => Err(Refusal::Bad("authority and Host name different hosts")),
        },
        (None, None) => Err(BAD),
    }
}

fn target(parts: &Parts) -> Result<(), Refusal> {
    const BAD: Refusal = Refusal::Bad("malformed request target");
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && !b"#\\\"<>".contains(&b));
    let known = matches!(parts.uri.scheme_str(), None | Some("http" | "https"));
    let starts_well = path.starts_with('/') || (path == "*" && parts.method == Method::OPTIONS);
    if plain && known && starts_well { Ok(()) } else { Err(BAD) }
}

/// HTTP/2 may cut cookies into several fields; HTTP/1 has one.
fn join_cookies(parts: &mut Parts) {
    let crumbs: Vec<&[u8]> = parts.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        parts.headers.insert(COOKIE, whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn judged(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<Parts, Refusal> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        admit(&mut parts).map(|()| parts)
    }

    #[test]
    fn the_authority_is_the_host_and_cookies_are_one_field() {
        let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), ("host", "A.test")];
        let parts = judged("GET", "https://a.test/x?y", &crumbs).unwrap();
        assert_eq!(parts.headers.get_all(HOST).iter().collect::<Vec<_>>(), ["a.test"]);
        assert_eq!(parts.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        assert!(!parts.headers.contains_key(TE));
        assert!(judged("GET", "/x", &[("host", "a.test")]).is_ok());
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for (method, uri, fields) in [
            ("GET", "/", &[][..]),
            ("GET", "https://a.test/", &[("host", "b.test")]),
            ("GET", "https://a.test/", &[("host", "a.test"), ("host", "a.test")]),
            ("GET", "/", &[("host", "a test")]),
            ("GET", "ftp://a.test/", &[]),
            ("GET", "https://x@a.test/", &[]),
            ("GET", "https://a_b..test/", &[]),
            ("CONNECT", "a.test:443", &[]),
            ("TRACE", "https://a.test/", &[]),
            ("COMMIS-REFUSED", "https://a.test/", &[]),
            ("POST", "https://a.test/", &[("content-length", "1"), ("content-length", "2")]),
        ] {
            assert!(judged(method, uri, fields).is_err(), "{method} {uri} {fields:?}");
        }
        let many: Vec<(&str, &str)> = (0..101).map(|_| ("x", "y")).collect();
        assert_eq!(judged("GET", "https://a.test/", &many).unwrap_err(), Refusal::TooLarge);
    }
}
