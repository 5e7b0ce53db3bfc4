//! One HTTP/2 connection from its handshake to its close. Floods end it: streams, resets and fields are limited, and what
//! idles or does not begin is let go. What a request is, is decided in `strict_h2`.

use super::connection::{Ending, log_end};
use super::front::{Conversation, Streams};
use super::guard::Times;
use super::origin::Arrival;
use super::proxy::{Shared, answer, refuse};
use super::strict_h2::{LIST_MAX, admit};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

const STREAMS_MAX: u32 = 100;
/// Streams that a client gave up before they were taken, and those that we had to reset: more is a flood.
const RESETS_PENDING_MAX: usize = 20;
const RESETS_OWN_MAX: usize = 100;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 128 * 1024;
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIME: Duration = Duration::from_secs(20);
/// How long a connection that was told to end may take for it.
const GOODBYE: Duration = Duration::from_secs(10);

/// Serves until the client or we have had enough.
pub async fn serve<S>(stream: S, arrival: Arrival, shared: Arc<Shared>, times: Times)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut ending = shared.ending.clone();
    let streams = Arc::new(Streams::default());
    let conversation = Conversation::Streams(Arc::clone(&streams));
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, conversation) = (Arc::clone(&shared), conversation.clone());
        async move {
            let (mut parts, body) = request.into_parts();
            let admitted = admit(&mut parts);
            let request = Request::from_parts(parts, body);
            Ok::<_, Infallible>(match admitted {
                Ok(()) => answer(shared, arrival, conversation, request).await,
                Err(refusal) => refuse(&shared, arrival, (&conversation, &request), refusal),
            })
        }
    });
    let mut connection = pin!(builder().serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = &mut connection => return log_end(arrival, ended),
        _ = ending.wait_for(|ending| *ending > Ending::Open) => {}
        () = streams.idle(times.header, times.idle) => {}
    }
    // The client is told not to begin anything more; what is under way ends.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = &mut connection => log_end(arrival, ended),
        () = streams.idle(GOODBYE, GOODBYE) => {}
    }
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(RESETS_OWN_MAX)
        .max_header_list_size(LIST_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIME);
    builder
}
