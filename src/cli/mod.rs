//! `commis VERB` on the server itself: parses, sends the verb to the running server, prints what comes back.
//!
//! The only room that prints. What runs without a server (`config check`, `config template`) is in [`local`].

pub mod client;
pub mod local;
mod terminal;

use crate::api::answer;
use crate::api::wire::Frame;
use crate::model::{Code, Failure};
use crate::operations::outcome;
use crate::verbs::{self, ConfigVerb, Invocation, Said, Takes, Verb};
use client::Piped;
use std::io::{IsTerminal, Read, Write};
use terminal::Seat;

/// Larger input is refused.
const INPUT_MAX: u64 = 1 << 20;

/// Runs a verb; returns the exit code.
pub fn run(words: Vec<String>) -> u8 {
    let invocation = match crate::verbs::parse(words) {
        Said::Verb(invocation) => *invocation,
        Said::Help(text) => {
            out(&text);
            return 0;
        }
        Said::Wrong(text) => {
            err(text.as_bytes());
            return 64;
        }
    };
    let json = invocation.output.json;
    let result = match &invocation.verb {
        Verb::Config { verb: ConfigVerb::Check { file } } => local::check(file.as_deref(), json).map(|text| {
            out(&text);
            0
        }),
        Verb::Config { verb: ConfigVerb::Template } => {
            out(crate::config::docs::template());
            Ok(0)
        }
        verb => talk(verb, &invocation),
    };
    result.unwrap_or_else(|failure| {
        match json {
            true => out(&answer::failure_json(&failure)),
            false => err(answer::failure_text(&failure).as_bytes()),
        }
        outcome::exit_code(failure.code)
    })
}

/// Sends the verb and prints the answer; at a terminal of its own where the verb wants one.
fn talk(verb: &Verb, invocation: &Invocation) -> Result<u8, Failure> {
    let seat = match verbs::takes(verb) {
        Takes::Keys => Seat::take(crate::config::load::terminal_name())?,
        Takes::Nothing | Takes::Text | Takes::Stream => None,
    };
    let Some(seat) = seat else {
        return client::call(invocation.clone(), read_input(verb)?, &mut print);
    };
    let mut print_raw = |frame: &Frame| match frame {
        Frame::Out(text) => out(&text.replace('\n', "\r\n")),
        Frame::Err(text) => err(text.replace('\n', "\r\n").as_bytes()),
        frame => print(frame),
    };
    client::call(invocation.clone(), Piped::Typed(seat.words.clone()), &mut print_raw)
}

/// Standard input, for the verbs that take any.
fn read_input(verb: &Verb) -> Result<Piped, Failure> {
    let takes = verbs::takes(verb);
    if takes == Takes::Nothing {
        return Ok(Piped::Text(String::new()));
    }
    if let Some(path) = verbs::file(verb) {
        let unreadable = |error| Failure::new(Code::Usage, format!("{}: {error}", path.display()));
        let file = std::fs::File::open(path).map_err(unreadable)?;
        return match takes {
            Takes::Stream | Takes::Keys => Ok(Piped::Stream(Box::new(tokio::fs::File::from_std(file)))),
            Takes::Nothing | Takes::Text => text(file).map(Piped::Text),
        };
    }
    let stdin = std::io::stdin();
    match takes {
        Takes::Keys => Ok(Piped::Stream(Box::new(tokio::io::stdin()))),
        _ if stdin.is_terminal() => Ok(Piped::Text(String::new())),
        Takes::Stream => Ok(Piped::Stream(Box::new(tokio::io::stdin()))),
        Takes::Nothing | Takes::Text => text(stdin.lock()).map(Piped::Text),
    }
}

fn text(from: impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    let read = from.take(INPUT_MAX).read_to_string(&mut text);
    read.map(|_| text).map_err(|error| Failure::internal("read the input", &error))
}

fn print(frame: &Frame) {
    match frame {
        Frame::Out(text) => out(text),
        Frame::Raw(bytes) => raw(bytes),
        Frame::RawErr(bytes) => err(bytes),
        Frame::Err(text) => err(text.as_bytes()),
        Frame::Exit(_) => {}
    }
}

/// A reader that went away (`| head`) is not an error.
fn out(text: &str) {
    raw(text.as_bytes());
}

fn raw(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

fn err(bytes: &[u8]) {
    let _ = std::io::stderr().lock().write_all(bytes);
}
