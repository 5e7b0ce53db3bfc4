//! One tree of configuration values: how two come together, and to and from JSON.
//!
//! Pure. Values may be secrets: `Debug` shows none of them. Reading YAML is `yaml`'s business.

use serde_json::Number;
use std::collections::HashMap;
use std::fmt;

/// A value of the pillar. Mappings keep the order in which they were written and have no key twice.
#[derive(Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// Finite.
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The value of a key, when this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// What it is, in words for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(..)")
    }
}

/// `over` on top of `defaults`: mappings merge key by key, everything else is replaced, lists whole.
pub fn merge(defaults: Value, over: Value) -> Value {
    match (defaults, over) {
        (Value::Map(mut entries), Value::Map(changes)) => {
            let mut places: HashMap<String, usize> =
                entries.iter().enumerate().map(|(place, (key, _))| (key.clone(), place)).collect();
            for (key, value) in changes {
                match places.get(&key).and_then(|place| entries.get_mut(*place)) {
                    Some((_, old)) => *old = merge(std::mem::replace(old, Value::Null), value),
                    None => {
                        places.insert(key.clone(), entries.len());
                        entries.push((key, value));
                    }
                }
            }
            Value::Map(entries)
        }
        (_, over) => over,
    }
}

pub fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => serde_json::Value::Bool(*flag),
        Value::Int(number) => serde_json::Value::Number((*number).into()),
        Value::Float(number) => Number::from_f64(*number).map_or(serde_json::Value::Null, serde_json::Value::Number),
        Value::Text(text) => serde_json::Value::String(text.clone()),
        Value::List(items) => serde_json::Value::Array(items.iter().map(to_json).collect()),
        Value::Map(entries) => {
            serde_json::Value::Object(entries.iter().map(|(key, value)| (key.clone(), to_json(value))).collect())
        }
    }
}

/// A tree that a hook wrote as JSON. A number that fits neither kind stays as the text it was written as.
pub fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Int(whole),
            (None, Some(float)) if number.is_f64() => Value::Float(float),
            (None, _) => Value::Text(number.to_string()),
        },
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(from_json).collect()),
        serde_json::Value::Object(entries) => {
            Value::Map(entries.iter().map(|(key, value)| (key.clone(), from_json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(defaults: serde_json::Value, over: serde_json::Value) -> serde_json::Value {
        to_json(&merge(from_json(&defaults), from_json(&over)))
    }

    #[test]
    fn mappings_merge_lists_replace_scalars_replace() {
        assert_eq!(
            merged(
                json!({"a": {"x": 1, "y": 2}, "l": [1, 2], "s": "old"}),
                json!({"a": {"y": 3, "z": 4}, "l": [9], "s": true})
            ),
            json!({"a": {"x": 1, "y": 3, "z": 4}, "l": [9], "s": true})
        );
    }

    #[test]
    fn a_value_of_another_shape_replaces() {
        assert_eq!(merged(json!({"a": {"x": 1}}), json!({"a": null})), json!({"a": null}));
        assert_eq!(merged(json!({"a": [1]}), json!({"a": {"x": 1}})), json!({"a": {"x": 1}}));
        assert_eq!(merged(json!(1), json!({})), json!({}));
    }

    #[test]
    fn the_order_is_that_of_the_defaults_then_that_of_the_news() {
        let merged = merged(json!({"b": 1, "a": 1}), json!({"z": 1, "a": 2, "c": 1}));
        assert_eq!(merged.to_string(), r#"{"b":1,"a":2,"z":1,"c":1}"#);
    }

    #[test]
    fn json_there_and_back_is_the_same() {
        let tree = json!({"n": null, "t": true, "i": -5, "f": 1.5, "s": "x", "l": [1, [2]], "m": {"k": {}}});
        assert_eq!(to_json(&from_json(&tree)), tree);
        assert_eq!(to_json(&from_json(&json!(18_446_744_073_709_551_615_u64))), json!("18446744073709551615"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", [Value::Text("s3cr3t".into())]), "[Value(..)]");
    }
}
