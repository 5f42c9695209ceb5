//! Huawei Cloud Data Lake Insight (DLI).
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-dli/dli_02_0393.html> (read 2026-11-22)

mod credential;
mod get_job;
mod import_savepoint;
mod options;
mod probe;
mod project;
mod regions;
mod rest;
mod resume_job;
pub mod sign;
mod stop_job;
mod trigger_savepoint;

pub use credential::{EcsAgency, Oidc, Password, PasswordOf, TokenScope};
pub use get_job::GET_JOB;
pub use import_savepoint::IMPORT_SAVEPOINT;
pub use options::{Options, Setup, sources};
pub use project::{Project, ProjectLookup};
pub use resume_job::RESUME_JOB;
pub use stop_job::STOP_JOB;
pub use trigger_savepoint::TRIGGER_SAVEPOINT;
#[cfg(feature = "internals")]
pub(crate) use {get_job::GetJob, import_savepoint::Import, rest::Change};

use crate::rpc::operation::Pattern::{Exactly, Prefixed};
use crate::rpc::operation::{Pattern, Provider, RequestId};
use crate::rpc::reason::Reason;
use crate::upstream::Upstream;

pub static HUAWEI: Provider = Provider {
    name: "huawei-dli",
    codes: CODES,
    messages: &[],
    // The order of the exception handler of `huaweicloudsdkcore` 3.1.219, at the top level or
    // nested.
    error_fields: &[
        ("error_code", &["error_msg", "error_message"]),
        ("errorCode", &["errorMsg", "errorMessage"]),
        ("Code", &["Message"]),
        ("code", &["message"]),
    ],
    text_fields: &["message", "msg", "error_msg", "errorMsg", "errorMessage", "Message"],
    stack_traces: None,
    request_id: RequestId { header: "x-request-id", fields: &["request_id"], body_first: false },
    hints: &[(&["encoded_authorization_message"], "encodedAuthorizationMessage")],
    secret_labels: &["authorization", "x-security-token", "x-auth-token", "signature=", "access="],
};

/// The prefixes of three generations of Huawei's API gateway.
const API_GATEWAY: &[&str] = &["APIG", "APIGW", "APIC"];

/// # Reference
/// - <https://support.huaweicloud.com/intl/en-us/api-dli/dli_02_0056.html> (read 2026-11-22)
/// - <https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-errorcode.html> (read 2026-11-22)
#[rustfmt::skip]
const CODES: &[(Pattern, Reason)] = &[
    (Exactly("DLI.0001"),             Reason::RejectedArgument),
    (Exactly("DLI.0018"),             Reason::RejectedArgument),
    (Exactly("DLI.0002"),             Reason::NotFound),
    (Exactly("DLI.12004"),            Reason::NotFound),
    (Exactly("DLI.16001"),            Reason::NotFound),
    (Exactly("DLI.0023"),             Reason::NotFound),
    (Exactly("DLI.0006"),             Reason::AlreadyExists),
    (Exactly("DLI.0007"),             Reason::ReportedFailure),
    (Exactly("DLI.0012"),             Reason::ReportedFailure),
    (Exactly("DLI.13024"),            Reason::ReportedFailure),
    (Exactly("DLI.0009"),             Reason::Throttled),
    (Exactly("DLI.1028"),             Reason::QuotaExceeded),
    (Exactly("DLI.0003"),             Reason::PermissionDenied),
    (Exactly("DLI.0011"),             Reason::PermissionDenied),
    (Exactly("DLI.0016"),             Reason::PermissionDenied),
    (Exactly("DLI.0013"),             Reason::CredentialsRejected),
    (Exactly("DLI.0014"),             Reason::CredentialsRejected),
    (Exactly("DLI.0015"),             Reason::CredentialsRejected),
    (Exactly("DLI.0019"),             Reason::ProviderTimeout),
    (Exactly("DLI.0999"),             Reason::ProviderInternal),
    (Prefixed(API_GATEWAY, "0101"),   Reason::EndpointMisconfigured),
    (Prefixed(API_GATEWAY, "0103"),   Reason::EndpointMisconfigured),
    (Prefixed(API_GATEWAY, "0301"),   Reason::CredentialsRejected),
    (Prefixed(API_GATEWAY, "0303"),   Reason::CredentialsRejected),
    (Prefixed(API_GATEWAY, "0307"),   Reason::CredentialsRejected),
    (Prefixed(API_GATEWAY, "0308"),   Reason::Throttled),
];

/// The client of DLI of one worker.
#[derive(Debug, Clone)]
pub struct Huawei {
    upstream: Upstream,
    project: Project,
}

impl Huawei {
    /// `project`: the project of requests that do not name one.
    pub(crate) fn new(upstream: Upstream, project: Project) -> Self {
        Self { upstream, project }
    }
}
