//! One client connection from accept to close: guard, hyper, service, and an orderly end when the server stops.

use super::front::{Conversation, Front};
use super::guard::{Guard, Times};
use super::origin::Arrival;
use super::proxy::{Shared, answer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long connections that idle are left open after the server was told to stop politely: a client may just be
/// sending its next request, and learns with the answer that the connection ends.
const LAME: Duration = Duration::from_secs(5);

/// Whether the server goes on, and how it stops.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ending {
    Open,
    /// Another one has taken over: nobody may notice.
    Politely,
    /// Requests under way are the last.
    Now,
}

/// Serves until the client or we have had enough. After `shared.ending` the request under way is the last.
pub async fn serve<S>(stream: S, arrival: Arrival, shared: Arc<Shared>, times: Times)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut ending = shared.ending.clone();
    let front = Front::new();
    let guard = Guard::new(stream, Arc::clone(&front), times);
    let conversation = Conversation::Line(front);
    let service = service_fn(move |request| {
        let (shared, conversation) = (Arc::clone(&shared), conversation.clone());
        async move { Ok::<_, Infallible>(answer(shared, arrival, conversation, request).await) }
    });
    let mut builder = http1::Builder::new();
    // The guard keeps the time and the size of heads.
    builder.header_read_timeout(None).pipeline_flush(true);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(guard), service).with_upgrades());
    tokio::select! {
        ended = &mut connection => return log_end(arrival, ended),
        () = last_call(&mut ending) => connection.as_mut().graceful_shutdown(),
    }
    log_end(arrival, connection.await);
}

/// Ready when connections that idle have to be closed.
pub async fn last_call(ending: &mut tokio::sync::watch::Receiver<Ending>) {
    let politely =
        ending.wait_for(|ending| *ending > Ending::Open).await.is_ok_and(|ending| *ending == Ending::Politely);
    if politely {
        let now = ending.wait_for(|ending| *ending == Ending::Now);
        let _ = tokio::time::timeout(LAME, now).await;
    }
}

pub fn log_end(arrival: Arrival, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(peer = %arrival.peer, %error, "connection ended early");
    }
}
