//! Huawei Cloud Data Lake Insight (DLI).
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-dli/dli_02_0393.html> (read 2026-11-22)

mod ecs_agency;
mod iam;
mod import_savepoint;
mod oidc;
mod password;
mod project;
pub mod sign;

pub use ecs_agency::{EcsAgency, METADATA};
pub use iam::iam_endpoint_of_region;
pub use oidc::{Oidc, STS};
pub use password::{Password, PasswordOf, TokenScope};
pub use project::{Project, ProjectLookup};

use http::HeaderName;

use crate::credential::Credentials;
use crate::upstream::Upstream;

/// DLI as one worker calls it.
#[derive(Debug, Clone)]
pub struct Huawei {
    upstream: Upstream,
    credentials: Credentials,
    project: Project,
}

/// What a token is sent in, instead of a signature.
const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

impl Huawei {
    /// Puts the parts together. `project` serves the requests that name none.
    pub fn new(upstream: Upstream, credentials: Credentials, project: Project) -> Self {
        Self { upstream, credentials, project }
    }
}

/// The endpoint of DLI in a region, for example of `cn-north-4`; none for a region that is
/// not known to have DLI.
///
/// The host is never made from the name: one region has another top-level domain.
///
/// # Reference
/// The region table of Huawei's Python SDK, `huaweicloudsdkdli` 3.1.219.
pub fn endpoint_of_region(region: &str) -> Option<&'static str> {
    REGIONS.iter().find(|(name, _)| *name == region).map(|(_, endpoint)| *endpoint)
}

/// The regions that [`endpoint_of_region`] knows, in alphabetical order.
pub fn regions() -> impl Iterator<Item = &'static str> {
    REGIONS.iter().map(|(name, _)| *name)
}

#[rustfmt::skip]
const REGIONS: [(&str, &str); 28] = [
    ("ae-ad-1",           "https://dli.ae-ad-1.myhuaweicloud.com"),
    ("af-north-1",        "https://dli.af-north-1.myhuaweicloud.com"),
    ("af-south-1",        "https://dli.af-south-1.myhuaweicloud.com"),
    ("ap-southeast-1",    "https://dli.ap-southeast-1.myhuaweicloud.com"),
    ("ap-southeast-2",    "https://dli.ap-southeast-2.myhuaweicloud.com"),
    ("ap-southeast-3",    "https://dli.ap-southeast-3.myhuaweicloud.com"),
    ("ap-southeast-4",    "https://dli.ap-southeast-4.myhuaweicloud.com"),
    ("cn-east-2",         "https://dli.cn-east-2.myhuaweicloud.com"),
    ("cn-east-3",         "https://dli.cn-east-3.myhuaweicloud.com"),
    ("cn-east-4",         "https://dli.cn-east-4.myhuaweicloud.com"),
    ("cn-east-5",         "https://dli.cn-east-5.myhuaweicloud.com"),
    ("cn-north-1",        "https://dli.cn-north-1.myhuaweicloud.com"),
    ("cn-north-2",        "https://dli.cn-north-2.myhuaweicloud.com"),
    ("cn-north-4",        "https://dli.cn-north-4.myhuaweicloud.com"),
    ("cn-north-9",        "https://dli.cn-north-9.myhuaweicloud.com"),
    ("cn-south-1",        "https://dli.cn-south-1.myhuaweicloud.com"),
    ("cn-southwest-2",    "https://dli.cn-southwest-2.myhuaweicloud.com"),
    ("eu-west-0",         "https://dli.eu-west-0.myhuaweicloud.com"),
    ("eu-west-101",       "https://dli.eu-west-101.myhuaweicloud.eu"),
    ("la-north-2",        "https://dli.la-north-2.myhuaweicloud.com"),
    ("la-south-2",        "https://dli.la-south-2.myhuaweicloud.com"),
    ("me-east-1",         "https://dli.me-east-1.myhuaweicloud.com"),
    ("my-kualalumpur-1",  "https://dli.my-kualalumpur-1.myhuaweicloud.com"),
    ("na-mexico-1",       "https://dli.na-mexico-1.myhuaweicloud.com"),
    ("ru-moscow-1",       "https://dli.ru-moscow-1.myhuaweicloud.com"),
    ("ru-northwest-2",    "https://dli.ru-northwest-2.myhuaweicloud.com"),
    ("sa-brazil-1",       "https://dli.sa-brazil-1.myhuaweicloud.com"),
    ("tr-west-1",         "https://dli.tr-west-1.myhuaweicloud.com"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_sorted_and_their_endpoints_are_origins() {
        assert!(REGIONS.is_sorted_by_key(|(name, _)| *name));
        for (name, endpoint) in REGIONS {
            let parsed = crate::endpoint::Endpoint::parse(endpoint, false).expect(name);
            assert_eq!(parsed.origin(), endpoint);
        }
        assert_eq!(
            endpoint_of_region("eu-west-101"),
            Some("https://dli.eu-west-101.myhuaweicloud.eu")
        );
        assert_eq!(endpoint_of_region("CN-North-4"), None);
    }
}
