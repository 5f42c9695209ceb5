//! The one edge where an [`Error`] becomes a gRPC status with `google.rpc` details.

use std::collections::HashMap;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::error::Error;
use crate::failure::Outcome;
use crate::text::clip;

/// `domain` of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "savepoint-gateway";

/// How much of the texts is shown, tried from the most to the least until the trailers are
/// small enough. 1 KiB for a message is what Google's API design guide allows an error.
const CUTS: [Cut; 4] = [
    Cut { message: 1024, provider_message: 512, extra: true },
    Cut { message: 512, provider_message: 512, extra: false },
    Cut { message: 256, provider_message: 256, extra: false },
    Cut { message: 256, provider_message: 0, extra: false },
];

struct Cut {
    message: usize,
    provider_message: usize,
    extra: bool,
}

/// All trailers of an error fit into this. Common clients refuse more than 8 KiB of metadata
/// and then show that refusal instead of the error.
const TRAILER_BYTES: usize = 4096;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        CUTS.iter()
            .map(|cut| build(&error, cut))
            .find(|status| trailer_bytes(status) < TRAILER_BYTES)
            .unwrap_or_else(|| {
                Self::new(error.failure().row().code, "the error is too large to show")
            })
    }
}

fn build(error: &Error, cut: &Cut) -> Status {
    let row = error.failure().row();
    let fault = error.fault();
    let mut about = HashMap::new();
    let mut add = |key: &str, value: String| about.insert(key.to_owned(), value);
    if let Some(provider) = error.provider() {
        add("provider", provider.as_str().to_owned());
    }
    if let Some(outcome) = error.outcome() {
        add("outcome", outcome.as_str().to_owned());
    }
    if let Some(status) = fault.http_status {
        add("httpStatus", status.to_string());
    }
    if let Some(code) = &fault.code {
        add("providerCode", code.clone());
    }
    if let Some(message) = &fault.message
        && cut.provider_message > 0
    {
        add("providerMessage", clip(message, cut.provider_message).to_owned());
    }
    if let Some(id) = &fault.request_id {
        add("providerRequestId", id.clone());
    }
    if error.attempts() > 0 {
        add("attempts", error.attempts().to_string());
    }
    if cut.extra {
        for (key, value) in &fault.extra {
            add(key, value.clone());
        }
    }

    let mut details = ErrorDetails::new();
    details.set_error_info(row.reason, DOMAIN, about);
    if let Some(id) = &fault.request_id {
        details.set_request_info(id.clone(), "");
    }
    if let Some(wait) = fault.retry_after {
        details.set_retry_info(Some(wait));
    }
    for violation in error.violations() {
        details.add_bad_request_violation(violation.field, violation.description.clone());
    }

    let mut metadata = MetadataMap::new();
    if error.outcome() == Some(Outcome::Unknown) {
        // Tells the retry logic of gRPC clients that the server asks for no retry at all
        // (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback).
        metadata.insert("grpc-retry-pushback-ms", MetadataValue::from_static("-1"));
    }
    let message = error.to_string();
    let message = clip(&message, cut.message);
    Status::with_error_details_and_metadata(row.code, message, details, metadata)
}

/// How much of the trailers this status takes, by the measure of RFC 9113, section 6.5.2:
/// name, value and 32 for each field.
fn trailer_bytes(status: &Status) -> usize {
    let mut headers = http::HeaderMap::new();
    match status.add_header(&mut headers) {
        Ok(()) => headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum(),
        Err(_) => usize::MAX,
    }
}

/// The spelling of a code in logs and metrics, as other gRPC servers spell it there.
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::{Fault, FieldViolation};
    use crate::failure::Failure;
    use crate::operation::Operation;

    #[test]
    fn details_carry_one_error_info_and_what_is_known() {
        let fault = Fault {
            http_status: Some(429),
            code: Some("Throttling.User".into()),
            message: Some("slow down".into()),
            request_id: Some("R-1".into()),
            retry_after: Some(Duration::from_millis(700)),
            extra: vec![],
        };
        let error = Error::new(Failure::Throttled, "alibaba-flink throttles")
            .with_operation(Operation::GetSavepoint)
            .with_fault(fault)
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
            Status::from(Error::new(Failure::ConnectionLost, "lost").with_operation(operation))
        };
        let import = lost(Operation::ImportSavepoint);
        assert_eq!(import.metadata().get("grpc-retry-pushback-ms").expect("a trailer"), "-1");
        let details = import.get_error_details();
        assert_eq!(details.error_info().expect("an ErrorInfo").metadata["outcome"], "unknown");
        let get = lost(Operation::GetSavepoint);
        assert!(get.metadata().get("grpc-retry-pushback-ms").is_none());
    }

    #[test]
    fn trailers_stay_small_whatever_the_texts_are() {
        for text in ["x", "点", "\u{1F600}", "%", "\""] {
            let long = text.repeat(4000);
            let fault = Fault {
                message: Some(long.clone()),
                code: Some("C".repeat(128)),
                request_id: Some("R".repeat(128)),
                extra: vec![("encodedAuthorizationMessage", "E".repeat(4000))],
                ..Fault::default()
            };
            let violations =
                vec![FieldViolation { field: "savepoint_path", description: "is wrong".into() }; 3];
            for error in [
                Error::new(Failure::ProviderInternal, long.clone()).with_fault(fault),
                Error::invalid_request(violations),
            ] {
                let status = Status::from(error.with_operation(Operation::ImportSavepoint));
                assert!(trailer_bytes(&status) < TRAILER_BYTES, "{text:?}");
                assert!(status.message().len() <= 1024);
                assert!(status.get_error_details().error_info().is_some(), "{text:?}");
            }
        }
    }
}
