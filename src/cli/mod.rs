//! `commis VERB` on the server itself: parses, sends the verb to the running server, prints what comes back.
//!
//! The only room that prints. What runs without a server (`config check`, `config template`) is in [`local`].

pub mod client;
pub mod local;

use crate::api::answer;
use crate::api::wire::Frame;
use crate::model::Failure;
use crate::operations::outcome;
use crate::verbs::{ConfigVerb, KeyVerb, Said, Verb};
use std::io::{IsTerminal, Read, Write};

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
            err(&text);
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
        verb => read_input(verb).and_then(|input| client::call(invocation.clone(), input, &mut print)),
    };
    result.unwrap_or_else(|failure| {
        match json {
            true => out(&answer::failure_json(&failure)),
            false => err(&answer::failure_text(&failure)),
        }
        outcome::exit_code(failure.code)
    })
}

/// Standard input, for the verbs that take any.
fn read_input(verb: &Verb) -> Result<String, Failure> {
    let wanted = match verb {
        Verb::Key { verb: KeyVerb::Add { .. } } => true,
        Verb::Config { verb: ConfigVerb::Set { variables, .. } } => variables.iter().any(|word| word == "-"),
        _ => false,
    };
    let stdin = std::io::stdin();
    if !wanted || stdin.is_terminal() {
        return Ok(String::new());
    }
    let mut text = String::new();
    let read = stdin.lock().take(INPUT_MAX).read_to_string(&mut text);
    read.map(|_| text).map_err(|error| Failure::internal("read standard input", &error))
}

fn print(frame: &Frame) {
    match frame {
        Frame::Out(text) => out(text),
        Frame::Err(text) => err(text),
        Frame::Exit(_) => {}
    }
}

/// A reader that went away (`| head`) is not an error.
fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

fn err(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
