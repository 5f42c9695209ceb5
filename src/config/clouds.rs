//! Which clouds are called, and where: endpoint, credentials, project and workspace.

use super::ProviderConfig;
use super::check::{Check, given, given_secret, given_text};
use super::options::ServeOptions;
use crate::endpoint::Endpoint;
use crate::huawei::ProjectLookup;
use crate::validate::{is_project_id, is_workspace};
use crate::{alibaba, huawei};

impl ServeOptions {
    pub(super) fn huawei(&self, check: &mut Check<'_>) -> Option<ProviderConfig> {
        let options = &self.huawei;
        let given =
            given(&options.huawei_region).is_some() || given(&options.huawei_endpoint).is_some();
        let endpoint = check.endpoint(
            "--huawei-endpoint",
            given_text(&options.huawei_endpoint),
            self.allow_insecure_endpoints,
        );
        let endpoint = endpoint.or_else(|| {
            let region = given_text(&options.huawei_region)?;
            if given_text(&options.huawei_endpoint).is_some() {
                return None;
            }
            let url = huawei::endpoint_of_region(region);
            if url.is_none() {
                let known: Vec<_> = huawei::regions().collect();
                check.wrong(
                    "--huawei-region",
                    &format!(
                        "{region:?} is not a region that is known to have DLI; set --huawei-endpoint, \
                         or one of {}",
                        known.join(", ")
                    ),
                );
            }
            Endpoint::parse(url?, false).ok()
        });
        let scope = match given_text(&options.huawei_project_id) {
            Some(id) => Some(("--huawei-project-id", id.to_owned())),
            None => check
                .variable("HUAWEICLOUD_SDK_PROJECT_ID")
                .map(|id| ("HUAWEICLOUD_SDK_PROJECT_ID", id)),
        };
        if let Some((name, id)) = &scope
            && given
            && !is_project_id(id)
        {
            check.wrong(name, "must be 1 to 64 of 0-9, A-Z, a-z, _ and -");
        }
        if !given {
            return None;
        }
        let region = given_text(&options.huawei_region);
        let project_id = scope.as_ref().map(|(_, id)| id.as_str());
        let credentials =
            check.huawei_credentials(given_text(&options.huawei_credentials), region, project_id);
        Some(ProviderConfig {
            endpoint: endpoint?,
            credentials: credentials?,
            scope: scope.map(|(_, id)| id),
        })
    }

    /// A project without an id is looked up by its name, which for the one that each account
    /// has in a region is that of the region.
    pub(super) fn huawei_project(&self, check: &mut Check<'_>) -> Option<ProjectLookup> {
        let options = &self.huawei;
        let region = given_text(&options.huawei_region);
        let is_configured = region.is_some() || given(&options.huawei_endpoint).is_some();
        let has_id = given(&options.huawei_project_id).is_some()
            || check.variable("HUAWEICLOUD_SDK_PROJECT_ID").is_some();
        if !is_configured || has_id {
            return None;
        }
        let name = check.huawei_project_name(region)?;
        Some(ProjectLookup::new(check.huawei_iam(region)?, name))
    }

    pub(super) fn alibaba(&self, check: &mut Check<'_>) -> Option<ProviderConfig> {
        let options = &self.alibaba;
        let given =
            given(&options.alibaba_region).is_some() || given(&options.alibaba_endpoint).is_some();
        let endpoint = check.endpoint(
            "--alibaba-endpoint",
            given_text(&options.alibaba_endpoint),
            self.allow_insecure_endpoints,
        );
        let endpoint = endpoint.or_else(|| {
            let region = given_text(&options.alibaba_region)?;
            if given_text(&options.alibaba_endpoint).is_some() {
                return None;
            }
            let url = alibaba::endpoint_of_region(region);
            if url.is_none() {
                check.wrong("--alibaba-region", "is not the name of a region, such as cn-hangzhou");
            }
            Endpoint::parse(&url?, false).ok()
        });
        let scope = given_text(&options.alibaba_workspace).map(str::to_owned);
        if scope.as_deref().is_some_and(|id| !is_workspace(id)) {
            check.wrong(
                "--alibaba-workspace",
                "must be 1 to 128 of 0-9, A-Z, a-z, _, . and -, and begin with a letter or digit",
            );
        }
        if !given {
            return None;
        }
        let credentials = check.alibaba_credentials(
            given_secret(&options.alibaba_credentials),
            self.allow_insecure_endpoints,
        );
        Some(ProviderConfig { endpoint: endpoint?, credentials: credentials?, scope })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HUAWEI, config};

    #[test]
    fn an_endpoint_overrides_the_region_and_may_lack_its_scheme() {
        for (endpoint, origin) in [
            ("dli.example", "https://dli.example"),
            ("http://127.0.0.1:8443/", "http://127.0.0.1:8443"),
        ] {
            let args = ["--huawei-region=cn-north-4", "--huawei-endpoint", endpoint];
            let (config, _) = config(&args, &HUAWEI).unwrap();
            assert_eq!(config.huawei.unwrap().endpoint.origin(), origin);
        }
    }

    #[test]
    fn the_project_may_come_from_the_clouds_own_variable() {
        let env = [HUAWEI[0], HUAWEI[1], ("HUAWEICLOUD_SDK_PROJECT_ID", "p1")];
        let args = ["--huawei-region=cn-north-4"];
        assert_eq!(config(&args, &env).unwrap().0.huawei.unwrap().scope.as_deref(), Some("p1"));
        let args = ["--huawei-region=cn-north-4", "--huawei-project-id=p2"];
        assert_eq!(config(&args, &env).unwrap().0.huawei.unwrap().scope.as_deref(), Some("p2"));
    }
}
