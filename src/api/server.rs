//! The control socket: routes, one list.

use super::wire::Call;
use crate::model::{Actor, Code, Failure, chain};
use crate::operations::Platform;
use crate::system::reading;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use std::future::Future;
use std::path::Path;
use tokio::net::UnixListener;

/// A verb with its input is never larger.
const BODY_MAX: usize = 4 << 20;

/// Binds the socket, 0600: whoever opens it is root.
///
/// # Errors
/// `ServerConfig` when the path cannot be bound.
pub fn bind(path: &Path) -> Result<UnixListener, Failure> {
    reading::bind_private_socket(path).map_err(|error| {
        Failure::new(Code::ServerConfig, format!("control socket {}: {}", path.display(), chain(&error)))
            .hint("see paths.runtime in commis.toml")
    })
}

/// Serves until `shutdown`.
pub async fn serve(listener: UnixListener, platform: Platform, shutdown: impl Future<Output = ()> + Send + 'static) {
    let served = axum::serve(listener, routes(platform)).with_graceful_shutdown(shutdown).await;
    if let Err(error) = served {
        tracing::error!(%error, "the control socket ended");
    }
}

fn routes(platform: Platform) -> Router {
    Router::new()
        .route("/v1/verbs", post(verbs))
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(platform)
}

async fn verbs(State(platform): State<Platform>, Json(call): Json<Call>) -> Response {
    let frames = super::answer(platform, Actor::local_root(), call.invocation, call.input);
    let lines = futures_util::stream::unfold(frames, |mut frames| async move {
        let frame = frames.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(frame.line()), frames))
    });
    ([(CONTENT_TYPE, "application/jsonl")], Body::from_stream(lines)).into_response()
}
