//! The regions of Huawei Cloud, and their endpoints.
//!
//! Passwords, tokens and requests go to the site of the configured region only. What is not known of
//! a region must be configured; no other region stands in for it.

/// A service, by the name that begins its host names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Data Lake Insight.
    Dli,
    /// Identity and Access Management.
    Iam,
    /// The security token service.
    Sts,
}

impl Service {
    /// The endpoint in a region, for example `cn-north-4`; none if none is known.
    pub(super) fn endpoint(self, region: &str) -> Option<String> {
        let (name, regions): (_, &[&str]) = match self {
            Self::Dli => ("dli", &DLI),
            Self::Iam => ("iam", &IAM),
            Self::Sts => ("sts", &STS),
        };
        // The one region with a site of its own.
        let domain = if region == "eu-west-101" { "eu" } else { "com" };
        let url = || format!("https://{name}.{region}.myhuaweicloud.{domain}");
        regions.contains(&region).then(url)
    }
}

/// The endpoint of DLI in a region.
pub(super) fn endpoint_of_region(region: &str) -> Result<String, String> {
    Service::Dli.endpoint(region).ok_or_else(|| {
        format!(
            "{region:?} is not a region that is known to have DLI; set --huawei-endpoint, or one \
             of {}",
            DLI.join(", ")
        )
    })
}

/// The region whose DLI has this endpoint.
pub(super) fn region_of_endpoint(origin: &str) -> Option<&'static str> {
    DLI.into_iter().find(|region| Service::Dli.endpoint(region).as_deref() == Some(origin))
}

/// # Reference
/// The region table of Huawei's Python SDK, `huaweicloudsdkdli` 3.1.219.
#[rustfmt::skip]
const DLI: [&str; 28] = [
    "ae-ad-1", "af-north-1", "af-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3",
    "ap-southeast-4", "cn-east-2", "cn-east-3", "cn-east-4", "cn-east-5", "cn-north-1",
    "cn-north-2", "cn-north-4", "cn-north-9", "cn-south-1", "cn-southwest-2", "eu-west-0",
    "eu-west-101", "la-north-2", "la-south-2", "me-east-1", "my-kualalumpur-1", "na-mexico-1",
    "ru-moscow-1", "ru-northwest-2", "sa-brazil-1", "tr-west-1",
];

/// # Reference
/// The region table of Huawei's Python SDK, `huaweicloudsdkiam` 3.1.219.
#[rustfmt::skip]
const IAM: [&str; 28] = [
    "ae-ad-1", "af-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3",
    "ap-southeast-4", "cn-east-2", "cn-east-3", "cn-east-4", "cn-east-5", "cn-north-1",
    "cn-north-12", "cn-north-2", "cn-north-4", "cn-north-9", "cn-south-1", "cn-south-2",
    "cn-southwest-2", "eu-west-0", "eu-west-101", "la-north-2", "la-south-2", "me-east-1",
    "my-kualalumpur-1", "na-mexico-1", "ru-moscow-1", "sa-brazil-1", "tr-west-1",
];

/// # Reference
/// The region table of Huawei's Python SDK, `huaweicloudsdkcore` 3.1.219.
#[rustfmt::skip]
const STS: [&str; 12] = [
    "af-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4",
    "cn-east-3", "cn-north-4", "cn-south-1", "cn-southwest-2", "la-south-2", "sa-brazil-1",
    "tr-west-1",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_sorted_and_their_endpoints_are_origins() {
        for (service, regions) in
            [(Service::Dli, &DLI[..]), (Service::Iam, &IAM), (Service::Sts, &STS)]
        {
            assert!(regions.is_sorted(), "{service:?}");
            for region in regions {
                let endpoint = service.endpoint(region).expect(region);
                let parsed = crate::options::Endpoint::parse(&endpoint, false).expect(region);
                assert_eq!(parsed.origin(), endpoint);
            }
        }
        for region in DLI {
            assert_eq!(region_of_endpoint(&Service::Dli.endpoint(region).unwrap()), Some(region));
        }
        assert!(endpoint_of_region("CN-North-4").is_err());
    }

    #[test]
    fn every_endpoint_is_on_the_site_of_its_region_and_no_other_stands_in() {
        for (service, region, want) in [
            (Service::Dli, "eu-west-101", Some("https://dli.eu-west-101.myhuaweicloud.eu")),
            (Service::Iam, "eu-west-101", Some("https://iam.eu-west-101.myhuaweicloud.eu")),
            (Service::Sts, "eu-west-101", None),
            (Service::Iam, "cn-north-4", Some("https://iam.cn-north-4.myhuaweicloud.com")),
            (Service::Sts, "tr-west-1", Some("https://sts.tr-west-1.myhuaweicloud.com")),
            (Service::Iam, "af-north-1", None),
            (Service::Iam, "ru-northwest-2", None),
            (Service::Sts, "cn-north-1", None),
            (Service::Iam, "evil.example/", None),
            (Service::Iam, "", None),
        ] {
            assert_eq!(service.endpoint(region).as_deref(), want, "{service:?} {region:?}");
        }
    }
}
