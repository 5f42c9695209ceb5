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

/// Realtime Compute, with its facts.
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

// The specific rows come before the general ones: `InvalidTimeStamp.Expired` is about the
// clock although it begins as an invalid parameter does.
#[rustfmt::skip]
const CODES: &[(Pattern, Reason)] = &[
    (Exactly("990301"),                             Reason::NotFound),
    (StartsWith("InvalidTimeStamp"),                Reason::ClockSkew),
    (StartsWith("IllegalTimestamp"),                Reason::ClockSkew),
    (StartsWith("InvalidAccessKeyId"),              Reason::CredentialsRejected),
    (StartsWith("SignatureDoesNotMatch"),           Reason::CredentialsRejected),
    (StartsWith("IncompleteSignature"),             Reason::CredentialsRejected),
    (StartsWith("InvalidSecurityToken"),            Reason::CredentialsRejected),
    // The provider saw this nonce before: a duplicate made on the way, not the caller's
    // doing. A new attempt carries a new nonce.
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

/// Realtime Compute as one worker calls it.
#[derive(Debug, Clone)]
pub struct Alibaba {
    upstream: Upstream,
    default_workspace: Option<String>,
}

impl Alibaba {
    /// `default_workspace` serves the requests that do not name one.
    pub fn new(upstream: Upstream, default_workspace: Option<String>) -> Self {
        Self { upstream, default_workspace }
    }
}

/// The endpoint of Realtime Compute in a region, for example of `cn-hangzhou`.
///
/// The public endpoints all follow one rule. Those inside a VPC do not, and are configured as
/// endpoints.
///
/// # Errors
/// When the text cannot be the name of a region.
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
    fn a_region_makes_an_endpoint_and_nothing_else_does() {
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
