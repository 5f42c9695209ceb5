//! Lenient parsers for the JSON of the providers.
//!
//! The providers' documents, SDKs and responses disagree about types, so every form with the same
//! meaning is accepted. Values without a meaning are errors.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde_json::Value;

/// Parses a body that must be one JSON object.
pub(crate) fn read_object<'de, T: Deserialize<'de>>(body: &'de [u8]) -> serde_json::Result<T> {
    // serde_json does not validate UTF-8 in skipped values; check the whole body.
    let body = std::str::from_utf8(body).map_err(de::Error::custom)?;
    let mut from = serde_json::Deserializer::from_str(body);
    let value = object(&mut from)?;
    from.end()?;
    value.ok_or_else(|| de::Error::invalid_type(Unexpected::Unit, &"an object"))
}

/// Parses an object; null counts as absent.
///
/// Derived parsers alone would also accept an array, field by field, and `[]` for an object without
/// fields.
pub(crate) fn object<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    from.deserialize_any(ObjectVisitor(PhantomData))
}

/// Parses a boolean: `true`, or `"true"` in any case; null counts as absent.
pub(crate) fn boolean<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::Bool(value) => Ok(Some(value)),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Value::String(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(de::Error::custom("expected true or false, perhaps as text"))
        }
    }
}

/// Parses a text: a string, or a number as it is written; null counts as absent.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) if !number.is_f64() => Ok(Some(number.to_string())),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(de::Error::custom("expected a text"))
        }
    }
}

/// A text, parsed by [`text`].
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Text(#[serde(deserialize_with = "text")] pub(crate) Option<String>);

/// Parses an integer: a number, an integral float or a decimal string; null counts as absent. Other
/// values are [`Integer::Unusable`] instead of an error.
pub(crate) fn integer<'de, D: Deserializer<'de>>(from: D) -> Result<Integer, D::Error> {
    let value = match Value::deserialize(from)? {
        Value::Null => return Ok(Integer::Absent),
        Value::String(text) if text.trim().is_empty() => return Ok(Integer::Absent),
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_i64().or_else(|| integral(number.as_f64()?)),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    Ok(value.map_or(Integer::Unusable, Integer::Value))
}

fn integral(float: f64) -> Option<i64> {
    // Beyond 2^53 a float is not exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53")]
    (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
}

/// A number that a provider sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Integer {
    /// Null or missing.
    #[default]
    Absent,
    Value(i64),
    /// Not a 64-bit integer.
    Unusable,
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Wire {
        #[serde(default, deserialize_with = "boolean")]
        b: Option<bool>,
        #[serde(default, deserialize_with = "text")]
        t: Option<String>,
        #[serde(default, deserialize_with = "integer")]
        i: Integer,
    }

    fn read(json: &str) -> Option<Wire> {
        serde_json::from_str(json).ok()
    }

    #[test]
    fn booleans_may_be_strings() {
        for (json, want) in [
            (r#"{"b":true}"#, Some(Some(true))),
            (r#"{"b":"true"}"#, Some(Some(true))),
            (r#"{"b":"TRUE"}"#, Some(Some(true))),
            (r#"{"b":"False"}"#, Some(Some(false))),
            (r#"{"b":false}"#, Some(Some(false))),
            (r#"{"b":null}"#, Some(None)),
            (r"{}", Some(None)),
            (r#"{"b":1}"#, None),
            (r#"{"b":"yes"}"#, None),
            (r#"{"b":""}"#, None),
            (r#"{"b":[]}"#, None),
        ] {
            assert_eq!(read(json).map(|wire| wire.b), want, "{json}");
        }
    }

    #[test]
    fn integers_are_read_in_all_forms_and_never_wrap() {
        use Integer::{Absent, Unusable, Value};
        for (json, want) in [
            ("1659066711", Value(1_659_066_711)),
            ("-1", Value(-1)),
            ("1e3", Value(1000)),
            ("1.0", Value(1)),
            ("1.659069473e9", Value(1_659_069_473)),
            ("\"1659066711\"", Value(1_659_066_711)),
            ("\"1714058507\\n\"", Value(1_714_058_507)),
            ("9223372036854775807", Value(i64::MAX)),
            ("9223372036854775808", Unusable),
            ("1e300", Unusable),
            ("1659066711.5", Unusable),
            ("\"soon\"", Unusable),
            ("\"1.5\"", Unusable),
            ("true", Unusable),
            ("[1,[2]]", Unusable),
            ("{\"a\":{}}", Unusable),
            ("\"\"", Absent),
            ("null", Absent),
        ] {
            let json = format!("{{\"i\":{json}}}");
            assert_eq!(read(&json).map(|wire| wire.i), Some(want), "{json}");
        }
        assert_eq!(read("{}").map(|wire| wire.i), Some(Absent));
    }

    #[test]
    fn only_strings_and_numbers_are_texts() {
        for (json, want) in [
            (r#"{"t":"x"}"#, Some(Some("x"))),
            (r#"{"t":""}"#, Some(Some(""))),
            (r#"{"t":1001}"#, Some(Some("1001"))),
            (r#"{"t":null}"#, Some(None)),
            (r"{}", Some(None)),
            (r#"{"t":true}"#, None),
            (r#"{"t":{}}"#, None),
        ] {
            let got = read(json).map(|wire| wire.t);
            assert_eq!(got.as_ref().map(Option::as_deref), want, "{json}");
        }
    }

    #[test]
    fn objects_must_not_repeat_keys() {
        for (json, is_object) in [
            (r"{}", true),
            (r#"{"b":true,"unknown":[{}]}"#, true),
            (r"[]", false),
            (r#"[true,"x",1]"#, false),
            (r"null", false),
            (r#""text""#, false),
            (r"", false),
            (r"{} {}", false),
            (r#"{"b":true,}"#, false),
            (r#"{"b":true,"b":false}"#, false),
            (r#"{"t":"\ud800"}"#, false),
            ("\u{feff}{}", false),
        ] {
            assert_eq!(read_object::<Wire>(json.as_bytes()).is_ok(), is_object, "{json}");
        }
        assert!(read_object::<Wire>(b"{\"t\":\"\xff\"}").is_err());
        assert!(read_object::<Wire>(b"{\"unknown\":\"\xff\"}").is_err());
    }

    #[test]
    fn deep_nesting_in_an_unknown_field_does_not_overflow_the_stack() {
        let deep = format!(r#"{{"unknown":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        // Either result is fine.
        let _: serde_json::Result<Wire> = read_object(deep.as_bytes());
    }
}
