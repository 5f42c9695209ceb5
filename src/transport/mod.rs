//! HTTP/1.1 to providers and credential services.

mod connect;
mod connection;
mod error;
mod large_bodies;
mod options;
mod pool;
mod proxy;
mod reach;
mod response;
mod tunnel;
mod write_started;

pub(crate) use connect::connector;
pub use large_bodies::LargeBodies;
pub(crate) use large_bodies::Place;
pub use options::UpstreamConfig;
pub(crate) use options::UpstreamOptions;
pub use pool::Pool;
pub use proxy::Proxy;
pub(crate) use reach::Reach;
pub use response::Response;
pub use write_started::WriteStarted;

use std::time::Duration;

use crate::tls::Trust;

/// Below the 60 s after which common load balancers close idle connections, so that a request is
/// rarely written to a closing one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The configuration of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Time limit for connecting: name lookup, every address of the name, and TLS.
    pub connect_timeout: Duration,
    pub(crate) max_idle: usize,
    pub trust: Trust,
    pub proxy: Option<Proxy>,
}
