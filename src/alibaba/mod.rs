//! Alibaba Cloud Realtime Compute for Apache Flink (`ververica`, version 2022-07-18).
//!
//! # Reference
//! - <https://www.alibabacloud.com/help/en/flink/realtime-flink/developer-reference/api-ververica-2022-07-18-getsavepoint> (read 2026-11-22)

mod credentials_uri;
mod ecs_role;
mod get_savepoint;
mod rrsa;
pub mod sign;
mod wire;

pub use credentials_uri::CredentialsUri;
pub use ecs_role::{EcsRole, METADATA};
pub use rrsa::Rrsa;

use crate::credential::Credentials;
use crate::upstream::Upstream;

/// Realtime Compute as one worker calls it.
#[derive(Debug, Clone)]
pub struct Alibaba {
    upstream: Upstream,
    credentials: Credentials,
    workspace: Option<String>,
}

impl Alibaba {
    /// Puts the parts together. `workspace` serves the requests that name none.
    pub fn new(upstream: Upstream, credentials: Credentials, workspace: Option<String>) -> Self {
        Self { upstream, credentials, workspace }
    }
}

/// The endpoint of Realtime Compute in a region, for example of `cn-hangzhou`; none when the
/// text cannot be the name of a region.
///
/// The public endpoints all follow one rule. Those inside a VPC do not answer to it and are
/// configured as endpoints.
///
/// # Reference
/// The endpoint rule of Alibaba's Python SDK, `alibabacloud-ververica20220718` 1.14.0.
pub fn endpoint_of_region(region: &str) -> Option<String> {
    let mut parts = region.split('-');
    let well_formed = region.len() <= 64
        && parts.clone().count() >= 2
        && parts.all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
    well_formed.then(|| format!("https://ververica.{region}.aliyuncs.com"))
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
            assert_eq!(endpoint_of_region(region).as_deref(), want, "{region:?}");
        }
    }
}
