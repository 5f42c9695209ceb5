//! What a body says of a failure.
//!
//! Only known names are kept, each bounded, and everything else is skipped while it is read, so
//! that no body needs more memory than the names do.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::stack_trace;
use crate::json;
use crate::rpc::operation::Provider;
use crate::rpc::reason::Reason;
use crate::text::clip;

/// Maximum length of a text that is kept: more than is shown, so that a secret at the cut is found.
const TEXT_BYTES: usize = 8 * 1024;

/// Longer codes are no codes.
const CODE_BYTES: usize = 128;

/// Maximum depth at which a body is searched for its code.
const DEPTH: u32 = 4;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorBody {
    pub(super) is_object: bool,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) hints: Vec<(&'static str, String)>,
    /// What it says about success, if it says one thing.
    pub(super) success: Option<bool>,
    /// Whether it says about success something that cannot be read, or two things.
    pub(super) success_is_unclear: bool,
    /// Whether it has a name twice, or codes that disagree about what was done.
    pub(super) is_contradictory: bool,
}

impl ErrorBody {
    /// Reads a body. If it is not a JSON object, only its text is used.
    pub(super) fn read(body: &[u8], provider: &'static Provider) -> Self {
        // Some services put a byte order mark in front.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        read_object(body, provider)
            .unwrap_or_else(|| Self { message: plain_text(body, provider), ..Self::default() })
    }

    /// The reason by the provider's own code or message, if it is a known one.
    pub(super) fn reason_of_code(&self, provider: &Provider) -> Option<Reason> {
        if self.is_contradictory {
            return None;
        }
        let code = self.code.as_deref().and_then(|code| reason_of(code, provider));
        code.or_else(|| provider.reason_of_message(self.message.as_deref()?))
    }
}

fn reason_of(code: &str, provider: &Provider) -> Option<Reason> {
    (code.len() <= CODE_BYTES).then(|| provider.reason_of(code)).flatten()
}

fn read_object(body: &[u8], provider: &'static Provider) -> Option<ErrorBody> {
    let body = std::str::from_utf8(body).ok()?;
    let mut from = serde_json::Deserializer::from_str(body);
    let said = ErrorBody::default();
    let mut reader = Reader { provider, said, first_reason: None, trace: None };
    let value = Value { reader: &mut reader, place: Place::Top, depth: DEPTH + 1, wanted: false };
    let Found::Object(failure) = value.deserialize(&mut from).ok()? else { return None };
    from.end().ok()?;
    let mut said = reader.said;
    said.is_object = true;
    if let Some((code, message)) = failure {
        said.code = Some(code);
        said.message = message;
    } else if let Some(Line { exception, message }) = reader.trace {
        (said.code, said.message) = (exception, Some(message));
    }
    Some(said)
}

/// The text of a body that is not a JSON object, unless it is markup. If it may be a stack trace, at
/// most its first line, and nothing of broken JSON that may hold one.
fn plain_text(body: &[u8], provider: &Provider) -> Option<String> {
    let text = String::from_utf8_lossy(&body[..body.len().min(TEXT_BYTES)]);
    let (text, hides) = match &provider.stack_traces {
        Some(_) => (stack_trace::first_line(text.trim()), &['<', '{', '[', '"'][..]),
        None => (text.trim(), &['<'][..]),
    };
    (!text.is_empty() && !text.starts_with(hides)).then(|| text.to_owned())
}

/// A code, and the text next to it.
type Failure = (String, Option<String>);

struct Reader {
    provider: &'static Provider,
    said: ErrorBody,
    first_reason: Option<Reason>,
    /// What its stack traces say.
    trace: Option<Line>,
}

/// The first line of a stack trace.
#[derive(Debug)]
struct Line {
    /// The simple name of the exception.
    exception: Option<String>,
    message: String,
}

impl Reader {
    /// Notes what a code means. A body whose codes disagree proves neither.
    fn note_code(&mut self, code: &str) {
        let Some(reason) = reason_of(code, self.provider) else { return };
        let (first, now) = (self.first_reason.get_or_insert(reason).row(), reason.row());
        if (first.retry, first.outcome) != (now.retry, now.outcome) {
            self.said.is_contradictory = true;
        }
    }

    fn note_success(&mut self, found: &Found) {
        let says = match found {
            Found::Nothing => return,
            Found::Bool(says) => Some(*says),
            Found::Text(text) => json::boolean_of(text),
            Found::Object(_) | Found::Other => None,
        };
        if says.is_none() || self.said.success.is_some_and(|other| Some(other) != says) {
            self.said.success_is_unclear = true;
        }
        self.said.success = self.said.success.or(says);
    }
}

/// Where an object stands.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    /// It is the value that is read.
    Top,
    /// In the top object, at this name.
    Named(&'a str),
    Deeper,
}

enum Found {
    Nothing,
    Bool(bool),
    Text(String),
    Object(Option<Failure>),
    Other,
}

/// Reads one value: an object with its names, or a text if it is wanted.
struct Value<'a> {
    reader: &'a mut Reader,
    place: Place<'a>,
    /// How many levels of objects are read.
    depth: u32,
    wanted: bool,
}

impl Value<'_> {
    fn text(&self, text: &str) -> Found {
        if self.wanted { Found::Text(clip(text, TEXT_BYTES).to_owned()) } else { Found::Other }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Found, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Found, E> {
        Ok(Found::Bool(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Found, E> {
        Ok(self.text(text))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Found, E> {
        Ok(self.text(&number.to_string()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Found, E> {
        Ok(self.text(&number.to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Found, E> {
        Ok(self.text(&json::float_text(number).unwrap_or_default()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Found, A::Error> {
        json::skip_array(array).map(|()| Found::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let Some(depth) = self.depth.checked_sub(1) else {
            return json::skip_object(map).map(|_| Found::Object(None));
        };
        let (reader, at) = (self.reader, self.place);
        let provider = reader.provider;
        let mut object = Object::default();
        while let Some(name) = map.next_key_seed(Name)? {
            let known = provider.known_text(&name);
            let hint = hint_at(provider, at, &name);
            let is_success = matches!(at, Place::Top) && is_about_success(&name);
            let wanted = known.is_some() || hint.is_some() || is_success;
            let place = match at {
                Place::Top => Place::Named(&name),
                Place::Named(_) | Place::Deeper => Place::Deeper,
            };
            let traces = provider.stack_traces.as_ref();
            if let Some(traces) =
                traces.filter(|traces| matches!(at, Place::Top) && name == traces.field)
            {
                reader.said.is_contradictory |= reader.trace.is_some();
                map.next_value_seed(Traces { reader, vague: traces.vague })?;
                continue;
            }
            let found = map.next_value_seed(Value { reader, place, depth, wanted })?;
            if is_success {
                reader.note_success(&found);
            }
            match found {
                Found::Text(text) => {
                    let Some(text) = json::meant(&text) else { continue };
                    if let Some(hint) = hint {
                        reader.said.hints.push((hint, text.to_owned()));
                    }
                    if let Some(known) = known {
                        reader.said.is_contradictory |= !object.add(known, text);
                    }
                }
                Found::Object(failure) => object.nested = object.nested.or(failure),
                Found::Nothing | Found::Bool(_) | Found::Other => {}
            }
        }
        if matches!(at, Place::Top) {
            reader.said.request_id = object.first(provider.request_id.fields);
            reader.said.message = object.first(provider.text_fields);
            let order = |key: &str| provider.hints.iter().position(|(_, known)| *known == key);
            reader.said.hints.sort_by_key(|(key, _)| order(key));
        }
        Ok(Found::Object(object.failure(reader)))
    }
}

/// Reads a list of stack traces, and keeps what the last one says that names an exception, else the
/// first one.
struct Traces<'a> {
    reader: &'a mut Reader,
    vague: &'static [&'static str],
}

impl<'de> DeserializeSeed<'de> for Traces<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Traces<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of stack traces")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(read) = list.next_element_seed(Trace { vague: self.vague })? {
            let kept = &mut self.reader.trace;
            if kept.is_none() || read.exception.is_some() {
                *kept = Some(read);
            }
        }
        Ok(())
    }
}

struct Trace {
    vague: &'static [&'static str],
}

impl<'de> DeserializeSeed<'de> for Trace {
    type Value = Line;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Line, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Trace {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stack trace")
    }

    fn visit_str<E: de::Error>(self, trace: &str) -> Result<Line, E> {
        let first = stack_trace::read(trace);
        let is_vague = self.vague.contains(&first.message);
        let cause = is_vague.then(|| stack_trace::last_cause(trace)).flatten();
        let said = cause.unwrap_or(first);
        let message = match cause {
            Some(cause) => {
                let start = first.message.trim_end_matches('.');
                format!("{start}: {}", clip(cause.message, TEXT_BYTES))
            }
            None => clip(first.message, TEXT_BYTES).to_owned(),
        };
        let exception = said.simple_name().filter(|name| name.len() <= CODE_BYTES);
        Ok(Line { exception: exception.map(str::to_owned), message })
    }
}

/// The texts of one object.
#[derive(Default)]
struct Object {
    texts: Vec<(&'static str, String)>,
    nested: Option<Failure>,
}

impl Object {
    /// Adds a text; false if the name has one.
    fn add(&mut self, name: &'static str, text: &str) -> bool {
        let is_new = self.texts.iter().all(|(known, _)| *known != name);
        if is_new {
            self.texts.push((name, text.to_owned()));
        }
        is_new
    }

    fn first(&self, names: &[&str]) -> Option<String> {
        let text = |name: &&str| self.texts.iter().find(|(known, _)| known == name);
        names.iter().find_map(text).map(|(_, text)| text.clone())
    }

    /// The first code, with the text next to it: this object's own, else a nested one.
    fn failure(self, reader: &mut Reader) -> Option<Failure> {
        for (code, _) in reader.provider.error_fields {
            if let Some(code) = self.first(&[code]) {
                reader.note_code(&code);
            }
        }
        let own = reader
            .provider
            .error_fields
            .iter()
            .find_map(|(code, messages)| Some((self.first(&[code])?, self.first(messages))));
        own.or(self.nested)
    }
}

/// A member's name. One with escapes is copied, at most so much of it that it is no known one.
struct Name;

impl Name {
    const LONGEST: usize = 64;
}

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(clip(name, Self::LONGEST).to_owned()))
    }
}

/// The key in the status details of a detail that helps, if there is one at this place.
fn hint_at(provider: &Provider, at: Place<'_>, name: &str) -> Option<&'static str> {
    let is_here = |path: &[&str]| match (at, path) {
        (Place::Top, [only]) => *only == name,
        (Place::Named(first), [holder, last]) => *holder == first && *last == name,
        _ => false,
    };
    provider.hints.iter().find(|(path, _)| is_here(path)).map(|(_, key)| *key)
}

/// Whether a name is one of those for success, in any provider's spelling and in any case.
fn is_about_success(name: &str) -> bool {
    let plain = |wanted: &str| {
        let letters = name.bytes().filter(|b| *b != b'_');
        letters.map(|b| b.to_ascii_lowercase()).eq(wanted.bytes())
    };
    plain("issuccess") || plain("success")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{alibaba, huawei};

    const H: &Provider = &huawei::HUAWEI;
    const A: &Provider = &alibaba::ALIBABA;

    #[test]
    fn codes_are_found_in_every_shape() {
        for (provider, body, code, message) in [
            (H, r#"{"error_code":"DLI.0001","error_msg":"bad"}"#, Some("DLI.0001"), Some("bad")),
            (H, r#"{"errorCode":"DLI.0001","errorMsg":"bad"}"#, Some("DLI.0001"), Some("bad")),
            (H, r#"{"error":{"code":"DLI.0001","message":"bad"}}"#, Some("DLI.0001"), Some("bad")),
            (H, r#"{"badRequest":{"message":"bad","code":"400"}}"#, Some("400"), Some("bad")),
            (H, r#"{"error_code":"DLI.0001"}"#, Some("DLI.0001"), None),
            (H, r#"{"error_code":1001,"error_msg":"num"}"#, Some("1001"), Some("num")),
            (
                H,
                r#"{"is_success":false,"message":"The job is running."}"#,
                None,
                Some("The job is running."),
            ),
            (
                A,
                r#"{"RequestId":"R","HostId":"h","Code":"Throttling","Message":"slow"}"#,
                Some("Throttling"),
                Some("slow"),
            ),
            (
                A,
                r#"{"requestId":"R","code":"Forbidden","message":"nope"}"#,
                Some("Forbidden"),
                Some("nope"),
            ),
            (
                A,
                r#"{"success":false,"errorCode":"990301","errorMessage":"gone"}"#,
                Some("990301"),
                Some("gone"),
            ),
            (A, r#"{"success":false,"errorCode":"\"\"","errorMessage":"\"\""}"#, None, None),
            (A, r#"{"success":false,"errorCode":"","errorMessage":null}"#, None, None),
            (A, r#"{"Code":500,"Message":null}"#, Some("500"), None),
            (H, r"{}", None, None),
            (H, r"[]", None, Some("[]")),
            (H, r"null", None, Some("null")),
            (H, r"<html>502</html>", None, None),
            (H, r"plain text", None, Some("plain text")),
            (H, r"", None, None),
            (
                H,
                r#"{"error_code": "DLI.0999", "error_msg": "#,
                None,
                Some(r#"{"error_code": "DLI.0999", "error_msg":"#),
            ),
        ] {
            let read = ErrorBody::read(body.as_bytes(), provider);
            assert_eq!((read.code.as_deref(), read.message.as_deref()), (code, message), "{body}");
            let is_object = body.starts_with('{') && body.ends_with('}');
            assert_eq!(read.is_object, is_object, "{body}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}{{\"code\":\"X\"}}{}", r#"{"a":"#.repeat(100), "}".repeat(100));
        assert_eq!(ErrorBody::read(deep.as_bytes(), H).code, None);
        let too_deep = "{\"a\":".repeat(100_000);
        assert!(!ErrorBody::read(too_deep.as_bytes(), H).is_object);
    }

    #[test]
    fn hints_about_denied_actions_are_kept() {
        let body = ErrorBody::read(
            br#"{"Code":"NoPermission","AccessDeniedDetail":{"AuthAction":"stream:GetSavepoint","NoPermissionType":"ImplicitDeny","AuthPrincipalType":"SubUser"}}"#,
            A,
        );
        assert_eq!(
            body.hints,
            [
                ("authAction", "stream:GetSavepoint".to_owned()),
                ("noPermissionType", "ImplicitDeny".to_owned())
            ]
        );
    }

    #[test]
    fn what_is_said_of_success_is_read_or_unclear_but_never_unsaid() {
        for (body, success, unclear) in [
            (r"{}", None, false),
            (r#"{"is_success":null}"#, None, false),
            (r#"{"is_success":false}"#, Some(false), false),
            (r#"{"is_success":"TRUE"}"#, Some(true), false),
            (r#"{"success":"False"}"#, Some(false), false),
            (r#"{"IsSuccess":true}"#, Some(true), false),
            (r#"{"is_succ\u0065ss":true}"#, Some(true), false),
            ("\u{feff}{\"is_success\":true}", Some(true), false),
            (r#"{"is_success":false,"is_success":false}"#, Some(false), false),
            (r#"{"is_success":false,"is_success":true}"#, Some(false), true),
            (r#"{"is_success":false,"success":true}"#, Some(false), true),
            (r#"{"is_success":"yes"}"#, None, true),
            (r#"{"is_success":1}"#, None, true),
            (r#"{"is_success":[true]}"#, None, true),
            (r#"{"is_success":{"a":true}}"#, None, true),
            (r#"{"data":{"is_success":true}}"#, None, false),
        ] {
            let read = ErrorBody::read(body.as_bytes(), H);
            let got = (read.is_object, read.success, read.success_is_unclear);
            assert_eq!(got, (true, success, unclear), "{body}");
        }
    }

    #[test]
    fn codes_that_disagree_and_names_twice_are_a_contradiction() {
        for (body, contradictory) in [
            (r#"{"error_code":"DLI.0009","error_code":"DLI.0001"}"#, true),
            (r#"{"error_code":"DLI.0009","errorCode":"DLI.0001"}"#, true),
            (r#"{"error_code":"DLI.0009","error":{"code":"DLI.0999"}}"#, true),
            (r#"{"error":{"code":"DLI.0999"},"error_code":"DLI.0009"}"#, true),
            (r#"{"error_msg":"a","error_msg":"a"}"#, true),
            (r#"{"error_code":"DLI.0009","error":{"code":"APIG.0308"}}"#, false),
            (r#"{"error_code":"DLI.0009","code":"400"}"#, false),
            (r#"{"a":{"code":"1"},"b":{"code":"2"}}"#, false),
        ] {
            let read = ErrorBody::read(body.as_bytes(), H);
            assert_eq!(read.is_contradictory, contradictory, "{body}");
            let code = read.reason_of_code(H);
            assert_eq!(code.is_none(), contradictory || read.code.as_deref() != Some("DLI.0009"));
        }
    }

    #[test]
    fn no_body_makes_more_be_kept_than_its_names() {
        let long = "x".repeat(1_000_000);
        let digits = "9".repeat(1_000_000);
        let objects = r#"{"":0},"#.repeat(100_000);
        let codes = r#""code":"c","a":{"code":"c"},"#.repeat(30_000);
        for body in [
            format!(r#"{{"error_code":"{long}","error_msg":"{long}","message":"{long}"}}"#),
            format!(r#"{{"error_code":"x","a":[{objects}0]}}"#),
            format!(r#"{{"error_code":"x","message":[{objects}0]}}"#),
            format!(r#"{{"error_code":{digits}.5,"a":0.{digits}}}"#),
            format!(r#"{{"{long}":"\n{long}"}}"#),
            format!(r#"{{{codes}"a":0}}"#),
            format!("plain {long}"),
        ] {
            for provider in [H, A] {
                let read = ErrorBody::read(body.as_bytes(), provider);
                let texts = [&read.code, &read.message, &read.request_id];
                let kept: usize = texts.into_iter().flatten().map(String::capacity).sum();
                assert!(kept <= 3 * TEXT_BYTES, "{kept} of {}", &body[..40]);
                assert!(read.hints.len() <= provider.hints.len());
            }
        }
    }
}
