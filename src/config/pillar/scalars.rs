//! What a plain word of YAML means: nothing, true or false, a number, or text.
//!
//! Pure. The rules are those of YAML 1.2, and where people are known to be surprised, text wins: `no`, `on`, `0644`,
//! `1_000`, `12:30`, dates, infinities and numbers too big for 64 bits stay text. Structure is `yaml`'s business.

use super::value::Value;

/// What a plain scalar means.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => integer(text).or_else(|| float(text)).unwrap_or_else(|| Value::Text(text.to_owned())),
    }
}

fn integer(text: &str) -> Option<Value> {
    let radix = |digits: &str, radix| {
        let plain = digits.chars().all(|digit| digit.is_digit(radix));
        plain.then(|| i64::from_str_radix(digits, radix).ok()).flatten()
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16).map(Value::Int);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8).map(Value::Int);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    let plain = !digits.is_empty() && !leading_zero && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok().map(Value::Int)).flatten()
}

fn float(text: &str) -> Option<Value> {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (body, None),
    };
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, rest)| (whole, Some(rest)));
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    let has_point_or_exponent = fraction.is_some() || exponent.is_some();
    let has_digits = !whole.is_empty() || fraction.is_some_and(|part| !part.is_empty());
    let shape = has_point_or_exponent && has_digits && !leading_zero && digits(whole);
    let parts = digits(fraction.unwrap_or_default()) && exponent.is_none_or(|part| !part.is_empty() && digits(part));
    let number: Option<f64> = if shape && parts { text.parse().ok() } else { None };
    number.filter(|number| number.is_finite()).map(Value::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_yaml_mean_what_they_say() {
        for text in ["", "~", "null", "NULL"] {
            assert!(plain(text) == Value::Null, "{text}");
        }
        assert!(plain("true") == Value::Bool(true) && plain("False") == Value::Bool(false));
        for (text, number) in
            [("0", 0), ("-7", -7), ("+7", 7), ("0x1F", 31), ("0o17", 15), ("9223372036854775807", i64::MAX)]
        {
            assert!(plain(text) == Value::Int(number), "{text}");
        }
        for (text, number) in
            [("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("-1e3", -1000.0), ("1.5E-1", 0.15), ("0.0", 0.0)]
        {
            assert!(plain(text) == Value::Float(number), "{text}");
        }
    }

    #[test]
    fn what_surprises_people_stays_text() {
        let surprising = [
            "no",
            "No",
            "yes",
            "on",
            "off",
            "y",
            "n",
            "0644",
            "-012",
            "01.5",
            "1_000",
            "12:30",
            "2026-01-01",
            ".inf",
            ".nan",
            "nan",
            "inf",
            "infinity",
            "9223372036854775808",
            "1e999",
            "0x",
            "0b1",
            "-0x1",
            "1.2.3",
            ".",
            "-",
            "+",
            "e3",
            "1e",
            "١",
            "tRue",
        ];
        for text in surprising {
            assert!(plain(text) == Value::Text(text.into()), "{text}");
        }
    }
}
