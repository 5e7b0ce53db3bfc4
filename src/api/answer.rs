//! A verb performed and told in frames: the same for the control socket and for ssh.

use super::wire::Frame;
use crate::model::{Actor, Code, Failure};
use crate::operations::{Platform, Request, Talk, Told, outcome, show};
use crate::verbs::Invocation;
use tokio::sync::mpsc;

/// Frames that may wait for a slow reader.
const QUEUE: usize = 64;

/// Performs a verb; frames come as they arise, [`Frame::Exit`] last.
pub fn answer(platform: Platform, actor: Actor, invocation: Invocation, input: String) -> mpsc::Receiver<Frame> {
    let (frames, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let json = invocation.output.json;
        let (talk, told) = mpsc::channel(QUEUE);
        let request = Request { actor, verb: invocation.verb, input, talk: Talk(talk) };
        let work = platform.perform(request);
        // Ends with its listener, and takes the receiver along: whoever still talks hears that nobody listens.
        let to_listener = frames.clone();
        let relay = async move {
            let mut told = told;
            while let Some(told) = next_told(&mut told, &to_listener).await {
                let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
                let frame = match told {
                    Told::Out(bytes) => Frame::Out(text(bytes)),
                    Told::Err(bytes) => Frame::Err(text(bytes)),
                };
                if to_listener.send(frame).await.is_err() {
                    break;
                }
            }
        };
        let (result, ()) = tokio::join!(work, relay);
        for frame in last_frames(result, json) {
            let _ = frames.send(frame).await;
        }
    });
    receiver
}

/// `None`: everything was told, or the listener has left.
async fn next_told(told: &mut mpsc::Receiver<Told>, listener: &mpsc::Sender<Frame>) -> Option<Told> {
    tokio::select! {
        told = told.recv() => told,
        () = listener.closed() => None,
    }
}

fn last_frames(result: Result<crate::operations::records::Reply, Failure>, json: bool) -> Vec<Frame> {
    match result {
        Ok(crate::operations::records::Reply::Nothing {}) => vec![Frame::Exit(0)],
        Ok(reply) if json => {
            vec![Frame::Out(format!("{}\n", serde_json::to_string_pretty(&reply).unwrap_or_default())), Frame::Exit(0)]
        }
        Ok(reply) => vec![Frame::Out(show::human(&reply)), Frame::Exit(0)],
        Err(failure) => {
            let exit = Frame::Exit(outcome::exit_code(failure.code));
            match json {
                true => vec![Frame::Out(failure_json(&failure)), exit],
                false => vec![Frame::Err(failure_text(&failure)), exit],
            }
        }
    }
}

/// `error: ...` with its details and hints.
pub fn failure_text(failure: &Failure) -> String {
    let mut text = format!("error: {}\n", failure.what);
    for line in &failure.details {
        text.push_str(&format!("       {line}\n"));
    }
    for hint in &failure.hints {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

/// The same for programs.
pub fn failure_json(failure: &Failure) -> String {
    let code: Code = failure.code;
    let value = serde_json::json!({"error": {
        "code": code.as_str(), "message": failure.what, "details": failure.details, "hints": failure.hints,
        "http_status": outcome::http_status(code),
    }});
    format!("{}\n", serde_json::to_string_pretty(&value).unwrap_or_default())
}
