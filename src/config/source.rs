//! Which source of credentials is configured.
//!
//! One source, never another one behind it: a gateway that calls with an identity that
//! nobody chose is worse than one that does not start.

use std::path::PathBuf;

use http::Uri;
use url::Url;

use super::check::Check;
use crate::credential::{Credential, Credentials, Directory, Lease};
use crate::endpoint::{Endpoint, InvalidEndpoint};
use crate::operation::Provider;
use crate::secret::Secret;
use crate::{alibaba, huawei};

const HUAWEI: &str = "--huawei-credentials";
const ALIBABA: &str = "--alibaba-credentials";

/// Every form of `--huawei-credentials`. A source that is not here cannot be chosen.
pub const HUAWEI_SOURCES: [&str; 7] =
    ["env", "dir:/path", "oidc", "ecs", "token-file:/path", "password", "password:/path"];

/// Every form of `--alibaba-credentials`. A source that is not here cannot be chosen.
pub const ALIBABA_SOURCES: [&str; 7] =
    ["env", "dir:/path", "oidc", "ecs", "ecs:role", "uri", "uri:http://..."];

const HUAWEI_KEY: [&str; 3] =
    ["HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN"];
const HUAWEI_OIDC: [&str; 3] =
    ["HUAWEICLOUD_OIDC_PROVIDER_URN", "HUAWEICLOUD_OIDC_AGENCY_URN", "HUAWEICLOUD_OIDC_TOKEN_FILE"];
/// As Huawei's own provider for Terraform names them: its SDKs know no passwords.
const HUAWEI_USER: [&str; 2] = ["HW_DOMAIN_NAME", "HW_USER_NAME"];
const HUAWEI_PASSWORD: &str = "HW_USER_PASSWORD";
const HUAWEI_PROJECT_NAME: &str = "HW_PROJECT_NAME";
const HUAWEI_IAM: &str = "HUAWEICLOUD_SDK_IAM_ENDPOINT";
const ALIBABA_KEY: [&str; 3] = [
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
];
const ALIBABA_OIDC: [&str; 3] =
    ["ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ALIBABA_CLOUD_OIDC_TOKEN_FILE"];
const ECS_ROLE: &str = "ALIBABA_CLOUD_ECS_METADATA";
const CREDENTIALS_URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

/// As the clouds' own tools name a session.
const SESSION_NAME: &str = "savepoint-gateway";

impl Check<'_> {
    /// `region` and `project_id` are what a token is asked for.
    pub(super) fn huawei_credentials(
        &mut self,
        option: Option<&str>,
        region: Option<&str>,
        project_id: Option<&str>,
    ) -> Option<Credentials> {
        let (kind, rest) = match option {
            Some(text) => split(text),
            None if self.any(&HUAWEI_KEY[..2]) => ("env", None),
            None if self.any(&HUAWEI_OIDC) => ("oidc", None),
            None if self.any(&[HUAWEI_USER[1], HUAWEI_PASSWORD]) => ("password", None),
            None => {
                self.none_found(Provider::HuaweiDli, HUAWEI_KEY, HUAWEI);
                return None;
            }
        };
        if !is_source(&HUAWEI_SOURCES, kind, rest) {
            return self.unknown(HUAWEI, &HUAWEI_SOURCES);
        }
        match (kind, rest) {
            ("env", None) => self.key_from_environment(Provider::HuaweiDli, HUAWEI_KEY),
            ("dir", Some(path)) => self.files(HUAWEI, Directory::of_key(path)),
            ("token-file", Some(path)) => self.files(HUAWEI, Directory::of_token(path)),
            ("ecs", None) => {
                let endpoint = Endpoint::parse(huawei::METADATA, true).ok()?;
                Some(Credentials::cached(huawei::EcsAgency { endpoint }, None))
            }
            ("oidc", None) => self.huawei_oidc(),
            ("password", file) => self.huawei_password(file, region, project_id),
            _ => self.unknown(HUAWEI, &HUAWEI_SOURCES),
        }
    }

    fn huawei_password(
        &mut self,
        file: Option<&str>,
        region: Option<&str>,
        project_id: Option<&str>,
    ) -> Option<Credentials> {
        let user = self.all(HUAWEI_USER);
        let password = match file {
            Some(path) => Some(huawei::PasswordOf::File(path.into())),
            None => {
                let password = self.variable(HUAWEI_PASSWORD);
                if password.is_none() {
                    self.wrong(HUAWEI_PASSWORD, "is missing");
                }
                password.map(|text| huawei::PasswordOf::Text(Secret::new(text)))
            }
        };
        let scope = match project_id {
            Some(id) => Some(huawei::TokenScope::Id(id.to_owned())),
            None => self.huawei_project_name(region).map(huawei::TokenScope::Name),
        };
        if scope.is_none() {
            self.wrong(
                HUAWEI,
                "a login is for one project: set --huawei-project-id or --huawei-region",
            );
        }
        let iam = self.huawei_iam(region);
        let [domain, user] = user?;
        let source = huawei::Password::new(iam?, domain, user, password?, scope?);
        match source.read() {
            Ok(_) => Some(Credentials::cached(source, None)),
            Err(problem) => {
                self.wrong(HUAWEI, &problem);
                None
            }
        }
    }

    /// The name of the project where its id is not configured.
    pub(super) fn huawei_project_name(&mut self, region: Option<&str>) -> Option<String> {
        self.variable(HUAWEI_PROJECT_NAME).or_else(|| region.map(str::to_owned))
    }

    /// Where IAM is.
    pub(super) fn huawei_iam(&mut self, region: Option<&str>) -> Option<Endpoint> {
        let own = self.variable(HUAWEI_IAM);
        let text = own.unwrap_or_else(|| huawei::iam_endpoint_of_region(region));
        self.endpoint(HUAWEI_IAM, Some(&text), false)
    }

    fn huawei_oidc(&mut self) -> Option<Credentials> {
        let parts = self.all(HUAWEI_OIDC);
        let sts = "HUAWEICLOUD_SDK_STS_ENDPOINT";
        let endpoint = self.variable(sts);
        let endpoint = self.endpoint(sts, Some(endpoint.as_deref().unwrap_or(huawei::STS)), false);
        let lives = "HUAWEICLOUD_OIDC_DURATION_SECONDS";
        let duration = self.variable(lives).unwrap_or_else(|| "3600".to_owned());
        let duration_seconds = match duration.trim().parse() {
            Ok(seconds @ 900..=43_200) => seconds,
            _ => {
                self.wrong(lives, "is not a number of seconds from 900 to 43200");
                return None;
            }
        };
        let session_name = self.variable("HUAWEICLOUD_OIDC_SESSION_NAME");
        let [provider_urn, agency_urn, token_file] = parts?;
        let source = huawei::Oidc {
            endpoint: endpoint?,
            provider_urn,
            agency_urn,
            token_file: PathBuf::from(token_file),
            session_name: session_name.unwrap_or_else(|| SESSION_NAME.to_owned()),
            duration_seconds,
        };
        Some(Credentials::cached(source, None))
    }

    pub(super) fn alibaba_credentials(
        &mut self,
        option: Option<&str>,
        insecure: bool,
    ) -> Option<Credentials> {
        let (kind, rest) = match option {
            Some(text) => split(text),
            None if self.any(&ALIBABA_KEY[..2]) => ("env", None),
            // A role alone says nothing of how it is taken.
            None if self.any(&ALIBABA_OIDC[1..]) => ("oidc", None),
            None if self.any(&[ECS_ROLE]) => ("ecs", None),
            None if self.any(&[CREDENTIALS_URI]) => ("uri", None),
            None => {
                self.none_found(Provider::AlibabaFlink, ALIBABA_KEY, ALIBABA);
                return None;
            }
        };
        if !is_source(&ALIBABA_SOURCES, kind, rest) {
            return self.unknown(ALIBABA, &ALIBABA_SOURCES);
        }
        match (kind, rest) {
            ("env", None) => self.key_from_environment(Provider::AlibabaFlink, ALIBABA_KEY),
            ("dir", Some(path)) => self.files(ALIBABA, Directory::of_key(path)),
            ("ecs", role) => self.alibaba_ecs(role),
            ("oidc", None) => self.alibaba_oidc(),
            ("uri", None) => match self.variable(CREDENTIALS_URI) {
                Some(uri) => self.credentials_uri(CREDENTIALS_URI, &uri, insecure),
                None => {
                    self.wrong(CREDENTIALS_URI, "is missing");
                    None
                }
            },
            ("uri", Some(uri)) => self.credentials_uri(ALIBABA, uri, insecure),
            _ => self.unknown(ALIBABA, &ALIBABA_SOURCES),
        }
    }

    fn alibaba_ecs(&mut self, role: Option<&str>) -> Option<Credentials> {
        let disabled = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
        if self.switch(disabled) {
            self.wrong(disabled, "is true, while credentials are to come from the metadata");
        }
        let role = role.map(str::to_owned).or_else(|| self.variable(ECS_ROLE));
        let source = alibaba::EcsRole {
            endpoint: Endpoint::parse(alibaba::METADATA, true).ok()?,
            role,
            allow_v1: !self.switch("ALIBABA_CLOUD_IMDSV1_DISABLED"),
        };
        Some(Credentials::cached(source, None))
    }

    fn alibaba_oidc(&mut self) -> Option<Credentials> {
        let parts = self.all(ALIBABA_OIDC);
        let region_name = "ALIBABA_CLOUD_STS_REGION";
        let region = self.variable(region_name);
        let vpc = if self.switch("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED") { "-vpc" } else { "" };
        let sts = match region {
            Some(region) => format!("https://sts{vpc}.{region}.aliyuncs.com"),
            None => "https://sts.aliyuncs.com".to_owned(),
        };
        let endpoint = self.endpoint(region_name, Some(&sts), false);
        let session_name = self.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME");
        let [role_arn, oidc_provider_arn, token_file] = parts?;
        let source = alibaba::Rrsa {
            endpoint: endpoint?,
            role_arn,
            oidc_provider_arn,
            token_file: PathBuf::from(token_file),
            session_name: session_name.unwrap_or_else(|| SESSION_NAME.to_owned()),
        };
        Some(Credentials::cached(source, None))
    }

    /// The URI is never repeated: it may hold a secret.
    fn credentials_uri(&mut self, name: &str, text: &str, insecure: bool) -> Option<Credentials> {
        let url = Url::parse(text).ok().filter(|url| url.host().is_some());
        let (Some(url), Ok(uri)) = (url, text.parse::<Uri>()) else {
            self.wrong(name, "is not a URI such as http://127.0.0.1:8080/credentials");
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            self.wrong(name, "must have no user, password or fragment");
            return None;
        }
        let origin = &url[..url::Position::BeforePath];
        match Endpoint::parse(origin, insecure) {
            Ok(_) => Some(Credentials::cached(alibaba::CredentialsUri { uri }, None)),
            Err(error @ InvalidEndpoint::Insecure) => {
                self.wrong(name, &error.to_string());
                None
            }
            Err(_) => {
                self.wrong(name, "must begin with https:// or http://");
                None
            }
        }
    }

    /// Files are read once before the start, so that a wrong path is seen at once.
    fn files(&mut self, flag: &str, source: Directory) -> Option<Credentials> {
        match source.read() {
            Ok(credential) => Some(Credentials::cached(source, Some(Lease::open(credential)))),
            Err(problems) => {
                for problem in problems.iter() {
                    self.wrong(flag, problem);
                }
                None
            }
        }
    }

    /// An access key from the variables that the provider's own tools read.
    fn key_from_environment(
        &mut self,
        provider: Provider,
        [id, secret, token]: [&str; 3],
    ) -> Option<Credentials> {
        let values = [id, secret, token].map(|name| self.variable(name));
        match values {
            [Some(id_value), Some(secret_value), token_value] => {
                let token_value = token_value.map(Secret::new);
                match Credential::new(id_value, Secret::new(secret_value), token_value) {
                    Ok(credential) => return Some(Credentials::fixed(credential)),
                    Err(error) => {
                        self.wrong(&format!("{id}, {secret}, {token}"), &error.to_string());
                    }
                }
            }
            [None, None, _] => self.problem(&format!(
                "{provider} is configured, but there is no credential for it: set {id} and {secret}"
            )),
            [Some(_), None, _] => self.wrong(secret, &format!("is missing, while {id} is set")),
            [None, Some(_), _] => self.wrong(id, &format!("is missing, while {secret} is set")),
        }
        None
    }

    fn unknown(&mut self, flag: &str, sources: &[&str]) -> Option<Credentials> {
        self.wrong(flag, &format!("is none of {}", sources.join(", ")));
        None
    }

    fn none_found(&mut self, provider: Provider, [id, secret, _]: [&str; 3], flag: &str) {
        self.problem(&format!(
            "{provider} is configured, but there is no credential for it: set {id} and {secret}, \
             or name another source by {flag}"
        ));
    }

    fn any(&mut self, names: &[&str]) -> bool {
        names.iter().any(|name| self.variable(name).is_some())
    }

    /// The values of all of them; those that are missing are told.
    fn all<const N: usize>(&mut self, names: [&str; N]) -> Option<[String; N]> {
        let values = names.map(|name| {
            let value = self.variable(name);
            if value.is_none() {
                self.wrong(name, "is missing");
            }
            value
        });
        values.iter().all(Option::is_some).then(|| values.map(Option::unwrap_or_default))
    }

    fn switch(&mut self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }
}

/// Whether one of the sources has this form.
fn is_source(sources: &[&str], kind: &str, rest: Option<&str>) -> bool {
    sources.iter().any(|form| {
        let (known, more) = split(form);
        known == kind && more.is_some() == rest.is_some()
    })
}

/// `kind` or `kind:rest`.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((kind, rest)) if !rest.is_empty() => (kind, Some(rest)),
        Some(_) => ("", None),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HUAWEI, config};

    #[test]
    fn a_half_or_unusable_key_is_refused_without_showing_it() {
        for env in [
            vec![("HUAWEICLOUD_SDK_AK", "EXAMPLEAK")],
            vec![("HUAWEICLOUD_SDK_SK", "exampleSecret")],
            vec![("HUAWEICLOUD_SDK_AK", "EXAMPLEAK"), ("HUAWEICLOUD_SDK_SK", "exampleSecret\n")],
            vec![],
        ] {
            let error = config(&["--huawei-region=cn-north-4"], &env).unwrap_err();
            assert!(error.contains("HUAWEICLOUD_SDK_"), "{error}");
            assert!(!error.contains("exampleSecret"), "{error}");
        }
    }

    #[test]
    fn a_source_is_named_or_found_by_its_variables() {
        let oidc = [
            ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::123:role/gw"),
            ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::123:oidc-provider/p"),
            ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/var/run/token"),
        ];
        let huawei_oidc = [
            ("HUAWEICLOUD_OIDC_PROVIDER_URN", "iam::acct:oidcProvider:k8s"),
            ("HUAWEICLOUD_OIDC_AGENCY_URN", "iam::acct:agency:gw"),
            ("HUAWEICLOUD_OIDC_TOKEN_FILE", "/var/run/token"),
        ];
        let uri = ("ALIBABA_CLOUD_CREDENTIALS_URI", "http://127.0.0.1:9/secret-path");
        let key = [
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
        ];
        let (a, h) = ("--alibaba-region=cn-hangzhou", "--huawei-region=cn-north-4");
        for (args, env, want) in [
            (vec![a], [&key[..], &oidc, &[uri]].concat(), "Fixed("),
            (vec![a], [&oidc[..], &[uri]].concat(), "Rrsa {"),
            (vec![a], vec![("ALIBABA_CLOUD_ECS_METADATA", "gw-role"), uri], "EcsRole {"),
            (vec![a], vec![uri], "CredentialsUri("),
            (vec![a, "--alibaba-credentials=ecs"], key.to_vec(), "role: None"),
            (vec![a, "--alibaba-credentials=ecs:gw"], vec![], "role: Some(\"gw\")"),
            (vec![a, "--alibaba-credentials=uri:https://h.example/x"], vec![], "CredentialsUri("),
            (vec![h], [&HUAWEI[..], &huawei_oidc].concat(), "Fixed("),
            (vec![h], huawei_oidc.to_vec(), "Oidc {"),
            (vec![h, "--huawei-credentials=ecs"], HUAWEI.to_vec(), "EcsAgency {"),
        ] {
            let shown = format!("{:?}", config(&args, &env).unwrap().0);
            assert!(shown.contains(want), "{want}\n{shown}");
            assert!(!shown.contains("secret-path"), "{shown}");
        }
    }

    #[test]
    fn a_source_that_cannot_work_is_refused_and_never_replaced_by_another() {
        let a = "--alibaba-region=cn-hangzhou";
        let h = "--huawei-region=cn-north-4";
        let key = [
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
            HUAWEI[0],
            HUAWEI[1],
        ];
        let flag = "--alibaba-credentials (SAVEPOINT_GATEWAY_ALIBABA_CREDENTIALS): ";
        for (args, want) in [
            ([a, "--alibaba-credentials=oidc"], "ALIBABA_CLOUD_OIDC_TOKEN_FILE: is missing"),
            ([a, "--alibaba-credentials=oidc"], "ALIBABA_CLOUD_ROLE_ARN: is missing"),
            ([a, "--alibaba-credentials=uri"], "ALIBABA_CLOUD_CREDENTIALS_URI: is missing"),
            ([a, "--alibaba-credentials=uri:http://h.example/"], "uses http://"),
            ([a, "--alibaba-credentials=uri:ftp://h.example/"], "must begin with https://"),
            ([a, "--alibaba-credentials=uri:https://u:exampleSecret@h.example/"], "no user"),
            ([a, "--alibaba-credentials=vault"], flag),
            ([a, "--alibaba-credentials=dir"], flag),
            ([a, "--alibaba-credentials=dir:"], flag),
            ([a, "--alibaba-credentials=dir:/nowhere/at/all"], "/access_key_secret: entity not"),
            ([a, "--alibaba-credentials=token-file:/x"], flag),
            ([h, "--huawei-credentials=oidc"], "HUAWEICLOUD_OIDC_AGENCY_URN: is missing"),
            ([h, "--huawei-credentials=uri"], "--huawei-credentials (SAVEPOINT_GATEWAY_HUAWEI"),
            ([h, "--huawei-credentials=token-file:/nowhere"], "/nowhere: entity not found"),
        ] {
            let error = config(&args, &key).unwrap_err();
            assert!(error.contains(want), "{want}\n{error}");
            assert!(!error.contains("exampleSecret"), "{error}");
        }
    }
}
