//! A verb performed and told in frames: the same for the control socket and for ssh.

use super::wire::Frame;
use crate::model::{Actor, Code, Failure, Heard};
use crate::operations::records::Reply;
use crate::operations::{Input, Platform, Request, Talk, Told, outcome, show};
use crate::verbs::{self, Gives, Invocation};
use tokio::sync::mpsc;

/// Frames that may wait for a slow reader.
const QUEUE: usize = 64;
/// Exit code of a task that was ended before its end.
const INTERRUPTED: u8 = 130;

/// Performs a verb; frames come as they arise, [`Frame::Exit`] last.
pub fn answer(platform: Platform, actor: Actor, invocation: Invocation, input: Input) -> mpsc::Receiver<Frame> {
    let (frames, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let json = invocation.output.json;
        if json && verbs::gives(&invocation.verb) == Gives::Bytes {
            return refuse(&frames, "what this verb gives is bytes, and not JSON").await;
        }
        let (talk, told) = mpsc::channel(QUEUE);
        let request = Request { actor, verb: invocation.verb, input, talk: Talk(talk) };
        let work = platform.perform(request);
        // Ends with its listener, and takes the receiver along: whoever still talks hears that nobody listens.
        let to_listener = frames.clone();
        let relay = async move {
            let mut told = told;
            let mut whole = WholeLines::default();
            while let Some(told) = next_told(&mut told, &to_listener).await {
                let frame = match told {
                    Told::Raw(bytes) => Some(Frame::Raw(bytes)),
                    Told::RawErr(bytes) => Some(Frame::RawErr(bytes)),
                    Told::Out(bytes) => whole.take(&bytes).map(|text| Frame::Out(data(text, json))),
                    Told::Err(bytes) => whole.take(&bytes).map(Frame::Err),
                };
                let Some(frame) = frame else { continue };
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

async fn refuse(frames: &mpsc::Sender<Frame>, what: &str) {
    let failure = Failure::new(Code::Usage, what).hint("leave out --json");
    for frame in last_frames(Err(failure), true) {
        // A listener that has left needs no answer.
        let _ = frames.send(frame).await;
    }
}

/// Pieces of a log, joined to whole lines: a letter of several bytes may have been cut in two.
#[derive(Default)]
struct WholeLines {
    rest: Vec<u8>,
}

impl WholeLines {
    fn take(&mut self, bytes: &[u8]) -> Option<String> {
        self.rest.extend_from_slice(bytes);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n')? + 1;
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        Some(String::from_utf8_lossy(&lines).into_owned())
    }
}

/// What streams to standard output: as it is, or one JSON object for each line.
fn data(text: String, json: bool) -> String {
    if !json {
        return text;
    }
    text.lines().map(|line| format!("{}\n", serde_json::json!({ "line": line }))).collect()
}

/// `None`: everything was told, or the listener has left.
async fn next_told(told: &mut mpsc::Receiver<Told>, listener: &mpsc::Sender<Frame>) -> Option<Told> {
    tokio::select! {
        told = told.recv() => told,
        () = listener.closed() => None,
    }
}

fn pretty(reply: &Reply) -> String {
    format!("{}\n", serde_json::to_string_pretty(reply).unwrap_or_default())
}

fn last_frames(result: Result<Reply, Failure>, json: bool) -> Vec<Frame> {
    match result {
        Ok(Reply::Nothing {}) => vec![Frame::Exit(0)],
        Ok(Reply::Ended { exit }) => vec![Frame::Exit(exit)],
        Ok(Reply::TaskRun(run)) => {
            let exit = Frame::Exit(run.exit.unwrap_or(INTERRUPTED));
            if json { vec![Frame::Out(pretty(&Reply::TaskRun(run))), exit] } else { vec![exit] }
        }
        Ok(reply) if json => {
            vec![Frame::Out(pretty(&reply)), Frame::Exit(0)]
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

/// `error: ...` with its details and hints; nothing where it was read already.
pub fn failure_text(failure: &Failure) -> String {
    if failure.heard == Heard::All {
        return String::new();
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_was_cut_in_two_is_whole_again() {
        let mut whole = WholeLines::default();
        assert_eq!(whole.take(b"a\ncaf\xc3"), Some("a\n".into()));
        assert_eq!(whole.take(b"\xa9"), None);
        assert_eq!(whole.take(b"\nb"), Some("caf\u{e9}\n".into()));
        assert_eq!(data("a \"b\"\nc\n".into(), true), "{\"line\":\"a \\\"b\\\"\"}\n{\"line\":\"c\"}\n");
    }
}
