//! A project's private configuration: which files it is made of, how each is read and how they come together.
//!
//! Pure: texts in, one tree out; the repositories are read elsewhere. Everything here may be a secret, so no value is
//! ever shown by an error or by `Debug`. The tree becomes `common`, its `env:` the environment (`environment`).

pub mod environment;
pub mod render;
mod scalars;
pub mod value;
pub mod written;
pub mod yaml;

pub use environment::environment;
pub use render::render;
pub use value::{Value, from_json, merge, to_json};
pub use written::{CONFIG_FILE, set_config};
pub use yaml::parse_yaml;

use crate::model::{Code, Failure};

/// The one file a pillar begins with; the first of these names that is there, and no second one.
const PILLAR_FILES: [&str; 3] = ["init.sls", "init.yaml", "init.yml"];
/// Files of the project that a pillar goes over.
pub const DEFAULT_FILES: [&str; 2] = ["PILLAR.sample", ".commis/defaults.yaml"];

/// Texts of the files, by the name that errors show, in the order in which they come over one another.
#[derive(Clone, Default)]
pub struct PillarSources {
    /// From the project's tree: `("PILLAR.sample", …)`.
    pub defaults: Vec<(String, String)>,
    /// From the pillar's repository: `("pillar/init.sls", …)`.
    pub pillar: Vec<(String, String)>,
}

/// Which of the pillar's files are read, in order: its `init` file, then what `config set` wrote. Two `init` files
/// are `bad-config`; none at all is an empty pillar.
pub fn pillar_files<'a>(names: &[&'a str]) -> Result<Vec<&'a str>, Failure> {
    let mut found = present(names, &PILLAR_FILES);
    if let [first, second, ..] = found.as_slice() {
        let what = format!("pillar: both {first} and {second}; there should be one of {}", PILLAR_FILES.join(", "));
        return Err(Failure::new(Code::BadConfig, what).hint(format!("remove {second} from the pillar repository")));
    }
    found.extend(present(names, &[CONFIG_FILE]));
    Ok(found)
}

/// Which of the project's files hold defaults for the pillar, in order.
pub fn default_files<'a>(names: &[&'a str]) -> Vec<&'a str> {
    present(names, &DEFAULT_FILES)
}

/// One tree of all files: each rendered, parsed and merged over the ones before. Always a mapping. What `config set`
/// wrote is data and is not rendered. `context` is what templates may use. Errors are `bad-config`.
pub fn assemble(sources: &PillarSources, context: &Value) -> Result<Value, Failure> {
    let mut tree = Value::Map(Vec::new());
    for (name, text) in sources.defaults.iter().chain(&sources.pillar) {
        let written_by_us = name.rsplit('/').next() == Some(CONFIG_FILE);
        let value =
            if written_by_us { parse_yaml(text, name)? } else { parse_yaml(&render(text, name, context)?, name)? };
        match value {
            Value::Null => {}
            Value::Map(_) => tree = merge(tree, value),
            other => {
                let what = format!("{name}: should be a mapping at the top, found {}", other.kind());
                return Err(Failure::new(Code::BadConfig, what).hint("a line looks like this:  name: value"));
            }
        }
    }
    Ok(tree)
}

fn present<'a>(names: &[&'a str], wanted: &[&str]) -> Vec<&'a str> {
    wanted.iter().filter_map(|file| names.iter().find(|name| *name == file).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sources(defaults: &[(&str, &str)], pillar: &[(&str, &str)]) -> PillarSources {
        let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        PillarSources { defaults: owned(defaults), pillar: owned(pillar) }
    }

    fn assembled(sources: &PillarSources) -> String {
        let context = Value::Map(vec![("project".into(), Value::Text("blog".into()))]);
        to_json(&assemble(sources, &context).unwrap()).to_string()
    }

    fn error(sources: &PillarSources) -> Failure {
        assemble(sources, &Value::Map(Vec::new())).map(|_| ()).unwrap_err()
    }

    #[test]
    fn the_pillar_goes_over_the_project_and_config_set_over_the_pillar() {
        let all = sources(
            &[("PILLAR.sample", "env: {A: 1, B: 2}\nhosts: [x, y]\n"), (".commis/defaults.yaml", "env: {B: 3}\n")],
            &[
                ("pillar/init.sls", "env:\n  C: '{{ project }}'\nhosts: [z]\n"),
                ("pillar/config.yaml", "env:\n  A: \"{{ 1 }}\"\n"),
            ],
        );
        assert_eq!(assembled(&all), r#"{"env":{"A":"{{ 1 }}","B":"3","C":"blog"},"hosts":["z"]}"#);
    }

    #[test]
    fn no_files_and_empty_files_are_an_empty_pillar() {
        assert_eq!(assembled(&sources(&[], &[])), "{}");
        assert_eq!(assembled(&sources(&[("PILLAR.sample", "# nothing yet\n")], &[("pillar/init.sls", "")])), "{}");
    }

    #[test]
    fn what_is_no_mapping_is_refused_with_the_file() {
        let failure = error(&sources(&[], &[("pillar/init.yaml", "- a\n")]));
        assert_eq!(failure.code, Code::BadConfig);
        assert_eq!(failure.what, "pillar/init.yaml: should be a mapping at the top, found a list");
    }

    #[test]
    fn there_is_one_init_file() {
        assert_eq!(pillar_files(&["config.yaml", "README", "init.yaml"]).unwrap(), ["init.yaml", "config.yaml"]);
        assert_eq!(pillar_files(&["README"]).unwrap(), [""; 0]);
        let failure = pillar_files(&["init.yml", "init.sls"]).unwrap_err();
        assert_eq!(failure.code, Code::BadConfig);
        assert!(failure.what.starts_with("pillar: both init.sls and init.yml"), "{}", failure.what);
        assert_eq!(
            default_files(&[".commis/defaults.yaml", "PILLAR.sample"]),
            ["PILLAR.sample", ".commis/defaults.yaml"]
        );
    }

    proptest! {
        #[test]
        fn no_pillar_makes_it_panic(text in "([a-c]: |[-?:,{}&*!|>'\"%#@~ \t\r\n<\\[\\]\\\\a-c0-9é]|\\{\\{ ?|\\}\\}|\\{% (if|for|set|macro) |%\\}){0,60}") {
            let sources = sources(&[("PILLAR.sample", &text)], &[("pillar/config.yaml", &text)]);
            if let Ok(tree) = assemble(&sources, &Value::Map(Vec::new())) {
                let json = to_json(&tree);
                prop_assert!(from_json(&json) == tree);
                let _ = environment(&tree);
            }
            let _ = set_config(Some(&text), &[]);
        }
    }
}
