//! The options of Alibaba Cloud.

use clap::Args;
use http::Uri;
use url::Url;

use super::credential::{CredentialsUri, EcsRole, METADATA, Rrsa};
use super::{ALIBABA, Alibaba, endpoint_of, endpoint_of_region, region_of_endpoint};
use crate::credential::{
    Credentials, Directory, SESSION_NAME, SecretFile, Sources, key_from_environment, of_files,
};
use crate::options::problems::{HIDDEN, non_empty, non_empty_secret};
use crate::options::{Endpoint, InvalidEndpoint, Problems};
use crate::providers::{self, Probing};
use crate::rpc::Error;
use crate::rpc::validate::{WORKSPACE, is_workspace};
use crate::secret::Secret;
use crate::upstream::Upstream;

const CREDENTIALS: &str = "--alibaba-credentials";

/// What else a source depends on.
struct Site {
    /// Whether http:// is allowed.
    insecure: bool,
    region: Option<String>,
}

const SOURCES: Sources<Site> = Sources {
    provider: &ALIBABA,
    flag: CREDENTIALS,
    key: KEY,
    rows: &[
        ("env", &[KEY[0], KEY[1]], |problems, _, _| key_from_environment(problems, &ALIBABA, KEY)),
        ("dir:/path", &[], |problems, path, _| {
            of_files(problems, CREDENTIALS, Directory::of_key(path?))
        }),
        // The role ARN alone does not select a source.
        ("oidc", &[OIDC[1], OIDC[2]], |problems, _, site| oidc(problems, site)),
        ("ecs", &[ECS_ROLE], |problems, _, _| ecs(problems, None)),
        ("ecs:role", &[], |problems, role, _| ecs(problems, role)),
        ("uri", &[URI], |problems, _, site| {
            let [uri] = problems.variables([URI])?;
            credentials_uri(problems, URI, &uri, site.insecure)
        }),
        ("uri:http://...", &[], |problems, uri, site| {
            credentials_uri(problems, CREDENTIALS, uri?, site.insecure)
        }),
    ],
};

/// Every form of `--alibaba-credentials`. Only sources in this list can be selected.
pub fn sources() -> Vec<&'static str> {
    SOURCES.forms()
}

const KEY: [&str; 3] = [
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
];
const OIDC: [&str; 3] =
    ["ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ALIBABA_CLOUD_OIDC_TOKEN_FILE"];
const ECS_ROLE: &str = "ALIBABA_CLOUD_ECS_METADATA";
const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

/// The options of Alibaba Cloud.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Alibaba Cloud Realtime Compute")]
pub struct Options {
    /// Region, for example cn-hangzhou
    #[arg(long, value_name = "REGION")]
    alibaba_region: Option<String>,
    /// Endpoint, instead of the region's own
    ///
    /// The region's own is public; for example one inside a VPC
    #[arg(long, value_name = "URL")]
    alibaba_endpoint: Option<String>,
    /// Workspace of requests that name none
    #[arg(long, value_name = "ID")]
    alibaba_workspace: Option<String>,
    /// Source of credentials, such as env or ecs
    ///
    /// env, dir:/path, ecs, ecs:role, oidc, uri or uri:http://... [default: the first of env, oidc,
    /// ecs and uri whose variables are set]
    #[arg(long, value_name = "SOURCE")]
    alibaba_credentials: Option<Secret>,
}

#[derive(Debug, Clone)]
pub struct Setup {
    pub common: providers::Setup,
    /// The workspace of requests that do not name one.
    pub(crate) default_workspace: Option<String>,
}

impl Setup {
    pub fn new(
        endpoint: Endpoint,
        credentials: Credentials,
        default_workspace: Option<String>,
    ) -> Self {
        let mut common = providers::Setup::new(&ALIBABA, endpoint, credentials);
        common.default = default_workspace.as_ref().map(|id| format!("workspace {id}"));
        Self { common, default_workspace }
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &providers::Setup> {
        std::iter::once(&self.common)
    }

    pub(crate) fn probes(
        &self,
        upstream: impl Fn(&providers::Setup) -> Result<Upstream, Error>,
    ) -> Result<Vec<Probing>, Error> {
        Ok(vec![(self.common.clone(), Box::new(self.handler(upstream)?))])
    }

    pub(crate) fn handler(
        &self,
        upstream: impl Fn(&providers::Setup) -> Result<Upstream, Error>,
    ) -> Result<Alibaba, Error> {
        let upstream = upstream(&self.common)?;
        Ok(Alibaba::new(upstream, self.default_workspace.clone()))
    }
}

impl Options {
    /// The configuration; none if Alibaba Cloud is not configured.
    pub(crate) fn setup(&self, insecure: bool, problems: &mut Problems<'_>) -> Option<Setup> {
        let workspace = non_empty(&self.alibaba_workspace).map(str::to_owned);
        if workspace.as_deref().is_some_and(|id| !is_workspace(id)) {
            let id = workspace.as_deref().unwrap_or_default();
            problems.report("--alibaba-workspace", format_args!("{id:?} {WORKSPACE}"));
        }
        let region = non_empty(&self.alibaba_region);
        let endpoint = non_empty(&self.alibaba_endpoint);
        if region.or(endpoint).is_none() {
            let options = [
                ("--alibaba-workspace", workspace.as_deref()),
                (CREDENTIALS, non_empty_secret(&self.alibaba_credentials).map(|_| HIDDEN)),
            ];
            problems.without_effect(&options, "without --alibaba-region or --alibaba-endpoint");
            return None;
        }
        let endpoint = providers::endpoint(
            problems,
            ("--alibaba-endpoint", endpoint),
            ("--alibaba-region", region),
            insecure,
            endpoint_of_region,
        );
        let source = non_empty_secret(&self.alibaba_credentials);
        let of_endpoint = || region_of_endpoint(endpoint.as_ref()?.origin());
        let region = region.or_else(of_endpoint).map(str::to_owned);
        let credentials = SOURCES.credentials(problems, source, &Site { insecure, region });
        Some(Setup::new(endpoint?, credentials?, workspace))
    }
}

fn ecs(problems: &mut Problems<'_>, role: Option<&str>) -> Option<Credentials> {
    const DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
    if problems.switch(DISABLED) {
        problems.report(DISABLED, "is true, but the credential source is the metadata service");
    }
    let role = role.map(str::to_owned).or_else(|| problems.variable(ECS_ROLE));
    let source = EcsRole {
        endpoint: problems.endpoint(CREDENTIALS, METADATA, true)?,
        role,
        allow_v1: !problems.switch("ALIBABA_CLOUD_IMDSV1_DISABLED"),
    };
    Some(Credentials::refreshed(source, None))
}

fn oidc(problems: &mut Problems<'_>, site: &Site) -> Option<Credentials> {
    const REGION: &str = "ALIBABA_CLOUD_STS_REGION";
    let parts = problems.variables(OIDC);
    let vpc = problems.switch("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED");
    let service = if vpc { "sts-vpc" } else { "sts" };
    let endpoint = match problems.variable(REGION).or_else(|| site.region.clone()) {
        Some(region) => match endpoint_of(service, &region) {
            Ok(url) => problems.endpoint(REGION, &url, false),
            Err(why) => {
                problems.report(REGION, why);
                None
            }
        },
        None => {
            problems.report(REGION, "is not set; set it, or the region with --alibaba-region");
            None
        }
    };
    let session_name = problems.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME");
    let [role_arn, oidc_provider_arn, token_file] = parts?;
    let source = Rrsa {
        endpoint: endpoint?,
        role_arn,
        oidc_provider_arn,
        token_file: SecretFile::of_token(token_file),
        session_name: session_name.unwrap_or_else(|| SESSION_NAME.to_owned()),
    };
    Some(Credentials::refreshed(source, None))
}

/// The URI is never shown: it may contain a secret.
fn credentials_uri(
    problems: &mut Problems<'_>,
    name: &str,
    text: &str,
    insecure: bool,
) -> Option<Credentials> {
    let url = Url::parse(text).ok().filter(|url| url.host().is_some());
    let (Some(url), Ok(uri)) = (url, text.parse::<Uri>()) else {
        problems.report(name, "is not a URI such as http://127.0.0.1:8080/credentials");
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        problems.report(name, "must not have a user, password or fragment");
        return None;
    }
    match Endpoint::parse(&url[..url::Position::BeforePath], insecure) {
        Ok(_) => return Some(Credentials::refreshed(CredentialsUri { uri }, None)),
        Err(error @ InvalidEndpoint::Insecure) => problems.report(name, error),
        Err(_) => problems.report(name, "must begin with https:// or http://"),
    }
    None
}
