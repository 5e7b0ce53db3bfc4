//! The Procfile: one process type and its command per line.
//!
//! Pure and strict: a line that is not understood stops the deployment with its number, since a process that is
//! silently left out is found too late. What the types mean is `model::process`'s business.

use crate::model::{Code, Failure, ProcessType};
use std::collections::BTreeMap;

/// Reads `name: command` lines; empty lines and lines that begin with `#` are left out, CRLF line ends are taken.
/// Errors are `bad-config` and begin with `Procfile line N`.
pub fn parse(text: &[u8]) -> Result<BTreeMap<ProcessType, String>, Failure> {
    let mut processes = BTreeMap::new();
    let mut seen = BTreeMap::new();
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let Some((kind, command)) = parse_line(line).map_err(|why| wrong(number, &why))? else { continue };
        if let Some(first) = seen.insert(kind.clone(), number) {
            return Err(wrong(number, &format!("{kind} is already on line {first}")));
        }
        processes.insert(kind, command);
    }
    Ok(processes)
}

fn parse_line(line: &[u8]) -> Result<Option<(ProcessType, String)>, String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(|_| "is not UTF-8 text".to_owned())?;
    if line.trim().is_empty() || line.trim_start().starts_with('#') {
        return Ok(None);
    }
    let (name, command) = line.split_once(':').ok_or("no colon after the process name")?;
    let kind = ProcessType::parse(name).ok_or_else(|| {
        let short: String = name.chars().take(40).collect();
        format!("\"{}\" is not a process name (letters, digits, - and _)", short.escape_debug())
    })?;
    let command = command.trim();
    if command.is_empty() {
        return Err(format!("no command after {kind}:"));
    }
    if command.contains(|c: char| c.is_control() && c != '\t') {
        return Err(format!("a control character in the command of {kind}"));
    }
    Ok(Some((kind, command.to_owned())))
}

fn wrong(number: usize, why: &str) -> Failure {
    Failure::new(Code::BadConfig, format!("Procfile line {number}: {why}"))
        .hint("a line looks like this:  web: python app.py --port $PORT")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<String> {
        parse(text.as_bytes()).unwrap().iter().map(|(kind, command)| format!("{kind}={command}")).collect()
    }

    fn error(text: &[u8]) -> String {
        let failure = parse(text).unwrap_err();
        assert_eq!((failure.code, failure.hints.len()), (Code::BadConfig, 1));
        failure.what
    }

    #[test]
    fn names_and_commands_are_read() {
        assert_eq!(
            shown("# what runs\n\nweb: gunicorn app:app -b :$PORT\nworker_1:  sh -c 'a: b' \nrelease:x"),
            ["release=x", "web=gunicorn app:app -b :$PORT", "worker_1=sh -c 'a: b'"]
        );
        assert_eq!(shown("\u{feff}web: a\r\nclock: b\r\n"), ["clock=b", "web=a"]);
        assert_eq!(shown(""), [""; 0]);
    }

    #[test]
    fn a_line_that_is_not_understood_is_refused_with_its_number() {
        assert_eq!(error(b"web: a\n\nworker python x"), "Procfile line 3: no colon after the process name");
        assert_eq!(error(b"we b: a"), "Procfile line 1: \"we b\" is not a process name (letters, digits, - and _)");
        assert_eq!(error(b" web: a"), "Procfile line 1: \" web\" is not a process name (letters, digits, - and _)");
        assert_eq!(error(b"web:  \n"), "Procfile line 1: no command after web:");
        assert_eq!(error(b"web: a\nweb: b"), "Procfile line 2: web is already on line 1");
        assert_eq!(error(b"web: a\nx: \xff"), "Procfile line 2: is not UTF-8 text");
        assert_eq!(error(b"web: a\rx: b"), "Procfile line 1: a control character in the command of web");
        assert_eq!(error(b"web: a\0"), "Procfile line 1: a control character in the command of web");
        assert_eq!(error(b": a"), "Procfile line 1: \"\" is not a process name (letters, digits, - and _)");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&text);
        }

        #[test]
        fn near_procfiles_give_whole_lines_or_an_error(text in "([a-z_ ]{0,4}:?[ #:a-z\r]{0,6}\n?){0,6}") {
            if let Ok(processes) = parse(text.as_bytes()) {
                for (kind, command) in processes {
                    prop_assert!(!command.is_empty());
                    let beginning = format!("{kind}:");
                    prop_assert!(text.contains(&beginning));
                }
            }
        }
    }
}
