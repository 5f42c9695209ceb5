//! The command line: each option with its flag, its variable, its default and its help text.

use clap::{Args, Parser, Subcommand};

use crate::secret::Secret;

/// A gRPC gateway to the savepoint APIs of Huawei Cloud DLI and Alibaba Cloud Realtime Compute
/// for Apache Flink.
#[derive(Debug, Parser)]
#[command(name = "savepoint-gateway", version, max_term_width = 100, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve gRPC and call the configured clouds
    ///
    /// At least one cloud must be configured, by its region or its endpoint. Credentials come
    /// from the source that --huawei-credentials and --alibaba-credentials name, or else from
    /// the environment:
    ///
    ///   Huawei Cloud   HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK and, for temporary keys,
    ///                  HUAWEICLOUD_SDK_SECURITY_TOKEN
    ///   Alibaba Cloud  ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and, for
    ///                  temporary keys, ALIBABA_CLOUD_SECURITY_TOKEN
    ///
    /// SIGTERM and SIGINT drain and end the process; a second one ends it at once. SIGHUP reads
    /// credentials and certificates again.
    ///
    /// Exit codes: 0 after a drain, 1 when it could not start or was ended at once, 2 when the
    /// configuration is wrong.
    #[command(verbatim_doc_comment)]
    Serve(Box<ServeOptions>),
    /// Show both calls on built-in simulators, without any cloud account
    ///
    /// Starts simulators of both REST APIs and the gateway on loopback, makes both calls with
    /// a gRPC client, prints what happened, and keeps serving until it is interrupted.
    Demo(Box<DemoOptions>),
    /// Ask a running gateway whether it serves; exit code 0 when it does, 1 when not
    ///
    /// For exec probes in images without a shell. It asks grpc.health.v1 at the admin address,
    /// or at the gRPC address when only that one is set.
    Healthcheck(HealthcheckOptions),
}

/// The options of `serve`.
#[derive(Debug, Args)]
pub struct ServeOptions {
    #[command(flatten)]
    pub(super) huawei: HuaweiOptions,
    #[command(flatten)]
    pub(super) alibaba: AlibabaOptions,
    /// Allow http:// endpoints that are not loopback: signed requests then travel in the clear
    #[arg(long, env = "SAVEPOINT_GATEWAY_ALLOW_INSECURE_ENDPOINTS", hide_env_values = true)]
    pub(super) allow_insecure_endpoints: bool,
    #[command(flatten)]
    pub(super) upstream: UpstreamOptions,
    #[command(flatten)]
    pub(super) tls: TlsOptions,
    #[command(flatten)]
    pub(super) server: ServerOptions,
    /// How logs are written.
    #[command(flatten)]
    pub log: LogOptions,
}

/// The options of `demo`.
#[derive(Debug, Args)]
pub struct DemoOptions {
    /// Exit after the calls; without --listen the gateway then takes a free port
    #[arg(long)]
    pub once: bool,
    /// Go on calling this often each second, good calls and bad ones, to give dashboards
    /// something to show
    #[arg(long, value_name = "COUNT", conflicts_with = "once", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: Option<u32>,
    #[command(flatten)]
    pub(super) server: ServerOptions,
    /// How logs are written.
    #[command(flatten)]
    pub log: LogOptions,
}

/// The options of `healthcheck`.
#[derive(Debug, Args)]
pub struct HealthcheckOptions {
    /// The address to ask: host:port or unix:/path [default: the admin address]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) address: Option<String>,
    /// The admin address of the gateway, as `serve` has it
    #[arg(long, value_name = "ADDRESS", env = "SAVEPOINT_GATEWAY_ADMIN_LISTEN")]
    pub(super) admin_listen: Option<String>,
    /// The gRPC address of the gateway, as `serve` has it
    #[arg(long, value_name = "ADDRESS", env = "SAVEPOINT_GATEWAY_LISTEN")]
    pub(super) listen: Option<String>,
    /// The service to ask about; empty for the whole gateway
    #[arg(long, value_name = "NAME", default_value = "")]
    pub service: String,
    /// How long to wait for the answer, with a unit
    #[arg(long, value_name = "DURATION", default_value = "3s")]
    pub(super) timeout: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Huawei Cloud DLI")]
pub(super) struct HuaweiOptions {
    /// The region, for example cn-north-4
    #[arg(
        long,
        value_name = "REGION",
        env = "SAVEPOINT_GATEWAY_HUAWEI_REGION",
        hide_env_values = true
    )]
    pub(super) huawei_region: Option<String>,
    /// The endpoint, instead of the region's own
    #[arg(
        long,
        value_name = "URL",
        env = "SAVEPOINT_GATEWAY_HUAWEI_ENDPOINT",
        hide_env_values = true
    )]
    pub(super) huawei_endpoint: Option<String>,
    /// The project of requests that name none [default: HUAWEICLOUD_SDK_PROJECT_ID, or else the
    /// region's, which is asked for]
    #[arg(
        long,
        value_name = "ID",
        env = "SAVEPOINT_GATEWAY_HUAWEI_PROJECT_ID",
        hide_env_values = true
    )]
    pub(super) huawei_project_id: Option<String>,
    /// Where the credential comes from: env, dir:/path, ecs, oidc, token-file:/path, password or
    /// password:/path [default: the first of env, oidc and password that has its variables set]
    #[arg(
        long,
        value_name = "SOURCE",
        env = "SAVEPOINT_GATEWAY_HUAWEI_CREDENTIALS",
        hide_env_values = true
    )]
    pub(super) huawei_credentials: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Alibaba Cloud Realtime Compute")]
pub(super) struct AlibabaOptions {
    /// The region, for example cn-hangzhou
    #[arg(
        long,
        value_name = "REGION",
        env = "SAVEPOINT_GATEWAY_ALIBABA_REGION",
        hide_env_values = true
    )]
    pub(super) alibaba_region: Option<String>,
    /// The endpoint, instead of the region's own; for one inside a VPC, for example
    #[arg(
        long,
        value_name = "URL",
        env = "SAVEPOINT_GATEWAY_ALIBABA_ENDPOINT",
        hide_env_values = true
    )]
    pub(super) alibaba_endpoint: Option<String>,
    /// The workspace of requests that name none
    #[arg(
        long,
        value_name = "ID",
        env = "SAVEPOINT_GATEWAY_ALIBABA_WORKSPACE",
        hide_env_values = true
    )]
    pub(super) alibaba_workspace: Option<String>,
    /// Where the credential comes from: env, dir:/path, ecs, ecs:role, oidc, uri or uri:http://...
    /// [default: the first of env, oidc, ecs and uri that has its variables set]
    #[arg(
        long,
        value_name = "SOURCE",
        env = "SAVEPOINT_GATEWAY_ALIBABA_CREDENTIALS",
        hide_env_values = true
    )]
    pub(super) alibaba_credentials: Option<Secret>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Connections to clouds")]
pub(super) struct UpstreamOptions {
    /// The certificates that clouds are trusted by, PEM, instead of the platform's
    #[arg(
        long,
        value_name = "FILE",
        env = "SAVEPOINT_GATEWAY_UPSTREAM_CA",
        hide_env_values = true
    )]
    pub(super) upstream_ca: Option<String>,
    /// The certificate that is shown to clouds which ask for one, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "SAVEPOINT_GATEWAY_UPSTREAM_CLIENT_CERT",
        hide_env_values = true
    )]
    pub(super) upstream_client_cert: Option<String>,
    /// The key of that certificate, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "SAVEPOINT_GATEWAY_UPSTREAM_CLIENT_KEY",
        hide_env_values = true
    )]
    pub(super) upstream_client_key: Option<String>,
    /// The HTTP proxy that https endpoints are called through, by CONNECT
    #[arg(
        long,
        value_name = "URL",
        env = "SAVEPOINT_GATEWAY_UPSTREAM_PROXY",
        hide_env_values = true
    )]
    pub(super) upstream_proxy: Option<Secret>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsOptions {
    /// The certificate of the gRPC port, with those that lead to its root, PEM
    #[arg(long, value_name = "FILE", env = "SAVEPOINT_GATEWAY_TLS_CERT", hide_env_values = true)]
    pub(super) tls_cert: Option<String>,
    /// The key of the certificate, PEM
    #[arg(long, value_name = "FILE", env = "SAVEPOINT_GATEWAY_TLS_KEY", hide_env_values = true)]
    pub(super) tls_key: Option<String>,
    /// Who issues the certificates of callers, PEM; without it callers need none
    #[arg(
        long,
        value_name = "FILE",
        env = "SAVEPOINT_GATEWAY_TLS_CLIENT_CA",
        hide_env_values = true
    )]
    pub(super) tls_client_ca: Option<String>,
    /// Whether callers must show a certificate, once there is a --tls-client-ca: required or
    /// optional
    #[arg(
        long,
        value_name = "WHETHER",
        default_value = "required",
        env = "SAVEPOINT_GATEWAY_TLS_CLIENT_AUTH",
        hide_env_values = true
    )]
    pub(super) tls_client_auth: String,
}

/// Loopback: whoever reaches the port uses the gateway's credentials.
pub(super) const LISTEN: &str = "127.0.0.1:50051";
pub(super) const ADMIN_LISTEN: &str = "127.0.0.1:9464";

#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ServerOptions {
    /// Where gRPC is served: host:port or unix:/path [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDRESS", env = "SAVEPOINT_GATEWAY_LISTEN", hide_env_values = true)]
    pub(super) listen: Option<String>,
    /// Where /metrics, /livez, /readyz and health probes are served [default: 127.0.0.1:9464]
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SAVEPOINT_GATEWAY_ADMIN_LISTEN",
        hide_env_values = true
    )]
    pub(super) admin_listen: Option<String>,
    /// The mode of Unix sockets, in octal such as 0660 [default: what the umask leaves]
    #[arg(
        long,
        value_name = "MODE",
        env = "SAVEPOINT_GATEWAY_SOCKET_MODE",
        hide_env_values = true
    )]
    pub(super) socket_mode: Option<String>,
    /// How long a call may take whose caller sets no deadline
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        env = "SAVEPOINT_GATEWAY_DEFAULT_TIMEOUT",
        hide_env_values = true
    )]
    pub(super) default_timeout: String,
    /// How long any call may take, whatever its caller asks for
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "60s",
        env = "SAVEPOINT_GATEWAY_MAX_TIMEOUT",
        hide_env_values = true
    )]
    pub(super) max_timeout: String,
    /// How long a connection to a cloud may take to be made
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "5s",
        env = "SAVEPOINT_GATEWAY_CONNECT_TIMEOUT",
        hide_env_values = true
    )]
    pub(super) connect_timeout: String,
    /// How many calls may be in flight, for each cloud; more are refused
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "256",
        env = "SAVEPOINT_GATEWAY_MAX_IN_FLIGHT",
        hide_env_values = true
    )]
    pub(super) max_in_flight: String,
    /// How many connections are served; more are closed at once
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "10000",
        env = "SAVEPOINT_GATEWAY_MAX_CONNECTIONS",
        hide_env_values = true
    )]
    pub(super) max_connections: String,
    /// How old a connection may get, give or take 10 %; 0s for any age
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "0s",
        env = "SAVEPOINT_GATEWAY_MAX_CONNECTION_AGE",
        hide_env_values = true
    )]
    pub(super) max_connection_age: String,
    /// How long a connection may stay without a call; 0s for ever
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "0s",
        env = "SAVEPOINT_GATEWAY_MAX_CONNECTION_IDLE",
        hide_env_values = true
    )]
    pub(super) max_connection_idle: String,
    /// How long a peer may take for what it must do: TLS, the HTTP/2 preface, the rest of a frame,
    /// reading an answer
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        env = "SAVEPOINT_GATEWAY_HANDSHAKE_TIMEOUT",
        hide_env_values = true
    )]
    pub(super) handshake_timeout: String,
    /// On SIGTERM, how long calls in flight may take to end
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        env = "SAVEPOINT_GATEWAY_DRAIN_TIMEOUT",
        hide_env_values = true
    )]
    pub(super) drain_timeout: String,
    /// On SIGTERM, how long to keep serving while health says NOT_SERVING
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "0s",
        env = "SAVEPOINT_GATEWAY_DRAIN_DELAY",
        hide_env_values = true
    )]
    pub(super) drain_delay: String,
    /// Serve gRPC-Web to pages of these origins, separated by commas; * for all [default: none]
    #[arg(
        long,
        value_name = "ORIGINS",
        env = "SAVEPOINT_GATEWAY_GRPC_WEB_ALLOW_ORIGIN",
        hide_env_values = true
    )]
    pub(super) grpc_web_allow_origin: Option<String>,
    /// Tell clouds the trace that a call belongs to, by traceparent and tracestate
    #[arg(long, env = "SAVEPOINT_GATEWAY_PROPAGATE_TRACE_CONTEXT", hide_env_values = true)]
    pub(super) propagate_trace_context: bool,
    /// How many threads serve calls [default: one for each processor, 4 at most]
    #[arg(long, value_name = "COUNT", env = "SAVEPOINT_GATEWAY_WORKERS", hide_env_values = true)]
    pub(super) workers: Option<String>,
}

/// How logs are written: to standard error, one line for each call.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logs")]
pub struct LogOptions {
    /// json or text [default: text on a terminal, else json]
    #[arg(
        long,
        value_name = "FORMAT",
        env = "SAVEPOINT_GATEWAY_LOG_FORMAT",
        hide_env_values = true
    )]
    pub(super) log_format: Option<String>,
    /// off, error, warn, info, debug or trace
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "SAVEPOINT_GATEWAY_LOG_LEVEL",
        hide_env_values = true
    )]
    pub(super) log_level: String,
}
