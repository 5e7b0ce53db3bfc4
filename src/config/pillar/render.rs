//! Pillar files are templates before they are YAML: renders one text.
//!
//! Pure: templates see the given values and nothing else, no file, no environment. A name that is not there is an error,
//! never an empty text, and the number of steps is bounded. Memory is not: what one expression may grow to is a limit
//! that belongs to the process that renders.

use super::value::{Value, to_json};
use crate::model::{Code, Failure};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

/// Steps of the template machine; a big pillar takes a few thousand.
const FUEL: u64 = 200_000;
const MAX_TEXT: usize = 1_000_000;
/// Macros that call macros.
const MAX_RECURSION: usize = 50;

/// The text with its templates filled in; a text without `{{` and `{%` comes back as it is. Errors are `bad-config`
/// with file and line and show no value.
pub fn render(text: &str, file_name: &str, context: &Value) -> Result<String, Failure> {
    if !text.contains("{{") && !text.contains("{%") {
        return Ok(text.to_owned());
    }
    if text.len() > MAX_TEXT {
        let what = format!("{file_name}: is larger than {} MB, too large for a template", MAX_TEXT / 1_000_000);
        return Err(Failure::new(Code::BadConfig, what));
    }
    let environment = environment();
    let values = minijinja::Value::from(Serde(to_json(context)));
    let rendered = environment.template_from_named_str(file_name, text).and_then(|template| template.render(values));
    rendered.map_err(|error| failure(&error, text, file_name))
}

fn environment<'a>() -> Environment<'a> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // The end of a text can belong to a value: a block scalar on the last line.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MAX_RECURSION);
    // Keeps the place of an error inside its line.
    environment.set_debug(true);
    environment
}

fn failure(error: &Error, text: &str, file_name: &str) -> Failure {
    let why = match error.kind() {
        ErrorKind::UndefinedError => "nothing has this name".to_owned(),
        ErrorKind::OutOfFuel => format!("the template takes more than {FUEL} steps"),
        ErrorKind::TemplateNotFound => "a template cannot take in other files".to_owned(),
        ErrorKind::SyntaxError | ErrorKind::UnknownFilter | ErrorKind::UnknownFunction | ErrorKind::UnknownTest => {
            error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()))
        }
        // The detail of the others may quote a value.
        kind => kind.to_string(),
    };
    let place = error.line().map_or_else(|| file_name.to_owned(), |line| format!("{file_name} line {line}"));
    let name = error.range().and_then(|range| text.get(range)).filter(|source| is_name(source));
    let about = name.map_or_else(String::new, |name| format!("{name}: "));
    Failure::new(Code::BadConfig, format!("{place}: {about}{}", why.replace('\n', " ")))
}

/// Only names are shown: any other piece of the template may hold a secret.
fn is_name(source: &str) -> bool {
    source.len() <= 80 && source.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::super::value::from_json;
    use super::*;
    use serde_json::json;

    fn rendered(text: &str) -> Result<String, String> {
        let context = from_json(&json!({"project": "blog", "paths": {"run": "/srv/run"}, "hosts": ["a", "b"]}));
        render(text, "pillar/init.sls", &context).map_err(|failure| failure.what)
    }

    #[test]
    fn templates_are_filled_in() {
        let text = "name: {{ project }}\nrun: {{ paths.run }}\nhosts:\n{% for host in hosts %}  - {{ host|upper }}\n{% endfor %}";
        assert_eq!(rendered(text).unwrap(), "name: blog\nrun: /srv/run\nhosts:\n  - A\n  - B\n");
        assert_eq!(rendered("a: '{{ \"<&>\" }}'\n").unwrap(), "a: '<&>'\n", "nothing is escaped");
    }

    #[test]
    fn a_text_without_templates_comes_back_as_it_is() {
        assert_eq!(rendered("a: {#b: 1}\n# {\n").unwrap(), "a: {#b: 1}\n# {\n");
    }

    #[test]
    fn a_name_that_is_not_there_is_refused_with_its_line() {
        assert_eq!(
            rendered("a: 1\nb: {{ nobody }}").unwrap_err(),
            "pillar/init.sls line 2: nobody: nothing has this name"
        );
        let what = rendered("a: {{ salt['x'].y }}").unwrap_err();
        assert!(what.starts_with("pillar/init.sls line 1: ") && what.ends_with("nothing has this name"), "{what}");
        assert_eq!(rendered("a: {{ nobody|default('x') }}").unwrap(), "a: x");
    }

    #[test]
    fn a_broken_template_is_refused_with_its_line() {
        assert!(rendered("a: 1\n\nb: {% if %}").unwrap_err().starts_with("pillar/init.sls line 3: "));
        assert!(rendered("{{ 1|nofilter }}").unwrap_err().contains("nofilter"));
        assert!(rendered("{{").unwrap_err().starts_with("pillar/init.sls line 1: "));
    }

    #[test]
    fn a_template_sees_no_file_and_ends() {
        let what = rendered("{% include '/etc/passwd' %}").unwrap_err();
        assert!(what.contains("cannot take in other files"), "{what}");
        let endless = "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}";
        assert!(rendered(endless).is_err());
        let long = "{% for a in range(1000) %}{% for b in range(1000) %}x{% endfor %}{% endfor %}";
        assert!(rendered(long).unwrap_err().contains("more than 200000 steps"), "{long}");
    }

    #[test]
    fn no_error_shows_a_secret() {
        for text in [
            "{{ 's3cr3t'|int }}",
            "{{ 's3cr3t' / 2 }}",
            "{{ 's3cr3t'.x.y }}",
            "{{ ('s3cr3t' ~ nobody)() }}",
            "{{ 's3cr3t }}",
        ] {
            let what = rendered(text).unwrap_err();
            assert!(!what.contains("s3cr3t"), "{what}");
        }
    }
}
