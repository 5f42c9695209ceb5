//! Alibaba Cloud Realtime Compute for Apache Flink (`ververica`, version 2022-07-18).
//!
//! # Reference
//! - <https://www.alibabacloud.com/help/en/flink/realtime-flink/developer-reference/api-ververica-2022-07-18-getsavepoint> (read 2026-11-22)

mod credential;
mod get_savepoint;
mod options;
mod rest;
mod savepoint;
pub mod sign;

pub use credential::{CredentialsUri, EcsRole, Rrsa};
pub use get_savepoint::GET_SAVEPOINT;
#[cfg(feature = "internals")]
pub(crate) use get_savepoint::Get;
pub use options::{Options, Setup, sources};

use crate::rpc::operation::Pattern::{EndsWith, Exactly, StartsWith, StartsWithAndHas};
use crate::rpc::operation::{Pattern, Provider, RequestId};
use crate::rpc::reason::Reason;
use crate::upstream::Upstream;

pub static ALIBABA: Provider = Provider {
    name: "alibaba-flink",
    codes: CODES,
    // `Code` of the API gateway, `errorCode` of the service.
    error_fields: &[
        ("error_code", &["error_msg", "error_message"]),
        ("errorCode", &["errorMsg", "errorMessage"]),
        ("Code", &["Message"]),
        ("code", &["message"]),
    ],
    text_fields: &["message", "msg", "error_msg", "errorMsg", "errorMessage", "Message"],
    request_id: RequestId {
        header: "x-acs-request-id",
        fields: &["requestId", "RequestId"],
        body_first: true,
    },
    hints: &[
        (&["AccessDeniedDetail", "AuthAction"], "authAction"),
        (&["accessDeniedDetail", "AuthAction"], "authAction"),
        (&["AccessDeniedDetail", "NoPermissionType"], "noPermissionType"),
        (&["accessDeniedDetail", "NoPermissionType"], "noPermissionType"),
    ],
    secret_labels: &["authorization", "x-acs-security-token", "x-acs-accesskey-id", "signature="],
};

// Specific rows come first: `InvalidTimeStamp.Expired` means clock skew, although it also matches
// the general pattern of invalid parameters.
#[rustfmt::skip]
const CODES: &[(Pattern, Reason)] = &[
    (Exactly("990301"),                             Reason::NotFound),
    (StartsWith("InvalidTimeStamp"),                Reason::ClockSkew),
    (StartsWith("IllegalTimestamp"),                Reason::ClockSkew),
    (StartsWith("InvalidAccessKeyId"),              Reason::CredentialsRejected),
    (StartsWith("SignatureDoesNotMatch"),           Reason::CredentialsRejected),
    (StartsWith("IncompleteSignature"),             Reason::CredentialsRejected),
    (StartsWith("InvalidSecurityToken"),            Reason::CredentialsRejected),
    // The provider has seen this nonce before: a duplicate on the network, not the caller's fault.
    // A retry has a new nonce.
    (Exactly("SignatureNonceUsed"),                 Reason::Unavailable),
    (StartsWith("Throttling"),                      Reason::Throttled),
    (EndsWith(".Throttling"),                       Reason::Throttled),
    (Exactly("InvalidApi.NotFound"),                Reason::EndpointMisconfigured),
    (Exactly("InvalidProduct.NotFound"),            Reason::EndpointMisconfigured),
    (StartsWith("InvalidAction"),                   Reason::EndpointMisconfigured),
    (StartsWith("NoSuchVersion"),                   Reason::EndpointMisconfigured),
    (StartsWith("InvalidProtocol"),                 Reason::EndpointMisconfigured),
    (StartsWith("Missing"),                         Reason::RejectedArgument),
    (StartsWithAndHas("Invalid", "Parameter"),      Reason::RejectedArgument),
    (StartsWith("Forbidden"),                       Reason::PermissionDenied),
    (StartsWith("NoPermission"),                    Reason::PermissionDenied),
    (StartsWith("ServiceUnavailable"),              Reason::Unavailable),
];

/// The client of Realtime Compute of one worker.
#[derive(Debug, Clone)]
pub struct Alibaba {
    upstream: Upstream,
    default_workspace: Option<String>,
}

impl Alibaba {
    /// `default_workspace`: the workspace of requests that do not name one.
    pub(crate) fn new(upstream: Upstream, default_workspace: Option<String>) -> Self {
        Self { upstream, default_workspace }
    }
}

/// The endpoint of Realtime Compute in a region, for example `cn-hangzhou`.
///
/// This rule holds for all public endpoints. Endpoints inside a VPC differ, and must be configured.
///
/// # Reference
/// The endpoint rule of Alibaba's Python SDK, `alibabacloud-ververica20220718` 1.14.0.
fn endpoint_of_region(region: &str) -> Result<String, String> {
    let mut parts = region.split('-');
    let well_formed = region.len() <= 64
        && parts.clone().count() >= 2
        && parts.all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
    let why = "is not the name of a region, such as cn-hangzhou";
    well_formed.then(|| format!("https://ververica.{region}.aliyuncs.com")).ok_or(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_region_names_become_endpoints() {
        for (region, want) in [
            ("cn-hangzhou", Some("https://ververica.cn-hangzhou.aliyuncs.com")),
            ("me-east-1", Some("https://ververica.me-east-1.aliyuncs.com")),
            ("cn-shanghai-finance-1", Some("https://ververica.cn-shanghai-finance-1.aliyuncs.com")),
            ("CN-Hangzhou", None),
            ("hangzhou", None),
            ("cn-", None),
            ("cn.evil.example/", None),
            ("", None),
        ] {
            assert_eq!(endpoint_of_region(region).ok().as_deref(), want, "{region:?}");
        }
    }
}
