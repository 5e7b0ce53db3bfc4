//! Reads Rust text just well enough to judge it: what is comment, what is string, what is test code.
//!
//! No rule lives here; those are in `checks.rs`, and the tables they use in `tidy.rs`.

/// One file of the tree, in three readings of the same length: line numbers agree between them.
#[derive(Clone)]
pub struct Source {
    /// Path from the top of the repository, with slashes.
    pub path: String,
    pub text: String,
    /// Comments blanked, strings kept.
    pub uncommented: String,
    /// Comments and the contents of strings blanked.
    pub code: String,
    /// Per line: whether it is compiled for tests only.
    pub in_tests: Vec<bool>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let (uncommented, code) = blank(text);
        let whole = is_test_path(path);
        let in_tests = if whole { vec![true; text.lines().count() + 1] } else { test_lines(&code) };
        Self { path: path.to_string(), text: text.to_string(), uncommented, code, in_tests }
    }

    /// The room of a file below `src/`: its folder, or its own name for files at the top.
    pub fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs"))
    }

    /// Whether the head of the file promises that it only decides.
    pub fn says_pure(&self) -> bool {
        let mut head = self.text.lines().map_while(|line| line.strip_prefix("//!"));
        head.any(|line| line.split_whitespace().any(|word| matches!(word, "Pure." | "Pure:" | "Pure;" | "Pure,")))
    }

    /// Number of the line (from 1) at this byte.
    pub fn line(&self, at: usize) -> usize {
        1 + self.code.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count()
    }

    /// Whether this byte stands in code that only tests compile.
    pub fn tested(&self, at: usize) -> bool {
        self.in_tests.get(self.line(at) - 1).copied().unwrap_or(false)
    }
}

/// Files that only tests compile: journeys, and modules kept in a file of their own.
fn is_test_path(path: &str) -> bool {
    path.starts_with("tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/")
}

/// (without comments, without comments and strings), both as long as the text.
fn blank(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let (mut uncommented, mut code) = (bytes.to_vec(), bytes.to_vec());
    let mut at = 0;
    while at < bytes.len() {
        let (end, kind) = token(bytes, at);
        for place in at..end {
            if bytes[place] != b'\n' && kind != Token::Code {
                code[place] = b' ';
                if kind == Token::Comment {
                    uncommented[place] = b' ';
                }
            }
        }
        at = end;
    }
    (String::from_utf8_lossy(&uncommented).into_owned(), String::from_utf8_lossy(&code).into_owned())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Code,
    Comment,
    Text,
}

/// Where the token that starts here ends, and what it is.
fn token(bytes: &[u8], at: usize) -> (usize, Token) {
    let rest = &bytes[at..];
    let after_word = at > 0 && is_word(bytes[at - 1]);
    if rest.starts_with(b"//") {
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        return (at + length, Token::Comment);
    }
    if rest.starts_with(b"/*") {
        return (at + block_comment(rest), Token::Comment);
    }
    if rest[0] == b'"' {
        return (at + quoted(rest), Token::Text);
    }
    if !after_word && let Some(length) = raw_string(rest) {
        return (at + length, Token::Text);
    }
    if rest[0] == b'\''
        && let Some(length) = character(rest)
    {
        return (at + length, Token::Text);
    }
    (at + 1, Token::Code)
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`, `br"…"`: the length, or nothing when no raw string starts here.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = [&b"br"[..], b"cr", b"r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let hashes = rest[prefix.len()..].iter().take_while(|byte| **byte == b'#').count();
    let open = prefix.len() + hashes;
    (rest.get(open) == Some(&b'"')).then_some(())?;
    let close = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let length = rest[open + 1..].windows(close.len()).position(|window| window == close);
    Some(length.map_or(rest.len(), |length| open + 1 + length + close.len()))
}

/// A character literal, told apart from a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        let close = rest[3..].iter().position(|byte| *byte == b'\'')?;
        return Some(close + 4);
    }
    (2..=5).find(|close| rest.get(*close) == Some(&b'\'')).filter(|close| *close == 2 || rest[1] >= 0x80).map(|c| c + 1)
}

/// Marks the lines of every item under `#[cfg(test)]` or `#[test]`.
fn test_lines(code: &str) -> Vec<bool> {
    let mut marks = vec![false; code.lines().count() + 1];
    for attribute in ["#[cfg(test)]", "#[test]", "#[tokio::test"] {
        for (at, _) in code.match_indices(attribute) {
            let end = item_end(code, at + attribute.len());
            let first = code[..at].matches('\n').count();
            let last = code[..end].matches('\n').count();
            marks[first..=last.min(code.lines().count())].fill(true);
        }
    }
    marks
}

/// Modules that this file declares for tests only, as the paths their files would have.
pub fn test_modules(source: &Source) -> Vec<String> {
    let folder = match source.path.rsplit_once('/') {
        Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_string(),
        _ => source.path.trim_end_matches(".rs").to_string(),
    };
    let declared = source.code.split("#[cfg(test)]").skip(1).filter_map(|rest| {
        let words: Vec<&str> = rest.split(';').next()?.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "mod")?;
        (at <= 1 && words.len() == at + 2).then(|| format!("{folder}/{}.rs", words[at + 1]))
    });
    declared.collect()
}

/// Where the item that starts after this byte ends: its closing brace, or its semicolon.
pub fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_i32;
    for (offset, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            b';' if depth == 0 => return offset,
            _ => {}
        }
        if byte == b'}' && depth <= 0 {
            return offset;
        }
    }
    code.len()
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
