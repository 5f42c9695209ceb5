//! The one definition of every option, and its validation.
//!
//! clap gives each option its flag, its variable, its default and its help text. The values
//! are read as text and checked here, all of them, so that one start shows every mistake.

mod check;
mod clouds;
mod connections;
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
use crate::server::{Address, Tls};
use crate::telemetry::{LogFormat, LogLevel, TraceConfig};
use crate::upstream::{Backoff, Identity, Proxy, Trust};
use check::{Check, given, given_text};
use options::{ADMIN_LISTEN, LISTEN, ServerOptions};

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

    pub(super) const HUAWEI: [(&str, &str); 2] =
        [("HUAWEICLOUD_SDK_AK", "EXAMPLEAK"), ("HUAWEICLOUD_SDK_SK", "exampleSecret")];

    pub(super) fn config(
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<(Config, LogConfig), String> {
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
    fn the_effective_configuration_prints_no_secret() {
        let (config, _) = config(&["--huawei-region=cn-north-4"], &HUAWEI).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("exampleSecret"), "{shown}");
        assert!(!shown.contains("EXAMPLEAK"), "{shown}");
    }
}
