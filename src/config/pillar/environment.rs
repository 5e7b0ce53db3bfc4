//! The `env:` of a pillar as environment variables of builds and applications.
//!
//! Pure. Says which names are allowed and how values become text; errors name the variable and never its value. Which
//! variables a build gets is the project's choice (`config::project`).

use super::value::Value;
use crate::config::kinds::is_variable_name;
use crate::model::{Code, Failure};

/// Ours to set, or read by loaders and shells before any program of the project runs.
const REFUSED: [&str; 5] = ["PATH", "PORT", "BASH_ENV", "ENV", "IFS"];
const REFUSED_BEGINNINGS: [&str; 3] = ["LD_", "COMMIS_", "GIT_"];

/// Names and values of the top `env:` mapping, in its order. `true` is "true", numbers are as written where that is
/// known; a variable that is `null` is left out, which is how a pillar takes away a default. Errors are `bad-config`.
pub fn environment(common: &Value) -> Result<Vec<(String, String)>, Failure> {
    let entries = match common.get("env") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Map(entries)) => entries,
        Some(other) => {
            return Err(wrong("env", &format!("should be a mapping of names to values, found {}", other.kind())));
        }
    };
    let mut variables = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let place = format!("env.{}", name.chars().take(80).collect::<String>().escape_debug());
        if let Some(why) = refusal(name) {
            return Err(wrong(&place, why));
        }
        if let Some(text) = text_of(value).map_err(|why| wrong(&place, &why))? {
            variables.push((name.clone(), text));
        }
    }
    Ok(variables)
}

/// Why a variable may not have this name; `None` when it may.
pub fn refusal(name: &str) -> Option<&'static str> {
    if !is_variable_name(name) {
        return Some("is not the name of a variable (letters, digits and _, no digit first)");
    }
    let taken = REFUSED.contains(&name) || REFUSED_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
    taken.then_some("this variable cannot be set here")
}

fn text_of(value: &Value) -> Result<Option<String>, String> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::List(_) | Value::Map(_) => return Err(format!("should be one value, found {}", value.kind())),
    };
    if text.contains('\0') { Err("holds a NUL, which no variable can".into()) } else { Ok(Some(text)) }
}

fn wrong(place: &str, why: &str) -> Failure {
    Failure::new(Code::BadConfig, format!("pillar: {place}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse_yaml;
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let variables = environment(&parse_yaml(text, "pillar/init.sls").unwrap());
        let shown = variables.map(|all| all.iter().map(|(name, value)| format!("{name}={value}")).collect());
        shown.map_err(|failure| failure.what)
    }

    #[test]
    fn scalars_become_text() {
        let text = "env:\n  URL: http://x\n  DEBUG: true\n  WORKERS: 4\n  RATIO: 1.50\n  NONE: ~\n  EMPTY: ''\n  LINES: \"a\\nb\"\n";
        assert_eq!(
            read(text).unwrap(),
            ["URL=http://x", "DEBUG=true", "WORKERS=4", "RATIO=1.50", "EMPTY=", "LINES=a\nb"]
        );
        assert_eq!(read("other: 1").unwrap(), [""; 0]);
        assert_eq!(read("env:").unwrap(), [""; 0]);
    }

    #[test]
    fn names_that_would_take_over_programs_are_refused() {
        let taken = ["LD_PRELOAD", "LD_", "PATH", "PORT", "GIT_DIR", "COMMIS_RUN", "BASH_ENV", "ENV", "IFS"];
        for name in taken {
            let what = read(&format!("env:\n  {name}: s3cr3t\n")).unwrap_err();
            assert_eq!(what, format!("pillar: env.{name}: this variable cannot be set here"));
        }
        for name in ["LDAP_URL", "PATH_INFO", "GITHUB_TOKEN", "_X", "PYTHONPATH", "ENVIRONMENT"] {
            assert!(read(&format!("env:\n  {name}: x\n")).is_ok(), "{name}");
        }
        for name in ["'1A'", "A-B", "'A B'", "A.B", "'A=B'", "''", "É"] {
            assert!(
                read(&format!("env:\n  {name}: x\n")).unwrap_err().contains("is not the name of a variable"),
                "{name}"
            );
        }
    }

    #[test]
    fn values_that_are_no_text_are_refused_and_not_shown() {
        assert_eq!(
            read("env: [s3cr3t]").unwrap_err(),
            "pillar: env: should be a mapping of names to values, found a list"
        );
        assert_eq!(read("env:\n  A: [s3cr3t]").unwrap_err(), "pillar: env.A: should be one value, found a list");
        assert_eq!(read("env:\n  A: \"s3cr3t\\0\"").unwrap_err(), "pillar: env.A: holds a NUL, which no variable can");
    }
}
