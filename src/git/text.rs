//! Bytes out of a repository, made fit for one line of a terminal, a log or a mail: everything that could move a
//! cursor, reverse a line or hide itself is written out. Pure. Filtering of whole output streams is not done here but
//! where a deployment's log is written.

/// `bytes` as one printable line of at most `max` characters; what was cut is replaced by `…`.
///
/// Control characters, invisible and direction-changing characters become `\u{1b}`, bytes that are not UTF-8 `\xff`.
pub fn visible(bytes: &[u8], max: usize) -> String {
    let mut line = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if deceptive(character) {
                line.extend(character.escape_unicode());
            } else {
                line.push(character);
            }
        }
        for byte in chunk.invalid() {
            line.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shorten(line, max)
}

/// Cuts a line after `max` characters.
pub fn shorten(line: String, max: usize) -> String {
    match line.char_indices().nth(max) {
        None => line,
        Some(_) => line.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Cuts a line so that it is at most `max` bytes long.
pub fn shorten_bytes(line: &str, max: usize) -> &str {
    let end = (0..=max.min(line.len())).rev().find(|end| line.is_char_boundary(*end));
    line.get(..end.unwrap_or(0)).unwrap_or("")
}

/// Characters that a reader does not see as what they are.
pub fn deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_that_would_rename_the_terminal_is_written_out() {
        assert_eq!(visible(b"a\x1b]0;pwn\x07b", 72), "a\\u{1b}]0;pwn\\u{7}b");
        assert_eq!(visible("a\u{202e}b\u{200b}".as_bytes(), 72), "a\\u{202e}b\\u{200b}");
        assert_eq!(visible(b"\xff\xfe", 72), "\\xff\\xfe");
        assert_eq!(visible("Añadir RSS 日本".as_bytes(), 72), "Añadir RSS 日本");
    }

    #[test]
    fn long_lines_end_in_an_ellipsis() {
        assert_eq!(visible(b"abcdef", 6), "abcdef");
        assert_eq!(visible(b"abcdefg", 6), "abcde…");
        assert_eq!(shorten_bytes("aé", 2), "a");
        assert_eq!(shorten_bytes("aé", 3), "aé");
    }
}
