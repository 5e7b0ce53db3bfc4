//! `commis static DIR`: a small web server for the files of a static site, run as an ordinary process of the project.
//!
//! It answers GET and HEAD on 127.0.0.1:$PORT, never leaves its directory (`openat2` beneath it, whatever links say),
//! and knows nothing of projects.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Larger files are refused: a site is read into memory file by file.
const FILE_MAX: u64 = 256 << 20;

/// Serves until it is killed; returns an exit code when it cannot.
pub fn run(directory: Option<&OsString>, port: Option<u16>) -> i32 {
    let root = PathBuf::from(directory.cloned().unwrap_or_else(|| ".".into()));
    let Some(port) = port else { return complain("PORT is not set") };
    let root = match open_root(&root) {
        Ok(root) => Arc::new(root),
        Err(error) => return complain(&format!("{}: {error}", root.display())),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(serve(root, port))) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) | Err(error) => complain(&error.to_string()),
    }
}

fn complain(what: &str) -> i32 {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "commis static: {what}");
    1
}

fn open_root(path: &std::path::Path) -> nix::Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
}

async fn serve(root: Arc<OwnedFd>, port: u16) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let root = root.clone();
        let service = hyper::service::service_fn(move |request| {
            let root = root.clone();
            async move { Ok::<_, std::convert::Infallible>(answer(&root, &request)) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(30))
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

fn answer<B>(root: &OwnedFd, request: &Request<B>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let Some(path) = decode(request.uri().path()) else { return plain(StatusCode::BAD_REQUEST, "bad path\n") };
    let relative = path.trim_start_matches('/');
    let found = match relative.is_empty() || relative.ends_with('/') {
        true => read(root, &format!("{relative}index.html")),
        false => read(root, relative),
    };
    let mut response = match found {
        Found::File(bytes, name) => file(StatusCode::OK, bytes, &name),
        Found::Directory => moved(request.uri().path()),
        Found::Nothing => match read(root, "404.html") {
            Found::File(bytes, name) => file(StatusCode::NOT_FOUND, bytes, &name),
            Found::Directory | Found::Nothing => plain(StatusCode::NOT_FOUND, "not found\n"),
        },
    };
    if request.method() == Method::HEAD {
        *response.body_mut() = Full::default();
    }
    response
}

enum Found {
    File(Vec<u8>, String),
    Directory,
    Nothing,
}

fn read(root: &OwnedFd, path: &str) -> Found {
    let hidden = path.split('/').any(|part| part.starts_with('.') && part != ".well-known");
    if hidden || path.contains('\0') {
        return Found::Nothing;
    }
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let Ok(fd) = openat2(root, path, how) else { return Found::Nothing };
    let file = std::fs::File::from(fd);
    match file.metadata() {
        Ok(meta) if meta.is_dir() => Found::Directory,
        Ok(meta) if meta.is_file() && meta.len() <= FILE_MAX => {
            let mut bytes = Vec::new();
            match file.take(FILE_MAX).read_to_end(&mut bytes) {
                Ok(_) => Found::File(bytes, path.to_owned()),
                Err(_) => Found::Nothing,
            }
        }
        _ => Found::Nothing,
    }
}

fn file(status: StatusCode, bytes: Vec<u8>, name: &str) -> Response<Full<Bytes>> {
    let length = bytes.len();
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A directory named without its slash: relative links in its page would be wrong.
fn moved(path: &str) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::MOVED_PERMANENTLY, "moved\n");
    // One slash in front: `//evil` would name another host.
    let target = format!("/{}/", path.trim_matches('/'));
    match HeaderValue::from_str(&target) {
        Ok(value) => {
            response.headers_mut().insert(LOCATION, value);
            response
        }
        Err(_) => plain(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Percent-decoding; `None` when it is not UTF-8 or not well formed.
fn decode(path: &str) -> Option<String> {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).as_deref() {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        Some("xml") => "application/xml",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("avif") => "image/avif",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("woff") => "font/woff",
        Some("wasm") => "application/wasm",
        Some("pdf") => "application/pdf",
        Some("webmanifest") => "application/manifest+json",
        Some("mp4") => "video/mp4",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(root: &std::path::Path, path: &str) -> (u16, String) {
        let root = open_root(root).unwrap();
        let response = answer(&root, &Request::get(path).body(()).unwrap());
        let location = response.headers().get(LOCATION).or(response.headers().get(CONTENT_TYPE));
        (response.status().as_u16(), location.map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default())
    }

    #[test]
    fn a_site_is_served_and_nothing_outside_it() {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().join("site");
        std::fs::create_dir_all(site.join("docs")).unwrap();
        for (name, text) in [
            ("site/index.html", "i"),
            ("site/docs/index.html", "d"),
            ("site/a b.css", "c"),
            ("secret", "s"),
            ("site/.env", "e"),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("../secret", site.join("link")).unwrap();
        assert_eq!(get(&site, "/"), (200, "text/html; charset=utf-8".into()));
        assert_eq!(get(&site, "/docs"), (301, "/docs/".into()));
        assert_eq!(get(&site, "/docs/").0, 200);
        assert_eq!(get(&site, "/a%20b.css"), (200, "text/css; charset=utf-8".into()));
        for outside in ["/../secret", "/%2e%2e/secret", "/link", "/.env", "/nothing", "/docs/../../secret"] {
            assert_eq!(get(&site, outside).0, 404, "{outside}");
        }
        assert_eq!(get(&site, "/%zz").0, 400);
    }
}
