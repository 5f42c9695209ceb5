//! The options of `serve`, and the configuration that they produce. Only this file names every
//! provider's module.

use std::num::NonZeroUsize;
use std::sync::Arc;

use clap::Args;

use crate::options::problems::{HIDDEN, non_empty};
use crate::options::{ConfigError, Lookup, Problems};
use crate::otlp::{self, TraceConfig};
use crate::policy::PolicyOptions;
use crate::providers::{Probing, Setup, alibaba, flink, huawei};
use crate::rpc::Error;
use crate::rpc::operation::Operation;
use crate::server::{ServerConfig, ServerOptions};
use crate::service::{Handlers, OPERATIONS};
use crate::telemetry::{LogConfig, LogOptions};
use crate::tls::TlsOptions;
use crate::transport::{UpstreamConfig, UpstreamOptions};
use crate::upstream::{Backoff, Upstream, WatchLimits};

/// Options, setup and handlers of each provider, from the name of its room.
macro_rules! providers {
    ($($room:ident),+) => {
        #[derive(Debug, Args)]
        struct ProviderOptions {
            $(#[command(flatten)] $room: $room::Options,)+
        }

        impl ProviderOptions {
            fn setup(&self, insecure: bool, problems: &mut Problems<'_>) -> Providers {
                Providers { $($room: self.$room.setup(insecure, problems),)+ }
            }
        }

        #[derive(Debug, Clone, Default)]
        pub struct Providers {
            $(pub $room: Option<$room::Setup>,)+
        }

        $(impl From<$room::Setup> for Providers {
            fn from(setup: $room::Setup) -> Self {
                Self { $room: Some(setup), ..Self::default() }
            }
        })+

        impl Providers {
            /// These providers, and those of `other` that are not among them.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $($room: self.$room.or(other.$room),)+ }
            }

            pub fn each(&self) -> impl Iterator<Item = &Setup> {
                std::iter::empty()$(.chain(self.$room.iter().flat_map(|setup| setup.each())))+
            }

            /// What proves that each provider accepts the gateway's requests.
            pub(super) fn probes(
                &self,
                upstream: impl Fn(&Setup) -> Result<Upstream, Error>,
            ) -> Result<Vec<Probing>, Error> {
                let mut probes = Vec::new();
                $(if let Some(setup) = &self.$room {
                    probes.extend(setup.probes(&upstream)?);
                })+
                Ok(probes)
            }

            /// The handlers of one worker, each with its own connections.
            pub(super) fn handlers(
                &self,
                upstream: impl Fn(&Setup) -> Result<Upstream, Error>,
            ) -> Result<Handlers, Error> {
                let mut handlers = Handlers::default();
                $(if let Some(setup) = &self.$room {
                    handlers.$room = Some(Arc::new(setup.handler(&upstream)?));
                })+
                Ok(handlers)
            }
        }
    };
}

// In the order of `--help`.
providers!(huawei, alibaba, flink);

/// What is wrong with a command line, whatever its options mean.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usage {
    pub(crate) problems: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// The options of `serve`.
#[derive(Debug, Args)]
pub struct ServeOptions {
    /// What is wrong with the command line itself, and with the names of variables.
    #[arg(skip)]
    pub(crate) usage: Usage,
    #[command(flatten)]
    providers: ProviderOptions,
    /// Allow http:// endpoints that are not loopback: signed requests are then sent unencrypted
    #[arg(long, help_heading = "All providers", hide_short_help = true)]
    allow_insecure_endpoints: bool,
    /// Serve the RPCs that start and stop jobs
    #[arg(long, help_heading = "All providers")]
    enable_job_control: bool,
    #[command(flatten)]
    upstream: UpstreamOptions,
    #[command(flatten)]
    tls: TlsOptions,
    #[command(flatten)]
    policy: PolicyOptions,
    #[command(flatten)]
    gateway: GatewayOptions,
    #[command(flatten)]
    log: LogOptions,
}

/// The options that `serve` and `demo` share.
#[derive(Debug, Args)]
pub(crate) struct GatewayOptions {
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    limits: LimitOptions,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitOptions {
    /// Time limit for connecting to a provider
    #[arg(long, hide_short_help = true, value_name = "DURATION", default_value = "5s")]
    connect_timeout: String,
    /// Calls in flight for each provider
    ///
    /// Further calls are rejected
    #[arg(long, value_name = "COUNT", default_value = "256")]
    max_in_flight: String,
    /// Maximum number of calls in flight for each provider and caller, with the same share of watches
    /// and of request memory for each caller [default: as many as --max-in-flight]
    #[arg(long, hide_short_help = true, value_name = "COUNT")]
    max_in_flight_per_caller: Option<String>,
    /// Maximum memory for the requests of all callers; further calls are rejected
    /// [default: 8MiB, 64KiB for each of --max-in-flight and 12KiB for each of --max-watches]
    #[arg(long, hide_short_help = true, value_name = "SIZE")]
    max_request_memory: Option<String>,
    /// Maximum number of watches; further ones are rejected
    #[arg(long, hide_short_help = true, value_name = "COUNT", default_value = "10000")]
    max_watches: String,
    /// A watch sends a message at least this often, because proxies close silent streams
    #[arg(long, hide_short_help = true, value_name = "DURATION", default_value = "30s")]
    watch_heartbeat: String,
    /// A watch ends if the provider has not responded for this long
    #[arg(long, hide_short_help = true, value_name = "DURATION", default_value = "5m")]
    watch_stale_timeout: String,
    /// Number of worker threads [default: one for each processor, at most 4]
    #[arg(long, hide_short_help = true, value_name = "COUNT")]
    workers: Option<String>,
    /// Send the trace context of a call to providers, as traceparent and tracestate
    #[arg(long, help_heading = "Telemetry", hide_short_help = true)]
    propagate_trace_context: bool,
}

#[derive(Debug, Clone)]
pub struct Config {
    pub providers: Providers,
    pub server: ServerConfig,
    pub upstream: UpstreamConfig,
    /// Maximum number of calls in flight for each provider.
    pub max_in_flight: usize,
    /// The same for each caller.
    pub max_in_flight_per_caller: Option<usize>,
    /// Maximum number of idle connections to each provider, of all workers together.
    pub max_idle: usize,
    pub backoff: Backoff,
    pub watch_limits: WatchLimits,
    /// Whether RPCs that start and stop jobs are served.
    pub job_control: bool,
    /// Number of worker threads.
    pub workers: usize,
    /// How traces are accepted, forwarded and exported.
    pub traces: TraceConfig,
    /// What is ignored, to be logged at the start.
    pub warnings: Vec<String>,
}

impl Default for Config {
    /// The documented defaults, without a provider and on free loopback ports.
    fn default() -> Self {
        Self {
            providers: Providers::default(),
            server: ServerConfig::default(),
            upstream: UpstreamConfig::default(),
            max_in_flight: 256,
            max_in_flight_per_caller: None,
            max_idle: 256,
            backoff: Backoff::default(),
            watch_limits: WatchLimits::default(),
            job_control: false,
            workers: std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(4),
            traces: TraceConfig::default(),
            warnings: Vec::new(),
        }
    }
}

/// What a caller may hold at least: a few calls.
const LEAST_REQUEST_MEMORY: usize = 64 * 1024;

/// The share of a limit that a caller with `calls` of `all` calls has, rounded up.
fn share_of(limit: usize, calls: usize, all: usize) -> usize {
    let share = (limit as u128 * calls as u128).div_ceil(all.max(1) as u128);
    usize::try_from(share).unwrap_or(limit).clamp(1, limit.max(1))
}

/// Enough for what the other limits allow: calls that wait, calls in flight, and watches.
fn request_memory(max_in_flight: usize, max_watches: usize) -> usize {
    8 * 1024 * 1024 + max_in_flight * 64 * 1024 + max_watches * 12 * 1024
}

impl ServeOptions {
    /// The configuration. `lookup` reads environment variables.
    ///
    /// # Errors
    /// All problems.
    pub fn config(&self, lookup: Lookup<'_>) -> Result<(Config, LogConfig), ConfigError> {
        let mut problems = Problems::new(lookup);
        self.usage.problems.iter().for_each(|problem| problems.add(problem.clone()));
        let is_usage_fine = problems.is_empty();
        let providers = self.providers.setup(self.allow_insecure_endpoints, &mut problems);
        // A flag with a wrong name may be the one that names the provider.
        if is_usage_fine && problems.is_empty() && providers.each().next().is_none() {
            problems.add(
                "no provider is configured: set --huawei-region, --huawei-endpoint, \
                 --alibaba-region, --alibaba-endpoint or --flink-cluster (or try `savepoint-gateway demo`, which \
                 needs none)"
                    .to_owned(),
            );
        }
        let mut config = self.gateway.config(&mut problems, providers, false);
        config.job_control = self.enable_job_control;
        self.job_control(&config.providers, &mut problems);
        let connect_timeout = config.upstream.connect_timeout;
        config.upstream = UpstreamConfig { connect_timeout, ..self.upstream.setup(&mut problems) };
        let web = !config.server.grpc_web_origins.is_empty();
        config.server.policy = self.policy.setup(OPERATIONS, &mut problems);
        config.server.tls = self.tls.setup(&mut problems, &config.server.listen, web);
        if problems.is_empty() && !config.providers.each().any(Setup::is_tls) {
            let why = "without an endpoint that begins with https://";
            problems.without_effect(&self.upstream.set(), why);
        }
        if config.server.tls.is_none() && config.server.listen.is_open() {
            problems.warn(
                "--listen",
                format_args!(
                    "\"{}\" can be reached from other hosts, and without TLS: everyone who reaches \
                     it uses the gateway's credentials. Set --tls-cert, --tls-key and \
                     --tls-client-ca, or see that only the right callers can connect",
                    config.server.listen
                ),
            );
        }
        let log = self.log.config(&mut problems);
        config.warnings.extend(self.usage.warnings.iter().cloned());
        config.warnings.extend(problems.take_warnings());
        problems.finish((config, log))
    }

    /// Whether there is a job that could be started or stopped.
    fn job_control(&self, providers: &Providers, problems: &mut Problems<'_>) {
        let controls = |setup: &Setup| {
            let of_provider = |operation: &&Operation| operation.provider == setup.provider;
            OPERATIONS.iter().copied().filter(of_provider).any(|operation| operation.controls_jobs)
        };
        if problems.is_empty() && !providers.each().any(controls) {
            problems.without_effect(
                &[("--enable-job-control", self.enable_job_control.then_some(HIDDEN))],
                "without a provider whose jobs can be started and stopped, such as \
                 --huawei-region",
            );
        }
    }
}

impl GatewayOptions {
    /// The configuration for these providers. `free_ports`: use free ports for addresses that are
    /// not set.
    pub(crate) fn config(
        &self,
        problems: &mut Problems<'_>,
        providers: Providers,
        free_ports: bool,
    ) -> Config {
        let limits = &self.limits;
        let defaults = Config::default();
        let max_in_flight = problems.count("--max-in-flight", &limits.max_in_flight, 1_000_000);
        let max_watches = problems.count("--max-watches", &limits.max_watches, 1_000_000);
        let max_request_memory = match non_empty(&limits.max_request_memory) {
            Some(text) => problems.bytes("--max-request-memory", text),
            None => request_memory(max_in_flight, max_watches),
        };
        let per_caller = self.max_in_flight_per_caller(problems, max_in_flight);
        let share = |of: usize| per_caller.map(|calls| share_of(of, calls, max_in_flight));
        let config = Config {
            providers,
            server: ServerConfig {
                max_request_memory,
                // Less than for one call at a time would refuse everything.
                max_request_memory_per_caller: share(max_request_memory)
                    .map(|bytes| bytes.max(LEAST_REQUEST_MEMORY).min(max_request_memory)),
                ..self.server.config(problems, free_ports)
            },
            upstream: UpstreamConfig {
                connect_timeout: problems
                    .positive_duration("--connect-timeout", &limits.connect_timeout),
                ..UpstreamConfig::default()
            },
            max_in_flight,
            max_in_flight_per_caller: per_caller,
            // As many as calls, so that bursts find their connections again.
            max_idle: max_in_flight,
            watch_limits: WatchLimits {
                max_watches,
                max_watches_per_caller: share(max_watches),
                heartbeat: problems.positive_duration("--watch-heartbeat", &limits.watch_heartbeat),
                stale_timeout: problems
                    .positive_duration("--watch-stale-timeout", &limits.watch_stale_timeout),
            },
            workers: match limits.workers.as_deref().filter(|text| !text.is_empty()) {
                Some(text) => problems.count("--workers", text, 1024),
                None => defaults.workers,
            },
            traces: otlp::options::traces(problems, limits.propagate_trace_context),
            ..defaults
        };
        Config { warnings: problems.take_warnings(), ..config }
    }

    fn max_in_flight_per_caller(
        &self,
        problems: &mut Problems<'_>,
        max_in_flight: usize,
    ) -> Option<usize> {
        const FLAG: &str = "--max-in-flight-per-caller";
        let text = non_empty(&self.limits.max_in_flight_per_caller)?;
        let calls = problems.count(FLAG, text, 1_000_000);
        if calls > max_in_flight {
            let why = format_args!("{calls} is above --max-in-flight {max_in_flight}");
            problems.report(FLAG, why);
        }
        Some(calls)
    }
}
