//! Which names may stand in a release, in which order, and where a symbolic link may lead. Pure: text in, verdict out.
//! Who says it to whom (build or archive) is up to `pack` and `unpack`.

use std::cmp::Ordering;

/// Longest path in bytes, relative to the tree.
pub const MAX_PATH: usize = 4000;
/// Longest target of a symbolic link in bytes.
pub const MAX_TARGET: usize = 4000;
/// Most directories above a file. Each costs an open descriptor while a tree is walked.
pub const MAX_DEPTH: usize = 200;

/// `tree/` and nothing longer goes before paths in an archive.
const TREE_PREFIX: usize = 5;

/// Why a name cannot stand in a release.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadName {
    #[error("name is not UTF-8")]
    NotText,
    #[error("name holds control characters")]
    Control,
    #[error("path has an empty, `.` or `..` part")]
    Dots,
    #[error("name is longer than 255 bytes")]
    LongName,
    #[error("path is longer than {MAX_PATH} bytes")]
    LongPath,
    #[error("path has more than {MAX_DEPTH} directories")]
    Deep,
    #[error("path begins with `-`, which programs take for an option")]
    Option,
}

/// A relative path that means the same on every machine and in every terminal.
pub fn check_path(bytes: &[u8]) -> Result<&str, BadName> {
    if bytes.len() > MAX_PATH {
        return Err(BadName::LongPath);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| BadName::NotText)?;
    if text.chars().any(char::is_control) {
        return Err(BadName::Control);
    }
    if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(BadName::Dots);
    }
    if text.split('/').any(|part| part.len() > 255) {
        return Err(BadName::LongName);
    }
    if text.split('/').count() > MAX_DEPTH { Err(BadName::Deep) } else { Ok(text) }
}

/// A path below `tree/`, with room for that prefix.
pub fn check_in_tree(bytes: &[u8]) -> Result<&str, BadName> {
    let text = check_path(bytes)?;
    match text {
        long if long.len() + TREE_PREFIX > MAX_PATH => Err(BadName::LongPath),
        deep if deep.split('/').count() >= MAX_DEPTH => Err(BadName::Deep),
        // Further down it is a name like any other: bundlers make names of digests, and those begin with anything.
        option if option.starts_with('-') => Err(BadName::Option),
        good => Ok(good),
    }
}

/// The target of a symbolic link: text, kept as it is, never followed by us.
pub fn check_target(bytes: &[u8]) -> Result<&str, BadName> {
    let text = std::str::from_utf8(bytes).map_err(|_| BadName::NotText)?;
    match text {
        "" => Err(BadName::Dots),
        long if long.len() > MAX_TARGET => Err(BadName::LongPath),
        odd if odd.chars().any(char::is_control) => Err(BadName::Control),
        good => Ok(good),
    }
}

/// The order of a walk: names of one directory by their bytes, a directory's content right after it.
pub fn order(left: &str, right: &str) -> Ordering {
    let key = |byte: u8| if byte == b'/' { 0 } else { byte };
    left.bytes().map(key).cmp(right.bytes().map(key))
}

/// Whether the target, read as text, stays below the tree's root. A path through another link may still leave it; only
/// the kernel can tell, after all links are there.
pub fn reads_as_inside(link: &str, target: &str) -> bool {
    if target.starts_with('/') {
        return false;
    }
    let mut depth = link.split('/').count() - 1;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => match depth.checked_sub(1) {
                Some(up) => depth = up,
                None => return false,
            },
            _ => depth += 1,
        }
    }
    true
}

/// Directory and last name of a relative path; the directory of a name at the top is the empty text.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// For messages: whatever could move a cursor or is no text is escaped.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lie_are_named_escaped() {
        assert_eq!(check_path("a/ü b/-c".as_bytes()), Ok("a/ü b/-c"));
        let bad: [(&[u8], BadName); 9] = [
            (b"a\nb\x1b[31m", BadName::Control),
            (b"\xff\xfe", BadName::NotText),
            ("a\u{9b}b".as_bytes(), BadName::Control),
            (b"../x", BadName::Dots),
            (b"/abs", BadName::Dots),
            (b"a//b", BadName::Dots),
            (b"./a", BadName::Dots),
            (b"", BadName::Dots),
            (&[b'd'; 300], BadName::LongName),
        ];
        for (name, why) in bad {
            assert_eq!(check_path(name), Err(why), "{name:?}");
        }
        assert_eq!(check_in_tree(b"-rf"), Err(BadName::Option));
        assert_eq!(check_in_tree(b"-/a"), Err(BadName::Option));
        assert!(check_in_tree(b"a/-rf").is_ok());
        assert!(check_path(format!("{}f", "d/".repeat(MAX_DEPTH - 1)).as_bytes()).is_ok());
        assert_eq!(check_path(format!("{}f", "d/".repeat(MAX_DEPTH)).as_bytes()), Err(BadName::Deep));
        assert_eq!(escape(b"a\nb\x1b[31m\xff"), "a\\nb\\u{1b}[31m\\xff");
    }

    #[test]
    fn a_directory_comes_right_before_its_content() {
        let mut paths = ["a.txt", "a/b", "a", "ab", "a/b/c", "a-b"];
        paths.sort_by(|left, right| order(left, right));
        assert_eq!(paths, ["a", "a/b", "a/b/c", "a-b", "a.txt", "ab"]);
    }

    #[test]
    fn a_link_that_climbs_over_the_root_is_seen() {
        assert!(reads_as_inside("a/b", "../c"));
        assert!(reads_as_inside("a", "b/./c/../d"));
        assert!(!reads_as_inside("a/b", "../../c"));
        assert!(!reads_as_inside("a", "/etc/passwd"));
        assert!(!reads_as_inside("a", "b/../../c"));
    }
}
