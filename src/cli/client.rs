//! One call over the control socket.

use crate::api::wire::{Call, Frame};
use crate::config;
use crate::layouts::Places;
use crate::model::{Code, Failure, chain};
use crate::verbs::Invocation;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;

/// Sends a verb to the server named by the configuration; frames are handed over as they come. Returns the exit code.
///
/// # Errors
/// `Unreachable` when no server answers, `ServerConfig` when the configuration is wrong.
pub fn call(invocation: Invocation, input: String, print: &mut dyn FnMut(&Frame)) -> Result<u8, Failure> {
    let config = config::load(None)?;
    let paths = config.paths;
    let places = Places { projects: paths.projects, state: paths.state, runtime: paths.runtime, logs: paths.logs };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::internal("start", &error))?;
    runtime.block_on(talk(&places, Call { invocation, input }, print))
}

async fn talk(places: &Places, call: Call, print: &mut dyn FnMut(&Frame)) -> Result<u8, Failure> {
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
    let body = serde_json::to_vec(&call).map_err(|error| Failure::internal("encode the verb", &error))?;
    let request = hyper::Request::post("/v1/verbs")
        .header("host", "commis")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
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

/// Hands over whole lines; the exit code when it was among them.
fn print_lines(pending: &mut Vec<u8>, print: &mut dyn FnMut(&Frame)) -> Option<u8> {
    while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = pending.drain(..=end).collect();
        match serde_json::from_slice(&line) {
            Ok(Frame::Exit(code)) => return Some(code),
            Ok(frame) => print(&frame),
            Err(_) => {}
        }
    }
    None
}
