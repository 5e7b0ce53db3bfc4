//! What scripts print, made safe for terminals, logs and pages: one filter for everything. Pure.
//!
//! Colour sequences are dropped, every other control or direction-changing character is shown as text, and the
//! current values of the project's secrets are replaced by their names. A script cannot imitate a verdict: its
//! lines are indented, verdicts are not.

/// One line of foreign output as printable text: no escape sequence, no control character, no line break.
pub fn clean_line(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' if rest.peek() == Some(&'[') => {
                rest.next();
                let mut sequence = String::new();
                while let Some(&next) = rest.peek() {
                    if !(next.is_ascii_digit() || matches!(next, ';' | ':')) || sequence.len() > 32 {
                        break;
                    }
                    sequence.push(next);
                    rest.next();
                }
                if rest.peek() == Some(&'m') {
                    rest.next();
                } else {
                    out.push_str("\\x1b[");
                    out.push_str(&sequence);
                }
            }
            '\t' => out.push('\t'),
            c if is_unsafe(c) => out.push_str(&visible(c)),
            c => out.push(c),
        }
    }
    let kept = out.trim_end().len();
    out.truncate(kept);
    out
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
}

fn visible(c: char) -> String {
    let code = u32::from(c);
    if code < 0x100 { format!("\\x{code:02x}") } else { format!("\\u{{{code:x}}}") }
}

/// Replaces secret values by `[NAME]`. No `Debug`: it holds the values.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a value that contains another is replaced whole.
    secrets: Vec<(String, String)>,
}

impl Redactor {
    /// Shorter values would hit innocent text.
    const SHORTEST: usize = 6;

    /// `variables` are names and values, as in an environment.
    pub fn new<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut secrets: Vec<(String, String)> = variables
            .into_iter()
            .flat_map(|(name, value)| value.lines().map(move |line| (line.trim().to_owned(), format!("[{name}]"))))
            .filter(|(value, _)| value.len() >= Self::SHORTEST)
            .collect();
        secrets.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        Self { secrets }
    }

    pub fn redact(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (value, name) in &self.secrets {
            if line.contains(value.as_str()) {
                line = line.replace(value.as_str(), name);
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_escape_sequence_survives() {
        for (raw, shown) in [
            (&b"\x1b[31mred\x1b[0m"[..], "red"),
            (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            (b"\x1b[2J", "\\x1b[2J"),
            (b"a\rb", "a\\x0db"),
            (b"caf\xc3\xa9 \xff", "café \u{fffd}"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
            (b"tab\there  ", "tab\there"),
        ] {
            assert_eq!(clean_line(raw), shown);
        }
    }

    #[test]
    fn values_of_secrets_are_replaced_by_their_names() {
        let redactor = Redactor::new([("DB", "postgres://u:hunter22@h"), ("PASSWORD", "hunter22"), ("SHORT", "abc")]);
        assert_eq!(redactor.redact("to postgres://u:hunter22@h with hunter22, abc"), "to [DB] with [PASSWORD], abc");
    }
}
