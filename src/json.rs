//! Lenient parsers for the JSON of the providers.
//!
//! The providers' documents, SDKs and responses disagree about types, so every form with the same
//! meaning is accepted. Values without a meaning are errors. None of these parsers keeps a value
//! that it does not return: what a provider nests where a text belongs takes no memory.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::Number;

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

/// An object, parsed by [`object`] and never null.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = object(from)?;
        value.map(Self).ok_or_else(|| de::Error::invalid_type(Unexpected::Unit, &"an object"))
    }
}

/// A list of objects. Pages have at most 100; a list of many more is an error, because even empty
/// objects take memory.
#[derive(Debug)]
pub(crate) struct Objects<T>(pub(crate) Vec<T>);

impl<T> Objects<T> {
    const MOST: usize = 1000;
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Objects<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(ObjectsVisitor(PhantomData))
    }
}

struct ObjectsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectsVisitor<T> {
    type Value = Objects<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut objects = Vec::new();
        while let Some(Object(object)) = list.next_element()? {
            if objects.len() == Objects::<T>::MOST {
                return Err(de::Error::invalid_length(objects.len() + 1, &self));
            }
            objects.push(object);
        }
        Ok(Objects(objects))
    }
}

/// Parses a boolean: `true`, or `"true"` in any case; null counts as absent.
pub(crate) fn boolean<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    from.deserialize_any(BooleanVisitor)
}

/// What a text says as a boolean.
pub(crate) fn boolean_of(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Parses a text: a string, or a number as it is written; null counts as absent. Borrows from the
/// body where it can.
pub(crate) fn text<'de, D>(from: D) -> Result<Option<Cow<'de, str>>, D::Error>
where
    D: Deserializer<'de>,
{
    from.deserialize_any(TextVisitor { may_be_number: true })
}

/// Parses a string, where a number would be a mistake; null counts as absent.
pub(crate) fn string<'de, D>(from: D) -> Result<Option<Cow<'de, str>>, D::Error>
where
    D: Deserializer<'de>,
{
    from.deserialize_any(TextVisitor { may_be_number: false })
}

/// A text, parsed by [`text`].
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Text(pub(crate) Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(text(from)?.map(Cow::into_owned)))
    }
}

/// Parses an integer: a number, an integral float or a decimal string; null counts as absent. Other
/// values are [`Integer::Unusable`] instead of an error.
pub(crate) fn integer<'de, D: Deserializer<'de>>(from: D) -> Result<Integer, D::Error> {
    from.deserialize_any(IntegerVisitor)
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

/// Nothing: null, or what means nothing in a provider's responses. All else is an error, as where a
/// success names an error code.
#[derive(Debug, Default)]
pub(crate) struct Nothing;

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NothingVisitor)
    }
}

/// A boolean other than false, as where a success says it a second time.
#[derive(Debug, Default)]
pub(crate) struct NotFalse;

impl<'de> Deserialize<'de> for NotFalse {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match boolean(from)? {
            Some(false) => Err(de::Error::invalid_value(Unexpected::Bool(false), &"true")),
            Some(true) | None => Ok(Self),
        }
    }
}

/// A trimmed text, none if empty. Alibaba's published example has two quote characters where the
/// service sends nothing.
pub(crate) fn meant(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty() && *text != "\"\"")
}

/// A float as text.
pub(crate) fn float_text(number: f64) -> Option<String> {
    Number::from_f64(number).map(|number| number.to_string())
}

/// Skips the elements of an array.
pub(crate) fn skip_array<'de, A: SeqAccess<'de>>(mut array: A) -> Result<(), A::Error> {
    while array.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Skips the members of an object, and returns whether it has any.
pub(crate) fn skip_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<bool, A::Error> {
    let mut has_members = false;
    while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
        has_members = true;
    }
    Ok(has_members)
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

struct BooleanVisitor;

impl Visitor<'_> for BooleanVisitor {
    type Value = Option<bool>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false, perhaps as text")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        boolean_of(text).map(Some).ok_or_else(|| E::invalid_type(Unexpected::Other("text"), &self))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

struct TextVisitor {
    may_be_number: bool,
}

impl TextVisitor {
    fn number<'de, E: de::Error>(&self, number: String) -> Result<Option<Cow<'de, str>>, E> {
        match self.may_be_number {
            true => Ok(Some(Cow::Owned(number))),
            false => Err(E::invalid_type(Unexpected::Other("number"), self)),
        }
    }
}

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        self.number(number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        self.number(number.to_string())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

struct NothingVisitor;

impl<'de> Visitor<'de> for NothingVisitor {
    type Value = Nothing;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Nothing, E> {
        Ok(Nothing)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Nothing, E> {
        meant(text).map_or(Ok(Nothing), |_| Err(E::invalid_type(Unexpected::Other("text"), &self)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Nothing, E> {
        match number {
            0 => Ok(Nothing),
            number => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Nothing, A::Error> {
        match skip_object(object)? {
            false => Ok(Nothing),
            true => Err(de::Error::invalid_type(Unexpected::Map, &self)),
        }
    }
}

struct IntegerVisitor;

impl<'de> Visitor<'de> for IntegerVisitor {
    type Value = Integer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Integer, E> {
        Ok(Integer::Value(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Integer, E> {
        Ok(i64::try_from(number).map_or(Integer::Unusable, Integer::Value))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Integer, E> {
        Ok(integral(number).map_or(Integer::Unusable, Integer::Value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Integer, E> {
        let text = text.trim();
        Ok(match text.parse() {
            Ok(number) => Integer::Value(number),
            Err(_) if text.is_empty() => Integer::Absent,
            Err(_) => Integer::Unusable,
        })
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Integer, E> {
        Ok(Integer::Unusable)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Integer, E> {
        Ok(Integer::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Integer, A::Error> {
        skip_array(array).map(|()| Integer::Unusable)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Integer, A::Error> {
        skip_object(object).map(|_| Integer::Unusable)
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
        #[serde(default)]
        t: Text,
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
            let got = read(json).map(|wire| wire.t.0);
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
    fn a_list_has_objects_and_not_too_many() {
        let read = |json: &str| serde_json::from_str::<Objects<Wire>>(json).ok();
        let list = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
        for (json, want) in [
            ("[]", Some(0)),
            (r#"[{"t":"x"},{}]"#, Some(2)),
            (&list(1000), Some(1000)),
            (&list(1001), None),
            ("[null]", None),
            ("[[]]", None),
            ("{}", None),
            ("null", None),
        ] {
            assert_eq!(read(json).map(|list| list.0.len()), want, "{}", &json[..json.len().min(9)]);
        }
    }

    #[test]
    fn deep_nesting_in_an_unknown_field_does_not_overflow_the_stack() {
        let deep = format!(r#"{{"unknown":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        // Either result is fine.
        let _: serde_json::Result<Wire> = read_object(deep.as_bytes());
    }
}
