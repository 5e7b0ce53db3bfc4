//! Splits a command line into words the way a shell would, and does nothing else a shell does: no variables, no
//! globs, no substitution, no operators. Pure. What the words mean is decided in `request` and in `verbs/`.

/// Why a line is not a list of words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadWords {
    #[error("a quote is not closed")]
    OpenQuote,
    #[error("a backslash at the end")]
    OpenEscape,
    #[error("a line break outside quotes")]
    LineBreak,
}

/// Words of `line`. `'...'` is taken as it stands; within `"..."` a backslash escapes `"`, `\`, `$` and `` ` ``;
/// outside quotes it escapes the next character. An empty pair of quotes is an empty word.
pub fn split(line: &str) -> Result<Vec<String>, BadWords> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\n' | '\r' => return Err(BadWords::LineBreak),
            ' ' | '\t' => words.extend(word.take()),
            '\'' => single_quoted(&mut rest, word.get_or_insert_default())?,
            '"' => double_quoted(&mut rest, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(escaped(&mut rest)?),
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    Ok(words)
}

fn escaped(rest: &mut std::str::Chars) -> Result<char, BadWords> {
    match rest.next() {
        None => Err(BadWords::OpenEscape),
        Some('\n' | '\r') => Err(BadWords::LineBreak),
        Some(letter) => Ok(letter),
    }
}

fn single_quoted(rest: &mut std::str::Chars, word: &mut String) -> Result<(), BadWords> {
    for letter in rest {
        if letter == '\'' {
            return Ok(());
        }
        word.push(letter);
    }
    Err(BadWords::OpenQuote)
}

fn double_quoted(rest: &mut std::str::Chars, word: &mut String) -> Result<(), BadWords> {
    while let Some(letter) = rest.next() {
        match letter {
            '"' => return Ok(()),
            '\\' => match rest.next() {
                Some(special @ ('"' | '\\' | '$' | '`')) => word.push(special),
                Some(other) => word.extend(['\\', other]),
                None => return Err(BadWords::OpenQuote),
            },
            plain => word.push(plain),
        }
    }
    Err(BadWords::OpenQuote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap()
    }

    #[test]
    fn words_are_split_like_a_shell_splits_them() {
        assert_eq!(words("show blog --json"), ["show", "blog", "--json"]);
        assert_eq!(words("  show\tblog  "), ["show", "blog"]);
        assert_eq!(words("config set blog 'A=b c' \"D=e f\""), ["config", "set", "blog", "A=b c", "D=e f"]);
        assert_eq!(words(r#"a\ b "c\"d" 'e\f' g''h "" x"y"z"#), ["a b", "c\"d", "e\\f", "gh", "", "xyz"]);
        assert_eq!(words("set 'two\nlines'"), ["set", "two\nlines"]);
        assert_eq!(words(""), Vec::<String>::new());
    }

    #[test]
    fn nothing_is_expanded() {
        let line = r#"a $HOME `id` $(id) * ~ ; id && id | id > f < f & ${X} "$(id)" "\$x" !1 #c"#;
        let plain = words(line);
        assert_eq!(
            plain,
            [
                "a", "$HOME", "`id`", "$(id)", "*", "~", ";", "id", "&&", "id", "|", "id", ">", "f", "<", "f", "&",
                "${X}", "$(id)", "$x", "!1", "#c"
            ]
        );
    }

    #[test]
    fn unfinished_lines_are_refused() {
        assert_eq!(split("a 'b"), Err(BadWords::OpenQuote));
        assert_eq!(split("a \"b"), Err(BadWords::OpenQuote));
        assert_eq!(split("a \"b\\"), Err(BadWords::OpenQuote));
        assert_eq!(split("a \\"), Err(BadWords::OpenEscape));
        assert_eq!(split("a\nb"), Err(BadWords::LineBreak));
    }

    proptest! {
        #[test]
        fn quoted_words_come_back_as_they_were(list in proptest::collection::vec(".*", 0..6)) {
            let line: Vec<String> = list.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
            prop_assert_eq!(split(&line.join(" ")).unwrap(), list);
        }
    }
}
