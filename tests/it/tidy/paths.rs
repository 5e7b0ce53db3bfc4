//! Finds the paths that a file names: `crate::a::b`, the branches of `use crate::{a, b::c}`, and what `super` reaches.

use super::source::{Source, is_word};

/// One path as written out: its segments after the root, and where it stands.
pub struct Named {
    pub segments: Vec<String>,
    pub at: usize,
}

/// Every path that starts with this root (`crate`, `std`, `tokio`), use trees taken apart.
pub fn under(source: &Source, root: &str) -> Vec<Named> {
    let code = source.code.as_str();
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&format!("{root}::")) {
        let before = code[..at].bytes().next_back();
        if before.is_some_and(|byte| is_word(byte) || byte == b':') && !code[..at].ends_with("::::") {
            continue;
        }
        let tree = &code[at + root.len() + 2..];
        found.extend(branches(tree).into_iter().map(|segments| Named { segments, at }));
    }
    found
}

/// Paths that climb to the crate's root with `super`, from a file that is `depth` modules deep.
pub fn climbing(source: &Source) -> Vec<Named> {
    let depth = depth(&source.path);
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = source.code[at..].find("super::").map(|offset| at + offset) {
        let mut end = next;
        while source.code[end..].starts_with("super::") {
            end += "super::".len();
        }
        let climbed = (end - next) / "super::".len();
        let inline = usize::from(source.tested(next));
        if climbed >= depth + inline {
            let rest = branches(&source.code[end..]);
            found.extend(rest.into_iter().map(|segments| Named { segments, at: next }));
        }
        at = end;
    }
    found
}

/// `src/git/mod.rs` is one module deep, `src/git/receive.rs` two, `src/server.rs` one.
fn depth(path: &str) -> usize {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inside.split('/').count()
}

/// `a::{b, c::d} …` gives `[a, b]` and `[a, c, d]`.
fn branches(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim_start();
    if let Some(inside) = tree.strip_prefix('{') {
        return parts(inside).into_iter().flat_map(branches).collect();
    }
    let word: String = tree.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '*').collect();
    if word.is_empty() {
        return Vec::new();
    }
    match tree[word.len()..].strip_prefix("::") {
        Some(rest) if !rest.starts_with('<') => {
            let tails = branches(rest);
            if tails.is_empty() {
                return vec![vec![word]];
            }
            tails.into_iter().map(|tail| [vec![word.clone()], tail].concat()).collect()
        }
        _ => vec![vec![word]],
    }
}

/// The comma-separated parts up to the brace that closes this group.
fn parts(inside: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => {
                found.push(&inside[start..at]);
                return found;
            }
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                found.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}
