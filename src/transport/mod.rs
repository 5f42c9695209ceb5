//! HTTP/1.1 to providers and to the services that hand out credentials: connections, and one
//! exchange over them.

mod connect;
mod error;
mod fetch;
mod options;
mod pool;
mod proxy;
mod response;
mod write_started;

pub(crate) use connect::connector;
pub use fetch::Client;
pub use options::{UpstreamConfig, UpstreamOptions};
pub use pool::Pool;
pub use proxy::Proxy;
pub use response::Response;
pub use write_started::WriteStarted;

use std::time::Duration;

use crate::tls::Trust;

/// Below the 60 s after which common load balancers close an idle connection, so that a
/// request is rarely written to one that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The parts of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Limit for making a connection: name lookup, every address of the name, and TLS.
    pub connect_timeout: Duration,
    /// How many idle connections are kept.
    pub max_idle: usize,
    /// The certificates that are trusted.
    pub trust: Trust,
    /// The proxy that TLS endpoints are called through.
    pub proxy: Option<Proxy>,
}
