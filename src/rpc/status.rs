//! Converts an [`Error`] to a gRPC status with `google.rpc` details.

use std::collections::HashMap;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::error::Error;
use super::reason::Outcome;
use crate::text::clip;

/// `domain` of every `google.rpc.ErrorInfo`.
pub(crate) const DOMAIN: &str = "savepoint-gateway";

/// Limits for texts, tried in order until the trailers are small enough. Google's API design guide
/// allows 1 KiB for an error message.
const CUTS: [Cut; 4] = [
    Cut { message: 1024, provider_message: 512, hints: true },
    Cut { message: 512, provider_message: 512, hints: false },
    Cut { message: 256, provider_message: 256, hints: false },
    Cut { message: 256, provider_message: 0, hints: false },
];

struct Cut {
    message: usize,
    provider_message: usize,
    hints: bool,
}

/// Maximum size of all trailers of an error. Common clients reject more than 8 KiB of metadata, and
/// then show that instead of the error.
const TRAILER_BYTES: usize = 4096;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        CUTS.iter()
            .map(|cut| build(&error, cut))
            .find(|status| trailer_bytes(status) < TRAILER_BYTES)
            .unwrap_or_else(|| {
                Self::new(error.reason().row().code, "the error is too large to show")
            })
    }
}

fn build(error: &Error, cut: &Cut) -> Status {
    let row = error.reason().row();
    let provider_error = error.provider_error();
    let message = provider_error.message.as_ref().filter(|_| cut.provider_message > 0);
    let known = [
        ("provider", error.provider().map(|provider| provider.name.to_owned())),
        ("outcome", error.outcome().map(|outcome| outcome.as_str().to_owned())),
        ("httpStatus", provider_error.http_status.map(|status| status.to_string())),
        ("providerCode", provider_error.code.clone()),
        ("providerMessage", message.map(|text| clip(text, cut.provider_message).to_owned())),
        ("providerRequestId", provider_error.request_id.clone()),
        ("attempts", (error.attempts() > 0).then(|| error.attempts().to_string())),
    ];
    let hints = provider_error.hints.iter().filter(|_| cut.hints).cloned();
    let about: HashMap<_, _> = known
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .chain(hints)
        .map(|(key, value)| (key.to_owned(), value))
        .collect();

    let mut details = ErrorDetails::new();
    details.set_error_info(row.name, DOMAIN, about);
    if let Some(id) = &provider_error.request_id {
        details.set_request_info(id.clone(), "");
    }
    if let Some(wait) = provider_error.retry_after {
        details.set_retry_info(Some(wait));
    }
    for violation in error.violations() {
        details.add_bad_request_violation(violation.field, violation.description.clone());
    }

    let mut metadata = MetadataMap::new();
    if error.outcome() == Some(Outcome::Unknown) {
        // Disables retries in gRPC clients
        // (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback).
        metadata.insert("grpc-retry-pushback-ms", MetadataValue::from_static("-1"));
    }
    let message = error.told(cut.message);
    Status::with_error_details_and_metadata(row.code, message, details, metadata)
}

/// The size of this status in the trailers as defined by RFC 9113, section 6.5.2: name, value and
/// 32 bytes for each field.
fn trailer_bytes(status: &Status) -> usize {
    let mut headers = http::HeaderMap::new();
    match status.add_header(&mut headers) {
        Ok(()) => headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum(),
        Err(_) => usize::MAX,
    }
}

/// The names of a code, and its class.
#[derive(Debug, Clone, Copy)]
pub struct CodeNames {
    /// In logs and metrics, as in other gRPC servers.
    pub pascal: &'static str,
    /// In the gRPC specification and in traces.
    pub screaming: &'static str,
    /// Whether OpenTelemetry counts it as an error of the server.
    pub(crate) is_server_error: bool,
}

/// The names of a code, and its class.
///
/// # Reference
/// - <https://github.com/grpc-ecosystem/go-grpc-middleware/tree/main/providers/prometheus>
/// - <https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>
#[rustfmt::skip]
pub const fn code_names(code: Code) -> CodeNames {
    let (pascal, screaming, is_server_error) = match code {
        Code::Ok =>                 ("OK",                 "OK",                  false),
        Code::Cancelled =>          ("Canceled",           "CANCELLED",           false),
        Code::Unknown =>            ("Unknown",            "UNKNOWN",             true),
        Code::InvalidArgument =>    ("InvalidArgument",    "INVALID_ARGUMENT",    false),
        Code::DeadlineExceeded =>   ("DeadlineExceeded",   "DEADLINE_EXCEEDED",   true),
        Code::NotFound =>           ("NotFound",           "NOT_FOUND",           false),
        Code::AlreadyExists =>      ("AlreadyExists",      "ALREADY_EXISTS",      false),
        Code::PermissionDenied =>   ("PermissionDenied",   "PERMISSION_DENIED",   false),
        Code::ResourceExhausted =>  ("ResourceExhausted",  "RESOURCE_EXHAUSTED",  false),
        Code::FailedPrecondition => ("FailedPrecondition", "FAILED_PRECONDITION", false),
        Code::Aborted =>            ("Aborted",            "ABORTED",             false),
        Code::OutOfRange =>         ("OutOfRange",         "OUT_OF_RANGE",        false),
        Code::Unimplemented =>      ("Unimplemented",      "UNIMPLEMENTED",       true),
        Code::Internal =>           ("Internal",           "INTERNAL",            true),
        Code::Unavailable =>        ("Unavailable",        "UNAVAILABLE",         true),
        Code::DataLoss =>           ("DataLoss",           "DATA_LOSS",           true),
        Code::Unauthenticated =>    ("Unauthenticated",    "UNAUTHENTICATED",     false),
    };
    CodeNames { pascal, screaming, is_server_error }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::providers::{alibaba, huawei};
    use crate::rpc::error::{FieldViolation, ProviderError};
    use crate::rpc::reason::Reason;

    #[test]
    fn details_carry_one_error_info_and_what_is_known() {
        let provider_error = ProviderError {
            http_status: Some(429),
            code: Some("Throttling.User".into()),
            message: Some("slow down".into()),
            request_id: Some("R-1".into()),
            retry_after: Some(Duration::from_millis(700)),
            hints: vec![],
        };
        let error =
            Error::of_response(&alibaba::GET_SAVEPOINT, Reason::Throttled, provider_error, "")
                .with_attempts(3);
        let status = Status::from(error);
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        let info = details.error_info().expect("an ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("PROVIDER_THROTTLED", DOMAIN));
        let mut about: Vec<_> =
            info.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        about.sort_unstable();
        assert_eq!(
            about,
            [
                ("attempts", "3"),
                ("httpStatus", "429"),
                ("provider", "alibaba-flink"),
                ("providerCode", "Throttling.User"),
                ("providerMessage", "slow down"),
                ("providerRequestId", "R-1"),
            ]
        );
        assert_eq!(details.request_info().expect("a RequestInfo").request_id, "R-1");
        let wait = details.retry_info().expect("a RetryInfo").retry_delay;
        assert_eq!(wait, Some(Duration::from_millis(700)));
        assert!(details.bad_request().is_none());
        assert!(status.metadata().get("grpc-retry-pushback-ms").is_none());
    }

    #[test]
    fn an_import_of_unknown_outcome_asks_for_no_retry() {
        let lost = |operation| {
            Status::from(Error::new(Reason::ConnectionLost, "lost").with_operation(operation))
        };
        let import = lost(&huawei::IMPORT_SAVEPOINT);
        assert_eq!(import.metadata().get("grpc-retry-pushback-ms").expect("a trailer"), "-1");
        let details = import.get_error_details();
        assert_eq!(details.error_info().expect("an ErrorInfo").metadata["outcome"], "unknown");
        let get = lost(&alibaba::GET_SAVEPOINT);
        assert!(get.metadata().get("grpc-retry-pushback-ms").is_none());
    }

    #[test]
    fn trailers_stay_small_with_texts_of_any_size() {
        for text in ["x", "点", "\u{1F600}", "%", "\""] {
            let long = text.repeat(4000);
            let provider_error = ProviderError {
                message: Some(long.clone()),
                code: Some("C".repeat(128)),
                request_id: Some("R".repeat(128)),
                hints: vec![("encodedAuthorizationMessage", "E".repeat(4000))],
                ..ProviderError::default()
            };
            let violations =
                vec![FieldViolation { field: "savepoint_path", description: "is wrong".into() }; 3];
            for error in [
                Error::of_response(
                    &huawei::IMPORT_SAVEPOINT,
                    Reason::ProviderInternal,
                    provider_error,
                    "",
                ),
                Error::invalid_request(violations),
            ] {
                let status = Status::from(error.with_operation(&huawei::IMPORT_SAVEPOINT));
                assert!(trailer_bytes(&status) < TRAILER_BYTES, "{text:?}");
                assert!(status.message().len() <= 1024);
                assert!(status.get_error_details().error_info().is_some(), "{text:?}");
            }
        }
    }
}
