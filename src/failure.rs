//! The one table of failures: what can go wrong, and what each caller is told about it.
//!
//! [`Failure`] names the rows. [`Failure::row`] says what a row means to the caller, and
//! [`Failure::of_answer`] finds the row for what a provider answered: by the provider's own
//! code first, then by the HTTP status.
//!
//! HTTP statuses follow the "HTTP Mapping" notes of `google/rpc/code.proto` read backwards.
//! The gRPC project's `http-grpc-status-mapping.md` is deliberately not used: it describes a
//! broken gRPC peer, where a 400 is INTERNAL and a 404 UNIMPLEMENTED, not a REST service.
//!
//! # Reference
//! - <https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>
//! - <https://support.huaweicloud.com/intl/en-us/api-dli/dli_02_0056.html> (read 2026-11-22)
//! - <https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-errorcode.html> (read 2026-11-22)

use tonic::Code;

use crate::operation::Provider;

/// What went wrong with a call: one variant for each row of the table in the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// A field of the request breaks its rule. The caller must change the request.
    InvalidRequest,
    /// The provider finds a parameter wrong. The caller must change the request.
    RejectedArgument,
    /// The provider does not know the job or the savepoint.
    NotFound,
    /// The provider says that what was to be made exists.
    AlreadyExists,
    /// The provider answers that it did not succeed, or that the state of the resource does
    /// not allow it. Someone must look at the job.
    ReportedFailure,
    /// The provider wants fewer calls. It did not act.
    Throttled,
    /// A quota at the provider is used up. Someone must raise it or tidy up.
    QuotaExceeded,
    /// The gateway's identity lacks a permission. Someone must grant it.
    PermissionDenied,
    /// The provider does not accept the gateway's credential or signature.
    CredentialsRejected,
    /// The provider finds the date of the signature wrong. Someone must set the clock.
    ClockSkew,
    /// The provider, or a proxy of its, gave up waiting. The job may have been changed.
    ProviderTimeout,
    /// The provider did not receive the whole request in time.
    RequestTimeout,
    /// The provider failed inside. The job may have been changed.
    ProviderInternal,
    /// The endpoint is not the service's: a wrong region or URL. Someone must mend the
    /// gateway's configuration.
    EndpointMisconfigured,
    /// The provider refuses the form of the request. A defect of the gateway.
    RequestRejected,
    /// The provider says that another change is under way.
    Conflict,
    /// The provider does not offer this.
    Unimplemented,
    /// The provider cannot serve now. The job may have been changed.
    Unavailable,
    /// The provider, or a proxy, points elsewhere. Never followed: a signed request goes to
    /// the configured host or nowhere.
    RedirectRefused,
    /// The provider says success, but not in a form that proves it.
    MalformedResponse,
    /// The provider's answer ended before it was whole. The job may have been changed.
    TruncatedResponse,
    /// The provider's answer is larger than the gateway reads.
    ResponseTooLarge,
    /// No connection could be made. Nothing was sent.
    ConnectFailed,
    /// The provider's certificate is not to be trusted, or it refuses the gateway's. Nothing was
    /// done.
    CertificateRejected,
    /// The connection broke after the request was sent. The job may have been changed.
    ConnectionLost,
    /// The time for the call is over, by the caller's deadline or the gateway's own cap.
    DeadlineExceeded,
    /// This gateway is not configured for the provider.
    NotConfigured,
    /// The gateway could not get a credential, or not the project of a request that names none.
    /// Nothing was sent.
    CredentialsUnavailable,
    /// The gateway has as many calls in flight as it may. Nothing was sent.
    Overloaded,
    /// The gateway is shutting down.
    Draining,
    /// A defect of the gateway ended the call.
    GatewayInternal,
    /// The request is no well-formed gRPC message of the expected type.
    MalformedMessage,
    /// The request message is larger than the gateway reads.
    MessageTooLarge,
    /// The request stream carries no message, or more than one.
    MessageCount,
    /// There is no such method here, or not in this form.
    UnknownMethod,
    /// The caller ended the call.
    Cancelled,
}

/// Whether ImportSavepoint may have changed the job although the call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The job was not changed.
    NotApplied,
    /// The job may have been changed: nobody can tell from the answer.
    Unknown,
}

impl Outcome {
    /// The value of `outcome` in the status details.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotApplied => "not_applied",
            Self::Unknown => "unknown",
        }
    }
}

/// When the gateway itself may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not at all: the next answer would be the same, or the harm greater.
    Never,
    /// Only what is idempotent: the provider may have acted.
    IfIdempotent,
    /// Everything: the provider certainly did not act.
    Always,
}

/// What a failure means to the caller and to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The gRPC status code.
    pub code: Code,
    /// `reason` of the `google.rpc.ErrorInfo`: stable, for programs.
    pub reason: &'static str,
    /// What is known of ImportSavepoint's effect.
    pub outcome: Outcome,
    /// Whether the gateway may try again by itself.
    pub retry: Retry,
}

impl Failure {
    /// All rows, in the order of the README's table.
    pub const ALL: [Self; 36] = [
        Self::InvalidRequest,
        Self::RejectedArgument,
        Self::NotFound,
        Self::AlreadyExists,
        Self::ReportedFailure,
        Self::Throttled,
        Self::QuotaExceeded,
        Self::PermissionDenied,
        Self::CredentialsRejected,
        Self::ClockSkew,
        Self::ProviderTimeout,
        Self::RequestTimeout,
        Self::ProviderInternal,
        Self::EndpointMisconfigured,
        Self::RequestRejected,
        Self::Conflict,
        Self::Unimplemented,
        Self::Unavailable,
        Self::RedirectRefused,
        Self::MalformedResponse,
        Self::TruncatedResponse,
        Self::ResponseTooLarge,
        Self::ConnectFailed,
        Self::CertificateRejected,
        Self::ConnectionLost,
        Self::DeadlineExceeded,
        Self::NotConfigured,
        Self::CredentialsUnavailable,
        Self::Overloaded,
        Self::Draining,
        Self::GatewayInternal,
        Self::MalformedMessage,
        Self::MessageTooLarge,
        Self::MessageCount,
        Self::UnknownMethod,
        Self::Cancelled,
    ];

    /// The row of the table.
    #[rustfmt::skip]
    pub const fn row(self) -> Row {
        use Code as C;
        use Outcome::{NotApplied, Unknown};
        use Retry::{Always, IfIdempotent, Never};
        let (code, reason, outcome, retry) = match self {
            Self::InvalidRequest =>         (C::InvalidArgument,    "INVALID_REQUEST",                NotApplied, Never),
            Self::RejectedArgument =>       (C::InvalidArgument,    "PROVIDER_REJECTED_ARGUMENT",     NotApplied, Never),
            Self::NotFound =>               (C::NotFound,           "PROVIDER_NOT_FOUND",             NotApplied, Never),
            Self::AlreadyExists =>          (C::AlreadyExists,      "PROVIDER_ALREADY_EXISTS",        NotApplied, Never),
            Self::ReportedFailure =>        (C::FailedPrecondition, "PROVIDER_REPORTED_FAILURE",      NotApplied, Never),
            Self::Throttled =>              (C::ResourceExhausted,  "PROVIDER_THROTTLED",             NotApplied, Always),
            Self::QuotaExceeded =>          (C::ResourceExhausted,  "PROVIDER_QUOTA_EXCEEDED",        NotApplied, Never),
            Self::PermissionDenied =>       (C::PermissionDenied,   "PROVIDER_PERMISSION_DENIED",     NotApplied, Never),
            Self::CredentialsRejected =>    (C::Unauthenticated,    "PROVIDER_CREDENTIALS_REJECTED",  NotApplied, Never),
            Self::ClockSkew =>              (C::Unauthenticated,    "CLOCK_SKEW",                     NotApplied, Never),
            Self::ProviderTimeout =>        (C::DeadlineExceeded,   "PROVIDER_TIMEOUT",               Unknown,    Never),
            Self::RequestTimeout =>         (C::Unavailable,        "PROVIDER_TIMEOUT",               Unknown,    Never),
            Self::ProviderInternal =>       (C::Internal,           "PROVIDER_INTERNAL",              Unknown,    Never),
            Self::EndpointMisconfigured =>  (C::Internal,           "PROVIDER_ENDPOINT_MISCONFIGURED", NotApplied, Never),
            Self::RequestRejected =>        (C::Internal,           "GATEWAY_REQUEST_REJECTED",       NotApplied, Never),
            Self::Conflict =>               (C::Aborted,            "PROVIDER_CONFLICT",              NotApplied, Never),
            Self::Unimplemented =>          (C::Unimplemented,      "PROVIDER_UNIMPLEMENTED",         NotApplied, Never),
            Self::Unavailable =>            (C::Unavailable,        "PROVIDER_UNAVAILABLE",           Unknown,    IfIdempotent),
            Self::RedirectRefused =>        (C::Internal,           "PROVIDER_REDIRECT_REFUSED",      Unknown,    Never),
            Self::MalformedResponse =>      (C::Internal,           "PROVIDER_MALFORMED_RESPONSE",    Unknown,    Never),
            Self::TruncatedResponse =>      (C::Internal,           "PROVIDER_MALFORMED_RESPONSE",    Unknown,    IfIdempotent),
            Self::ResponseTooLarge =>       (C::Internal,           "PROVIDER_RESPONSE_TOO_LARGE",    Unknown,    Never),
            Self::ConnectFailed =>          (C::Unavailable,        "PROVIDER_CONNECT_FAILED",        NotApplied, Always),
            Self::CertificateRejected =>    (C::Internal,           "PROVIDER_CERTIFICATE_REJECTED",  NotApplied, Never),
            Self::ConnectionLost =>         (C::Unavailable,        "PROVIDER_CONNECTION_LOST",       Unknown,    IfIdempotent),
            Self::DeadlineExceeded =>       (C::DeadlineExceeded,   "DEADLINE_EXCEEDED",              Unknown,    Never),
            Self::NotConfigured =>          (C::Unimplemented,      "PROVIDER_NOT_CONFIGURED",        NotApplied, Never),
            Self::CredentialsUnavailable => (C::Unavailable,        "CREDENTIALS_UNAVAILABLE",        NotApplied, Never),
            Self::Overloaded =>             (C::ResourceExhausted,  "GATEWAY_OVERLOADED",             NotApplied, Never),
            Self::Draining =>               (C::Unavailable,        "GATEWAY_DRAINING",               Unknown,    Never),
            Self::GatewayInternal =>        (C::Internal,           "GATEWAY_INTERNAL",               Unknown,    Never),
            Self::MalformedMessage =>       (C::Internal,           "MALFORMED_MESSAGE",              NotApplied, Never),
            Self::MessageTooLarge =>        (C::ResourceExhausted,  "MESSAGE_TOO_LARGE",              NotApplied, Never),
            Self::MessageCount =>           (C::Unimplemented,      "ONE_MESSAGE_EXPECTED",           NotApplied, Never),
            Self::UnknownMethod =>          (C::Unimplemented,      "UNKNOWN_METHOD",                 NotApplied, Never),
            Self::Cancelled =>              (C::Cancelled,          "CANCELLED",                      Unknown,    Never),
        };
        Row { code, reason, outcome, retry }
    }

    /// The row for an answer that is not a proven success.
    pub fn of_answer(provider: Provider, answer: &Answered<'_>) -> Self {
        if let Some(code) = answer.code
            && let Some(failure) = of_code(provider, code)
        {
            // The same code serves a wrong key and a wrong clock; the text tells them apart.
            let is_clock = failure == Self::CredentialsRejected && names_expiry_of_the_date(answer);
            return if is_clock { Self::ClockSkew } else { failure };
        }
        match answer.status {
            401 if names_expiry_of_the_date(answer) => Self::ClockSkew,
            404 if !answer.json => Self::EndpointMisconfigured,
            200..=299 if answer.reports_failure => Self::ReportedFailure,
            status => of_status(status),
        }
    }
}

/// What the table looks at in a provider's answer.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The provider's own error code, if it sent one.
    pub code: Option<&'a str>,
    /// The provider's own error text, if it sent one.
    pub message: Option<&'a str>,
    /// Whether the body is a JSON object.
    pub json: bool,
    /// Whether a 2xx answer says of itself that it is a failure.
    pub reports_failure: bool,
}

enum Pattern {
    Exactly(&'static str),
    StartsWith(&'static str),
    EndsWith(&'static str),
    /// Begins with the first and has the second somewhere behind it.
    StartsWithAndHas(&'static str, &'static str),
    /// A code of Huawei's API gateway: the number after the dot, whatever the spelling of
    /// the prefix (APIG, APIGW and APIC are generations of one gateway).
    ApiGateway(&'static str),
}

use Pattern::{ApiGateway, EndsWith, Exactly, StartsWith, StartsWithAndHas};

impl Pattern {
    fn matches(&self, code: &str) -> bool {
        match self {
            Exactly(text) => code == *text,
            StartsWith(text) => code.starts_with(text),
            EndsWith(text) => code.ends_with(text),
            StartsWithAndHas(start, middle) => {
                code.strip_prefix(start).is_some_and(|rest| rest.contains(middle))
            }
            ApiGateway(number) => code.split_once('.').is_some_and(|(prefix, rest)| {
                matches!(prefix, "APIG" | "APIGW" | "APIC") && rest == *number
            }),
        }
    }
}

#[rustfmt::skip]
const HUAWEI: &[(Pattern, Failure)] = &[
    (Exactly("DLI.0001"),  Failure::RejectedArgument),
    (Exactly("DLI.0018"),  Failure::RejectedArgument),
    (Exactly("DLI.0002"),  Failure::NotFound),
    (Exactly("DLI.12004"), Failure::NotFound),
    (Exactly("DLI.0023"),  Failure::NotFound),
    (Exactly("DLI.0006"),  Failure::AlreadyExists),
    (Exactly("DLI.0007"),  Failure::ReportedFailure),
    (Exactly("DLI.0012"),  Failure::ReportedFailure),
    (Exactly("DLI.13024"), Failure::ReportedFailure),
    (Exactly("DLI.0009"),  Failure::Throttled),
    (Exactly("DLI.1028"),  Failure::QuotaExceeded),
    (Exactly("DLI.0003"),  Failure::PermissionDenied),
    (Exactly("DLI.0011"),  Failure::PermissionDenied),
    (Exactly("DLI.0016"),  Failure::PermissionDenied),
    (Exactly("DLI.0013"),  Failure::CredentialsRejected),
    (Exactly("DLI.0014"),  Failure::CredentialsRejected),
    (Exactly("DLI.0015"),  Failure::CredentialsRejected),
    (Exactly("DLI.0019"),  Failure::ProviderTimeout),
    (Exactly("DLI.0999"),  Failure::ProviderInternal),
    (ApiGateway("0101"),   Failure::EndpointMisconfigured),
    (ApiGateway("0103"),   Failure::EndpointMisconfigured),
    (ApiGateway("0301"),   Failure::CredentialsRejected),
    (ApiGateway("0303"),   Failure::CredentialsRejected),
    (ApiGateway("0307"),   Failure::CredentialsRejected),
    (ApiGateway("0308"),   Failure::Throttled),
];

// The specific rows come before the general ones: `InvalidTimeStamp.Expired` is about the
// clock although it begins as an invalid parameter does.
#[rustfmt::skip]
const ALIBABA: &[(Pattern, Failure)] = &[
    (Exactly("990301"),                             Failure::NotFound),
    (StartsWith("InvalidTimeStamp"),                Failure::ClockSkew),
    (StartsWith("IllegalTimestamp"),                Failure::ClockSkew),
    (StartsWith("InvalidAccessKeyId"),              Failure::CredentialsRejected),
    (StartsWith("SignatureDoesNotMatch"),           Failure::CredentialsRejected),
    (StartsWith("IncompleteSignature"),             Failure::CredentialsRejected),
    (StartsWith("InvalidSecurityToken"),            Failure::CredentialsRejected),
    // The provider saw this nonce before: a duplicate made on the way, not the caller's
    // doing. A new attempt carries a new nonce.
    (Exactly("SignatureNonceUsed"),                 Failure::Unavailable),
    (StartsWith("Throttling"),                      Failure::Throttled),
    (EndsWith(".Throttling"),                       Failure::Throttled),
    (Exactly("InvalidApi.NotFound"),                Failure::EndpointMisconfigured),
    (Exactly("InvalidProduct.NotFound"),            Failure::EndpointMisconfigured),
    (StartsWith("InvalidAction"),                   Failure::EndpointMisconfigured),
    (StartsWith("NoSuchVersion"),                   Failure::EndpointMisconfigured),
    (StartsWith("InvalidProtocol"),                 Failure::EndpointMisconfigured),
    (StartsWith("Missing"),                         Failure::RejectedArgument),
    (StartsWithAndHas("Invalid", "Parameter"),      Failure::RejectedArgument),
    (StartsWith("Forbidden"),                       Failure::PermissionDenied),
    (StartsWith("NoPermission"),                    Failure::PermissionDenied),
    (StartsWith("ServiceUnavailable"),              Failure::Unavailable),
];

fn of_code(provider: Provider, code: &str) -> Option<Failure> {
    let table = match provider {
        Provider::HuaweiDli => HUAWEI,
        Provider::AlibabaFlink => ALIBABA,
    };
    table.iter().find(|(pattern, _)| pattern.matches(code)).map(|(_, failure)| *failure)
}

const fn of_status(status: u16) -> Failure {
    match status {
        100..=199 | 300..=399 => Failure::RedirectRefused,
        400 | 422 => Failure::RejectedArgument,
        401 => Failure::CredentialsRejected,
        403 => Failure::PermissionDenied,
        404 => Failure::NotFound,
        405 | 406 | 411 | 413 | 414 | 415 | 431 | 494 => Failure::RequestRejected,
        408 => Failure::RequestTimeout,
        409 => Failure::Conflict,
        429 => Failure::Throttled,
        // 412 among them: a precondition at the provider does not hold.
        402 | 407 | 410 | 412 | 416..=421 | 423..=428 | 430 | 432..=493 | 495..=499 => {
            Failure::ReportedFailure
        }
        501 => Failure::Unimplemented,
        502 | 503 => Failure::Unavailable,
        504 => Failure::ProviderTimeout,
        500 | 505..=599 => Failure::ProviderInternal,
        // A 2xx that does not prove its success, or a number that is no HTTP status.
        0..=99 | 200..=299 | 600.. => Failure::MalformedResponse,
    }
}

/// Whether the text blames the signature's date. A token that expired is another matter.
fn names_expiry_of_the_date(answer: &Answered<'_>) -> bool {
    let Some(message) = answer.message else { return false };
    let text = message.to_ascii_lowercase();
    text.contains("expire")
        && !text.contains("token")
        && ["date", "time", "signature"].iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, code: Option<&'static str>) -> Answered<'static> {
        Answered { status, code, message: None, json: true, reports_failure: false }
    }

    #[test]
    fn every_failure_is_listed_once_and_its_reason_is_well_formed() {
        let listed: std::collections::HashSet<_> = Failure::ALL.into_iter().collect();
        assert_eq!(listed.len(), Failure::ALL.len());
        for failure in Failure::ALL {
            let reason = failure.row().reason;
            assert!(reason.len() <= 63, "{reason}");
            assert!(
                reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'),
                "{reason} is not UPPER_SNAKE_CASE"
            );
        }
    }

    #[test]
    fn the_providers_own_code_decides_before_the_http_status() {
        use Provider::{AlibabaFlink, HuaweiDli};
        for (provider, status, code, want) in [
            (HuaweiDli, 400, "DLI.0002", Failure::NotFound),
            (HuaweiDli, 400, "DLI.12004", Failure::NotFound),
            (HuaweiDli, 404, "DLI.0023", Failure::NotFound),
            (HuaweiDli, 400, "DLI.0999", Failure::ProviderInternal),
            (HuaweiDli, 404, "APIG.0101", Failure::EndpointMisconfigured),
            (HuaweiDli, 404, "APIGW.0103", Failure::EndpointMisconfigured),
            (HuaweiDli, 401, "APIC.0301", Failure::CredentialsRejected),
            (HuaweiDli, 429, "APIG.0308", Failure::Throttled),
            (HuaweiDli, 403, "APIGW.0302", Failure::PermissionDenied),
            (HuaweiDli, 200, "DLI.0001", Failure::RejectedArgument),
            (HuaweiDli, 400, "1001", Failure::RejectedArgument),
            (HuaweiDli, 404, "XAPIG.0301", Failure::NotFound),
            (AlibabaFlink, 200, "990301", Failure::NotFound),
            (AlibabaFlink, 400, "Throttling", Failure::Throttled),
            (AlibabaFlink, 400, "Throttling.User", Failure::Throttled),
            (AlibabaFlink, 400, "Rejected.Throttling", Failure::Throttled),
            (AlibabaFlink, 503, "Throttling.Api", Failure::Throttled),
            (AlibabaFlink, 404, "InvalidAccessKeyId.NotFound", Failure::CredentialsRejected),
            (AlibabaFlink, 404, "InvalidApi.NotFound", Failure::EndpointMisconfigured),
            (AlibabaFlink, 404, "InvalidAction.NotFound", Failure::EndpointMisconfigured),
            (AlibabaFlink, 404, "InvalidProtocol.NeedSsl", Failure::EndpointMisconfigured),
            (AlibabaFlink, 400, "InvalidTimeStamp.Expired", Failure::ClockSkew),
            (AlibabaFlink, 400, "InvalidParameter", Failure::RejectedArgument),
            (AlibabaFlink, 400, "InvalidNamespaceParameter.Format", Failure::RejectedArgument),
            (AlibabaFlink, 400, "MissingWorkspace", Failure::RejectedArgument),
            (AlibabaFlink, 400, "SignatureNonceUsed", Failure::Unavailable),
            (AlibabaFlink, 403, "Forbidden.RAM", Failure::PermissionDenied),
            (AlibabaFlink, 200, "NoPermission", Failure::PermissionDenied),
            (AlibabaFlink, 503, "ServiceUnavailable", Failure::Unavailable),
            (AlibabaFlink, 500, "InternalError", Failure::ProviderInternal),
        ] {
            let got = Failure::of_answer(provider, &answered(status, Some(code)));
            assert_eq!(got, want, "{provider} {status} {code}");
        }
    }

    #[test]
    fn http_statuses_follow_code_proto_read_backwards() {
        for (status, want) in [
            (204, Code::Internal),
            (302, Code::Internal),
            (400, Code::InvalidArgument),
            (401, Code::Unauthenticated),
            (402, Code::FailedPrecondition),
            (403, Code::PermissionDenied),
            (404, Code::NotFound),
            (405, Code::Internal),
            (408, Code::Unavailable),
            (409, Code::Aborted),
            (410, Code::FailedPrecondition),
            (412, Code::FailedPrecondition),
            (415, Code::Internal),
            (422, Code::InvalidArgument),
            (429, Code::ResourceExhausted),
            (431, Code::Internal),
            (494, Code::Internal),
            (499, Code::FailedPrecondition),
            (500, Code::Internal),
            (501, Code::Unimplemented),
            (502, Code::Unavailable),
            (503, Code::Unavailable),
            (504, Code::DeadlineExceeded),
            (599, Code::Internal),
            (600, Code::Internal),
        ] {
            for provider in Provider::ALL {
                let got = Failure::of_answer(provider, &answered(status, None)).row().code;
                assert_eq!(got, want, "{provider} {status}");
            }
        }
    }

    #[test]
    fn a_404_that_is_no_json_means_a_wrong_endpoint_not_a_missing_savepoint() {
        let answer = Answered { json: false, ..answered(404, None) };
        let got = Failure::of_answer(Provider::AlibabaFlink, &answer);
        assert_eq!(got, Failure::EndpointMisconfigured);
    }

    #[test]
    fn an_expired_date_is_a_clock_matter_and_an_expired_token_is_not() {
        for (message, want) in [
            ("Incorrect IAM authentication information: signature expired", Failure::ClockSkew),
            ("The X-Sdk-Date has expired", Failure::ClockSkew),
            (
                "Incorrect IAM authentication information: verify aksk signature fail",
                Failure::CredentialsRejected,
            ),
            ("token expires, expires_at: 2026-01-16T08:30:00", Failure::CredentialsRejected),
        ] {
            for code in [None, Some("APIG.0301")] {
                let answer = Answered { message: Some(message), ..answered(401, code) };
                let got = Failure::of_answer(Provider::HuaweiDli, &answer);
                assert_eq!(got, want, "{message}");
            }
        }
    }
}
