//! YAML text to a tree, with line and column in every error and with budgets against hostile texts.
//!
//! Pure. What a plain word means is said in `scalars`. Numbers directly in a top `env:` stay as written, since `1.10`
//! is not `1.1` there. Keys are text; a key that is there twice is an error; `<<` merges; tags of one's own are refused.

use super::scalars::plain;
use super::value::{Value, merge};
use crate::model::{Code, Failure};
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Bytes of one file.
const MAX_TEXT: usize = 4_000_000;
/// Bytes of the tree, aliases written out; each value counts a little besides its text.
const MAX_TREE: usize = 32_000_000;
const PER_VALUE: usize = 32;
/// Lists and mappings inside one another.
const MAX_DEPTH: usize = 64;

/// Reads one document; an empty text is `Null`. `file_name` begins each error, all are `bad-config` and none shows
/// a value.
pub fn parse_yaml(text: &str, file_name: &str) -> Result<Value, Failure> {
    if text.len() > MAX_TEXT {
        return Err(Failure::new(Code::BadConfig, format!("{file_name}: is larger than {} MB", MAX_TEXT / 1_000_000)));
    }
    let options = granit_parser::options! { emit_comments: false };
    let events = Parser::new_from_str_with_options(text, options);
    let mut composer =
        Composer { file_name, events, anchors: HashMap::new(), spent: 0, depth: 0, numbers: Numbers::Typed };
    composer.document()
}

/// Whether numbers are numbers or the text they were written as.
#[derive(Clone, Copy, PartialEq)]
enum Numbers {
    Typed,
    AsWritten,
}

/// A value as an anchor keeps it, with what it costs to write it out again.
struct Anchored {
    value: Value,
    cost: usize,
}

struct Composer<'a> {
    file_name: &'a str,
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Anchored>,
    spent: usize,
    depth: usize,
    numbers: Numbers,
}

impl<'a> Composer<'a> {
    fn document(&mut self) -> Result<Value, Failure> {
        let mut value = Value::Null;
        let mut documents = 0;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(value),
                (Event::DocumentStart(..), span) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(self.wrong(&span, "a second document begins; there should be one"));
                    }
                    let (event, span) = self.next()?;
                    value = self.node(event, &span)?;
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Failure> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.unreadable(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Value, Failure> {
        let before = self.spent;
        self.spend(PER_VALUE, span)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (self.scalar(&text, style, tag.as_deref(), span)?, anchor),
            Event::SequenceStart(_, anchor, tag) => (self.list(tag, span)?, anchor),
            Event::MappingStart(_, anchor, tag) => (self.mapping(tag, span)?, anchor),
            Event::Alias(anchor) => (self.alias(anchor, span)?, 0),
            _ => return Err(self.wrong(span, "a value should be here")),
        };
        if anchor != 0 {
            let cost = self.spent - before;
            self.spend(cost, span)?;
            self.anchors.insert(anchor, Anchored { value: value.clone(), cost });
        }
        Ok(value)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Result<Value, Failure> {
        self.spend(text.len(), span)?;
        let typed = match tag {
            Some(tag) => self.tagged(text, tag, span)?,
            None if style == ScalarStyle::Plain => plain(text),
            None => Value::Text(text.to_owned()),
        };
        let number = matches!(typed, Value::Int(_) | Value::Float(_));
        // The mapping below `env:` has depth 2; deeper values are refused by `environment`.
        let keep = number && self.numbers == Numbers::AsWritten && self.depth == 2;
        Ok(if keep { Value::Text(text.to_owned()) } else { typed })
    }

    fn tagged(&self, text: &str, tag: &Tag, span: &Span) -> Result<Value, Failure> {
        let wanted =
            |value: Value, fits: bool| if fits { Ok(value) } else { Err(self.wrong(span, "is not what its tag says")) };
        let value = plain(text);
        match tag.core_suffix() {
            Some("str") => Ok(Value::Text(text.to_owned())),
            Some("null") => wanted(Value::Null, value == Value::Null),
            Some("bool") => wanted(value.clone(), matches!(value, Value::Bool(_))),
            Some("int") => wanted(value.clone(), matches!(value, Value::Int(_))),
            Some("float") => match value {
                Value::Int(number) => Ok(Value::Float(number as f64)),
                other => wanted(other.clone(), matches!(other, Value::Float(_))),
            },
            // A lone `!` says "not plain".
            None if tag.original() == "!" => Ok(Value::Text(text.to_owned())),
            _ => Err(self.wrong(span, "a tag that is not known here")),
        }
    }

    fn list(&mut self, tag: Option<Cow<'_, Tag>>, span: &Span) -> Result<Value, Failure> {
        self.collection_tag(tag.as_deref(), "seq", span)?;
        self.enter(span)?;
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            items.push(self.node(event, &span)?);
        }
        self.depth -= 1;
        Ok(Value::List(items))
    }

    fn mapping(&mut self, tag: Option<Cow<'_, Tag>>, span: &Span) -> Result<Value, Failure> {
        self.collection_tag(tag.as_deref(), "map", span)?;
        self.enter(span)?;
        let mut entries = Vec::new();
        let mut merged = Value::Map(Vec::new());
        let mut keys = HashSet::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let merges = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.key(event, &span)?;
            if !keys.insert(key.clone()) {
                return Err(self.wrong(&span, &format!("{} is there twice", shown(&key))));
            }
            let outer = self.numbers;
            self.numbers = match (self.depth, key.as_str()) {
                (1, "env") => Numbers::AsWritten,
                (1, _) => Numbers::Typed,
                _ => outer,
            };
            let (event, span) = self.next()?;
            let value = self.node(event, &span)?;
            self.numbers = outer;
            if merges { merged = self.merged(merged, value, &span)? } else { entries.push((key, value)) }
        }
        self.depth -= 1;
        Ok(inherit(merged, entries))
    }

    fn key(&mut self, event: Event<'a>, span: &Span) -> Result<String, Failure> {
        let is_text = match &event {
            Event::Scalar(text, ScalarStyle::Plain, _, None) => matches!(plain(text), Value::Text(_)),
            Event::Scalar(..) | Event::Alias(_) => true,
            _ => return Err(self.wrong(span, "a key should be text, found a list or a mapping")),
        };
        let written = match &event {
            Event::Scalar(text, ..) => shown(text),
            _ => "this key".into(),
        };
        match self.node(event, span)? {
            Value::Text(key) if is_text => Ok(key),
            _ => Err(self.wrong(span, &format!("a key should be text: put {written} in quotes"))),
        }
    }

    /// What `<<` brings: a mapping, or a list of mappings of which the first wins.
    fn merged(&self, so_far: Value, value: Value, span: &Span) -> Result<Value, Failure> {
        let sources = match value {
            Value::List(items) => items,
            other => vec![other],
        };
        sources.into_iter().rev().try_fold(so_far, |merged, source| match source {
            Value::Map(entries) => Ok(inherit(merged, entries)),
            _ => Err(self.wrong(span, "<< should name a mapping")),
        })
    }

    fn alias(&mut self, anchor: usize, span: &Span) -> Result<Value, Failure> {
        let Some(cost) = self.anchors.get(&anchor).map(|anchored| anchored.cost) else {
            return Err(self.wrong(span, "an alias inside the value that it names"));
        };
        self.spend(cost, span)?;
        Ok(self.anchors.get(&anchor).map_or(Value::Null, |anchored| anchored.value.clone()))
    }

    fn collection_tag(&self, tag: Option<&Tag>, suffix: &str, span: &Span) -> Result<(), Failure> {
        match tag {
            Some(tag) if tag.core_suffix() != Some(suffix) && tag.original() != "!" => {
                Err(self.wrong(span, "a tag that is not known here"))
            }
            _ => Ok(()),
        }
    }

    fn enter(&mut self, span: &Span) -> Result<(), Failure> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong(span, &format!("more than {MAX_DEPTH} lists and mappings inside one another")));
        }
        Ok(())
    }

    fn spend(&mut self, bytes: usize, span: &Span) -> Result<(), Failure> {
        self.spent = self.spent.saturating_add(bytes);
        if self.spent > MAX_TREE {
            return Err(self.wrong(span, &format!("with its aliases it is larger than {} MB", MAX_TREE / 1_000_000)));
        }
        Ok(())
    }

    fn wrong(&self, span: &Span, why: &str) -> Failure {
        self.failure(span.start.line(), span.start.col(), why)
    }

    fn unreadable(&self, error: &ScanError) -> Failure {
        let failure = self.failure(error.marker().line(), error.marker().col(), &error.info());
        // Far and away the most frequent cause of a text that is no YAML.
        failure.hint("values with : # { [ or quotes in them belong in 'single quotes'")
    }

    fn failure(&self, line: usize, column: usize, why: &str) -> Failure {
        let what = format!("{} line {line} column {}: {}", self.file_name, column + 1, why.replace('\n', " "));
        Failure::new(Code::BadConfig, what)
    }
}

/// Entries over what they inherit, one level deep: a key that is there hides the inherited one whole.
fn inherit(inherited: Value, entries: Vec<(String, Value)>) -> Value {
    let Value::Map(mut all) = inherited else { return Value::Map(entries) };
    let own: HashSet<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    all.retain(|(key, _)| !own.contains(key.as_str()));
    merge(Value::Map(all), Value::Map(entries))
}

fn shown(key: &str) -> String {
    let short: String = key.chars().take(40).collect();
    format!("\"{}\"", short.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::super::value::to_json;
    use super::*;

    fn json(text: &str) -> String {
        to_json(&parse_yaml(text, "pillar/init.sls").unwrap()).to_string()
    }

    fn error(text: &str) -> String {
        let failure = parse_yaml(text, "pillar/init.sls").unwrap_err();
        assert_eq!(failure.code, Code::BadConfig);
        failure.what
    }

    #[test]
    fn yaml_becomes_a_tree_in_its_order() {
        let text = "b: 1\na: [x, 2.5, ~]\nnested:\n  - k: |\n      two\n      lines\n  - {}\n'7': \"\\u00e9\"\n";
        assert_eq!(json(text), r#"{"b":1,"a":["x",2.5,null],"nested":[{"k":"two\nlines\n"},{}],"7":"é"}"#);
        assert_eq!(json("# only a comment\n"), "null");
        assert_eq!(json("---\na: 1\n...\n"), r#"{"a":1}"#);
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_with_line_and_column() {
        assert_eq!(error("a: 1\nb:\n  c: 1\n  c: 2\n"), "pillar/init.sls line 4 column 3: \"c\" is there twice");
        assert!(parse_yaml("b: {c: 1}\nd: {c: 2}", "x").is_ok(), "in another mapping it is another key");
    }

    #[test]
    fn keys_are_text() {
        assert_eq!(error("80: web"), "pillar/init.sls line 1 column 1: a key should be text: put \"80\" in quotes");
        assert!(error("true: web").contains("put \"true\" in quotes"));
        assert!(error("? [a]\n: b").contains("found a list or a mapping"));
        assert_eq!(json("'80': web\nno: text"), r#"{"80":"web","no":"text"}"#);
    }

    #[test]
    fn text_that_is_no_yaml_is_refused_where_it_breaks() {
        let what = error("a: 1\nb: [1, 2\nc: 3\n");
        assert!(what.starts_with("pillar/init.sls line "), "{what}");
        assert!(error("a: b: c").starts_with("pillar/init.sls line 1 column 5: "), "{}", error("a: b: c"));
        assert!(error("a:\n\tb: 1").starts_with("pillar/init.sls line 2"));
        assert!(error("a: *nobody").starts_with("pillar/init.sls line 1"));
        assert!(error("a: 1\n---\nb: 2").contains("line 2 column 1: a second document begins"));
    }

    #[test]
    fn no_error_shows_a_secret() {
        for text in [
            "a: s3cr3t: x",
            "a: \"s3cr3t",
            "a: !s3cr3t-free s3cr3t",
            "a: [s3cr3t\nb: s3cr3t}",
            "k: &a s3cr3t\n*a : 's3cr3t",
        ] {
            assert!(!error(text).contains("s3cr3t"), "{}", error(text));
        }
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        let text = "base: &b {x: 1, y: {z: 1}}\nother: &o {x: 5, w: 6}\nmine:\n  <<: [*b, *o]\n  y: 2\ncopy: *b\n";
        let tree: serde_json::Value = serde_json::from_str(&json(text)).unwrap();
        assert_eq!(tree["mine"], serde_json::json!({"x": 1, "w": 6, "y": 2}));
        assert_eq!(tree["copy"], serde_json::json!({"x": 1, "y": {"z": 1}}));
        assert!(error("a: {<<: 1}").contains("<< should name a mapping"));
        assert_eq!(json("'<<': 1"), r#"{"<<":1}"#, "in quotes it is a key like any other");
    }

    #[test]
    fn bombs_are_refused() {
        let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for level in 1..30 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(error(&laughs).contains("with its aliases it is larger than"), "{}", error(&laughs));
        let big = format!("a: &a {}\nb: [{}]", "x".repeat(1_000_000), vec!["*a"; 1_000].join(","));
        assert!(error(&big).contains("with its aliases it is larger than"));
        assert!(error("a: &a [*a]").contains("an alias inside the value that it names"));
        error(&"[".repeat(100_000));
        error(&"- ".repeat(100_000));
        assert!(error(&format!("{}{}", "[".repeat(70), "]".repeat(70))).contains("more than 64"));
        assert!(error(&" ".repeat(5_000_000)).contains("larger than 4 MB"));
    }

    #[test]
    fn tags_of_the_core_are_obeyed_and_others_refused() {
        assert_eq!(
            json("[!!str 5, !!int '5', !!float 5, ! 5, !!null ~, !!seq [], !!map {}]"),
            r#"["5",5,5.0,"5",null,[],{}]"#
        );
        for bad in ["!!int x", "!own 5", "!!binary aGk=", "!!python/object:os.system x", "!own {}", "!!map []"] {
            assert!(error(bad).contains("tag"), "{bad}: {}", error(bad));
        }
    }

    #[test]
    fn numbers_of_the_environment_stay_as_written() {
        assert_eq!(
            json("version: 1.10\nenv:\n  A: 1.10\n  B: 0x1F\n  C: 1e3\n  D: true\n"),
            r#"{"version":1.1,"env":{"A":"1.10","B":"0x1F","C":"1e3","D":true}}"#
        );
    }
}
