//! Alibaba Cloud Realtime Compute for Apache Flink (`ververica`, version 2022-07-18).
//!
//! # Reference
//! - <https://www.alibabacloud.com/help/en/flink/realtime-flink/developer-reference/api-ververica-2022-07-18-getsavepoint> (read 2026-11-22)

mod create_savepoint;
mod credential;
mod get_savepoint;
mod list_savepoints;
mod options;
mod page_token;
mod probe;
mod rest;
mod savepoint;
pub mod sign;
mod watch_savepoint;

pub use create_savepoint::CREATE_SAVEPOINT;
#[cfg(feature = "internals")]
pub(crate) use create_savepoint::Create;
pub use credential::{CredentialsUri, EcsRole, Rrsa};
pub use get_savepoint::GET_SAVEPOINT;
#[cfg(feature = "internals")]
pub(crate) use get_savepoint::Get;
pub use list_savepoints::LIST_SAVEPOINTS;
pub use options::{Options, Setup, sources};
pub(crate) use probe::NO_SAVEPOINT;
pub use watch_savepoint::WATCH_SAVEPOINT;

use crate::rpc::operation::Pattern::{EndsWith, Exactly, StartsWith, StartsWithAndHas};
use crate::rpc::operation::{Pattern, Provider, RequestId};
use crate::rpc::reason::Reason;
use crate::upstream::Upstream;

pub static ALIBABA: Provider = Provider {
    name: "alibaba-flink",
    codes: CODES,
    messages: &[],
    // `Code` of the API gateway, `errorCode` of the service.
    error_fields: &[
        ("error_code", &["error_msg", "error_message"]),
        ("errorCode", &["errorMsg", "errorMessage"]),
        ("Code", &["Message"]),
        ("code", &["message"]),
    ],
    text_fields: &["message", "msg", "error_msg", "errorMsg", "errorMessage", "Message"],
    stack_traces: None,
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
    endpoint_of("ververica", region)
}

/// The region whose service has this endpoint, inside a VPC or not.
fn region_of_endpoint(origin: &str) -> Option<&str> {
    let (service, rest) = origin.strip_prefix("https://")?.split_once('.')?;
    let region = rest.strip_suffix(".aliyuncs.com")?;
    (matches!(service, "ververica" | "ververica-vpc") && is_region(region)).then_some(region)
}

/// The endpoint of a service in a region.
fn endpoint_of(service: &str, region: &str) -> Result<String, String> {
    match is_region(region) {
        true => Ok(format!("https://{service}.{region}.aliyuncs.com")),
        false => Err(format!("{region:?} is not the name of a region, such as cn-hangzhou")),
    }
}

fn is_region(text: &str) -> bool {
    let mut parts = text.split('-');
    text.len() <= 64
        && parts.clone().count() >= 2
        && parts.all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
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
            if let Some(endpoint) = want {
                assert_eq!(region_of_endpoint(endpoint), Some(region));
            }
        }
        for (endpoint, want) in [
            ("https://ververica-vpc.cn-beijing.aliyuncs.com", Some("cn-beijing")),
            ("https://ververica.cn.evil.aliyuncs.com", None),
            ("https://proxy.cn-beijing.aliyuncs.com", None),
            ("https://ververica.cn-beijing.example", None),
            ("http://127.0.0.1:1", None),
        ] {
            assert_eq!(region_of_endpoint(endpoint), want, "{endpoint}");
        }
    }
}
