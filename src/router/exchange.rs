//! One request to one instance and its answer: over a kept connection where there is one, once more over a new one
//! where that is safe, and not longer than allowed. Which instance and which fields is decided before.

use super::ejection::Sign;
use super::pool::{Lease, Pool};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{Method, Request, Response};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// Why an application gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("no connection to the application")]
    Connect(#[source] std::io::Error),
    #[error("the application did not answer in time")]
    Timeout,
    #[error("the application did not answer properly")]
    Broken(#[source] hyper::Error),
    #[error("the application's answer is not well-formed")]
    Malformed,
    #[error("no instance of the application takes requests")]
    AllOut,
}

/// The body of a request on its way to an application. Trailers are dropped.
pub enum Upload {
    Empty,
    Streamed { body: Incoming, progress: Arc<Progress> },
}

/// How far an upload is: whether it ended, and how many pieces went.
#[derive(Default)]
pub struct Progress {
    pieces: AtomicU64,
    ended: AtomicBool,
}

impl Upload {
    pub fn of(body: Incoming) -> (Self, Option<Arc<Progress>>) {
        if body.is_end_stream() {
            return (Self::Empty, None);
        }
        let progress = Arc::new(Progress::default());
        (Self::Streamed { body, progress: Arc::clone(&progress) }, Some(progress))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Upload::Streamed { body, progress } = self.get_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        progress.pieces.fetch_add(1, Ordering::Relaxed);
        let frame = frame.filter(|frame| !frame.as_ref().is_ok_and(Frame::is_trailers));
        if frame.is_none() || body.is_end_stream() {
            progress.ended.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Upload::Empty => true,
            Upload::Streamed { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Upload::Empty => SizeHint::with_exact(0),
            Upload::Streamed { body, .. } => body.size_hint(),
        }
    }
}

/// An answer whose body is still to be read, and the connection it comes over.
pub struct Exchange {
    pub answer: Response<Incoming>,
    pub lease: Lease,
    pub upload: Option<Arc<Progress>>,
}

impl Exchange {
    /// Whether the connection may carry another request once the body is read.
    pub fn is_uploaded(upload: Option<&Arc<Progress>>) -> bool {
        upload.is_none_or(|progress| progress.ended.load(Ordering::Acquire))
    }
}

/// Why one attempt gave no answer, and what is left for another one.
pub enum Failed {
    /// Nothing of it was sent.
    Unsent(Box<Request<Upload>>, io::Error),
    /// The connection ended before there was an answer; with a copy of what may be repeated.
    Broke(hyper::Error, Option<Box<Request<Upload>>>),
    /// Not for another attempt: it is the answer that is bad, or the client's body.
    Ended(ExchangeError),
}

/// A request that may be tried, as an application gets it.
pub fn outgoing(request: Request<Incoming>) -> (Request<Upload>, Option<Arc<Progress>>) {
    let (parts, body) = request.into_parts();
    let (body, upload) = Upload::of(body);
    (Request::from_parts(parts, body), upload)
}

/// Sends `request` to one instance. `patience` is for the head of the answer and starts again with every piece of the
/// request's body; `well` hears what went well. A kept connection may have been closed at the other end just now, which is nobody's fault: then a
/// new one is tried.
pub async fn attempt(
    pool: &Pool,
    mut request: Request<Upload>,
    upload: Option<Arc<Progress>>,
    patience: Duration,
    well: &impl Fn(Sign),
) -> Result<Exchange, Failed> {
    let answered = |answer, lease, upload| {
        well(Sign::Answered);
        checked(answer, lease, upload).map_err(Failed::Ended)
    };
    let mut lease = match pool.lease().await {
        Ok(lease) => lease,
        Err(error) => return Err(Failed::Unsent(Box::new(request), error)),
    };
    if lease.reused {
        match send(&mut lease, request, upload.as_deref(), patience).await {
            Ok(answer) => return answered(answer, lease, upload),
            Err(Failed::Unsent(unsent, _)) => request = *unsent,
            Err(Failed::Broke(_, Some(copy))) => request = *copy,
            Err(failed) => return Err(failed),
        }
        lease = match pool.lease_new().await {
            Ok(lease) => lease,
            Err(error) => return Err(Failed::Unsent(Box::new(request), error)),
        };
    }
    well(Sign::Connected);
    match send(&mut lease, request, upload.as_deref(), patience).await {
        Ok(answer) => answered(answer, lease, upload),
        Err(failed) => Err(failed),
    }
}

async fn send(
    lease: &mut Lease,
    request: Request<Upload>,
    upload: Option<&Progress>,
    patience: Duration,
) -> Result<Response<Incoming>, Failed> {
    let repeatable = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) && upload.is_none();
    let copy = repeatable.then(|| copy_of(&request));
    let sent = lease.sender.try_send_request(request);
    let mut sent = std::pin::pin!(sent);
    let mut pieces = 0;
    let mut deadline = Instant::now() + patience;
    loop {
        match tokio::time::timeout_at(deadline, &mut sent).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(mut error)) => {
                return Err(match error.take_message() {
                    Some(request) => Failed::Unsent(Box::new(request), io::ErrorKind::ConnectionReset.into()),
                    None => ended(error.into_error(), copy),
                });
            }
            Err(_) => {
                let now = upload.map_or(0, |progress| progress.pieces.load(Ordering::Relaxed));
                if now == pieces {
                    return Err(Failed::Ended(ExchangeError::Timeout));
                }
                pieces = now;
                deadline = Instant::now() + patience;
            }
        }
    }
}

/// Only a connection that ended says something about the instance.
fn ended(error: hyper::Error, copy: Option<Box<Request<Upload>>>) -> Failed {
    if error.is_parse() || error.is_user() {
        return Failed::Ended(ExchangeError::Broken(error));
    }
    Failed::Broke(error, copy)
}

/// An answer that says two things about its length is as bad as such a request.
fn checked(answer: Response<Incoming>, lease: Lease, upload: Option<Arc<Progress>>) -> Result<Exchange, ExchangeError> {
    let fields = answer.headers();
    let lengths = fields.get_all(hyper::header::CONTENT_LENGTH).iter().count();
    if lengths > 1 || (lengths == 1 && fields.contains_key(hyper::header::TRANSFER_ENCODING)) {
        return Err(ExchangeError::Malformed);
    }
    Ok(Exchange { answer, lease, upload })
}

fn copy_of(request: &Request<Upload>) -> Box<Request<Upload>> {
    let mut copy = Request::new(Upload::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Box::new(copy)
}
