//! The difference of two versions of a file, as git shows it. Bytes come in, text comes out. Which files, and how many of
//! them, is decided elsewhere.

use super::failed::GitError;
use super::objects::object_id;
use super::tree::ObjectId;
use git2::{DiffOptions, ObjectType, Oid, Patch};
use std::path::Path;

/// One version of a file.
#[derive(Clone, Copy)]
pub struct Version<'a> {
    pub content: &'a [u8],
    /// `100644`, `100755` or `120000`.
    pub mode: &'a str,
}

/// How two versions differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Patched {
    /// `diff --git …` and what follows, ending with a line break; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Lines; both 0 for what is no text.
    pub added: usize,
    pub removed: usize,
    pub binary: bool,
}

/// A version that is missing is that of a file that was added or removed.
pub fn patch(path: &str, old: Option<Version<'_>>, new: Option<Version<'_>>) -> Result<Patched, GitError> {
    let failed = || GitError::object(super::names::shown(path.as_bytes()));
    let content = |version: Option<Version<'_>>| version.map_or(Vec::new(), |version| version.content.to_vec());
    let (before, after) = (content(old), content(new));
    let mut options = DiffOptions::new();
    let place = Path::new(path);
    let patch = Patch::from_buffers(&before, Some(place), &after, Some(place), Some(&mut options)).map_err(failed())?;
    let mut text = head(path, old.map(|version| version.mode), new.map(|version| version.mode));
    let binary = is_binary(&before) || is_binary(&after);
    if binary {
        if before != after {
            text.push_str("Binary files differ\n");
        }
        return Ok(Patched { text, added: 0, removed: 0, binary });
    }
    let (_, added, removed) = patch.line_stats().map_err(failed())?;
    if patch.num_hunks() > 0 {
        let side = |there: bool, name: String| if there { name } else { "/dev/null".to_owned() };
        let (from, to) = (side(old.is_some(), quoted("a", path)), side(new.is_some(), quoted("b", path)));
        text.push_str(&format!("--- {from}\n+++ {to}\n"));
    }
    for hunk in 0..patch.num_hunks() {
        let (shape, lines) = patch.hunk(hunk).map_err(failed())?;
        text.push_str(&String::from_utf8_lossy(shape.header()));
        for line in 0..lines {
            let line = patch.line_in_hunk(hunk, line).map_err(failed())?;
            if matches!(line.origin(), ' ' | '+' | '-') {
                text.push(line.origin());
            }
            text.push_str(&String::from_utf8_lossy(line.content()));
        }
    }
    Ok(Patched { text, added, removed, binary })
}

/// The name that git gives to the content of a file; nothing is stored.
pub fn id_of_file(path: &Path) -> Result<ObjectId, GitError> {
    Oid::hash_file(ObjectType::Blob, path).map(object_id).map_err(GitError::object(path.display().to_string()))
}

/// The same for bytes.
pub fn id_of(bytes: &[u8]) -> Result<ObjectId, GitError> {
    Oid::hash_object(ObjectType::Blob, bytes).map(object_id).map_err(GitError::object("a file"))
}

fn head(path: &str, old: Option<&str>, new: Option<&str>) -> String {
    let modes = match (old, new) {
        (None, Some(mode)) => format!("new file mode {mode}\n"),
        (Some(mode), None) => format!("deleted file mode {mode}\n"),
        (Some(old), Some(new)) if old != new => format!("old mode {old}\nnew mode {new}\n"),
        _ => String::new(),
    };
    format!("diff --git {} {}\n{modes}", quoted("a", path), quoted("b", path))
}

/// A name as git writes it into a patch: in quotes with escapes when it has what would end a line or a quote.
pub fn quoted(side: &str, path: &str) -> String {
    let needs_quotes = |c: char| c.is_control() || matches!(c, '"' | '\\');
    if !path.contains(needs_quotes) {
        return format!("{side}/{path}");
    }
    let escaped = path.chars().flat_map(|c| match c {
        '\n' => "\\n".chars().collect::<Vec<char>>(),
        '\t' => "\\t".chars().collect(),
        '"' | '\\' => vec!['\\', c],
        c if c.is_control() => {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes)
                .bytes()
                .flat_map(|byte| format!("\\{byte:03o}").chars().collect::<Vec<char>>())
                .collect()
        }
        c => vec![c],
    });
    format!("\"{side}/{}\"", escaped.collect::<String>())
}

/// As git judges: a NUL among the first bytes.
fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(8000).any(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(content: &str) -> Option<Version<'_>> {
        Some(Version { content: content.as_bytes(), mode: "100644" })
    }

    #[test]
    fn a_patch_reads_as_gits_own() {
        let changed = patch("a/b", version("one\ntwo\n"), version("one\n2\nthree")).unwrap();
        assert_eq!(
            changed.text,
            "diff --git a/a/b b/a/b\n--- a/a/b\n+++ b/a/b\n@@ -1,2 +1,3 @@\n one\n-two\n+2\n+three\n\\ No newline at end of file\n"
        );
        assert_eq!((changed.added, changed.removed), (2, 1));
        let added = patch("n", None, version("x\n")).unwrap().text;
        assert_eq!(added, "diff --git a/n b/n\nnew file mode 100644\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+x\n");
        let removed = patch("n", version("x\n"), None).unwrap().text;
        assert!(removed.contains("deleted file mode 100644\n--- a/n\n+++ /dev/null\n"), "{removed}");
        let program = Version { mode: "100755", ..version("x\n").unwrap() };
        let mode = patch("n", version("x\n"), Some(program)).unwrap();
        assert_eq!(mode.text, "diff --git a/n b/n\nold mode 100644\nnew mode 100755\n");
    }

    #[test]
    fn a_name_that_would_break_a_line_is_quoted_as_git_does() {
        let odd = patch("n\nl\x1b\"", None, version("x\n")).unwrap().text;
        let name = r#"n\nl\033\""#;
        assert!(odd.starts_with(&format!("diff --git \"a/{name}\" \"b/{name}\"\nnew file")), "{odd}");
        assert!(odd.contains(&format!("\n--- /dev/null\n+++ \"b/{name}\"\n")), "{odd}");
        assert_eq!(quoted("a", "plain Añadir"), "a/plain Añadir");
    }

    #[test]
    fn what_is_no_text_is_only_named() {
        let binary = patch("p", version("a\0b"), version("a\0c")).unwrap();
        assert!(binary.binary && binary.text.ends_with("Binary files differ\n"), "{}", binary.text);
    }

    #[test]
    fn a_file_has_the_name_that_git_gives_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hello\n").unwrap();
        assert_eq!(id_of_file(file.path()).unwrap().to_string(), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(id_of(b"hello\n").unwrap(), id_of_file(file.path()).unwrap());
    }
}
