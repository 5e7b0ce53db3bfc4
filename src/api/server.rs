//! The control socket: routes, one list.

use super::keyboard::{TerminalWords, Typed};
use super::wire::{Call, Frame};
use crate::model::Window;
use crate::model::{Actor, Code, Failure, chain};
use crate::operations::{Input, Platform, Terminal};
use crate::system::reading;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use std::future::Future;
use std::path::Path;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};

/// A verb with its input is never larger.
const BODY_MAX: usize = 4 << 20;

/// Bytes of a stream that wait for the verb.
const PIPE: usize = 256 << 10;

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
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .route("/v1/streams", post(streams))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(platform)
}

async fn verbs(State(platform): State<Platform>, Json(call): Json<Call>) -> Response {
    let frames = super::answer(platform, Actor::local_root(), call.invocation, Input::text(call.input));
    told(frames, watch::channel(false).1)
}

/// The first line of the body is the call; the rest, however long, is what is piped in. The answer begins once the
/// line was read, and the verb reads on as it needs.
async fn streams(State(platform): State<Platform>, body: Body) -> Response {
    let (body, broken) = reader(body);
    let mut body = BufReader::new(body);
    let mut line = Vec::new();
    let read = (&mut body).take(BODY_MAX as u64).read_until(b'\n', &mut line).await;
    let call: Option<Call> = read.ok().and_then(|_| serde_json::from_slice(&line).ok());
    match call {
        Some(call) => {
            let input = match call.terminal {
                Some(words) => typed(body, &words),
                None => Input::stream(body),
            };
            let frames = super::answer(platform, Actor::local_root(), call.invocation, input);
            told(frames, broken)
        }
        None => (StatusCode::UNPROCESSABLE_ENTITY, "the first line is no call\n").into_response(),
    }
}

/// The bytes of a body, read as they are wanted. A client that breaks off looks like an end; what it sent says itself
/// whether it is whole. That it broke off is told apart: while a body is read, nobody else looks whether there is a client.
fn reader(body: Body) -> (DuplexStream, watch::Receiver<bool>) {
    let (mut into, out) = tokio::io::duplex(PIPE);
    let (broken, told) = watch::channel(false);
    tokio::spawn(async move {
        let mut pieces = body.into_data_stream();
        let mut wanted = true;
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) if wanted => wanted = into.write_all(&piece).await.is_ok(),
                Ok(_) => {}
                Err(_) => drop(broken.send_replace(true)),
            }
        }
    });
    (out, told)
}

/// What happens at a terminal, taken apart into keys and windows.
fn typed(mut body: BufReader<DuplexStream>, words: &TerminalWords) -> Input {
    let window = Window { columns: words.columns, rows: words.rows };
    let (windows, window) = watch::channel(window);
    let (mut keys, out) = tokio::io::duplex(PIPE);
    tokio::spawn(async move {
        let mut pending = Vec::new();
        while let Ok(1..) = body.read_buf(&mut pending).await {
            while let Some(typed) = Typed::take(&mut pending) {
                match typed {
                    Typed::Window(window) => drop(windows.send_replace(window)),
                    Typed::Keys(bytes) => {
                        if keys.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                }
            }
            if pending.len() > BODY_MAX {
                return;
            }
        }
    });
    Input::typed(out, Terminal::new(&words.name, window))
}

fn told(frames: mpsc::Receiver<Frame>, broken: watch::Receiver<bool>) -> Response {
    let lines = futures_util::stream::unfold((frames, broken), |(mut frames, mut broken)| async move {
        let frame = tokio::select! {
            biased;
            frame = frames.recv() => frame?,
            Ok(_) = broken.wait_for(|broken| *broken) => return None,
        };
        Some((Ok::<_, std::convert::Infallible>(frame.line()), (frames, broken)))
    });
    ([(CONTENT_TYPE, "application/jsonl")], Body::from_stream(lines)).into_response()
}
