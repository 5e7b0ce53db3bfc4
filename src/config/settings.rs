//! Keys and values of configuration files before they mean anything: with the place each was written, one layer
//! over another.
//!
//! Pure. Refuses keys that nobody knows, with the nearest one that somebody does. What a value should be is said by
//! `kinds`; which keys there are by `server` and `project`; files and the environment are read by `load`.

use super::kinds::{Kind, Raw};
use crate::model::{Code, Failure};
use std::collections::{BTreeMap, BTreeSet};
use toml::de::{DeTable, DeValue};

/// The keys that a kind of file may have.
pub struct Schema {
    /// Dotted paths: `router.http`.
    pub keys: BTreeSet<String>,
    /// Sections whose keys are free: `builds.env`.
    pub open: &'static [&'static str],
    /// Sections that hold one section for each of something, with these keys: `upstreams` has `upstreams.staging.url`.
    pub families: &'static [(&'static str, &'static [&'static str])],
    /// Lists of sections, with the keys of each: `[[task]]` has `task[1].run`.
    pub lists: &'static [(&'static str, &'static [&'static str])],
    /// What a failure is called.
    pub code: Code,
}

/// Values by dotted path, each with the place it was written.
pub struct Settings {
    code: Code,
    values: BTreeMap<String, Written>,
}

struct Written {
    raw: Raw,
    /// `commis.toml line 3` or `COMMIS_ROUTER_HTTP`.
    place: String,
}

impl Settings {
    /// Reads a TOML text; `file_name` begins each error.
    pub fn read(text: &str, file_name: &str, schema: &Schema) -> Result<Self, Failure> {
        let table = DeTable::parse(text).map_err(|error| {
            let place = place(file_name, text, error.span().map_or(0, |span| span.start));
            let message: Vec<&str> = error.message().lines().map(str::trim).collect();
            Failure::new(schema.code, format!("{place}: {}", message.join(", ")))
        })?;
        let mut reader = Reader { text, file_name, schema, values: BTreeMap::new() };
        reader.table("", table.get_ref())?;
        Ok(Self { code: schema.code, values: reader.values })
    }

    /// Every key of a file that is its own schema: the annotated defaults.
    pub fn keys_of(text: &str) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        if let Ok(table) = DeTable::parse(text) {
            collect_keys("", table.get_ref(), &mut keys);
        }
        keys
    }

    /// Puts the values of `over` in the place of ours.
    pub fn overlay(&mut self, over: Settings) {
        self.values.extend(over.values);
    }

    /// Puts one value of the environment in its place.
    pub fn set_variable(&mut self, path: &str, variable: &str, text: &str) {
        let written = Written { raw: Raw::Loose(text.to_owned()), place: variable.to_owned() };
        self.values.insert(path.to_owned(), written);
    }

    /// The value of a key, or `None` when it was not written.
    pub fn maybe<T>(&self, path: &str, kind: Kind<T>) -> Result<Option<T>, Failure> {
        let Some(written) = self.values.get(path) else { return Ok(None) };
        match (kind.read)(&written.raw) {
            Some(value) => Ok(Some(value)),
            None => Err(self.refuse(path, &format!("should be {}, found {}", kind.should, written.raw.shown()))),
        }
    }

    /// The value of a key that the defaults have.
    pub fn need<T>(&self, path: &str, kind: Kind<T>) -> Result<T, Failure> {
        let should = kind.should.clone();
        self.maybe(path, kind)?.ok_or_else(|| self.refuse(path, &format!("is missing; should be {should}")))
    }

    /// Keys and values of an open section. Values are never shown: they may be secrets.
    pub fn section<T>(&self, path: &str, kind: Kind<T>) -> Result<BTreeMap<String, T>, Failure> {
        let prefix = format!("{path}.");
        let inside = self.values.iter().filter_map(|(key, written)| Some((key.strip_prefix(&prefix)?, key, written)));
        inside
            .map(|(name, key, written)| match (kind.read)(&written.raw) {
                Some(value) => Ok((name.to_owned(), value)),
                None => Err(self.refuse(key, &format!("should be {}", kind.should))),
            })
            .collect()
    }

    /// The names of the sections inside a family.
    pub fn members(&self, family: &str) -> BTreeSet<String> {
        let prefix = format!("{family}.");
        let inside = self.values.keys().filter_map(|key| key.strip_prefix(&prefix)?.split_once('.'));
        inside.map(|(name, _)| name.to_owned()).collect()
    }

    /// The items of a list of sections, as keys begin: `task[1]`.
    pub fn items(&self, list: &str) -> Vec<String> {
        let item = |at: usize| format!("{list}[{at}]");
        let is_there = |item: &String| self.values.keys().any(|key| key.starts_with(&format!("{item}.")));
        (1..).map(item).take_while(is_there).collect()
    }

    /// A failure about a key, with the place it was written.
    pub fn refuse(&self, path: &str, phrase: &str) -> Failure {
        let what = match self.values.get(path) {
            Some(written) => format!("{}: {}: {phrase}", written.place, path.escape_debug()),
            None => format!("{}: {phrase}", path.escape_debug()),
        };
        Failure::new(self.code, what)
    }
}

impl Schema {
    fn is_open(&self, path: &str) -> bool {
        self.open.contains(&path)
    }

    fn is_section(&self, path: &str) -> bool {
        let prefix = format!("{path}.");
        self.is_open(path)
            || self.is_family(path)
            || self.sections().any(|section| section == path || section.starts_with(&prefix))
    }

    /// A family, or one of its members.
    fn is_family(&self, path: &str) -> bool {
        let is_one = |family: &str| path == family || path.strip_prefix(family).is_some_and(is_name_after_dot);
        self.families.iter().any(|(family, _)| is_one(family))
    }

    /// A key of a member of a family.
    fn is_inside(&self, path: &str) -> bool {
        let Some((member, key)) = path.rsplit_once('.') else { return false };
        self.families
            .iter()
            .any(|(family, keys)| keys.contains(&key) && member.strip_prefix(family).is_some_and(is_name_after_dot))
    }

    /// A key of an item of a list, or the list itself.
    fn list_of(&self, path: &str) -> Option<&'static [&'static str]> {
        self.lists.iter().find(|(list, _)| *list == path).map(|(_, keys)| *keys)
    }

    fn sections(&self) -> impl Iterator<Item = &str> {
        self.keys
            .iter()
            .filter_map(|key| key.rsplit_once('.').map(|(section, _)| section))
            .chain(self.open.iter().copied())
    }

    /// `unknown key`, with the nearest known one if there is one near.
    pub fn unknown(&self, path: &str) -> String {
        let candidates = self.keys.iter().map(String::as_str).chain(self.sections());
        let nearest = candidates.map(|known| (nearness(path, known), known)).min();
        match nearest {
            Some((distance, known)) if distance <= (path.len() / 3).max(2) => {
                format!("unknown key; did you mean {known}?")
            }
            _ => "unknown key".into(),
        }
    }
}

/// `.staging`
fn is_name_after_dot(rest: &str) -> bool {
    rest.strip_prefix('.').is_some_and(|name| !name.is_empty() && !name.contains('.'))
}

/// Walks through one file.
struct Reader<'a> {
    text: &'a str,
    file_name: &'a str,
    schema: &'a Schema,
    values: BTreeMap<String, Written>,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) -> Result<(), Failure> {
        for (key, value) in table {
            let path = join(prefix, key.get_ref());
            let place = place(self.file_name, self.text, key.span().start);
            let known = self.schema.keys.contains(&path) || self.schema.is_open(prefix) || self.schema.is_inside(&path);
            let refuse = |phrase: &str| {
                Err(Failure::new(self.schema.code, format!("{place}: {}: {phrase}", path.escape_debug())))
            };
            if let Some(keys) = self.schema.list_of(&path) {
                self.list((&path, keys), value.get_ref(), &place)?;
                continue;
            }
            match value.get_ref() {
                DeValue::Table(inner) if !known && self.schema.is_section(&path) => self.table(&path, inner)?,
                other if known => {
                    self.values.insert(path, Written { raw: raw(other), place });
                }
                other if self.schema.is_section(&path) => {
                    return refuse(&format!("should be a section, found {}", raw(other).shown()));
                }
                _ => return refuse(&self.schema.unknown(&path)),
            }
        }
        Ok(())
    }
}

impl Reader<'_> {
    fn list(&mut self, (path, keys): (&str, &[&str]), value: &DeValue<'_>, at: &str) -> Result<(), Failure> {
        let refuse = |place: &str, path: &str, phrase: &str| {
            Err(Failure::new(self.schema.code, format!("{place}: {}: {phrase}", path.escape_debug())))
        };
        let DeValue::Array(items) = value else {
            return refuse(at, path, &format!("should be a list of sections, [[{path}]]"));
        };
        for (number, item) in (1..).zip(items.iter()) {
            let DeValue::Table(item) = item.get_ref() else {
                return refuse(at, path, &format!("should be a list of sections, [[{path}]]"));
            };
            for (key, value) in item {
                let (place, inner) =
                    (place(self.file_name, self.text, key.span().start), format!("{path}[{number}].{}", key.get_ref()));
                if !keys.contains(&key.get_ref().as_ref()) {
                    return refuse(&place, &inner, &format!("unknown key; there are {}", keys.join(", ")));
                }
                self.values.insert(inner, Written { raw: raw(value.get_ref()), place });
            }
        }
        Ok(())
    }
}

fn collect_keys(prefix: &str, table: &DeTable<'_>, keys: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = join(prefix, key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => collect_keys(&path, inner, keys),
            _ => {
                keys.insert(path);
            }
        }
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Raw::Integer(number),
            Err(_) => Raw::Other(number.as_str().to_owned()),
        },
        DeValue::Float(number) => Raw::Other(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Raw::Bool(*flag),
        DeValue::Datetime(date) => Raw::Other(date.to_string()),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Table(_) => Raw::Other("a section".into()),
    }
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

/// `commis.toml line 3`.
fn place(file_name: &str, text: &str, offset: usize) -> String {
    let before = text.as_bytes().iter().take(offset);
    format!("{file_name} line {}", before.filter(|byte| **byte == b'\n').count() + 1)
}

/// How far a key is from a known one; the right name in the wrong section is near.
fn nearness(path: &str, known: &str) -> usize {
    let last = |path: &str| path.rsplit('.').next().map(str::to_owned);
    if last(path) == last(known) { 1 } else { edit_distance(path, known) }
}

/// Letters to change, add or remove between two texts.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().take(200).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in right.iter().enumerate() {
            let change = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::kinds;

    fn schema() -> Schema {
        let keys = ["platform", "router.http", "router.domain", "builds.memory"].map(String::from).into();
        Schema { keys, open: &["builds.env"], families: &[], lists: &[], code: Code::ServerConfig }
    }

    fn error(text: &str) -> String {
        match Settings::read(text, "commis.toml", &schema()) {
            Ok(_) => panic!("accepted: {text}"),
            Err(failure) => failure.what,
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_path_and_the_nearest_known_one() {
        assert_eq!(
            error("[router]\nhtp = 1"),
            "commis.toml line 2: router.htp: unknown key; did you mean router.http?"
        );
        assert_eq!(error("http = 1"), "commis.toml line 1: http: unknown key; did you mean router.http?");
        assert_eq!(error("\n\n[ruter]\nhttp = 1"), "commis.toml line 3: ruter: unknown key; did you mean router?");
        assert_eq!(error("[completely.different]"), "commis.toml line 1: completely: unknown key");
        assert_eq!(error("\"a\\u001bb\" = 1"), "commis.toml line 1: a\\u{1b}b: unknown key");
    }

    #[test]
    fn a_section_is_not_a_value_and_a_value_is_not_a_section() {
        assert_eq!(error("router = 5"), "commis.toml line 1: router: should be a section, found 5");
        let settings = Settings::read("[router.http]\nport = 5", "commis.toml", &schema()).ok().unwrap();
        let failure = settings.need("router.http", kinds::socket_address()).unwrap_err();
        assert_eq!(failure.what, "commis.toml line 1: router.http: should be HOST:PORT, found a section");
    }

    #[test]
    fn toml_that_cannot_be_read_is_refused_with_its_line() {
        let what = error("platform = \"dev\"\n[router\n");
        assert!(what.starts_with("commis.toml line 2: "), "{what}");
        let what = error("platform = 1\nplatform = 2\n");
        assert!(what.starts_with("commis.toml line 2: ") && what.contains("duplicate"), "{what}");
        error(&"[".repeat(10_000));
    }

    #[test]
    fn an_open_section_takes_any_name_and_never_shows_a_value() {
        let text = "[builds.env]\nPIP_INDEX_URL = \"x\"\nB = [\"s3cr3t\"]";
        let settings = Settings::read(text, "commis.toml", &schema()).ok().unwrap();
        let failure = settings.section("builds.env", kinds::text("text", |_| true)).unwrap_err();
        assert_eq!(failure.what, "commis.toml line 3: builds.env.B: should be text");
    }

    #[test]
    fn the_layer_above_wins_and_is_named_in_errors() {
        let mut settings = Settings::read("router.domain = \"a\"", "one.toml", &schema()).ok().unwrap();
        settings.overlay(Settings::read("router.domain = 3", "two.toml", &schema()).ok().unwrap());
        let failure = settings.need("router.domain", kinds::text("text", |_| true)).unwrap_err();
        assert_eq!(failure.what, "two.toml line 1: router.domain: should be text, found 3");
        settings.set_variable("router.domain", "COMMIS_ROUTER_DOMAIN", "b");
        assert_eq!(settings.need("router.domain", kinds::text("text", |_| true)).ok(), Some("b".into()));
    }

    #[test]
    fn distances_count_changed_letters() {
        for (left, right, distance) in [("", "", 0), ("abc", "abc", 0), ("htp", "http", 1), ("kitten", "sitting", 3)] {
            assert_eq!(edit_distance(left, right), distance);
        }
    }
}
