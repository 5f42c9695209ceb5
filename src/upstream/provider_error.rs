//! A provider's failure, classified by what its response proves.
//!
//! A response proves no more than was read of it: one that is cut short, or that says success beside
//! its failure, leaves open what was done.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::Timestamp;

use super::error_body::ErrorBody;
use super::reply::Reply;
use crate::credential::Redactor;
use crate::rpc::Error;
use crate::rpc::error::ProviderError;
use crate::rpc::operation::{Operation, Provider};
use crate::rpc::reason::{Outcome, Reason};

/// Maximum length of a provider's text in a status and in the log.
const TEXT_BYTES: usize = 512;
const CODE_BYTES: usize = 128;
/// Longer hints do not fit into the trailers and are dropped, because a truncated one is useless.
const HINT_BYTES: usize = 1024;

/// Longer waits are treated as mistakes.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a response does not prove success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotSuccess {
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
        let body = ErrorBody::read(self.body, self.provider);
        let verdict = body.verdict(self.provider, response.status, response.whole);
        let request_id = self.first_id([body.request_id.as_deref()]);
        let retry_after = retry_after(&response.headers, now);
        let mut error = body.into_provider_error(&self.redactor);
        error.http_status = Some(response.status);
        error.request_id = request_id;
        error.retry_after = retry_after;
        let error = Error::of_response(operation, verdict.reason, error, failed.expected);
        if verdict.is_in_doubt { error.with_outcome(Outcome::Unknown) } else { error }
    }
}

/// What a response that is not a success means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verdict {
    reason: Reason,
    /// Whether the change may have been made, although the reason alone says that it was not.
    is_in_doubt: bool,
}

impl ErrorBody {
    fn verdict(&self, provider: &Provider, status: u16, whole: bool) -> Verdict {
        let by_code = || {
            let reason = self.reason_of_code(provider)?;
            // This code is used both for a wrong key and for clock skew; only the text differs.
            let is_clock = reason == Reason::CredentialsRejected && self.blames_the_date();
            Some(if is_clock { Reason::ClockSkew } else { reason })
        };
        let certain = |reason| Verdict { reason, is_in_doubt: false };
        match status {
            200..=299 if !whole => certain(Reason::TruncatedResponse),
            200..=299 if self.reports_failure() => {
                certain(by_code().unwrap_or(Reason::ReportedFailure))
            }
            200..=299 => certain(Reason::MalformedResponse),
            400..=599 if whole && self.is_clear() => Verdict {
                reason: by_code().unwrap_or_else(|| self.reason_of_status(status)),
                // Statuses of proxies that gave up: the provider may still act.
                is_in_doubt: matches!(status, 408 | 460 | 499),
            },
            _ => Verdict { reason: self.reason_of_status(status), is_in_doubt: true },
        }
    }

    /// Whether it says that the call failed, and nothing else.
    fn reports_failure(&self) -> bool {
        self.success == Some(false) && self.is_clear()
    }

    /// Whether it neither contradicts itself nor may say that the call succeeded.
    fn is_clear(&self) -> bool {
        self.success != Some(true) && !self.success_is_unclear && !self.is_contradictory
    }

    fn reason_of_status(&self, status: u16) -> Reason {
        match status {
            401 if self.blames_the_date() => Reason::ClockSkew,
            404 if !self.is_object => Reason::EndpointMisconfigured,
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
            code: self.code.and_then(|code| redactor.identifier(code.as_bytes(), CODE_BYTES)),
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
        let success = (status == 200).then_some(false);
        let body = ErrorBody { is_object: true, code, message, success, ..ErrorBody::default() };
        let verdict = body.verdict(provider, status, true);
        assert!(!verdict.is_in_doubt);
        verdict.reason
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
            assert_eq!(reason(A, 200, code, None), want, "{code:?}");
        }
    }

    #[test]
    fn a_404_without_json_means_a_wrong_endpoint() {
        let got = ErrorBody::default().verdict(A, 404, true).reason;
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
        let redactor = Redactor::new(&credential, b"", H.secret_labels);
        let error = ErrorBody::read(body.as_bytes(), H).into_provider_error(&redactor);
        assert_eq!(error.code.as_deref(), Some("APIG.0301"));
        let message = error.message.expect("a message");
        assert!(message.starts_with("[31m[redacted] [redacted] [redacted] xxx"), "{message}");
        assert!(message.len() <= TEXT_BYTES, "{}", message.len());
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
