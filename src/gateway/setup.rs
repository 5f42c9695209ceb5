//! The options of `serve`, and the configuration that they produce. Only this file names every
//! provider's module.

use std::num::NonZeroUsize;
use std::sync::Arc;

use clap::Args;

use crate::options::problems::non_empty;
use crate::options::{ConfigError, Lookup, Problems};
use crate::otlp::{self, TraceConfig};
use crate::providers::{Setup, alibaba, huawei};
use crate::rpc::Error;
use crate::server::{ServerConfig, ServerOptions};
use crate::service::Handlers;
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
                [$(self.$room.as_ref().map(|setup| &setup.common)),+].into_iter().flatten()
            }

            /// The handlers of one worker, each with its own connections.
            pub(super) fn handlers(
                &self,
                upstream: impl Fn(&Setup) -> Result<Upstream, Error>,
            ) -> Result<Handlers, Error> {
                let mut handlers = Handlers::default();
                $(if let Some(setup) = &self.$room {
                    handlers.$room = Some(Arc::new(setup.handler(upstream(&setup.common)?)));
                })+
                Ok(handlers)
            }
        }
    };
}

// In the order of `--help`.
providers!(huawei, alibaba);

/// The options of `serve`.
#[derive(Debug, Args)]
pub struct ServeOptions {
    #[command(flatten)]
    providers: ProviderOptions,
    /// Allow http:// endpoints that are not loopback: signed requests are then sent unencrypted
    #[arg(long)]
    allow_insecure_endpoints: bool,
    /// Serve the RPCs that start and stop jobs
    #[arg(long)]
    enable_job_control: bool,
    #[command(flatten)]
    upstream: UpstreamOptions,
    #[command(flatten)]
    tls: TlsOptions,
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
#[command(next_help_heading = "Limits and traces")]
struct LimitOptions {
    /// Time limit for connecting to a provider
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    connect_timeout: String,
    /// Maximum number of calls in flight for each provider; further calls are rejected
    #[arg(long, value_name = "COUNT", default_value = "256")]
    max_in_flight: String,
    /// Maximum memory for the requests of all callers; further calls are rejected
    /// [default: 8MiB, 64KiB for each of --max-in-flight and 12KiB for each of --max-watches]
    #[arg(long, value_name = "SIZE")]
    max_request_memory: Option<String>,
    /// Maximum number of watches; further ones are rejected
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    max_watches: String,
    /// A watch sends a message at least this often, because proxies close silent streams
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    watch_heartbeat: String,
    /// A watch ends if the provider has not responded for this long
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    watch_stale_timeout: String,
    /// Number of worker threads [default: one for each processor, at most 4]
    #[arg(long, value_name = "COUNT")]
    workers: Option<String>,
    /// Send the trace context of a call to providers, as traceparent and tracestate
    #[arg(long)]
    propagate_trace_context: bool,
}

#[derive(Debug, Clone)]
pub struct Config {
    pub providers: Providers,
    pub server: ServerConfig,
    pub upstream: UpstreamConfig,
    /// Maximum number of calls in flight for each provider.
    pub max_in_flight: usize,
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
        let providers = self.providers.setup(self.allow_insecure_endpoints, &mut problems);
        if problems.is_empty() && providers.each().next().is_none() {
            problems.add(
                "no provider is configured: set --huawei-region, --huawei-endpoint, \
                 --alibaba-region or --alibaba-endpoint (or try `savepoint-gateway demo`, which \
                 needs none)"
                    .to_owned(),
            );
        }
        let mut config = self.gateway.config(&mut problems, providers, false);
        config.job_control = self.enable_job_control;
        let connect_timeout = config.upstream.connect_timeout;
        config.upstream = UpstreamConfig { connect_timeout, ..self.upstream.setup(&mut problems) };
        let web = !config.server.grpc_web_origins.is_empty();
        config.server.tls = self.tls.setup(&mut problems, &config.server.listen, web);
        let log = self.log.config(&mut problems);
        config.warnings.extend(problems.take_warnings());
        problems.finish((config, log))
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
        let config = Config {
            providers,
            server: ServerConfig { max_request_memory, ..self.server.config(problems, free_ports) },
            upstream: UpstreamConfig {
                connect_timeout: problems
                    .positive_duration("--connect-timeout", &limits.connect_timeout),
                ..UpstreamConfig::default()
            },
            max_in_flight,
            // As many as calls, so that bursts find their connections again.
            max_idle: max_in_flight,
            watch_limits: WatchLimits {
                max_watches,
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
}
