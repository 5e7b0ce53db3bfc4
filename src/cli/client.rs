//! One call over the control socket.

use super::terminal;
use crate::api::keyboard::TerminalWords;
use crate::api::wire::{Call, Frame};
use crate::config;
use crate::layouts::Places;
use crate::model::{Code, Failure, chain};
use crate::verbs::Invocation;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::signal::unix::{SignalKind, signal};

/// Bytes that are read and sent at a time.
pub(super) const PIECE: usize = 64 << 10;

/// What is piped into a verb.
pub enum Piped {
    Text(String),
    Stream(Box<dyn AsyncRead + Send + Unpin>),
    /// What is typed at this terminal.
    Typed(TerminalWords),
}

/// Sends a verb to the server named by the configuration; frames are handed over as they come. Returns the exit code.
///
/// # Errors
/// `Unreachable` when no server answers, `ServerConfig` when the configuration is wrong.
pub fn call(invocation: Invocation, input: Piped, print: &mut dyn FnMut(&Frame)) -> Result<u8, Failure> {
    let config = config::load(None)?;
    let paths = config.paths;
    let places = Places { projects: paths.projects, state: paths.state, runtime: paths.runtime, logs: paths.logs };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::internal("start", &error))?;
    let at_terminal = matches!(input, Piped::Typed(_));
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = talk(&places, (invocation, input), print) => ended,
            ended = told_to_end(), if at_terminal => ended,
        }
    });
    // Somebody's keyboard may still be read; nobody waits for it.
    runtime.shutdown_background();
    ended
}

/// Whoever ends us at a terminal finds it as it was.
async fn told_to_end() -> Result<u8, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::internal("listen for signals", &error));
    let (mut term, mut hup) = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    tokio::select! {
        _ = term.recv() => Ok(143),
        _ = hup.recv() => Ok(129),
    }
}

async fn talk(places: &Places, call: (Invocation, Piped), print: &mut dyn FnMut(&Frame)) -> Result<u8, Failure> {
    let socket = places.control_socket();
    let stream = tokio::net::UnixStream::connect(&socket).await.map_err(|error| {
        Failure::new(Code::Unreachable, format!("no server answers at {}: {error}", socket.display()))
            .hint("start it: commis serve --config FILE; and name the same FILE in COMMIS_CONFIG")
    })?;
    let broken =
        |error: &hyper::Error| Failure::new(Code::Unreachable, format!("the server hung up: {}", chain(error)));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    tokio::spawn(connection);
    let (route, body) = encode(call)?;
    let request = hyper::Request::post(route)
        .header("host", "commis")
        .header("content-type", "application/json")
        .body(body)
        .map_err(|error| Failure::internal("encode the verb", &error))?;
    let mut response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    if !response.status().is_success() {
        let what =
            format!("the server does not understand this verb ({}): is it older than this client?", response.status());
        return Err(Failure::new(Code::Unreachable, what));
    }
    let mut pending = Vec::new();
    while let Some(part) = response.body_mut().frame().await {
        let part = part.map_err(|error| broken(&error))?;
        pending.extend_from_slice(part.data_ref().map(Bytes::as_ref).unwrap_or_default());
        if let Some(code) = print_lines(&mut pending, print) {
            return Ok(code);
        }
    }
    Err(Failure::new(Code::Unreachable, "the server went away before the end").hint("commis status"))
}

/// The route and the body: a call with its text, or a call in one line with a stream after it.
fn encode(
    (invocation, input): (Invocation, Piped),
) -> Result<(&'static str, UnsyncBoxBody<Bytes, std::io::Error>), Failure> {
    let encode = |call: &Call| serde_json::to_vec(call).map_err(|error| Failure::internal("encode the verb", &error));
    let call = |input, terminal| Call { invocation: invocation.clone(), input, terminal };
    let first = |terminal| {
        let mut line = encode(&call(String::new(), terminal))?;
        line.push(b'\n');
        Ok::<_, Failure>(Bytes::from(line))
    };
    match input {
        Piped::Text(input) => {
            let body = Full::new(Bytes::from(encode(&call(input, None))?));
            Ok(("/v1/verbs", body.map_err(|never| match never {}).boxed_unsync()))
        }
        Piped::Stream(stream) => Ok(("/v1/streams", pieces(first(None)?, stream))),
        Piped::Typed(words) => Ok(("/v1/streams", keys(first(Some(words))?))),
    }
}

fn keys(line: Bytes) -> UnsyncBoxBody<Bytes, std::io::Error> {
    let lines = futures_util::stream::unfold((Some(line), terminal::typed()), |(line, mut typed)| async move {
        let piece = match line {
            Some(line) => line,
            None => typed.recv().await?,
        };
        Some((Ok(body::Frame::data(piece)), (None, typed)))
    });
    BodyExt::boxed_unsync(StreamBody::new(Box::pin(lines)))
}

fn pieces(line: Bytes, stream: Box<dyn AsyncRead + Send + Unpin>) -> UnsyncBoxBody<Bytes, std::io::Error> {
    let pieces = futures_util::stream::unfold((Some(line), stream), |(line, mut stream)| async move {
        if let Some(line) = line {
            return Some((Ok(body::Frame::data(line)), (None, stream)));
        }
        let mut piece = vec![0; PIECE];
        match stream.read(&mut piece).await {
            Ok(0) => None,
            Ok(count) => {
                piece.truncate(count);
                Some((Ok(body::Frame::data(Bytes::from(piece))), (None, stream)))
            }
            Err(error) => Some((Err(error), (None, stream))),
        }
    });
    BodyExt::boxed_unsync(StreamBody::new(Box::pin(pieces)))
}

/// Hands over whole frames; the exit code when it was among them.
fn print_lines(pending: &mut Vec<u8>, print: &mut dyn FnMut(&Frame)) -> Option<u8> {
    while let Some(frame) = Frame::take(pending) {
        match frame {
            Frame::Exit(code) => return Some(code),
            frame => print(&frame),
        }
    }
    None
}
