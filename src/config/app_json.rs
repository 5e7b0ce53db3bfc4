//! `app.json`: the parts of other platforms' file that we read: the health check of `web`, how many of each process, and
//! what runs by the clock.
//!
//! Pure. The file belongs to others as well, so keys that we do not know are left alone and `//` comments are taken.
//! Our own settings stand in `.commis/project.toml`, which wins where both say something.

use super::project::is_health_path;
use super::tasks::{self, Task};
use crate::model::{Code, Failure, ProcessType};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// What we take from an `app.json`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AppJson {
    /// The first check of `healthchecks.web`.
    pub health: Option<HealthCheck>,
    /// `formation.<type>.quantity`.
    pub formation: BTreeMap<ProcessType, u32>,
    /// `cron`, in its order.
    pub cron: Vec<Task>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthCheck {
    /// Begins with `/`.
    pub path: Option<String>,
    /// Time of one try.
    pub timeout: Option<Duration>,
    /// Another port than `$PORT`.
    pub port: Option<u16>,
}

impl AppJson {
    /// Reads the file's text. Errors are `bad-config`, with the line for what is not JSON and the key for the rest.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let root: Value = serde_json::from_str(&without_comments(text)).map_err(|error| {
            let why = error.to_string();
            let why = why.split(" at line ").next().unwrap_or_default();
            Failure::new(Code::BadConfig, format!("app.json line {} column {}: {why}", error.line(), error.column()))
        })?;
        if !root.is_object() {
            return Err(Failure::new(Code::BadConfig, "app.json: should be an object at the top"));
        }
        Ok(Self { health: health(&root)?, formation: formation(&root)?, cron: tasks::of_app_json(&root)? })
    }
}

fn health(root: &Value) -> Result<Option<HealthCheck>, Failure> {
    let checks = match inside(root, "healthchecks", "web")? {
        None => return Ok(None),
        Some(checks) => checks.as_array().ok_or_else(|| wrong("healthchecks.web", "a list of checks"))?,
    };
    let Some(check) = checks.first() else { return Ok(None) };
    if !check.is_object() {
        return Err(wrong("healthchecks.web[0]", "an object"));
    }
    let text = |value: &Value| value.as_str().filter(|path| is_health_path(path)).map(str::to_owned);
    let seconds = |value: &Value| value.as_u64().filter(|n| (1..=3_600).contains(n)).map(Duration::from_secs);
    let port = |value: &Value| value.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    Ok(Some(HealthCheck {
        path: field(check, "path", "a path that begins with /, without spaces", text)?,
        timeout: field(check, "timeout", "a number of seconds from 1 to 3600", seconds)?,
        port: field(check, "port", "a number from 1 to 65535", port)?,
    }))
}

fn formation(root: &Value) -> Result<BTreeMap<ProcessType, u32>, Failure> {
    let mut wanted = BTreeMap::new();
    let Some(formation) = present(root, "formation") else { return Ok(wanted) };
    let types = formation.as_object().ok_or_else(|| wrong("formation", "an object"))?;
    for (name, settings) in types {
        let path = format!("formation.{}", name.escape_debug());
        let kind = ProcessType::parse(name).ok_or_else(|| wrong(&path, "named like a process of the Procfile"))?;
        if !settings.is_object() {
            return Err(wrong(&path, "an object"));
        }
        if let Some(quantity) = present(settings, "quantity") {
            let quantity = quantity.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= 1_000);
            let should = "a number from 0 to 1000";
            wanted.insert(kind, quantity.ok_or_else(|| wrong(&format!("{path}.quantity"), should))?);
        }
    }
    Ok(wanted)
}

/// The value of a key, when it is there and not null.
fn present<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

fn inside<'a>(root: &'a Value, outer: &str, inner: &str) -> Result<Option<&'a Value>, Failure> {
    match present(root, outer) {
        None => Ok(None),
        Some(object) if object.is_object() => Ok(present(object, inner)),
        Some(_) => Err(wrong(outer, "an object")),
    }
}

fn field<T>(check: &Value, key: &str, should: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, Failure> {
    let Some(value) = present(check, key) else { return Ok(None) };
    read(value).map(Some).ok_or_else(|| wrong(&format!("healthchecks.web[0].{key}"), should))
}

fn wrong(path: &str, should: &str) -> Failure {
    Failure::new(Code::BadConfig, format!("app.json: {path}: should be {should}"))
}

/// The text with `//` comments outside of strings made into spaces, so that lines and columns stay.
fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut state = State::Between;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        state = match (state, letter) {
            (State::Between, '"') => State::Text,
            (State::Between, '/') if letters.peek() == Some(&'/') => State::Comment,
            (State::Text, '"') => State::Between,
            (State::Text, '\\') => State::Escape,
            (State::Escape, _) => State::Text,
            (State::Comment, '\n') => State::Between,
            (same, _) => same,
        };
        plain.push(if matches!(state, State::Comment) { ' ' } else { letter });
    }
    plain
}

#[derive(Clone, Copy)]
enum State {
    Between,
    Text,
    Escape,
    Comment,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let failure = AppJson::parse(text).unwrap_err();
        assert_eq!(failure.code, Code::BadConfig);
        failure.what
    }

    #[test]
    fn the_first_check_of_web_and_the_formation_are_read() {
        let text = r#"{
            // what others read
            "name": "blog // not a comment", "buildpacks": [{"url": "https://example.com/x"}],
            "healthchecks": {"web": [{"type": "startup", "path": "/health", "timeout": 5, "port": 8080, "attempts": 3}]},
            "formation": {"web": {"quantity": 2, "size": "m"}, "worker": {"quantity": 0}, "clock": {}} // end
        }"#;
        let app = AppJson::parse(text).unwrap();
        let timeout = Some(Duration::from_secs(5));
        assert_eq!(app.health, Some(HealthCheck { path: Some("/health".into()), timeout, port: Some(8080) }));
        let formation: Vec<String> = app.formation.iter().map(|(kind, n)| format!("{kind}={n}")).collect();
        assert_eq!(formation, ["web=2", "worker=0"]);
    }

    #[test]
    fn what_is_not_there_is_not_there() {
        for text in ["{}", r#"{"healthchecks": null}"#, r#"{"healthchecks": {"web": []}, "formation": {}}"#] {
            assert_eq!(AppJson::parse(text).unwrap(), AppJson::default(), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_line() {
        let what = error("{\n  // comment\n  \"name\": oops\n}");
        assert!(what.starts_with("app.json line 3 column 11: "), "{what}");
        assert!(!what.contains(" at line "), "{what}");
        assert!(error("").starts_with("app.json line 1"));
        error(&"[".repeat(100_000));
        assert_eq!(error("[]"), "app.json: should be an object at the top");
    }

    #[test]
    fn a_wrong_shape_is_refused_with_its_key() {
        let check = |inner: &str| error(&format!(r#"{{"healthchecks": {{"web": [{{{inner}}}]}}}}"#));
        assert!(check(r#""path": "health""#).starts_with("app.json: healthchecks.web[0].path: should be a path"));
        assert!(check(r#""timeout": "5""#).starts_with("app.json: healthchecks.web[0].timeout: should be a number"));
        assert!(check(r#""port": 70000"#).starts_with("app.json: healthchecks.web[0].port: should be a number"));
        assert_eq!(error(r#"{"healthchecks": []}"#), "app.json: healthchecks: should be an object");
        assert_eq!(
            error(r#"{"formation": {"web": {"quantity": -1}}}"#),
            "app.json: formation.web.quantity: should be a number from 0 to 1000"
        );
        assert!(error(r#"{"formation": {"a b": {}}}"#).contains("formation.a b: should be named like"));
    }
}
