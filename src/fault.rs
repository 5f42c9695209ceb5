//! Reading what a provider says of its failure, in any of the shapes that it uses.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::credential::Credential;
use crate::error::{Error, Fault};
use crate::failure::{Answered, Failure};
use crate::operation::Operation;
use crate::text::{clean, identifier};
use crate::upstream::Answer;

/// A provider's text may take this much room in an answer.
const TEXT_BYTES: usize = 512;
const CODE_BYTES: usize = 128;
const REQUEST_ID_BYTES: usize = 128;
/// Longer hints would not fit into the trailers, and half of one is of no use.
const EXTRA_BYTES: usize = 1024;

/// How deep an error body is searched for its code.
const DEPTH: u32 = 4;

/// A wait longer than this is no advice, but a mistake.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The names under which a code and a text come, most specific first.
///
/// # Reference
/// - Huawei: `error_code`/`error_msg`, `errorCode`/`errorMsg`, `code`/`message`, at the top or
///   nested, as the exception handler of `huaweicloudsdkcore` 3.1.219 reads them.
/// - Alibaba: `Code`/`Message` of its gateway, `errorCode`/`errorMessage` of the service.
const SHAPES: [(&str, &[&str]); 4] = [
    ("error_code", &["error_msg", "error_message"]),
    ("errorCode", &["errorMsg", "errorMessage"]),
    ("Code", &["Message"]),
    ("code", &["message"]),
];

/// The names under which a text comes without a code, as in Huawei's 200 answers with
/// `is_success` false.
const TEXTS_ALONE: [&str; 6] =
    ["message", "msg", "error_msg", "errorMsg", "errorMessage", "Message"];

/// An answer that is no proven success.
#[derive(Debug)]
pub(crate) struct Unproven<'a> {
    pub(crate) operation: Operation,
    pub(crate) answer: &'a Answer,
    /// What a whole 2xx answer says of its own success.
    pub(crate) success: Option<bool>,
    /// What a success would have had.
    pub(crate) proof: &'static str,
    pub(crate) credential: &'a Credential,
    pub(crate) now: Timestamp,
}

impl Unproven<'_> {
    /// The row of the failure table for it, with what the caller is told. `request_id` chooses
    /// the id, given that of the body.
    pub(crate) fn error(&self, request_id: impl FnOnce(Option<&str>) -> Option<String>) -> Error {
        let Self { operation, answer, success, proof, credential, now } = *self;
        let told = Told::read(&answer.body);
        let failure = if answer.is_2xx() && !answer.whole {
            Failure::TruncatedResponse
        } else if success == Some(true) {
            Failure::MalformedResponse
        } else {
            Failure::of_answer(
                operation.provider(),
                &Answered {
                    status: answer.status,
                    code: told.code.as_deref(),
                    message: told.message.as_deref(),
                    json: told.json,
                    reports_failure: success == Some(false),
                },
            )
        };
        let id = request_id(told.request_id.as_deref());
        let wait = retry_after(&answer.headers, now);
        let fault = told.into_fault(answer.status, id, wait, credential);
        Error::of_answer(operation, failure, fault, proof)
    }
}

/// The body of an answer, as far as it tells of a failure.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// Whether the body is a JSON object.
    json: bool,
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
    extra: Vec<(&'static str, String)>,
}

impl Told {
    /// Reads an error body. One that is no JSON object tells its text at most.
    fn read(body: &[u8]) -> Self {
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => {
                let (code, message) = match code_and_message(&object, DEPTH) {
                    Some((code, message)) => (Some(code), message),
                    None => (None, first_text(&object, &TEXTS_ALONE)),
                };
                Self {
                    json: true,
                    code,
                    message,
                    request_id: ["requestId", "RequestId", "request_id"]
                        .into_iter()
                        .find_map(|key| text_of(object.get(key)?)),
                    extra: extra(&object),
                }
            }
            _ => Self { message: plain_text(body), ..Self::default() },
        }
    }

    /// What the caller is told: cleaned, cut and without secrets.
    fn into_fault(
        self,
        http_status: u16,
        request_id: Option<String>,
        retry_after: Option<Duration>,
        credential: &Credential,
    ) -> Fault {
        Fault {
            http_status: Some(http_status),
            // What is left out of an identifier must not have hidden a secret.
            code: self
                .code
                .and_then(|code| identifier(&code, usize::MAX))
                .and_then(|code| identifier(&credential.redact(&code), CODE_BYTES)),
            // Redacted before it is cut: half a secret would no longer be recognised.
            message: self
                .message
                .map(|message| clean(&credential.redact(&message), TEXT_BYTES))
                .filter(|message| !message.is_empty()),
            request_id,
            retry_after,
            extra: self
                .extra
                .into_iter()
                .filter(|(_, value)| value.len() <= EXTRA_BYTES)
                .map(|(key, value)| (key, clean(&credential.redact(&value), EXTRA_BYTES)))
                .collect(),
        }
    }
}

/// A request id in the form in which callers get it. The documentation's own placeholder for
/// "none", two quote characters, counts as none, and so does one that holds a secret.
pub(crate) fn request_id(text: Option<&str>, credential: &Credential) -> Option<String> {
    identifier(meant(text?)?, REQUEST_ID_BYTES).filter(|id| !credential.is_in(id))
}

/// How long the provider asks to wait before the next request.
///
/// `x-acs-retry-after` counts milliseconds; `Retry-After` seconds, or is a date of RFC 9110,
/// section 5.6.7. Zero, the past and nonsense are no wait.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let number = |text: &str| -> Option<u64> {
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let milliseconds =
        text("x-acs-retry-after").and_then(number).map(Duration::from_millis).filter(is_a_wait);
    milliseconds.or_else(|| {
        let text = text(RETRY_AFTER.as_str())?;
        let wait = match number(text) {
            Some(seconds) => Duration::from_secs(seconds),
            None => {
                let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
                Duration::try_from(date.duration_since(now)).ok()?
            }
        };
        Some(wait).filter(is_a_wait)
    })
}

fn is_a_wait(wait: &Duration) -> bool {
    !wait.is_zero() && *wait <= LONGEST_WAIT
}

/// The first code that is found, with the text that stands beside it.
fn code_and_message(object: &Map<String, Value>, depth: u32) -> Option<(String, Option<String>)> {
    let here = SHAPES.iter().find_map(|(code, messages)| {
        Some((first_text(object, &[code])?, first_text(object, messages)))
    });
    here.or_else(|| {
        let depth = depth.checked_sub(1)?;
        object.values().filter_map(Value::as_object).find_map(|o| code_and_message(o, depth))
    })
}

fn first_text(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| text_of(object.get(*name)?))
}

/// What helps to mend a refusal: which action was denied and why.
fn extra(object: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if let Some(text) = object.get("encoded_authorization_message").and_then(text_of) {
        found.push(("encodedAuthorizationMessage", text));
    }
    let denied = object.get("AccessDeniedDetail").or_else(|| object.get("accessDeniedDetail"));
    for (from, to) in [("AuthAction", "authAction"), ("NoPermissionType", "noPermissionType")] {
        if let Some(text) = denied.and_then(|denied| text_of(denied.get(from)?)) {
            found.push((to, text));
        }
    }
    found
}

/// A string that says something, or a number as text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => meant(text).map(str::to_owned),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A text without its outer spaces, unless it is empty. Alibaba's published example has two
/// quote characters where the service sends nothing.
fn meant(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty() && *text != "\"\"")
}

/// The text of a body that is no JSON object, unless it is markup, which helps nobody.
fn plain_text(body: &[u8]) -> Option<String> {
    // More than will be shown, so that a secret across the cut is still found whole.
    let body = &body[..body.len().min(16 * TEXT_BYTES)];
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    (!text.is_empty() && !text.starts_with('<')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::secret::Secret;

    #[test]
    fn codes_are_found_in_every_shape() {
        for (body, code, message) in [
            (r#"{"error_code":"DLI.0001","error_msg":"bad"}"#, Some("DLI.0001"), Some("bad")),
            (r#"{"errorCode":"DLI.0001","errorMsg":"bad"}"#, Some("DLI.0001"), Some("bad")),
            (r#"{"error":{"code":"DLI.0001","message":"bad"}}"#, Some("DLI.0001"), Some("bad")),
            (r#"{"badRequest":{"message":"bad","code":"400"}}"#, Some("400"), Some("bad")),
            (r#"{"error_code":"DLI.0001"}"#, Some("DLI.0001"), None),
            (r#"{"error_code":1001,"error_msg":"num"}"#, Some("1001"), Some("num")),
            (
                r#"{"is_success":false,"message":"The job is running."}"#,
                None,
                Some("The job is running."),
            ),
            (
                r#"{"RequestId":"R","HostId":"h","Code":"Throttling","Message":"slow"}"#,
                Some("Throttling"),
                Some("slow"),
            ),
            (
                r#"{"requestId":"R","code":"Forbidden","message":"nope"}"#,
                Some("Forbidden"),
                Some("nope"),
            ),
            (
                r#"{"success":false,"errorCode":"990301","errorMessage":"gone"}"#,
                Some("990301"),
                Some("gone"),
            ),
            (r#"{"success":false,"errorCode":"\"\"","errorMessage":"\"\""}"#, None, None),
            (r#"{"success":false,"errorCode":"","errorMessage":null}"#, None, None),
            (r#"{"Code":500,"Message":null}"#, Some("500"), None),
            (r"{}", None, None),
            (r"[]", None, Some("[]")),
            (r"null", None, Some("null")),
            (r"<html>502</html>", None, None),
            (r"plain text", None, Some("plain text")),
            (r"", None, None),
            (
                r#"{"error_code": "DLI.0999", "error_msg": "#,
                None,
                Some(r#"{"error_code": "DLI.0999", "error_msg":"#),
            ),
        ] {
            let told = Told::read(body.as_bytes());
            assert_eq!((told.code.as_deref(), told.message.as_deref()), (code, message), "{body}");
            assert_eq!(
                told.json,
                serde_json::from_str::<Map<String, Value>>(body).is_ok(),
                "{body}"
            );
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}{{\"code\":\"X\"}}{}", r#"{"a":"#.repeat(100), "}".repeat(100));
        assert_eq!(Told::read(deep.as_bytes()).code, None);
        let too_deep = "{\"a\":".repeat(100_000);
        assert!(!Told::read(too_deep.as_bytes()).json);
    }

    #[test]
    fn what_is_told_is_cleaned_cut_and_without_secrets() {
        let credential = Credential::new(
            "EXAMPLEKEYID",
            Secret::new("exampleSecretKey"),
            Some(Secret::new("exampleToken/+==")),
        )
        .expect("a credential");
        let long = "x".repeat(2000);
        let body = format!(
            r#"{{"error_code":"APIG.0301\r\n","error_msg":"\u001b[31mEXAMPLEKEYID exampleToken/+== exampleSecretKey {long}"}}"#
        );
        let fault =
            Told::read(body.as_bytes()).into_fault(401, Some("R".into()), None, &credential);
        assert_eq!(fault.code.as_deref(), Some("APIG.0301"));
        let message = fault.message.expect("a message");
        assert!(message.starts_with("[31m[redacted] [redacted] [redacted] xxx"), "{message}");
        assert!(message.len() <= TEXT_BYTES, "{}", message.len());
    }

    #[test]
    fn a_secret_hides_neither_in_an_identifier_nor_between_its_characters() {
        let credential = Credential::new("EXAMPLEKEYID", Secret::new("exampleSecretKey"), None);
        let credential = credential.expect("a credential");
        for (id, want) in [
            ("R-1", Some("R-1")),
            ("\"\"", None),
            ("R-exampleSecretKey", None),
            ("example\u{1}Secret Key", None),
            ("EXAMPLEKEYID", None),
        ] {
            assert_eq!(request_id(Some(id), &credential).as_deref(), want, "{id:?}");
        }
        let body = br#"{"error_code":"example\u0001Secret Key"}"#;
        let fault = Told::read(body).into_fault(400, None, None, &credential);
        assert_eq!(fault.code.as_deref(), Some("[redacted]"));
    }

    #[test]
    fn refusals_keep_what_helps_to_mend_them() {
        let told = Told::read(
            br#"{"Code":"NoPermission","AccessDeniedDetail":{"AuthAction":"stream:GetSavepoint","NoPermissionType":"ImplicitDeny","AuthPrincipalType":"SubUser"}}"#,
        );
        assert_eq!(
            told.extra,
            [
                ("authAction", "stream:GetSavepoint".to_owned()),
                ("noPermissionType", "ImplicitDeny".to_owned())
            ]
        );
    }

    #[test]
    fn waits_are_read_from_both_headers_and_nonsense_is_ignored() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        for (acs, standard, want) in [
            (Some("700"), None, Some(Duration::from_millis(700))),
            (Some("700"), Some("3"), Some(Duration::from_millis(700))),
            (Some("0"), Some("3"), Some(Duration::from_secs(3))),
            (Some("-1"), None, None),
            (Some("abc"), None, None),
            (Some("99999999999999999999"), None, None),
            (None, Some("3"), Some(Duration::from_secs(3))),
            (None, Some(" 3 "), Some(Duration::from_secs(3))),
            (None, Some("0"), None),
            (None, Some("-3"), None),
            (None, Some("1.5"), None),
            (None, Some("+3"), None),
            (None, Some(""), None),
            (None, Some("99999999"), None),
            (None, Some("Fri, 02 Jan 2026 03:04:12 GMT"), Some(Duration::from_secs(7))),
            (None, Some("Fri, 02 Jan 2026 03:04:05 GMT"), None),
            (None, Some("Thu, 01 Jan 2026 00:00:00 GMT"), None),
            (None, Some("tomorrow"), None),
            (None, None, None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("x-acs-retry-after", acs), ("retry-after", standard)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(retry_after(&headers, now), want, "{acs:?} {standard:?}");
        }
    }
}
