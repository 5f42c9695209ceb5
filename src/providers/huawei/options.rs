//! The options of Huawei Cloud.

use std::sync::Arc;

use clap::Args;

use super::credential::{EcsAgency, METADATA, Oidc, Password, PasswordOf, TokenScope};
use super::project::{Project, ProjectLookup};
use super::regions::{Service, endpoint_of_region, region_of_endpoint};
use super::{HUAWEI, Huawei};
use crate::credential::{
    Credentials, Directory, SESSION_NAME, SecretFile, Sources, key_from_environment, of_files,
};
use crate::options::problems::{HIDDEN, non_empty};
use crate::options::{Endpoint, Problems};
use crate::providers::{self, Lookup, Probing};
use crate::rpc::Error;
use crate::rpc::validate::is_project_id;
use crate::secret::Secret;
use crate::upstream::Upstream;

const CREDENTIALS: &str = "--huawei-credentials";

const SOURCES: Sources<Options> = Sources {
    provider: &HUAWEI,
    flag: CREDENTIALS,
    key: KEY,
    rows: &[
        ("env", &[KEY[0], KEY[1]], |problems, _, _| key_from_environment(problems, &HUAWEI, KEY)),
        ("dir:/path", &[], |problems, path, _| {
            of_files(problems, CREDENTIALS, Directory::of_key(path?))
        }),
        ("oidc", &OIDC, |problems, _, options| oidc(problems, options)),
        ("ecs", &[], |problems, _, _| {
            let endpoint = problems.endpoint(CREDENTIALS, METADATA, true)?;
            Some(Credentials::refreshed(EcsAgency { endpoint }, None))
        }),
        ("token-file:/path", &[], |problems, path, _| {
            of_files(problems, CREDENTIALS, Directory::of_token(path?))
        }),
        ("password", &[USER[1], PASSWORD], password),
        ("password:/path", &[], password),
    ],
};

/// Every form of `--huawei-credentials`. Only sources in this list can be selected.
pub fn sources() -> Vec<&'static str> {
    SOURCES.forms()
}

const PROJECT_ID: &str = "HUAWEICLOUD_SDK_PROJECT_ID";
const KEY: [&str; 3] =
    ["HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN"];
const OIDC: [&str; 3] =
    ["HUAWEICLOUD_OIDC_PROVIDER_URN", "HUAWEICLOUD_OIDC_AGENCY_URN", "HUAWEICLOUD_OIDC_TOKEN_FILE"];
/// The names of Huawei's Terraform provider: its SDKs do not support passwords.
const USER: [&str; 2] = ["HW_DOMAIN_NAME", "HW_USER_NAME"];
const PASSWORD: &str = "HW_USER_PASSWORD";
const PROJECT_NAME: &str = "HW_PROJECT_NAME";
const IAM: &str = "HUAWEICLOUD_SDK_IAM_ENDPOINT";
const STS: &str = "HUAWEICLOUD_SDK_STS_ENDPOINT";

/// The options of Huawei Cloud.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Huawei Cloud DLI")]
pub struct Options {
    /// Region, for example cn-north-4
    #[arg(long, value_name = "REGION")]
    huawei_region: Option<String>,
    /// Endpoint, instead of the region's own
    #[arg(long, value_name = "URL")]
    huawei_endpoint: Option<String>,
    /// Project of requests that name none
    ///
    /// [default: HUAWEICLOUD_SDK_PROJECT_ID, or the region's project, which is looked up]
    #[arg(long, value_name = "ID")]
    huawei_project_id: Option<String>,
    /// Source of credentials, such as env or ecs
    ///
    /// env, dir:/path, ecs, oidc, token-file:/path, password or password:/path
    /// [default: the first of env, oidc and password whose variables are set]
    #[arg(long, value_name = "SOURCE")]
    huawei_credentials: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Setup {
    pub common: providers::Setup,
    /// The project of requests that do not name one.
    pub default_project: Project,
}

impl Setup {
    pub fn new(endpoint: Endpoint, credentials: Credentials, default_project: Project) -> Self {
        let mut common = providers::Setup::new(&HUAWEI, endpoint, credentials);
        common.default = match &default_project {
            Project::None => None,
            Project::Id(id) => Some(format!("project {id}")),
            Project::Lookup(_) => Some("a project that is looked up".to_owned()),
        };
        if let Project::Lookup(lookup) = &default_project {
            common.lookups.push(Arc::clone(lookup) as Arc<dyn Lookup>);
        }
        Self { common, default_project }
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
    ) -> Result<Huawei, Error> {
        let upstream = upstream(&self.common)?;
        Ok(Huawei::new(upstream, self.default_project.clone()))
    }
}

impl Options {
    /// The configuration; none if Huawei Cloud is not configured.
    pub(crate) fn setup(&self, insecure: bool, problems: &mut Problems<'_>) -> Option<Setup> {
        let region = non_empty(&self.huawei_region);
        let endpoint = non_empty(&self.huawei_endpoint);
        if region.or(endpoint).is_none() {
            let options = [
                ("--huawei-project-id", non_empty(&self.huawei_project_id)),
                (CREDENTIALS, non_empty(&self.huawei_credentials).map(|_| HIDDEN)),
            ];
            problems.without_effect(&options, "without --huawei-region or --huawei-endpoint");
            return None;
        }
        let endpoint = providers::endpoint(
            problems,
            ("--huawei-endpoint", endpoint),
            ("--huawei-region", region),
            insecure,
            endpoint_of_region,
        );
        let project = self.project(problems);
        let source = non_empty(&self.huawei_credentials);
        let credentials = SOURCES.credentials(problems, source, self);
        let project = match project {
            Some(TokenScope::Id(id)) => Project::Id(id.into()),
            Some(TokenScope::Name(name)) => {
                let iam = self.site(problems, Service::Iam, IAM, " or --huawei-project-id");
                iam.map_or(Project::None, |iam| {
                    Project::Lookup(Arc::new(ProjectLookup::new(iam, name)))
                })
            }
            None => Project::None,
        };
        Some(Setup::new(endpoint?, credentials?, project))
    }

    /// Without an id the project is looked up by name. The default project of each region has the
    /// region's name.
    fn project(&self, problems: &mut Problems<'_>) -> Option<TokenScope> {
        let (name, id) = match non_empty(&self.huawei_project_id) {
            Some(id) => ("--huawei-project-id", Some(id.to_owned())),
            None => (PROJECT_ID, problems.variable(PROJECT_ID)),
        };
        let Some(id) = id else {
            let region = non_empty(&self.huawei_region).map(str::to_owned);
            return problems.variable(PROJECT_NAME).or(region).map(TokenScope::Name);
        };
        if !is_project_id(&id) {
            let why = format_args!("{id:?} must be 1 to 64 of 0-9, A-Z, a-z, _ and -");
            problems.report(name, why);
        }
        Some(TokenScope::Id(id))
    }

    /// The endpoint of a service that gets a secret: the configured one, else the region's. `or`:
    /// what else can be set.
    fn site(
        &self,
        problems: &mut Problems<'_>,
        service: Service,
        name: &str,
        or: &str,
    ) -> Option<Endpoint> {
        if let Some(url) = problems.variable(name) {
            return problems.endpoint(name, &url, false);
        }
        let of_endpoint = || {
            let endpoint = Endpoint::parse(non_empty(&self.huawei_endpoint)?, true).ok()?;
            region_of_endpoint(endpoint.origin())
        };
        let region = non_empty(&self.huawei_region).or_else(of_endpoint);
        match (region, region.and_then(|region| service.endpoint(region))) {
            (_, Some(url)) => return problems.endpoint(name, &url, false),
            (Some(region), None) => problems.report(
                name,
                format_args!("is not set, and not known for region {region:?}; set it{or}"),
            ),
            (None, None) => {
                problems.report(name, "is not set; set it, or the region with --huawei-region");
            }
        }
        None
    }
}

fn password(
    problems: &mut Problems<'_>,
    file: Option<&str>,
    options: &Options,
) -> Option<Credentials> {
    let user = problems.variables(USER);
    let password = match file {
        Some(path) => {
            let file = SecretFile::of_password(path);
            let read = file.read().map_err(|problem| problems.report(CREDENTIALS, problem));
            read.ok().map(|_| PasswordOf::File(file))
        }
        None => problems.variables([PASSWORD]).map(|[text]| PasswordOf::Text(Secret::new(text))),
    };
    let scope = options.project(problems);
    if scope.is_none() {
        let why = "needs a project: set --huawei-project-id or --huawei-region";
        problems.report(CREDENTIALS, why);
    }
    let iam = options.site(problems, Service::Iam, IAM, "");
    let [domain, user] = user?;
    let source = Password::new(iam?, domain, user, password?, scope?);
    Some(Credentials::refreshed(source, None))
}

fn oidc(problems: &mut Problems<'_>, options: &Options) -> Option<Credentials> {
    const DURATION: &str = "HUAWEICLOUD_OIDC_DURATION_SECONDS";
    let parts = problems.variables(OIDC);
    let endpoint = options.site(problems, Service::Sts, STS, "");
    let duration = problems.variable(DURATION).unwrap_or_else(|| "3600".to_owned());
    let duration_seconds = match duration.trim().parse() {
        Ok(seconds @ 900..=43_200) => seconds,
        _ => {
            let why = format_args!("{duration:?} is not a number of seconds from 900 to 43200");
            problems.report(DURATION, why);
            return None;
        }
    };
    let session_name = problems.variable("HUAWEICLOUD_OIDC_SESSION_NAME");
    let [provider_urn, agency_urn, token_file] = parts?;
    let source = Oidc {
        endpoint: endpoint?,
        provider_urn,
        agency_urn,
        token_file: SecretFile::of_token(token_file),
        session_name: session_name.unwrap_or_else(|| SESSION_NAME.to_owned()),
        duration_seconds,
    };
    Some(Credentials::refreshed(source, None))
}
