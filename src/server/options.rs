//! The options of the server.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::{HeaderName, HeaderValue};

use crate::options::problems::non_empty;
use crate::options::{Address, Problems};
use crate::policy::Enforcement;
use crate::rpc::Timeouts;
use crate::rpc::operation::Kind;
use crate::tls::ServerTls;

/// Loopback, because anyone who reaches the port uses the gateway's credentials.
const LISTEN: &str = "127.0.0.1:50051";
pub(crate) const ADMIN_LISTEN: &str = "127.0.0.1:9464";

/// The options of the server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Listeners")]
pub(crate) struct ServerOptions {
    /// gRPC port [default: 127.0.0.1:50051]
    ///
    /// host:port or unix:/path
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Probes and metrics [default: 127.0.0.1:9464]
    ///
    /// host:port or unix:/path; serves /metrics, /livez, /readyz and grpc.health.v1
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Mode of Unix sockets, in octal such as 0660 [default: by the umask]
    #[arg(long, hide_short_help = true, value_name = "MODE")]
    socket_mode: Option<String>,
    /// Deadline of calls that set none
    ///
    /// [default: 30s, or --max-timeout if that is shorter]
    #[arg(long, help_heading = "Limits", value_name = "DURATION")]
    default_timeout: Option<String>,
    /// Maximum deadline of any call
    #[arg(long, help_heading = "Limits", value_name = "DURATION", default_value = "60s")]
    max_timeout: String,
    /// Maximum deadline of a watch, and the deadline of watches that do not set one
    #[arg(
        long,
        help_heading = "Limits",
        hide_short_help = true,
        value_name = "DURATION",
        default_value = "1h"
    )]
    max_watch: String,
    /// Maximum number of connections; further ones are closed at once, and idle ones from seven
    /// eighths on
    #[arg(
        long,
        help_heading = "Limits",
        hide_short_help = true,
        value_name = "COUNT",
        default_value = "10000"
    )]
    max_connections: String,
    /// Maximum age of a connection, plus or minus 10 %; 0s for no limit
    #[arg(
        long,
        help_heading = "Limits",
        hide_short_help = true,
        value_name = "DURATION",
        default_value = "0s"
    )]
    max_connection_age: String,
    /// Maximum time of a connection without a call after its first; 0s for no limit
    #[arg(
        long,
        help_heading = "Limits",
        hide_short_help = true,
        value_name = "DURATION",
        default_value = "0s"
    )]
    max_connection_idle: String,
    /// Time limit for each step that a peer must complete: TLS handshake, HTTP/2 preface, first call,
    /// a started frame, reading a response
    #[arg(
        long,
        help_heading = "Limits",
        hide_short_help = true,
        value_name = "DURATION",
        default_value = "10s"
    )]
    peer_timeout: String,
    /// On SIGTERM, time limit for calls in flight
    #[arg(
        long,
        help_heading = "Limits",
        hide_short_help = true,
        value_name = "DURATION",
        default_value = "10s"
    )]
    drain_timeout: String,
    /// On SIGTERM, how long to keep serving while health reports NOT_SERVING
    #[arg(
        long,
        help_heading = "Limits",
        hide_short_help = true,
        value_name = "DURATION",
        default_value = "0s"
    )]
    drain_delay: String,
    /// Serve gRPC-Web to pages of these origins, separated by commas; * for all [default: none]
    #[arg(long, hide_short_help = true, value_name = "ORIGINS")]
    grpc_web_allow_origin: Option<String>,
    /// Further request headers that these pages may send, separated by commas [default: none]
    #[arg(long, hide_short_help = true, value_name = "HEADERS")]
    grpc_web_allow_header: Option<String>,
    /// Serve reflection, which describes the services to tools
    #[arg(long, hide_short_help = true, value_name = "BOOLEAN", default_value = "true")]
    reflection: String,
}

#[derive(Debug, Clone)]
pub struct ServerConfig {
    pub listen: Address,
    pub admin_listen: Address,
    /// The mode of Unix sockets; none leaves it to the umask.
    pub socket_mode: Option<u32>,
    pub tls: Option<Arc<ServerTls>>,
    /// Who may call what; none: everyone everything.
    pub policy: Option<Enforcement>,
    pub timeouts: Timeouts,
    /// Maximum deadline of a watch.
    pub max_watch: Duration,
    /// Maximum number of connections.
    pub max_connections: usize,
    /// What callers may make the process hold, in bytes.
    pub max_request_memory: usize,
    /// The same for each caller.
    pub max_request_memory_per_caller: Option<usize>,
    /// Maximum age of a connection.
    pub max_connection_age: Option<Duration>,
    /// Maximum time of a connection without a call.
    pub max_connection_idle: Option<Duration>,
    /// Time limit for each step that a peer must complete.
    pub peer_timeout: Duration,
    /// Time limit of a drain.
    pub drain_timeout: Duration,
    /// How long to keep serving while health reports NOT_SERVING.
    pub drain_delay: Duration,
    /// Origins whose pages may use gRPC-Web; none disables it.
    pub grpc_web_origins: Vec<HeaderValue>,
    /// Request headers that these pages may send, in addition to those of gRPC-Web.
    pub grpc_web_headers: Vec<HeaderName>,
    /// Whether reflection is served.
    pub reflection: bool,
}

impl Default for ServerConfig {
    /// The documented defaults, on free loopback ports.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let free = || Address::Tcp("127.0.0.1:0".to_owned());
        Self {
            listen: free(),
            admin_listen: free(),
            socket_mode: None,
            tls: None,
            policy: None,
            timeouts: Timeouts { default: seconds(30), max: seconds(60) },
            max_watch: seconds(60 * 60),
            max_connections: 10_000,
            max_request_memory: 24 * 1024 * 1024 + 10_000 * 12 * 1024,
            max_request_memory_per_caller: None,
            max_connection_age: None,
            max_connection_idle: None,
            peer_timeout: seconds(10),
            drain_timeout: seconds(10),
            drain_delay: Duration::ZERO,
            grpc_web_origins: Vec::new(),
            grpc_web_headers: Vec::new(),
            reflection: true,
        }
    }
}

impl ServerConfig {
    /// The time limits of an RPC, by its kind.
    pub(super) fn timeouts(&self, kind: Kind) -> Timeouts {
        match kind {
            Kind::Unary => self.timeouts,
            Kind::ServerStream => Timeouts { default: self.max_watch, max: self.max_watch },
        }
    }
}

impl ServerOptions {
    /// The configuration. `free_ports`: use free ports for addresses that are not set.
    pub(crate) fn config(&self, problems: &mut Problems<'_>, free_ports: bool) -> ServerConfig {
        let defaults = ServerConfig::default();
        let limit = |duration: Duration| Some(duration).filter(|duration| !duration.is_zero());
        let (listen, admin_listen) = (non_empty(&self.listen), non_empty(&self.admin_listen));
        let mut address = |flag, given: Option<&str>, default| match given {
            None if free_ports => Some(defaults.listen.clone()),
            given => problems.parse(flag, given.unwrap_or(default)),
        };
        let listen = address("--listen", listen, LISTEN);
        let admin_listen = address("--admin-listen", admin_listen, ADMIN_LISTEN);
        if let (Some(listen), Some(admin)) = (&listen, &admin_listen) {
            self.addresses(problems, listen, admin);
        }
        ServerConfig {
            listen: listen.unwrap_or_else(|| defaults.listen.clone()),
            admin_listen: admin_listen.unwrap_or_else(|| defaults.admin_listen.clone()),
            socket_mode: non_empty(&self.socket_mode)
                .and_then(|text| problems.read("--socket-mode", text, mode)),
            timeouts: self.timeouts(problems, &defaults),
            max_watch: problems.positive_duration("--max-watch", &self.max_watch),
            max_connections: problems.count("--max-connections", &self.max_connections, 10_000_000),
            max_connection_age: limit(
                problems.duration("--max-connection-age", &self.max_connection_age),
            ),
            max_connection_idle: limit(
                problems.duration("--max-connection-idle", &self.max_connection_idle),
            ),
            peer_timeout: problems.positive_duration("--peer-timeout", &self.peer_timeout),
            drain_timeout: problems.positive_duration("--drain-timeout", &self.drain_timeout),
            drain_delay: problems.duration("--drain-delay", &self.drain_delay),
            grpc_web_origins: origins(problems, non_empty(&self.grpc_web_allow_origin)),
            grpc_web_headers: self.web_headers(problems),
            reflection: problems.read("--reflection", &self.reflection, boolean).unwrap_or(true),
            ..defaults
        }
    }

    /// What two valid addresses rule out.
    fn addresses(&self, problems: &mut Problems<'_>, listen: &Address, admin: &Address) {
        if listen == admin && !listen.is_any_port() {
            let why = format_args!("\"{admin}\" is the address of --listen, too: set another one");
            problems.report("--admin-listen", why);
        }
        if ![listen, admin].iter().any(|address| matches!(address, Address::Unix(_))) {
            let options = [("--socket-mode", non_empty(&self.socket_mode))];
            let unless = "without a Unix socket, such as --listen unix:/run/gateway.sock";
            problems.without_effect(&options, unless);
        }
    }

    fn timeouts(&self, problems: &mut Problems<'_>, defaults: &ServerConfig) -> Timeouts {
        let flag = "--default-timeout";
        let max = problems.positive_duration("--max-timeout", &self.max_timeout);
        let given = non_empty(&self.default_timeout);
        let default = match given {
            Some(text) => problems.positive_duration(flag, text),
            None => defaults.timeouts.default.min(max),
        };
        if let Some(text) = given.filter(|_| default > max && !max.is_zero()) {
            let max = &self.max_timeout;
            problems.report(flag, format_args!("{text:?} is longer than --max-timeout, {max:?}"));
        }
        Timeouts { default, max }
    }

    fn web_headers(&self, problems: &mut Problems<'_>) -> Vec<HeaderName> {
        let flag = "--grpc-web-allow-header";
        let list = non_empty(&self.grpc_web_allow_header);
        if non_empty(&self.grpc_web_allow_origin).is_none() {
            problems.without_effect(&[(flag, list)], "without --grpc-web-allow-origin");
        }
        let header = |text: &str| HeaderName::try_from(text).map_err(|_| "is not a header's name");
        items(list).filter_map(|text| problems.read(flag, text, header)).collect()
    }
}

fn boolean(text: &str) -> Result<bool, &'static str> {
    text.trim().parse().map_err(|_| "is neither true nor false")
}

/// The items of a list that is separated by commas.
fn items(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|text| !text.is_empty())
}

fn mode(text: &str) -> Result<u32, &'static str> {
    let mode = u32::from_str_radix(text.trim(), 8).ok();
    let mode = mode.filter(|mode| *mode <= 0o777).ok_or("is not a mode such as 0660")?;
    // Connecting needs the right to write.
    if mode & 0o222 == 0 { Err("lets nobody connect; 0660 lets user and group") } else { Ok(mode) }
}

/// Origins as browsers send them: scheme, host and port, without a trailing slash.
fn origins(problems: &mut Problems<'_>, list: Option<&str>) -> Vec<HeaderValue> {
    let origin = |text: &str| {
        let is_origin = text == "*"
            || url::Url::parse(text).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.origin().ascii_serialization() == text
            });
        let value = HeaderValue::from_str(text).ok().filter(|_| is_origin);
        value.ok_or("is neither * nor an origin such as https://example.com")
    };
    items(list).filter_map(|text| problems.read("--grpc-web-allow-origin", text, origin)).collect()
}
