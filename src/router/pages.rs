//! The answers that the router gives itself: small pages without outside parts, and the bodies of all answers.
//! No page names a project, and none repeats what the client sent.

use super::account::Account;
use super::exchange::{Exchange, Progress};
use super::instance::Pass;
use super::pool::Lease;
use super::strict::Refusal;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Response, StatusCode};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// An answer of the router's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Page {
    UnknownHost,
    BadGateway,
    NoRelease,
    /// All instances are out, and no more requests may wait for one.
    Crowded,
    Timeout,
}

impl Page {
    pub fn response(self, account: Account) -> Response<Reply> {
        let (status, text) = match self {
            Page::UnknownHost => (StatusCode::NOT_FOUND, include_str!("pages/404.html")),
            Page::BadGateway => (StatusCode::BAD_GATEWAY, include_str!("pages/502.html")),
            Page::NoRelease | Page::Crowded => (StatusCode::SERVICE_UNAVAILABLE, include_str!("pages/503.html")),
            Page::Timeout => (StatusCode::GATEWAY_TIMEOUT, include_str!("pages/504.html")),
        };
        let mut response = plain(status, text.into(), "text/html; charset=utf-8", account);
        match self {
            Page::NoRelease => response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10")),
            Page::Crowded => response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1")),
            Page::UnknownHost | Page::BadGateway | Page::Timeout => None,
        };
        response
    }
}

/// What an authority of certificates asked.
pub fn challenge(answer: String, account: Account) -> Response<Reply> {
    plain(StatusCode::OK, answer.into(), "application/octet-stream", account)
}

/// The same over TLS. The method stays what it is.
pub fn moved(location: HeaderValue, account: Account) -> Response<Reply> {
    let mut response = plain(
        StatusCode::PERMANENT_REDIRECT,
        "this is served over https\n".into(),
        "text/plain; charset=utf-8",
        account,
    );
    response.headers_mut().insert(LOCATION, location);
    response
}

/// The page of a project that is being worked on: its own, or ours.
pub fn maintenance(page: Option<&str>, retry_after: Duration, account: Account) -> Response<Reply> {
    let text = page.unwrap_or(include_str!("pages/maintenance.html")).to_owned();
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text.into(), "text/html; charset=utf-8", account);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs()));
    response
}

/// The answer to what was no request; the connection ends with it.
pub fn refused(refusal: Option<Refusal>, account: Account) -> Response<Reply> {
    let refusal = refusal.unwrap_or(Refusal::Bad("malformed request"));
    let status = match refusal {
        Refusal::Bad(_) => StatusCode::BAD_REQUEST,
        Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Refusal::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    };
    let mut response = plain(status, format!("{refusal}\n").into(), "text/plain; charset=utf-8", account);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn plain(status: StatusCode, text: Bytes, kind: &'static str, account: Account) -> Response<Reply> {
    let mut response = Response::new(Reply { content: Content::Page(Some(text)), account });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The body of an answer: a page, or what the application sends.
pub struct Reply {
    content: Content,
    account: Account,
}

enum Content {
    Page(Option<Bytes>),
    Application { body: Incoming, lease: Option<Lease>, upload: Option<Arc<Progress>>, _pass: Pass },
}

impl Reply {
    /// `pass` is held until the last byte is on its way.
    pub fn application(exchange: (Incoming, Lease, Option<Arc<Progress>>), pass: Pass, account: Account) -> Self {
        let (body, lease, upload) = exchange;
        let ended = body.is_end_stream();
        let mut content = Content::Application { body, lease: Some(lease), upload, _pass: pass };
        if ended {
            content.give_back();
        }
        Self { content, account }
    }

    /// Written down when the last byte of the answer is on its way.
    pub fn note_status(&mut self, status: StatusCode) {
        self.account.status(status.as_u16());
    }

    pub fn empty(account: Account) -> Self {
        Self { content: Content::Page(None), account }
    }
}

impl Content {
    /// The connection to the application goes back to the pool as soon as the last byte is read from it.
    fn give_back(&mut self) {
        if let Content::Application { lease, upload, .. } = self
            && Exchange::is_uploaded(upload.as_ref())
            && let Some(lease) = lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Reply { content, account } = self.get_mut();
        let body = match content {
            Content::Page(text) => {
                account.sent(text.as_ref().map_or(0, Bytes::len));
                return Poll::Ready(text.take().map(|text| Ok(Frame::data(text))));
            }
            Content::Application { body, .. } => body,
        };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            account.sent(data.len());
        }
        if frame.is_none() || body.is_end_stream() {
            content.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Page(text) => text.is_none(),
            Content::Application { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Page(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Content::Application { body, .. } => body.size_hint(),
        }
    }
}
