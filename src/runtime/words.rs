//! A line of a process as it stands in the application's log. Pure.

use std::fmt::Write;

/// Longest text of one line, in bytes.
const LONGEST: usize = 8 * 1024;

/// `2026-11-20T10:41:07.123Z web.1 | text`, without a line end.
pub fn log_line(stamp: &str, process: &str, text: &str) -> String {
    format!("{stamp} {process} | {text}")
}

/// Text that is safe to show: control characters and broken UTF-8 are written out (`\x1b`), tabs stay.
pub fn visible(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\t' => text.push('\t'),
                c if c.is_ascii_control() => push(&mut text, format_args!("\\x{:02x}", c as u32)),
                c if c.is_control() || is_direction(c) => push(&mut text, format_args!("\\u{{{:x}}}", c as u32)),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            push(&mut text, format_args!("\\x{byte:02x}"));
        }
        if text.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
            break;
        }
    }
    text
}

/// Characters that make a line read in another order than it is written, or hide.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

fn push(text: &mut String, escaped: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(escaped);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(visible(b"\x1b[2Jgone\r\n\x00\x7f"), "\\x1b[2Jgone\\x0d\\x0a\\x00\\x7f");
        assert_eq!(visible("a\tb é 漢 \u{9b}x \u{202e}y".as_bytes()), "a\tb é 漢 \\u{9b}x \\u{202e}y");
        assert_eq!(visible(b"caf\xe9"), "caf\\xe9");
    }

    #[test]
    fn long_lines_are_cut() {
        assert_eq!(visible(&[b'x'; 100_000]).len(), LONGEST + '…'.len_utf8());
        assert_eq!(visible(&[b'x'; LONGEST]).len(), LONGEST);
    }

    #[test]
    fn a_line_says_when_and_who() {
        assert_eq!(log_line("2026-11-20T10:41:07.123Z", "web.1", "ok"), "2026-11-20T10:41:07.123Z web.1 | ok");
    }
}
