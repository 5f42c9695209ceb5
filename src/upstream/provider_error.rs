//! Reads a provider's error response, guided by the facts of its module.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::reply::{Reply, meant};
use crate::credential::Redactor;
use crate::rpc::Error;
use crate::rpc::error::ProviderError;
use crate::rpc::operation::{Operation, Provider};
use crate::rpc::reason::Reason;

/// Maximum length of a provider's text in a status and in the log.
const TEXT_BYTES: usize = 512;
const CODE_BYTES: usize = 128;
/// Longer hints do not fit into the trailers and are dropped, because a truncated one is useless.
const HINT_BYTES: usize = 1024;

/// Maximum depth at which an error body is searched for its code.
const DEPTH: u32 = 4;

/// Longer waits are treated as mistakes.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a response does not prove success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotSuccess {
    /// The success flag of a complete 2xx response, if any.
    pub(crate) reported: Option<bool>,
    /// The parts that a success must have.
    pub(crate) expected: &'static str,
}

impl Reply<'_> {
    /// Builds the error for a response that does not prove success.
    pub(super) fn error(
        &self,
        operation: &'static Operation,
        failed: &NotSuccess,
        now: Timestamp,
    ) -> Error {
        let response = self.response;
        let body = ErrorBody::read(&response.body, self.provider);
        let reason = if response.is_2xx() && !response.whole {
            Reason::TruncatedResponse
        } else if failed.reported == Some(true) {
            Reason::MalformedResponse
        } else {
            body.reason(self.provider, response.status, failed.reported == Some(false))
        };
        let request_id = self.request_id([body.request_id.as_deref()]);
        let retry_after = retry_after(&response.headers, now);
        let mut error = body.into_provider_error(&self.redactor);
        error.http_status = Some(response.status);
        error.request_id = request_id;
        error.retry_after = retry_after;
        Error::of_response(operation, reason, error, failed.expected)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct ErrorBody {
    is_object: bool,
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
    hints: Vec<(&'static str, String)>,
}

impl ErrorBody {
    /// Reads an error body. If it is not a JSON object, only its text is used.
    fn read(body: &[u8], provider: &'static Provider) -> Self {
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => {
                let (code, message) = match code_and_message(&object, provider, DEPTH) {
                    Some((code, message)) => (Some(code), message),
                    None => (None, first_text(&object, provider.text_fields)),
                };
                Self {
                    is_object: true,
                    code,
                    message,
                    request_id: first_text(&object, provider.request_id.fields),
                    hints: hints(&object, provider),
                }
            }
            _ => Self { message: plain_text(body), ..Self::default() },
        }
    }

    /// The reason: by the provider's own code, else by the HTTP status.
    fn reason(&self, provider: &Provider, status: u16, reports_failure: bool) -> Reason {
        if let Some(reason) = self.code.as_deref().and_then(|code| provider.reason_of(code)) {
            // This code is used both for a wrong key and for clock skew; only the text differs.
            let is_clock = reason == Reason::CredentialsRejected && self.blames_the_date();
            return if is_clock { Reason::ClockSkew } else { reason };
        }
        match status {
            401 if self.blames_the_date() => Reason::ClockSkew,
            404 if !self.is_object => Reason::EndpointMisconfigured,
            200..=299 if reports_failure => Reason::ReportedFailure,
            status => Reason::of_status(status),
        }
    }

    /// Whether the text is about the signature's date, as opposed to an expired token.
    fn blames_the_date(&self) -> bool {
        let Some(message) = &self.message else { return false };
        let text = message.to_ascii_lowercase();
        text.contains("expire")
            && !text.contains("token")
            && ["date", "time", "signature"].iter().any(|word| text.contains(word))
    }

    /// The texts for the caller: cleaned, redacted and truncated.
    fn into_provider_error(self, redactor: &Redactor<'_>) -> ProviderError {
        let shown = |text: &str, bytes| Some(redactor.text(text, bytes)).filter(|t| !t.is_empty());
        ProviderError {
            code: self.code.and_then(|code| redactor.identifier(&code, CODE_BYTES)),
            message: self.message.and_then(|message| shown(&message, TEXT_BYTES)),
            hints: self
                .hints
                .into_iter()
                .filter(|(_, value)| value.len() <= HINT_BYTES)
                .map(|(key, value)| (key, redactor.text(&value, HINT_BYTES)))
                .collect(),
            ..ProviderError::default()
        }
    }
}

/// The wait that the provider asks for before the next request.
///
/// `x-acs-retry-after` is in milliseconds; `Retry-After` is in seconds, or a date of RFC 9110,
/// section 5.6.7. Zero, past and invalid values are ignored.
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

/// The first code, with the text next to it.
fn code_and_message(
    object: &Map<String, Value>,
    provider: &Provider,
    depth: u32,
) -> Option<(String, Option<String>)> {
    let here = provider.error_fields.iter().find_map(|(code, messages)| {
        Some((first_text(object, &[code])?, first_text(object, messages)))
    });
    here.or_else(|| {
        let depth = depth.checked_sub(1)?;
        let objects = object.values().filter_map(Value::as_object);
        objects.into_iter().find_map(|object| code_and_message(object, provider, depth))
    })
}

fn first_text(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| text_of(object.get(*name)?))
}

/// Details of a denied request: the action and the cause.
fn hints(object: &Map<String, Value>, provider: &Provider) -> Vec<(&'static str, String)> {
    let value = |path: &[&str]| {
        let (last, objects) = path.split_last()?;
        let holder = objects.iter().try_fold(object, |object, name| object.get(*name)?.as_object());
        text_of(holder?.get(*last)?)
    };
    provider.hints.iter().filter_map(|(path, key)| Some((*key, value(path)?))).collect()
}

/// A non-empty string, or a number as text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => meant(text).map(str::to_owned),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The text of a body that is not a JSON object, unless it is markup.
fn plain_text(body: &[u8]) -> Option<String> {
    // More than will be shown, so that a secret at the cut is still found.
    let body = &body[..body.len().min(16 * TEXT_BYTES)];
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    (!text.is_empty() && !text.starts_with('<')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::credential::Credential;
    use crate::providers::{alibaba, huawei};
    use crate::secret::Secret;

    const H: &Provider = &huawei::HUAWEI;
    const A: &Provider = &alibaba::ALIBABA;

    fn reason(
        provider: &Provider,
        status: u16,
        code: Option<&str>,
        message: Option<&str>,
    ) -> Reason {
        let (code, message) = (code.map(str::to_owned), message.map(str::to_owned));
        let body = ErrorBody { is_object: true, code, message, ..ErrorBody::default() };
        body.reason(provider, status, false)
    }

    #[test]
    fn the_providers_code_takes_precedence_over_the_http_status() {
        for (provider, status, code, want) in [
            (H, 400, "DLI.0002", Reason::NotFound),
            (H, 400, "DLI.12004", Reason::NotFound),
            (H, 404, "DLI.0023", Reason::NotFound),
            (H, 400, "DLI.0999", Reason::ProviderInternal),
            (H, 404, "APIG.0101", Reason::EndpointMisconfigured),
            (H, 404, "APIGW.0103", Reason::EndpointMisconfigured),
            (H, 401, "APIC.0301", Reason::CredentialsRejected),
            (H, 429, "APIG.0308", Reason::Throttled),
            (H, 403, "APIGW.0302", Reason::PermissionDenied),
            (H, 200, "DLI.0001", Reason::RejectedArgument),
            (H, 400, "1001", Reason::RejectedArgument),
            (H, 404, "XAPIG.0301", Reason::NotFound),
            (H, 400, "DLI.0001", Reason::RejectedArgument),
            (H, 400, "DLI.0018", Reason::RejectedArgument),
            (H, 400, "DLI.4711", Reason::RejectedArgument),
            (H, 400, "DLI.0006", Reason::AlreadyExists),
            (H, 400, "DLI.0007", Reason::ReportedFailure),
            (H, 400, "DLI.0012", Reason::ReportedFailure),
            (H, 400, "DLI.13024", Reason::ReportedFailure),
            (H, 400, "DLI.0009", Reason::Throttled),
            (H, 429, "APIGW.0308", Reason::Throttled),
            (H, 400, "DLI.1028", Reason::QuotaExceeded),
            (H, 400, "DLI.0003", Reason::PermissionDenied),
            (H, 400, "DLI.0011", Reason::PermissionDenied),
            (H, 400, "DLI.0016", Reason::PermissionDenied),
            (H, 401, "DLI.0013", Reason::CredentialsRejected),
            (H, 401, "DLI.0014", Reason::CredentialsRejected),
            (H, 400, "DLI.0015", Reason::CredentialsRejected),
            (H, 401, "APIG.0301", Reason::CredentialsRejected),
            (H, 401, "APIC.0303", Reason::CredentialsRejected),
            (H, 401, "APIGW.0307", Reason::CredentialsRejected),
            (H, 400, "DLI.0019", Reason::ProviderTimeout),
            (A, 200, "990301", Reason::NotFound),
            (A, 400, "Throttling", Reason::Throttled),
            (A, 400, "Throttling.User", Reason::Throttled),
            (A, 400, "Rejected.Throttling", Reason::Throttled),
            (A, 503, "Throttling.Api", Reason::Throttled),
            (A, 404, "InvalidAccessKeyId.NotFound", Reason::CredentialsRejected),
            (A, 404, "InvalidApi.NotFound", Reason::EndpointMisconfigured),
            (A, 404, "InvalidAction.NotFound", Reason::EndpointMisconfigured),
            (A, 404, "InvalidProtocol.NeedSsl", Reason::EndpointMisconfigured),
            (A, 400, "InvalidTimeStamp.Expired", Reason::ClockSkew),
            (A, 400, "InvalidParameter", Reason::RejectedArgument),
            (A, 400, "InvalidNamespaceParameter.Format", Reason::RejectedArgument),
            (A, 400, "MissingWorkspace", Reason::RejectedArgument),
            (A, 400, "SignatureNonceUsed", Reason::Unavailable),
            (A, 403, "Forbidden.RAM", Reason::PermissionDenied),
            (A, 200, "NoPermission", Reason::PermissionDenied),
            (A, 503, "ServiceUnavailable", Reason::Unavailable),
            (A, 500, "InternalError", Reason::ProviderInternal),
            (A, 403, "NoPermission", Reason::PermissionDenied),
            (A, 400, "SignatureDoesNotMatch", Reason::CredentialsRejected),
            (A, 400, "IncompleteSignature", Reason::CredentialsRejected),
            (A, 400, "InvalidSecurityToken.Expired", Reason::CredentialsRejected),
            (A, 400, "IllegalTimestamp", Reason::ClockSkew),
            (A, 404, "InvalidProduct.NotFound", Reason::EndpointMisconfigured),
            (A, 403, "InvalidAction", Reason::EndpointMisconfigured),
            (A, 400, "NoSuchVersion", Reason::EndpointMisconfigured),
        ] {
            let got = reason(provider, status, Some(code), None);
            assert_eq!(got, want, "{provider} {status} {code}");
        }
    }

    #[test]
    fn a_failure_that_is_reported_with_200_is_read_by_its_code_first() {
        for (code, want) in [
            (Some("990301"), Reason::NotFound),
            (Some("990302"), Reason::ReportedFailure),
            (Some("InternalError"), Reason::ReportedFailure),
            (None, Reason::ReportedFailure),
            (Some("Forbidden"), Reason::PermissionDenied),
            (Some("Throttling.User"), Reason::Throttled),
        ] {
            let body = ErrorBody { code: code.map(str::to_owned), ..ErrorBody::default() };
            assert_eq!(body.reason(A, 200, true), want, "{code:?}");
        }
    }

    #[test]
    fn a_404_without_json_means_a_wrong_endpoint() {
        let got = ErrorBody::default().reason(A, 404, false);
        assert_eq!(got, Reason::EndpointMisconfigured);
    }

    #[test]
    fn an_expired_date_means_clock_skew_and_an_expired_token_does_not() {
        for (message, want) in [
            ("Incorrect IAM authentication information: signature expired", Reason::ClockSkew),
            ("The X-Sdk-Date has expired", Reason::ClockSkew),
            (
                "Incorrect IAM authentication information: verify aksk signature fail",
                Reason::CredentialsRejected,
            ),
            ("token expires, expires_at: 2026-01-16T08:30:00", Reason::CredentialsRejected),
        ] {
            for code in [None, Some("APIG.0301")] {
                assert_eq!(reason(H, 401, code, Some(message)), want, "{message}");
            }
        }
    }

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
            let is_object = serde_json::from_str::<Map<String, Value>>(body).is_ok();
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
    fn texts_are_cleaned_redacted_and_cut() {
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
        let redactor = Redactor::new(&credential, H.secret_labels);
        let error = ErrorBody::read(body.as_bytes(), H).into_provider_error(&redactor);
        assert_eq!(error.code.as_deref(), Some("APIG.0301"));
        let message = error.message.expect("a message");
        assert!(message.starts_with("[31m[redacted] [redacted] [redacted] xxx"), "{message}");
        assert!(message.len() <= TEXT_BYTES, "{}", message.len());
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
    fn waits_are_read_from_both_headers_and_invalid_ones_are_ignored() {
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
