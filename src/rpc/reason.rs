//! The table of failures.
//!
//! [`Reason`] names the rows, and [`Reason::row`] defines each. A provider's response is classified
//! by the provider's error code, which is defined in its module, else by the HTTP status.
//!
//! HTTP statuses follow the "HTTP Mapping" notes of `google/rpc/code.proto` in reverse. The gRPC
//! project's `http-grpc-status-mapping.md` is not used: it describes a broken gRPC peer, where a
//! 400 is INTERNAL and a 404 UNIMPLEMENTED, not a REST service.
//!
//! # Reference
//! - <https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>
//! - <https://support.huaweicloud.com/intl/en-us/api-dli/dli_02_0056.html> (read 2026-11-22)
//! - <https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-errorcode.html> (read 2026-11-22)

use tonic::Code;

/// The reasons, and the list of all.
macro_rules! reasons {
    ($($(#[$doc:meta])+ $reason:ident,)+) => {
        /// Why a call failed: one variant for each row of the table in `docs/reference.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])+ $reason,)+
        }

        impl Reason {
            /// All rows, in the order of the table in `docs/reference.md`.
            pub const ALL: [Self; [$(Self::$reason),+].len()] = [$(Self::$reason),+];
        }
    };
}

reasons! {
    /// A field of the request violates its rule. The caller must change the request.
    InvalidRequest,
    /// The provider rejects a parameter. The caller must change the request.
    RejectedArgument,
    /// The provider does not know the job or the savepoint.
    NotFound,
    /// The provider reports that it already exists.
    AlreadyExists,
    /// The provider reports that the call failed, or that the state of the resource does not allow
    /// it. Someone must look at the job.
    ReportedFailure,
    /// The provider throttles calls. It did not act.
    Throttled,
    /// A quota at the provider is exhausted. Someone must raise it or free some of it.
    QuotaExceeded,
    /// The gateway's identity lacks a permission. Someone must grant it.
    PermissionDenied,
    /// The provider does not accept the gateway's credential or signature.
    CredentialsRejected,
    /// The provider rejects the date of the signature. Someone must set the clock.
    ClockSkew,
    /// The provider, or its proxy, timed out. The job may have been changed.
    ProviderTimeout,
    /// The provider did not receive the whole request in time.
    RequestTimeout,
    /// The provider had an internal error. The job may have been changed.
    ProviderInternal,
    /// The endpoint is not the service: a wrong region or URL. Someone must fix the gateway's
    /// configuration.
    EndpointMisconfigured,
    /// The provider rejects the form of the request. A bug of the gateway.
    RequestRejected,
    /// The provider reports that another change is in progress.
    Conflict,
    /// The provider does not support the operation.
    Unimplemented,
    /// The provider cannot serve now. The job may have been changed.
    Unavailable,
    /// The provider, or a proxy, sent a redirect. Never followed: a signed request is only sent to
    /// the configured host.
    RedirectRefused,
    /// The provider reports success, but not in a form that proves it.
    MalformedResponse,
    /// The provider's response was truncated. The job may have been changed.
    TruncatedResponse,
    /// The provider's response exceeds the size limit.
    ResponseTooLarge,
    /// Connecting failed. Nothing was sent.
    ConnectFailed,
    /// The proxy refused the connection with another status than those below. Nothing was sent.
    ProxyRefused,
    /// The proxy does not accept the gateway's password (407), or does not allow the host (403).
    /// Never retried: many proxies count failures. Nothing was sent.
    ProxyDenied,
    /// The provider's certificate is not trusted, or it rejects the gateway's. Nothing was done.
    CertificateRejected,
    /// The connection broke after the request was sent. The job may have been changed.
    ConnectionLost,
    /// The deadline passed: the caller's, or the gateway's own limit.
    DeadlineExceeded,
    /// This gateway is not configured for the provider.
    NotConfigured,
    /// This gateway starts and stops no jobs.
    MethodDisabled,
    /// The policy does not allow the call to this caller. Nothing was sent.
    CallerNotAllowed,
    /// The gateway has no credential, or not the project of a request that does not name one.
    /// Nothing was sent.
    CredentialsUnavailable,
    /// The gateway has reached its limit of calls in flight. Nothing was sent.
    Overloaded,
    /// The gateway is shutting down.
    Draining,
    /// A bug of the gateway ended the call.
    GatewayInternal,
    /// The request is not a well-formed gRPC message of the expected type.
    MalformedMessage,
    /// The request message exceeds the size limit.
    MessageTooLarge,
    /// The request stream has no message, or more than one.
    MessageCount,
    /// The method does not exist, or not in this form.
    UnknownMethod,
    /// The caller cancelled the call.
    Cancelled,
}

/// Whether ImportSavepoint may have changed the job despite the failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The job was not changed.
    NotApplied,
    /// The job may have been changed.
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

/// When the gateway itself may retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Never: the result would be the same, or the damage worse.
    Never,
    /// Only idempotent calls: the provider may have acted.
    IfIdempotent,
    /// All calls: the provider certainly did not act.
    Always,
}

/// The meaning of a failure for caller and gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The gRPC status code.
    pub code: Code,
    /// `reason` of the `google.rpc.ErrorInfo`: stable, for programs.
    pub name: &'static str,
    /// The outcome for ImportSavepoint.
    pub outcome: Outcome,
    /// Whether the gateway may retry.
    pub retry: Retry,
}

impl Reason {
    /// The row of the table.
    #[rustfmt::skip]
    pub const fn row(self) -> Row {
        use Code as C;
        use Outcome::{NotApplied, Unknown};
        use Retry::{Always, IfIdempotent, Never};
        let (code, name, outcome, retry) = match self {
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
            Self::ProxyRefused =>           (C::Unavailable,        "PROXY_REFUSED",                  NotApplied, Always),
            Self::ProxyDenied =>            (C::Unavailable,        "PROXY_REFUSED",                  NotApplied, Never),
            Self::CertificateRejected =>    (C::Internal,           "PROVIDER_CERTIFICATE_REJECTED",  NotApplied, Never),
            Self::ConnectionLost =>         (C::Unavailable,        "PROVIDER_CONNECTION_LOST",       Unknown,    IfIdempotent),
            Self::DeadlineExceeded =>       (C::DeadlineExceeded,   "DEADLINE_EXCEEDED",              Unknown,    Never),
            Self::NotConfigured =>          (C::Unimplemented,      "PROVIDER_NOT_CONFIGURED",        NotApplied, Never),
            Self::MethodDisabled =>         (C::Unimplemented,      "METHOD_DISABLED",                NotApplied, Never),
            Self::CallerNotAllowed =>       (C::PermissionDenied,   "CALLER_NOT_ALLOWED",             NotApplied, Never),
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
        Row { code, name, outcome, retry }
    }

    /// Whether the trouble may be over later, so that a watch goes on.
    pub(crate) const fn passes(self) -> bool {
        let code = self.row().code;
        matches!(code, Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded)
            || matches!(self, Self::TruncatedResponse)
    }

    /// The row for an HTTP status alone.
    pub(crate) const fn of_status(status: u16) -> Self {
        match status {
            300..=399 => Self::RedirectRefused,
            400 | 422 => Self::RejectedArgument,
            401 => Self::CredentialsRejected,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            405 | 406 | 411 | 413 | 414 | 415 | 431 | 494 => Self::RequestRejected,
            408 => Self::RequestTimeout,
            409 => Self::Conflict,
            429 => Self::Throttled,
            // Includes 412: a precondition at the provider does not hold.
            402 | 407 | 410 | 412 | 416..=421 | 423..=428 | 430 | 432..=493 | 495..=499 => {
                Self::ReportedFailure
            }
            501 => Self::Unimplemented,
            502 | 503 => Self::Unavailable,
            504 => Self::ProviderTimeout,
            500 | 505..=599 => Self::ProviderInternal,
            // A 2xx that does not prove success, an interim response as the final one, or an invalid
            // status.
            0..=299 | 600.. => Self::MalformedResponse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_and_its_name_is_well_formed() {
        let listed: std::collections::HashSet<_> = Reason::ALL.into_iter().collect();
        assert_eq!(listed.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            let reason = reason.row().name;
            assert!(reason.len() <= 63, "{reason}");
            assert!(
                reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'),
                "{reason} is not UPPER_SNAKE_CASE"
            );
        }
    }

    #[test]
    fn http_statuses_follow_code_proto_read_backwards() {
        for (status, reason, code) in [
            (101, Reason::MalformedResponse, Code::Internal),
            (204, Reason::MalformedResponse, Code::Internal),
            (301, Reason::RedirectRefused, Code::Internal),
            (302, Reason::RedirectRefused, Code::Internal),
            (304, Reason::RedirectRefused, Code::Internal),
            (307, Reason::RedirectRefused, Code::Internal),
            (308, Reason::RedirectRefused, Code::Internal),
            (400, Reason::RejectedArgument, Code::InvalidArgument),
            (401, Reason::CredentialsRejected, Code::Unauthenticated),
            (402, Reason::ReportedFailure, Code::FailedPrecondition),
            (403, Reason::PermissionDenied, Code::PermissionDenied),
            (404, Reason::NotFound, Code::NotFound),
            (405, Reason::RequestRejected, Code::Internal),
            (406, Reason::RequestRejected, Code::Internal),
            (408, Reason::RequestTimeout, Code::Unavailable),
            (409, Reason::Conflict, Code::Aborted),
            (410, Reason::ReportedFailure, Code::FailedPrecondition),
            (411, Reason::RequestRejected, Code::Internal),
            (412, Reason::ReportedFailure, Code::FailedPrecondition),
            (413, Reason::RequestRejected, Code::Internal),
            (414, Reason::RequestRejected, Code::Internal),
            (415, Reason::RequestRejected, Code::Internal),
            (422, Reason::RejectedArgument, Code::InvalidArgument),
            (429, Reason::Throttled, Code::ResourceExhausted),
            (431, Reason::RequestRejected, Code::Internal),
            (494, Reason::RequestRejected, Code::Internal),
            (499, Reason::ReportedFailure, Code::FailedPrecondition),
            (500, Reason::ProviderInternal, Code::Internal),
            (501, Reason::Unimplemented, Code::Unimplemented),
            (502, Reason::Unavailable, Code::Unavailable),
            (503, Reason::Unavailable, Code::Unavailable),
            (504, Reason::ProviderTimeout, Code::DeadlineExceeded),
            (507, Reason::ProviderInternal, Code::Internal),
            (599, Reason::ProviderInternal, Code::Internal),
            (600, Reason::MalformedResponse, Code::Internal),
        ] {
            let found = Reason::of_status(status);
            assert_eq!((found, found.row().code), (reason, code), "{status}");
        }
    }
}
