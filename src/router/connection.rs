//! One client connection from accept to close: guard, hyper, service, and an orderly end when the server stops.

use super::front::Front;
use super::guard::{Guard, Times};
use super::proxy::{Shared, answer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Serves until the client or we have had enough. After `draining` turns true the request under way is the last.
pub async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    times: Times,
    mut draining: watch::Receiver<bool>,
) {
    // Without it an answer may wait 40 ms for an acknowledgement; a socket that refuses is about to fail anyway.
    let _ = stream.set_nodelay(true);
    let front = Front::new(peer);
    let guard = Guard::new(stream, Arc::clone(&front), times);
    let service = service_fn(move |request| {
        let (shared, front) = (Arc::clone(&shared), Arc::clone(&front));
        async move { Ok::<_, Infallible>(answer(shared, front, request).await) }
    });
    let mut builder = http1::Builder::new();
    // The guard keeps the time and the size of heads.
    builder.header_read_timeout(None).pipeline_flush(true);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(guard), service).with_upgrades());
    tokio::select! {
        ended = &mut connection => return log_end(peer, ended),
        _ = draining.wait_for(|draining| *draining) => connection.as_mut().graceful_shutdown(),
    }
    log_end(peer, connection.await);
}

fn log_end(peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}
