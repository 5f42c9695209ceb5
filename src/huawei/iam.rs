//! Where Huawei Cloud's Identity and Access Management (IAM) is.

/// The endpoint of IAM for a region, or the one for all where the region has none of its own.
///
/// # Reference
/// The region table of Huawei's Python SDK, `huaweicloudsdkcore` 3.1.219.
pub fn iam_endpoint_of_region(region: Option<&str>) -> String {
    match region.filter(|region| REGIONS.contains(region)) {
        Some(region) => format!("https://iam.{region}.myhuaweicloud.com"),
        None => "https://iam.myhuaweicloud.com".to_owned(),
    }
}

#[rustfmt::skip]
const REGIONS: [&str; 27] = [
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
    fn a_region_without_an_iam_of_its_own_uses_the_one_for_all() {
        assert!(REGIONS.is_sorted());
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
