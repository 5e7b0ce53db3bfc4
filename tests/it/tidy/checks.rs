//! The rules, one function each: a file in, complaints out, each as `path:line: what is wrong`.
//!
//! Nothing here reads the disk, so that every rule can be shown a bad sample. The tables stand in `tidy.rs`.

use super::source::{Source, is_word};
use super::{functions, paths};

/// A complaint, with the key by which the table of exceptions may excuse it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// `path`, or `path::function` for rules about functions.
    pub place: String,
    pub rule: &'static str,
    pub text: String,
}

fn complain(source: &Source, rule: &'static str, line: usize, text: &str) -> Complaint {
    let text = format!("{}:{line}: {text}", source.path);
    Complaint { place: source.path.clone(), rule, text }
}

/// A room names only the rooms that the table gives it.
pub fn edges(source: &Source, allowed: &[(&str, &[&str])]) -> Vec<Complaint> {
    let Some(room) = source.room().filter(|room| !matches!(*room, "main" | "lib")) else { return Vec::new() };
    let Some((_, may_use)) = allowed.iter().find(|(name, _)| *name == room) else {
        return vec![complain(source, "edges", 1, &format!("room `{room}` is not in the table of edges"))];
    };
    let named = paths::under(source, "crate").into_iter().chain(paths::climbing(source));
    let strangers = named.filter(|path| {
        let other = path.segments[0].as_str();
        let is_room = allowed.iter().any(|(name, _)| *name == other);
        is_room && other != room && !may_use.contains(&other) && !source.tested(path.at)
    });
    let text = |other: &str| format!("room `{room}` may not use `{other}` (see the table of edges)");
    strangers.map(|path| complain(source, "edges", source.line(path.at), &text(&path.segments[0]))).collect()
}

/// The first words of a file say what lives there.
pub fn head(source: &Source) -> Vec<Complaint> {
    let first = source.text.lines().next().unwrap_or_default();
    let said = first.strip_prefix("//! ").is_some_and(|words| words.len() > 10);
    if said { Vec::new() } else { vec![complain(source, "head", 1, "open with `//!`: what lives here, what must not")] }
}

/// What of `crate::system` is plain data.
const SYSTEM_DATA: &[&str] = &[
    "job",
    "users",
    "Access",
    "Bind",
    "GroupLimits",
    "Identity",
    "Job",
    "Limits",
    "Privacy",
    "Space",
    "Device",
    "UserIds",
    "View",
    "Volume",
    "unescape",
];
/// What of `std::net` is plain data.
const ADDRESSES: &[&str] = &["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6"];

/// A file that decides touches nothing: no disk, process, network, kernel, clock or environment.
pub fn purity(source: &Source) -> Vec<Complaint> {
    let tokio = paths::under(source, "tokio").into_iter().map(|path| ("tokio", path));
    let std = paths::under(source, "std").into_iter().map(|path| ("std", path));
    let system = paths::under(source, "crate").into_iter().map(|path| ("crate", path));
    let mut found = Vec::new();
    for (root, path) in tokio.chain(std).chain(system).filter(|(_, path)| !source.tested(path.at)) {
        let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        let touches = match (root, segments.as_slice()) {
            ("tokio", _) => true,
            ("std", ["net", name, ..]) => !ADDRESSES.contains(name),
            ("std", ["fs" | "process" | "env" | "net", ..]) => true,
            ("crate", ["system", names @ ..]) => !names.iter().any(|name| SYSTEM_DATA.contains(name)),
            _ => false,
        };
        if touches {
            let text = format!("this file decides, so it may not touch `{root}::{}`", segments.join("::"));
            found.push(complain(source, "purity", source.line(path.at), &text));
        }
    }
    for clock in ["SystemTime", "Instant"] {
        let text = format!("this file decides, so it takes the time as an argument, not from `{clock}`");
        found.extend(words(source, clock).map(|at| complain(source, "purity", source.line(at), &text)));
    }
    found
}

/// Names that say nothing about what is inside.
pub fn banned_name(path: &str, banned: &[&str]) -> Vec<Complaint> {
    let parts = path.split('/').map(|part| part.split('.').next().unwrap_or(part));
    let bad = parts.filter(|part| banned.contains(part));
    let text = |part: &str| format!("{path}: `{part}` says nothing; name the thing");
    bad.map(|part| Complaint { place: path.to_string(), rule: "names", text: text(part) }).collect()
}

pub const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 40;
const PARAMETERS: usize = 5;

/// A file fits in a reader's head.
pub fn file_size(path: &str, text: &str) -> Vec<Complaint> {
    let lines = text.lines().count();
    let said = format!("{path}: {lines} lines; split it by topic (at most {FILE_LINES})");
    if lines <= FILE_LINES { Vec::new() } else { vec![Complaint { place: path.into(), rule: "size", text: said }] }
}

/// A function fits on a screen, and its caller can be read.
pub fn function_size(source: &Source) -> Vec<Complaint> {
    let mut found = Vec::new();
    for function in functions::of(source) {
        let mut say = |text: String| {
            let place = format!("{}::{}", source.path, function.name);
            let text = format!("{}:{}: `{}` {text}", source.path, function.line, function.name);
            found.push(Complaint { place, rule: "size", text });
        };
        if function.lines > FUNCTION_LINES {
            say(format!("has {} lines (at most {FUNCTION_LINES})", function.lines));
        }
        if function.parameters > PARAMETERS {
            say(format!("has {} parameters; make a struct (at most {PARAMETERS})", function.parameters));
        }
    }
    found
}

/// A server does not panic on what it is given.
pub fn panics(source: &Source) -> Vec<Complaint> {
    let mut found = Vec::new();
    for call in [".unwrap()", "todo!(", "unimplemented!(", "dbg!("] {
        for (at, _) in source.code.match_indices(call).filter(|(at, _)| !source.tested(*at)) {
            found.push(complain(source, "panics", source.line(at), &format!("`{call}` outside tests")));
        }
    }
    for (at, call) in source.uncommented.match_indices(".expect(").filter(|(at, _)| !source.tested(*at)) {
        // A parser may have a method of that name; the one that panics takes a sentence.
        if source.uncommented[at + call.len()..].trim_start().starts_with(['"', '&']) {
            found.push(complain(source, "panics", source.line(at), "`.expect(…)` outside tests"));
        }
    }
    found
}

/// Commands are lists of arguments; a shell reads only what users wrote to be read by one.
pub fn shells(source: &Source) -> Vec<Complaint> {
    let lines: Vec<&str> = source.uncommented.lines().collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate().filter(|(number, _)| !source.in_tests[*number]) {
        let near = lines[number.saturating_sub(3)..(number + 4).min(lines.len())].join("\n");
        let flag = ["\"-c\"", "\"-lc\"", "\"-ec\""].iter().any(|flag| line.contains(flag));
        let shell = ["\"sh\"", "\"bash\"", "/sh\"", "/bash\""].iter().any(|shell| near.contains(shell));
        if (flag && shell) || ["\"sh -c", "bash -c"].iter().any(|whole| line.contains(whole)) {
            found.push(complain(source, "shells", number + 1, "a shell outside the places that may start one"));
        }
    }
    found
}

/// Nothing that is committed names the machine it was written on.
pub fn machine_paths(path: &str, text: &str) -> Vec<Complaint> {
    let places =
        [concat!("/wo", "rk/"), concat!("/root/.", "cargo"), concat!("/root/.", "pyenv"), concat!("/bash", "_jobs")];
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for place in places {
            let starts = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_.}$)>-".contains(c));
            if line.match_indices(place).any(|(at, _)| starts(at)) {
                let text = format!("{path}:{}: names a place of one machine: {place}", number + 1);
                found.push(Complaint { place: path.to_string(), rule: "machine", text });
            }
        }
    }
    found
}

/// Files that pin dependencies name no address: packages come from wherever the machine is set up to get them.
/// Cargo.lock cannot do without; there `cargo deny` looks at the sources.
pub fn registries(path: &str, text: &str) -> Vec<Complaint> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let pins =
        name.ends_with(".lock") || name.ends_with("rc") || name.contains("lock.") || name.contains("requirements");
    let pins = pins && name != "Cargo.lock";
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|_| pins) {
        let keys = ["\"resolved\"", "index-url", "registry", "find-links", "source"];
        let foreign = line.split("://").nth(1);
        if let Some(rest) = foreign.filter(|_| keys.iter().any(|key| line.contains(key))) {
            let host = rest.split(['/', '"']).next().unwrap_or(rest);
            let text = format!("{path}:{}: names a registry of one network: {host}", number + 1);
            found.push(Complaint { place: path.to_string(), rule: "machine", text });
        }
    }
    found
}

/// A file of tests that nobody lists is never run.
pub fn forgotten_tests(names: &[String], main: &str) -> Vec<Complaint> {
    let listed: Vec<&str> =
        main.lines().filter_map(|line| line.trim().strip_prefix("mod ")?.strip_suffix(';')).collect();
    let forgotten = names.iter().filter(|name| name.as_str() != "main" && !listed.contains(&name.as_str()));
    let text = |name: &str| format!("tests/it/{name} is not listed in tests/it/main.rs, so it never runs");
    forgotten.map(|name| Complaint { place: format!("tests/it/{name}"), rule: "tests", text: text(name) }).collect()
}

fn words<'a>(source: &'a Source, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = source.code.as_bytes();
    let whole = move |at: usize| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at)).is_some_and(|byte| is_word(*byte));
        let after = bytes.get(at + word.len()).is_some_and(|byte| is_word(*byte));
        !before && !after && !source.tested(at)
    };
    source.code.match_indices(word).map(|(at, _)| at).filter(move |at| whole(*at))
}
