//! What is piped into a verb and out of it: doors prepare for it before the verb is performed. Pure.

use super::configuring::ConfigVerb;
use super::grammar::{KeyVerb, Verb};
use super::release::ReleaseVerb;
use std::path::Path;

/// What a verb reads from standard input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    Nothing,
    /// A megabyte at most.
    Text,
    /// However much it is.
    Stream,
    /// The same; or what is typed at a terminal, when there is one.
    Keys,
}

/// What a verb writes to standard output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gives {
    Text,
    /// Bytes, as they are.
    Bytes,
}

/// The word that means standard input.
pub const STANDARD_INPUT: &str = "-";

pub fn takes(verb: &Verb) -> Takes {
    match verb {
        Verb::Key { verb: KeyVerb::Add { .. } } => Takes::Text,
        Verb::Config { verb: ConfigVerb::Set { variables, .. } } if reads_lines(variables) => Takes::Text,
        Verb::Promote(words) if words.release_file.is_some() => Takes::Text,
        Verb::Release { verb: ReleaseVerb::Push { .. } | ReleaseVerb::Import { .. } } => Takes::Stream,
        Verb::Run(_) | Verb::Shell(_) => Takes::Keys,
        _ => Takes::Nothing,
    }
}

/// The file of the client that is read instead of its standard input.
pub fn file(verb: &Verb) -> Option<&Path> {
    let file = match verb {
        Verb::Promote(words) => words.release_file.as_deref(),
        Verb::Release { verb: ReleaseVerb::Push { file, .. } | ReleaseVerb::Import { file, .. } } => file.as_deref(),
        _ => None,
    };
    file.filter(|file| *file != Path::new(STANDARD_INPUT))
}

/// Whether `config set` was given `-`: lines on standard input.
pub fn reads_lines(variables: &[String]) -> bool {
    variables.iter().any(|word| word == STANDARD_INPUT)
}

pub fn gives(verb: &Verb) -> Gives {
    match verb {
        Verb::Release { verb: ReleaseVerb::Export { .. } | ReleaseVerb::Fetch { .. } } => Gives::Bytes,
        Verb::Run(_) | Verb::Shell(_) => Gives::Bytes,
        _ => Gives::Text,
    }
}
