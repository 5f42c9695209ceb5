use savepoint_gateway::cli::{Cli, Command};
use savepoint_gateway::credential::{Credentials, SecretFile};
use savepoint_gateway::gateway::Config;
use savepoint_gateway::options::ConfigError;
use savepoint_gateway::options::Endpoint;
use savepoint_gateway::pb::ImportSavepointRequest;
use savepoint_gateway::providers::alibaba::{self, ALIBABA, EcsRole, Rrsa};
use savepoint_gateway::providers::huawei::{self, EcsAgency, HUAWEI, Project};
use savepoint_gateway::rpc::operation::Provider;

use super::credentials::{ALIBABA_KEY, HUAWEI_KEY, HUAWEI_OIDC_KEY, TOKEN, success};
use crate::support::{
    FakeCloud, Folder, Gateway, Options, PROJECT_ID, Recorded, Reply, get_request, import_request,
};

/// The services that sources ask, and both providers, at one address.
fn services(request: &Recorded) -> Reply {
    match request.path() {
        "/v3/auth/tokens?nocatalog=true" => {
            Reply::json_with(201, &[("x-subject-token", "MIIYEXAMPLETOKEN")], TOKEN)
        }
        "/v3/projects?name=cn-north-4" => Reply::json(
            200,
            &format!(r#"{{"projects":[{{"name":"cn-north-4","id":"{PROJECT_ID}"}}]}}"#),
        ),
        "/v5/agencies/assume-with-oidc" => Reply::json(200, HUAWEI_OIDC_KEY),
        "/meta-data/latest/api/token" | "/latest/api/token" => Reply::text(200, "text/plain", "T"),
        "/openstack/latest/securitykey" => Reply::json(200, HUAWEI_KEY),
        "/latest/meta-data/ram/security-credentials/" => Reply::text(200, "text/plain", "gw-role"),
        "/latest/meta-data/ram/security-credentials/gw-role" | "/creds" => {
            Reply::json(200, &format!(r#"{{"Code":"Success",{ALIBABA_KEY}}}"#))
        }
        path if path.starts_with("/?Action=AssumeRoleWithOIDC") => {
            Reply::json(200, &format!(r#"{{"Credentials":{{{ALIBABA_KEY}}}}}"#))
        }
        _ => success(request),
    }
}

type Variables = Vec<(&'static str, String)>;

/// A source as somebody configures it.
struct Case {
    /// The value of the option.
    option: String,
    variables: Variables,
    /// What the configuration makes of it, where its service is at a fixed address and the
    /// test must ask another: the name of the source, and the source.
    fixed: Option<(&'static str, Credentials)>,
    /// A header of the call, and a part of its value.
    proof: (&'static str, &'static str),
}

impl Case {
    fn new(option: impl Into<String>, proof: (&'static str, &'static str)) -> Self {
        Self { option: option.into(), variables: Vec::new(), fixed: None, proof }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    fn fixed(mut self, name: &'static str, credentials: Credentials) -> Self {
        self.fixed = Some((name, credentials));
        self
    }
}

fn key(folder: &Folder, id: &str) -> String {
    folder.write("access_key_id", id);
    folder.write("access_key_secret", "exampleSecret\n");
    format!("dir:{}", folder.path().display())
}

fn huawei_case(form: &str, cloud: &FakeCloud, folder: &Folder) -> Option<Case> {
    let endpoint = Endpoint::parse(&cloud.endpoint(), false).unwrap();
    let token = folder.write("token", "MIIEFILETOKEN\n").display().to_string();
    let password = folder.write("password", "example Password é\n").display().to_string();
    let user = |option: String| {
        Case::new(option, ("x-auth-token", "MIIYEXAMPLETOKEN"))
            .with("HW_DOMAIN_NAME", "IAMDomain")
            .with("HW_USER_NAME", "IAMUser")
    };
    Some(match form {
        "env" => Case::new(form, ("authorization", "Access=ENVAK,"))
            .with("HUAWEICLOUD_SDK_AK", "ENVAK")
            .with("HUAWEICLOUD_SDK_SK", "exampleSecret"),
        "dir:/path" => Case::new(key(folder, "DIRAK"), ("authorization", "Access=DIRAK,")),
        "oidc" => Case::new(form, ("authorization", "Access=OIDCAK,"))
            .with("HUAWEICLOUD_OIDC_PROVIDER_URN", "iam::acct:oidcProvider:k8s")
            .with("HUAWEICLOUD_OIDC_AGENCY_URN", "iam::acct:agency:gw")
            .with("HUAWEICLOUD_OIDC_TOKEN_FILE", token)
            .with("HUAWEICLOUD_SDK_STS_ENDPOINT", cloud.endpoint()),
        "ecs" => Case::new(form, ("authorization", "Access=TMPAK,"))
            .fixed("EcsAgency {", Credentials::refreshed(EcsAgency { endpoint }, None)),
        "token-file:/path" => {
            Case::new(format!("token-file:{token}"), ("x-auth-token", "MIIEFILETOKEN"))
        }
        "password" => user(form.to_owned()).with("HW_USER_PASSWORD", "examplePassword"),
        "password:/path" => user(format!("password:{password}")),
        _ => return None,
    })
}

fn alibaba_case(form: &str, cloud: &FakeCloud, folder: &Folder) -> Option<Case> {
    let endpoint = Endpoint::parse(&cloud.endpoint(), false).unwrap();
    let token = folder.write("token", "ey.ID.TOKEN\n");
    let uri = format!("{}/creds", cloud.endpoint());
    let temporary = ("authorization", "Credential=STS.EXAMPLE,");
    let role = |role: Option<&str>| {
        let role = role.map(str::to_owned);
        Credentials::refreshed(EcsRole { endpoint: endpoint.clone(), role, allow_v1: true }, None)
    };
    Some(match form {
        "env" => Case::new(form, ("authorization", "Credential=ENVID,"))
            .with("ALIBABA_CLOUD_ACCESS_KEY_ID", "ENVID")
            .with("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
        "dir:/path" => Case::new(key(folder, "DIRID"), ("authorization", "Credential=DIRID,")),
        "oidc" => {
            let source = Rrsa {
                endpoint,
                role_arn: "acs:ram::123:role/gw".into(),
                oidc_provider_arn: "acs:ram::123:oidc-provider/p".into(),
                token_file: SecretFile::of_token(token.clone()),
                session_name: "gw".into(),
            };
            Case::new(form, temporary)
                .with("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::123:role/gw")
                .with("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::123:oidc-provider/p")
                .with("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token.display().to_string())
                .fixed("Rrsa {", Credentials::refreshed(source, None))
        }
        "ecs" => Case::new(form, temporary).fixed("role: None", role(None)),
        "ecs:role" => Case::new("ecs:gw-role", temporary)
            .fixed(r#"role: Some("gw-role")"#, role(Some("gw-role"))),
        "uri" => Case::new(form, temporary).with("ALIBABA_CLOUD_CREDENTIALS_URI", uri),
        "uri:http://..." => Case::new(format!("uri:{uri}"), temporary),
        _ => return None,
    })
}

fn config(args: &[String], variables: &[(&str, String)]) -> Result<Config, ConfigError> {
    let command = ["savepoint-gateway".to_owned(), "serve".to_owned()];
    let cli = Cli::try_from_args(command.iter().chain(args).cloned()).unwrap();
    let Command::Serve(options) = cli.command else { unreachable!() };
    let lookup = |name: &str| {
        Ok(variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
    };
    options.config(&lookup).map(|(config, _)| config)
}

/// The source as the configuration makes it, and the gateway with it.
async fn gateway(provider: &'static Provider, case: &Case, cloud: &FakeCloud) -> Gateway {
    let cloud_name = if provider == &HUAWEI { "huawei" } else { "alibaba" };
    let region = if provider == &HUAWEI { "cn-north-4" } else { "cn-hangzhou" };
    let args = [
        format!("--{cloud_name}-region={region}"),
        format!("--{cloud_name}-endpoint={}", cloud.endpoint()),
        format!("--{cloud_name}-credentials={}", case.option),
    ];
    let mut variables = case.variables.clone();
    variables.push(("HUAWEICLOUD_SDK_IAM_ENDPOINT", cloud.endpoint()));
    let config = config(&args, &variables).unwrap_or_else(|error| panic!("{error}"));
    let providers = &config.providers;
    let huawei = providers.huawei.as_ref().map(|setup| &setup.common);
    let configured = huawei.or(providers.alibaba.as_ref().map(|setup| &setup.common)).unwrap();
    let credentials = match &case.fixed {
        Some((name, credentials)) => {
            let shown = format!("{:?}", configured.credentials);
            assert!(shown.contains(name), "{name}: {shown}");
            credentials.clone()
        }
        None => configured.credentials.clone(),
    };
    let project = config.providers.huawei.map(|setup| setup.default_project);
    let at = |this: &Provider| (provider == this).then(|| cloud.endpoint());
    Gateway::start(Options {
        huawei: at(&HUAWEI),
        alibaba: at(&ALIBABA),
        credentials: Some(credentials),
        project: project.unwrap_or(Project::None),
        ..Options::none()
    })
    .await
}

fn proven(request: &Recorded, (name, part): (&str, &str)) {
    let value = request.header(name).unwrap_or_else(|| panic!("no {name}:\n{}", request.head));
    assert!(value.contains(part), "{part}: {value}");
    // A token and a signature exclude each other.
    let both = ["x-auth-token", "authorization"].map(|name| request.header(name).is_some());
    assert_ne!(both[0], both[1], "{}", request.head);
}

#[tokio::test]
async fn every_source_of_huawei_cloud_makes_calls_and_finds_the_project() {
    for form in huawei::sources() {
        let (cloud, folder) =
            (FakeCloud::start(|request, _| services(request)).await, Folder::new());
        let case = huawei_case(form, &cloud, &folder)
            .unwrap_or_else(|| panic!("no case for the source {form}"));
        let gateway = gateway(&HUAWEI, &case, &cloud).await;
        let mut client = gateway.client().await;
        client.import_savepoint(import_request()).await.unwrap();
        let nameless = ImportSavepointRequest { project_id: String::new(), ..import_request() };
        client.import_savepoint(nameless).await.unwrap();
        let requests = cloud.requests();
        let calls: Vec<_> = requests.iter().filter(|r| r.path().starts_with("/v1.0/")).collect();
        assert_eq!(calls.len(), 2, "{form}");
        for call in calls {
            assert_eq!(call.header("x-project-id"), Some(PROJECT_ID), "{form}");
            proven(call, case.proof);
        }
        let lookups: Vec<_> =
            requests.iter().filter(|r| r.path().starts_with("/v3/projects")).collect();
        let [lookup] = lookups[..] else { panic!("{form}: {} lookups", lookups.len()) };
        proven(lookup, case.proof);
    }
}

#[tokio::test]
async fn every_source_of_alibaba_cloud_makes_calls() {
    for form in alibaba::sources() {
        let (cloud, folder) =
            (FakeCloud::start(|request, _| services(request)).await, Folder::new());
        let case = alibaba_case(form, &cloud, &folder)
            .unwrap_or_else(|| panic!("no case for the source {form}"));
        let gateway = gateway(&ALIBABA, &case, &cloud).await;
        gateway.client().await.get_savepoint(get_request()).await.unwrap();
        let requests = cloud.requests();
        let calls: Vec<_> = requests.iter().filter(|r| r.path().starts_with("/api/v2/")).collect();
        let [call] = calls[..] else { panic!("{form}: {} calls", calls.len()) };
        proven(call, case.proof);
    }
}

fn read(file: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The part of a text from one heading to the next of its depth.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text.split_once(heading).unwrap();
    rest.split_once("\n### ").map_or(rest, |(section, _)| section)
}

/// Each form is in the tables, and each example in them is a configuration that starts, if
/// only its files are there.
#[test]
fn the_tables_of_sources_are_complete_and_their_examples_work() {
    let (docs, readme) = (read("docs/credentials.md"), read("README.md"));
    for (heading, forms) in
        [("\n### Huawei Cloud\n", huawei::sources()), ("\n### Alibaba Cloud\n", alibaba::sources())]
    {
        let rows: Vec<Vec<&str>> = section(&docs, heading)
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
            .collect();
        for form in forms {
            let quoted = format!("`{form}`");
            let row = rows.iter().find(|row| row[0].contains(&quoted));
            let row = row.unwrap_or_else(|| panic!("docs/credentials.md has no row for {form}"));
            assert!(readme.contains(&quoted), "README.md does not name {form}");
            let example = row.last().unwrap().trim_matches('`');
            let (variables, args): (Vec<_>, Vec<_>) =
                example.split(' ').partition(|word| !word.starts_with('-') && word.contains('='));
            let variables: Vec<(&str, String)> = variables
                .iter()
                .map(|word| word.split_once('=').unwrap())
                .map(|(name, value)| (name, value.to_owned()))
                .collect();
            assert_eq!(args[..2], ["savepoint-gateway", "serve"], "{example}");
            let args: Vec<_> = args[2..].iter().map(|arg| (*arg).to_owned()).collect();
            if let Err(error) = config(&args, &variables) {
                let problems = error.to_string();
                for problem in problems.lines().skip(1) {
                    assert!(problem.ends_with(": does not exist"), "{example}\n{problem}");
                }
            }
        }
    }
}
