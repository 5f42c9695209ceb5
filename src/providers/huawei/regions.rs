//! The regions of Huawei Cloud, and their endpoints.

/// The endpoint of DLI in a region, for example `cn-north-4`.
///
/// A table, because one region has another top-level domain.
///
/// # Reference
/// The region table of Huawei's Python SDK, `huaweicloudsdkdli` 3.1.219.
pub(super) fn endpoint_of_region(region: &str) -> Result<String, String> {
    match REGIONS.iter().find(|(name, _)| *name == region) {
        Some((_, endpoint)) => Ok((*endpoint).to_owned()),
        None => Err(format!(
            "{region:?} is not a region that is known to have DLI; set --huawei-endpoint, or one \
             of {}",
            REGIONS.map(|(name, _)| name).join(", ")
        )),
    }
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

/// The endpoint of Identity and Access Management (IAM) of a region, else the global one.
///
/// # Reference
/// The region table of Huawei's Python SDK, `huaweicloudsdkcore` 3.1.219.
pub(super) fn iam_endpoint_of_region(region: Option<&str>) -> String {
    match region.filter(|region| IAM_REGIONS.contains(region)) {
        Some(region) => format!("https://iam.{region}.myhuaweicloud.com"),
        None => "https://iam.myhuaweicloud.com".to_owned(),
    }
}

#[rustfmt::skip]
const IAM_REGIONS: [&str; 27] = [
    "ae-ad-1", "af-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3",
    "ap-southeast-4", "cn-east-2", "cn-east-3", "cn-east-4", "cn-east-5", "cn-north-1",
    "cn-north-12", "cn-north-2", "cn-north-4", "cn-north-9", "cn-south-1", "cn-south-2",
    "cn-southwest-2", "eu-west-0", "la-north-2", "la-south-2", "me-east-1", "my-kualalumpur-1",
    "na-mexico-1", "ru-moscow-1", "sa-brazil-1", "tr-west-1",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_sorted_and_their_endpoints_are_origins() {
        assert!(REGIONS.is_sorted_by_key(|(name, _)| *name));
        for (name, endpoint) in REGIONS {
            let parsed = crate::options::endpoint::Endpoint::parse(endpoint, false).expect(name);
            assert_eq!(parsed.origin(), endpoint);
        }
        assert_eq!(
            endpoint_of_region("eu-west-101").as_deref(),
            Ok("https://dli.eu-west-101.myhuaweicloud.eu")
        );
        assert!(endpoint_of_region("CN-North-4").is_err());
    }

    #[test]
    fn a_region_without_its_own_iam_uses_the_global_one() {
        assert!(IAM_REGIONS.is_sorted());
        let all = "https://iam.myhuaweicloud.com";
        for (region, want) in [
            (Some("cn-north-4"), "https://iam.cn-north-4.myhuaweicloud.com"),
            (Some("af-north-1"), all),
            (Some("evil.example/"), all),
            (None, all),
        ] {
            assert_eq!(iam_endpoint_of_region(region), want, "{region:?}");
        }
    }
}
