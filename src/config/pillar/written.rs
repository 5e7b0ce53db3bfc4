//! The pillar file that `commis config set` writes: one `env:` mapping of quoted texts.
//!
//! Pure: old text in, new text out; the commit is made elsewhere. The file is data, so it is never rendered as a
//! template, and any value comes back as it went in.

use super::environment::refusal;
use super::scalars::plain;
use super::value::Value;
use super::yaml::parse_yaml;
use crate::model::{Code, Failure};
use std::collections::BTreeMap;

/// Name of the file in the pillar's repository.
pub const CONFIG_FILE: &str = "config.yaml";

const HEAD: &str = "# written by `commis config set`; changes by hand are kept, comments are not\n";

/// The file's new text: `Some` sets a variable, `None` takes it away; later changes win. `text` is the file as it is,
/// or `None` when there is none. A name or value that cannot be is `usage`; a file that is not ours is `bad-config`.
pub fn set_config(text: Option<&str>, changes: &[(String, Option<String>)]) -> Result<String, Failure> {
    let mut variables = read(text.unwrap_or_default())?;
    for (name, change) in changes {
        if let Some(why) = refusal(name) {
            let short: String = name.chars().take(80).collect();
            return Err(Failure::new(Code::Usage, format!("{}: {why}", short.escape_debug())));
        }
        match change {
            Some(value) if value.contains('\0') => {
                return Err(Failure::new(Code::Usage, format!("{name}: the value holds a NUL, which no variable can")));
            }
            Some(value) => variables.insert(name.clone(), value.clone()),
            None => variables.remove(name),
        };
    }
    Ok(write(&variables))
}

fn read(text: &str) -> Result<BTreeMap<String, String>, Failure> {
    let tree = parse_yaml(text, "pillar/config.yaml")?;
    let entries = match &tree {
        Value::Null => return Ok(BTreeMap::new()),
        Value::Map(entries) => entries,
        _ => return Err(foreign("should be a mapping")),
    };
    if let Some((other, _)) = entries.iter().find(|(key, _)| key != "env") {
        return Err(foreign(&format!("{} is not env", other.escape_debug())));
    }
    Ok(super::environment::environment(&tree)?.into_iter().collect())
}

fn foreign(why: &str) -> Failure {
    Failure::new(Code::BadConfig, format!("pillar/config.yaml: {why}"))
        .hint("this file belongs to `commis config set`; move what else it holds to init.yaml")
}

fn write(variables: &BTreeMap<String, String>) -> String {
    let mut text = HEAD.to_owned();
    if variables.is_empty() {
        text.push_str("env: {}\n");
        return text;
    }
    text.push_str("env:\n");
    for (name, value) in variables {
        // A variable may be called NULL or True.
        let name = if matches!(plain(name), Value::Text(_)) { name.clone() } else { quoted(name) };
        text.push_str(&format!("  {name}: {}\n", quoted(value)));
    }
    text
}

/// A double-quoted YAML scalar on one line.
fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            letter if is_plain(letter) => text.push(letter),
            letter => text.push_str(&format!("\\U{:08X}", u32::from(letter))),
        }
    }
    text.push('"');
    text
}

/// Whether a letter may stand as it is: visible, and not one that readers take for a line end or a mark.
fn is_plain(letter: char) -> bool {
    let breaks = matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}');
    let unassigned = matches!(u32::from(letter) & 0xffff, 0xfffe | 0xffff);
    !letter.is_control() && !breaks && !unassigned
}

#[cfg(test)]
mod tests {
    use super::super::environment::environment;
    use super::*;
    use proptest::prelude::*;

    fn set(name: &str, value: &str) -> (String, Option<String>) {
        (name.into(), Some(value.into()))
    }

    fn read_back(text: &str) -> Vec<(String, String)> {
        environment(&parse_yaml(text, "config.yaml").unwrap()).unwrap()
    }

    #[test]
    fn variables_are_set_and_taken_away() {
        let first = set_config(None, &[set("B", "two"), set("A", "1\"2\\3")]).unwrap();
        assert_eq!(first, format!("{HEAD}env:\n  A: \"1\\\"2\\\\3\"\n  B: \"two\"\n"));
        let second = set_config(Some(&first), &[("B".into(), None), ("C".into(), None), set("A", "x")]).unwrap();
        assert_eq!(second, format!("{HEAD}env:\n  A: \"x\"\n"));
        let third = set_config(Some(&second), &[("A".into(), None)]).unwrap();
        assert_eq!(third, format!("{HEAD}env: {{}}\n"));
        assert_eq!(set_config(Some(&third), &[]).unwrap(), third);
    }

    #[test]
    fn names_and_values_that_cannot_be_are_usage() {
        for name in ["1A", "A B", "", "PATH", "LD_PRELOAD"] {
            assert_eq!(set_config(None, &[set(name, "x")]).unwrap_err().code, Code::Usage, "{name}");
        }
        let failure = set_config(None, &[set("A", "s3cr3t\0")]).unwrap_err();
        assert_eq!((failure.code, failure.what.contains("s3cr3t")), (Code::Usage, false));
    }

    #[test]
    fn a_file_that_is_not_ours_is_left_alone() {
        for text in ["- a", "env: 3", "env: {}\nother: 1", "env:\n  A: [1]", "env: {"] {
            assert_eq!(set_config(Some(text), &[]).unwrap_err().code, Code::BadConfig, "{text}");
        }
    }

    #[test]
    fn names_that_yaml_takes_for_values_are_kept() {
        for name in ["NULL", "true", "No", "y"] {
            let text = set_config(None, &[set(name, "x")]).unwrap();
            assert_eq!(read_back(&text), [(name.to_owned(), "x".to_owned())]);
        }
    }

    proptest! {
        #[test]
        fn any_value_comes_back_as_it_went_in(
            values in proptest::collection::btree_map("[A-Z]{1,6}_", any::<String>(), 0..5),
            odd in "[\\PC\\s\u{0}-\u{1f}\u{7f}-\u{a0}\u{2028}\u{2029}\u{feff}\u{fffe}\"'{}%#&*!|>:\\\\-]{0,40}",
        ) {
            let mut wanted: BTreeMap<String, String> = values.into_iter().map(|(k, v)| (k, v.replace('\0', ""))).collect();
            wanted.insert("ODD".into(), odd.replace('\0', ""));
            wanted.retain(|name, _| refusal(name).is_none());
            let changes: Vec<_> = wanted.iter().map(|(name, value)| set(name, value)).collect();
            let text = set_config(None, &changes).unwrap();
            prop_assert_eq!(read_back(&text), wanted.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(set_config(Some(&text), &[]).unwrap(), text);
        }
    }
}
