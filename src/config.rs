//! The one definition of every option, and its validation.
//!
//! clap gives each option its flag, its variable, its default and its help text. The values
//! are read as text and checked here, all of them, so that one start shows every mistake.

mod check;
mod environment;
mod options;
mod source;
mod traces;

pub use check::ConfigError;
pub use environment::{Lookup, NotText, environment};
pub use options::{Cli, Command, DemoOptions, HealthcheckOptions, LogOptions, ServeOptions};
pub use source::{ALIBABA_SOURCES, HUAWEI_SOURCES};

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::credential::Credentials;
use crate::deadline::Timeouts;
use crate::endpoint::Endpoint;
use crate::huawei::ProjectLookup;
use crate::operation::Provider;
use crate::server::{Address, ClientAuth, Tls, TlsFiles};
use crate::telemetry::{LogFormat, LogLevel, TraceConfig};
use crate::upstream::{Backoff, Identity, Proxy, Trust};
use crate::validate::{is_project_id, is_workspace};
use crate::{alibaba, huawei};
use check::{Check, given, given_text};
use options::{ADMIN_LISTEN, LISTEN, ServerOptions, TlsOptions, UpstreamOptions};

/// Everything that the server needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: Address,
    /// Where operators are served.
    pub admin_listen: Address,
    /// The mode of Unix sockets.
    pub socket_mode: Option<u32>,
    /// TLS for callers over a network.
    pub tls: Option<Arc<Tls>>,
    /// Which certificates of clouds are believed, instead of the platform's.
    pub upstream_ca: Option<Trust>,
    /// The certificate that is shown to clouds which ask for one.
    pub upstream_identity: Option<Arc<Identity>>,
    /// What clouds are called through.
    pub upstream_proxy: Option<Proxy>,
    /// Huawei Cloud, if it is configured.
    pub huawei: Option<ProviderConfig>,
    /// How the project of requests that name none is found, where it is not configured.
    pub huawei_project: Option<ProjectLookup>,
    /// Alibaba Cloud, if it is configured.
    pub alibaba: Option<ProviderConfig>,
    /// How long calls may take.
    pub timeouts: Timeouts,
    /// How long a connection to a provider may take to be made.
    pub connect_timeout: Duration,
    /// How many calls may be in flight for each provider.
    pub max_in_flight: usize,
    /// How many connections are served.
    pub max_connections: usize,
    /// How old a connection may get.
    pub max_connection_age: Option<Duration>,
    /// How long a connection may stay without a call.
    pub max_connection_idle: Option<Duration>,
    /// How long a new connection may take to begin HTTP/2.
    pub handshake_timeout: Duration,
    /// How long calls in flight may take to end when the process must.
    pub drain_timeout: Duration,
    /// How long to keep serving while health says NOT_SERVING.
    pub drain_delay: Duration,
    /// The origins whose pages may call by gRPC-Web; none switches it off.
    pub grpc_web_origins: Vec<HeaderValue>,
    /// How many threads serve calls.
    pub workers: usize,
    /// How failed attempts are repeated.
    pub backoff: Backoff,
    /// How traces are taken over, handed on and exported.
    pub traces: TraceConfig,
}

impl Config {
    /// The providers that are configured.
    pub fn providers(&self) -> impl Iterator<Item = (Provider, &ProviderConfig)> {
        let huawei = self.huawei.iter().map(|config| (Provider::HuaweiDli, config));
        huawei.chain(self.alibaba.iter().map(|config| (Provider::AlibabaFlink, config)))
    }
}

/// How one provider is called.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// Where it is called.
    pub endpoint: Endpoint,
    /// What requests are signed with.
    pub credentials: Credentials,
    /// The project or workspace of requests that name none.
    pub scope: Option<String>,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// How much is logged.
    pub level: LogLevel,
}

impl ServeOptions {
    /// Checks everything.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn config(&self, lookup: Lookup<'_>) -> Result<(Config, LogConfig), ConfigError> {
        let mut check = Check::new(lookup);
        let huawei = self.huawei(&mut check);
        let alibaba = self.alibaba(&mut check);
        if check.problems.is_empty() && huawei.is_none() && alibaba.is_none() {
            check.problem(
                "no cloud is configured: set --huawei-region, --huawei-endpoint, --alibaba-region \
                 or --alibaba-endpoint (or try `savepoint-gateway demo`, which needs none)",
            );
        }
        let mut config = self.server.config(&mut check, huawei, alibaba);
        let web = !config.grpc_web_origins.is_empty();
        config.tls = self.tls.config(&mut check, &config.listen, web);
        config.huawei_project = self.huawei_project(&mut check);
        config.upstream_ca = self.upstream.trust(&mut check);
        config.upstream_identity = self.upstream.identity(&mut check);
        config.upstream_proxy = self.upstream.proxy(&mut check);
        let log = self.log.config(&mut check);
        check.finish((config, log))
    }

    fn huawei(&self, check: &mut Check<'_>) -> Option<ProviderConfig> {
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
    fn huawei_project(&self, check: &mut Check<'_>) -> Option<ProjectLookup> {
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

    fn alibaba(&self, check: &mut Check<'_>) -> Option<ProviderConfig> {
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
            given_text(&options.alibaba_credentials),
            self.allow_insecure_endpoints,
        );
        Some(ProviderConfig { endpoint: endpoint?, credentials: credentials?, scope })
    }
}

impl TlsOptions {
    fn config(&self, check: &mut Check<'_>, listen: &Address, http_1: bool) -> Option<Arc<Tls>> {
        let (cert, key) = (given_text(&self.tls_cert), given_text(&self.tls_key));
        let client_ca = given_text(&self.tls_client_ca);
        let auth = match self.tls_client_auth.as_str() {
            "required" | "" => ClientAuth::Required,
            "optional" => ClientAuth::Optional,
            other => {
                let why = format!("{other:?} is neither required nor optional");
                check.wrong("--tls-client-auth", &why);
                ClientAuth::Required
            }
        };
        let (cert, key) = match (cert, key) {
            (Some(cert), Some(key)) => (cert, key),
            (Some(_), None) => {
                check.wrong("--tls-key", "is missing, while --tls-cert is set");
                return None;
            }
            (None, Some(_)) => {
                check.wrong("--tls-cert", "is missing, while --tls-key is set");
                return None;
            }
            (None, None) => {
                if client_ca.is_some() {
                    check.wrong("--tls-client-ca", "needs --tls-cert and --tls-key");
                }
                return None;
            }
        };
        if matches!(listen, Address::Unix(_)) {
            check.wrong("--tls-cert", "is for host:port, and --listen is a Unix socket");
        }
        let files = TlsFiles {
            cert: cert.into(),
            key: key.into(),
            client_ca: client_ca.map(|path| (path.into(), auth)),
            http_1,
        };
        match Tls::load(files) {
            Ok(tls) => Some(Arc::new(tls)),
            Err(problems) => {
                for problem in problems {
                    check.wrong(problem.flag, &problem.why);
                }
                None
            }
        }
    }
}

impl UpstreamOptions {
    fn trust(&self, check: &mut Check<'_>) -> Option<Trust> {
        let path = given_text(&self.upstream_ca)?;
        let trust = std::fs::read(path)
            .map_err(|error| error.kind().to_string())
            .and_then(|pem| Trust::bundle(&pem).map_err(|error| error.to_string()));
        match trust {
            Ok(trust) => Some(trust),
            Err(why) => {
                check.wrong("--upstream-ca", &format!("{path}: {why}"));
                None
            }
        }
    }

    fn identity(&self, check: &mut Check<'_>) -> Option<Arc<Identity>> {
        const CERT: &str = "--upstream-client-cert";
        const KEY: &str = "--upstream-client-key";
        let cert = given_text(&self.upstream_client_cert);
        let key = given_text(&self.upstream_client_key);
        match (cert, key) {
            (None, None) => None,
            (Some(_), None) => {
                check.wrong(KEY, &format!("is missing, while {CERT} is set"));
                None
            }
            (None, Some(_)) => {
                check.wrong(CERT, &format!("is missing, while {KEY} is set"));
                None
            }
            (Some(cert), Some(key)) => match Identity::load(cert, key) {
                Ok(identity) => Some(Arc::new(identity)),
                Err(problems) => {
                    for problem in problems {
                        check.wrong(problem.flag, &problem.why);
                    }
                    None
                }
            },
        }
    }

    fn proxy(&self, check: &mut Check<'_>) -> Option<Proxy> {
        let proxy = Proxy::parse(given_text(&self.upstream_proxy)?);
        if proxy.is_none() {
            // Not repeated: it may hold a password.
            check.wrong("--upstream-proxy", "is not a URL such as http://proxy.example:3128");
        }
        proxy
    }
}

impl DemoOptions {
    /// Checks everything; the providers are the demo's simulators.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn config(
        &self,
        huawei: ProviderConfig,
        alibaba: ProviderConfig,
    ) -> Result<(Config, LogConfig), ConfigError> {
        let mut check = Check::new(&environment);
        let mut config = self.server.config(&mut check, Some(huawei), Some(alibaba));
        if self.once {
            let free = || Address::Tcp("127.0.0.1:0".to_owned());
            if given(&self.server.listen).is_none() {
                config.listen = free();
            }
            if given(&self.server.admin_listen).is_none() {
                config.admin_listen = free();
            }
        }
        let log = self.log.config(&mut check);
        check.finish((config, log))
    }
}

impl HealthcheckOptions {
    /// Whom to ask, and how long to wait.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn target(&self) -> Result<(Address, Duration), ConfigError> {
        let none = |_: &str| Ok(None);
        let mut check = Check::new(&none);
        let (flag, text) = [
            ("--address", &self.address),
            ("--admin-listen", &self.admin_listen),
            ("--listen", &self.listen),
        ]
        .into_iter()
        .find_map(|(flag, option)| Some((flag, given_text(option)?)))
        .unwrap_or(("--address", ADMIN_LISTEN));
        let address = check.address(flag, text);
        let timeout = check.duration("--timeout", &self.timeout, true);
        check.finish((address, timeout))
    }
}

impl ServerOptions {
    fn config(
        &self,
        check: &mut Check<'_>,
        huawei: Option<ProviderConfig>,
        alibaba: Option<ProviderConfig>,
    ) -> Config {
        let some = |duration: Duration| Some(duration).filter(|d| !d.is_zero());
        Config {
            listen: check.address("--listen", given_text(&self.listen).unwrap_or(LISTEN)),
            admin_listen: check
                .address("--admin-listen", given_text(&self.admin_listen).unwrap_or(ADMIN_LISTEN)),
            socket_mode: given_text(&self.socket_mode).and_then(|text| check.mode(text)),
            tls: None,
            upstream_ca: None,
            upstream_identity: None,
            upstream_proxy: None,
            huawei,
            huawei_project: None,
            alibaba,
            timeouts: Timeouts {
                default: check.duration("--default-timeout", &self.default_timeout, true),
                max: check.duration("--max-timeout", &self.max_timeout, true),
            },
            connect_timeout: check.duration("--connect-timeout", &self.connect_timeout, true),
            max_in_flight: check.count("--max-in-flight", &self.max_in_flight, 1_000_000),
            max_connections: check.count("--max-connections", &self.max_connections, 10_000_000),
            max_connection_age: some(check.duration(
                "--max-connection-age",
                &self.max_connection_age,
                false,
            )),
            max_connection_idle: some(check.duration(
                "--max-connection-idle",
                &self.max_connection_idle,
                false,
            )),
            handshake_timeout: check.duration("--handshake-timeout", &self.handshake_timeout, true),
            drain_timeout: check.duration("--drain-timeout", &self.drain_timeout, true),
            drain_delay: check.duration("--drain-delay", &self.drain_delay, false),
            grpc_web_origins: check.origins(
                "--grpc-web-allow-origin",
                given_text(&self.grpc_web_allow_origin).unwrap_or_default(),
            ),
            workers: match given_text(&self.workers) {
                Some(text) => check.count("--workers", text, 1024),
                None => std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(4),
            },
            backoff: Backoff::default(),
            traces: check.traces(self.propagate_trace_context),
        }
    }
}

impl LogOptions {
    fn config(&self, check: &mut Check<'_>) -> LogConfig {
        use std::io::IsTerminal;
        let terminal = std::io::stderr().is_terminal();
        // https://no-color.org
        let colour = terminal && !matches!(environment("NO_COLOR"), Ok(Some(_)));
        let format = match given_text(&self.log_format) {
            Some("json") => LogFormat::Json,
            Some("text") => LogFormat::Text { colour },
            None if terminal => LogFormat::Text { colour },
            None => LogFormat::Json,
            Some(other) => {
                check.wrong("--log-format", &format!("{other:?} is neither json nor text"));
                LogFormat::Json
            }
        };
        let level = match self.log_level.as_str() {
            "off" => LogLevel::Off,
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "info" | "" => LogLevel::Info,
            "debug" => LogLevel::Debug,
            "trace" => LogLevel::Trace,
            other => {
                check.wrong(
                    "--log-level",
                    &format!("{other:?} is none of off, error, warn, info, debug and trace"),
                );
                LogLevel::Info
            }
        };
        LogConfig { format, level }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const HUAWEI: [(&str, &str); 2] =
        [("HUAWEICLOUD_SDK_AK", "EXAMPLEAK"), ("HUAWEICLOUD_SDK_SK", "exampleSecret")];

    fn config(args: &[&str], env: &[(&str, &str)]) -> Result<(Config, LogConfig), String> {
        let cli = Cli::try_parse_from(["savepoint-gateway", "serve"].iter().chain(args))
            .map_err(|error| error.to_string())?;
        let Command::Serve(options) = cli.command else { unreachable!() };
        let lookup = |name: &str| {
            Ok(env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        options.config(&lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let (config, _) = config(&["--huawei-region", "cn-north-4"], &HUAWEI).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:50051");
        assert_eq!(config.admin_listen.to_string(), "127.0.0.1:9464");
        assert_eq!(config.timeouts.default, Duration::from_secs(30));
        assert_eq!(config.timeouts.max, Duration::from_secs(60));
        assert_eq!(config.connect_timeout, Duration::from_secs(5));
        assert_eq!(config.max_in_flight, 256);
        assert_eq!(config.drain_timeout, Duration::from_secs(10));
        assert_eq!(config.drain_delay, Duration::ZERO);
        assert_eq!(config.max_connection_age, None);
        assert!(config.traces.accept && !config.traces.forward && config.traces.export.is_none());
        let huawei = config.huawei.unwrap();
        assert_eq!(huawei.endpoint.origin(), "https://dli.cn-north-4.myhuaweicloud.com");
        assert_eq!(huawei.scope, None);
        assert!(config.alibaba.is_none());
    }

    #[test]
    fn everything_wrong_is_told_at_once_by_flag_and_variable() {
        let error = config(
            &[
                "--huawei-region=mars-1",
                "--alibaba-endpoint=http://203.0.113.1",
                "--alibaba-workspace=../x",
                "--listen=nowhere",
                "--default-timeout=30",
                "--max-timeout=-5s",
                "--connect-timeout=0s",
                "--max-in-flight=0",
                "--workers=many",
                "--log-level=loud",
                "--log-format=xml",
            ],
            &[
                ("HUAWEICLOUD_SDK_AK", "EXAMPLEAK"),
                ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
            ],
        )
        .unwrap_err();
        for part in [
            "--huawei-region (SAVEPOINT_GATEWAY_HUAWEI_REGION): \"mars-1\"",
            "HUAWEICLOUD_SDK_SK: is missing, while HUAWEICLOUD_SDK_AK is set",
            "--alibaba-endpoint (SAVEPOINT_GATEWAY_ALIBABA_ENDPOINT): uses http://",
            "--alibaba-workspace (SAVEPOINT_GATEWAY_ALIBABA_WORKSPACE): ",
            "ALIBABA_CLOUD_ACCESS_KEY_ID: is missing",
            "--listen (SAVEPOINT_GATEWAY_LISTEN): \"nowhere\"",
            "--default-timeout (SAVEPOINT_GATEWAY_DEFAULT_TIMEOUT): \"30\"",
            "--max-timeout (SAVEPOINT_GATEWAY_MAX_TIMEOUT): \"-5s\"",
            "--connect-timeout (SAVEPOINT_GATEWAY_CONNECT_TIMEOUT): \"0s\"",
            "--max-in-flight (SAVEPOINT_GATEWAY_MAX_IN_FLIGHT): \"0\"",
            "--workers (SAVEPOINT_GATEWAY_WORKERS): \"many\"",
            "--log-level (SAVEPOINT_GATEWAY_LOG_LEVEL): \"loud\"",
            "--log-format (SAVEPOINT_GATEWAY_LOG_FORMAT): \"xml\"",
        ] {
            assert!(error.contains(part), "{part}\n{error}");
        }
        assert!(!error.contains("exampleSecret"), "{error}");
    }

    #[test]
    fn traces_are_told_to_clouds_where_the_option_says_so() {
        let args = ["--huawei-region=cn-north-4", "--propagate-trace-context"];
        assert!(config(&args, &HUAWEI).unwrap().0.traces.forward);
    }

    #[test]
    fn no_cloud_at_all_is_an_error_that_shows_the_way() {
        let error = config(&[], &HUAWEI).unwrap_err();
        assert!(error.contains("no cloud is configured"), "{error}");
    }

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

    #[test]
    fn options_of_connections_are_checked_before_the_start() {
        let h = "--huawei-region=cn-north-4";
        for (args, want) in [
            (vec!["--tls-cert=/nowhere/c"], "--tls-key (SAVEPOINT_GATEWAY_TLS_KEY): is missing"),
            (vec!["--tls-key=/nowhere/k"], "--tls-cert (SAVEPOINT_GATEWAY_TLS_CERT): is missing"),
            (vec!["--tls-client-ca=/nowhere/c"], "needs --tls-cert and --tls-key"),
            (vec!["--tls-client-auth=maybe"], "\"maybe\" is neither required nor optional"),
            (vec!["--tls-cert=/nowhere/c", "--tls-key=/nowhere/k"], "/nowhere/c: cannot be read"),
            (vec!["--tls-cert=/nowhere/c", "--tls-key=/nowhere/k"], "/nowhere/k: cannot be read"),
            (
                vec!["--tls-cert=/nowhere/c", "--tls-key=/nowhere/k", "--listen=unix:/x"],
                "--listen is a Unix socket",
            ),
            (vec!["--socket-mode=rw"], "\"rw\" is not a mode"),
            (vec!["--socket-mode=1777"], "\"1777\" is not a mode"),
            (vec!["--upstream-ca=/nowhere/ca"], "/nowhere/ca: entity not found"),
            (vec!["--upstream-proxy=socks5://u:exampleSecret@h:1"], "--upstream-proxy (SAVE"),
            (vec!["--upstream-proxy=http://u:exampleSecret@h:1/path"], "--upstream-proxy (SAVE"),
        ] {
            let args = [vec![h], args].concat();
            let error = config(&args, &HUAWEI).unwrap_err();
            assert!(error.contains(want), "{want}\n{error}");
            assert!(!error.contains("exampleSecret"), "{error}");
        }
        let args = [h, "--socket-mode=0660", "--upstream-proxy=http://u:exampleSecret@h:1"];
        let (config, _) = config(&args, &HUAWEI).unwrap();
        assert_eq!(config.socket_mode, Some(0o660));
        assert!(!format!("{config:?}").contains("exampleSecret"));
    }

    #[test]
    fn the_effective_configuration_prints_no_secret() {
        let (config, _) = config(&["--huawei-region=cn-north-4"], &HUAWEI).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("exampleSecret"), "{shown}");
        assert!(!shown.contains("EXAMPLEAK"), "{shown}");
    }
}
