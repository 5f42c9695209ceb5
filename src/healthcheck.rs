//! The health probe.

use std::time::Duration;

use clap::Args;
use tonic::transport::{Channel, Endpoint};

use crate::options::problems::non_empty;
use crate::options::{Address, ConfigError, Problems};
use crate::pb::health::HealthCheckRequest;
use crate::pb::health::health_check_response::ServingStatus;
use crate::pb::health::health_client::HealthClient;
use crate::server::ADMIN_LISTEN;

/// The options of `healthcheck`.
#[derive(Debug, Args)]
pub struct HealthcheckOptions {
    /// The address to call: host:port or unix:/path [default: the admin address]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// The --admin-listen of the gateway
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// The --listen of the gateway
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The service to check; empty for the whole gateway
    #[arg(long, value_name = "NAME", default_value = "")]
    pub service: String,
    /// Time limit, with a unit
    #[arg(long, value_name = "DURATION", default_value = "3s")]
    timeout: String,
}

impl HealthcheckOptions {
    /// The address to call, and the time limit.
    ///
    /// # Errors
    /// All problems.
    pub fn target(&self) -> Result<(Address, Duration), ConfigError> {
        let none = |_: &str| Ok(None);
        let mut problems = Problems::new(&none);
        let (flag, text) = [
            ("--address", &self.address),
            ("--admin-listen", &self.admin_listen),
            ("--listen", &self.listen),
        ]
        .into_iter()
        .find_map(|(flag, option)| Some((flag, non_empty(option)?)))
        .unwrap_or(("--address", ADMIN_LISTEN));
        let address = problems.parse(flag, text);
        let timeout = problems.positive_duration("--timeout", &self.timeout);
        let address = address.unwrap_or_else(|| Address::Tcp(String::new()));
        problems.finish((address, timeout))
    }
}

/// Why the gateway is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    #[error("cannot connect to {address}")]
    Connect { address: String, source: tonic::transport::Error },
    #[error("{address} returned {code:?}: {message}")]
    Refused { address: String, code: tonic::Code, message: String },
    /// The gateway is not serving.
    #[error("{address} reports {}", .status.as_str_name())]
    NotServing { address: String, status: ServingStatus },
    #[error("no response from {0} in time")]
    Timeout(String),
}

/// Calls `grpc.health.v1` at this address for this service; empty means the whole gateway.
///
/// # Errors
/// If the response is not SERVING, or does not arrive in time.
pub async fn ask(address: &Address, service: &str, timeout: Duration) -> Result<(), Unhealthy> {
    let name = address.to_string();
    let asking = async {
        let channel = connect(address)
            .await
            .map_err(|source| Unhealthy::Connect { address: name.clone(), source })?;
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel).check(request).await.map_err(|status| {
            Unhealthy::Refused {
                address: name.clone(),
                code: status.code(),
                message: status.message().to_owned(),
            }
        })?;
        match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            status @ (ServingStatus::Unknown
            | ServingStatus::NotServing
            | ServingStatus::ServiceUnknown) => {
                Err(Unhealthy::NotServing { address: name.clone(), status })
            }
        }
    };
    tokio::time::timeout(timeout, asking).await.unwrap_or(Err(Unhealthy::Timeout(name.clone())))
}

/// Connects a gRPC client to an address that a gateway listens on.
pub(crate) async fn connect(address: &Address) -> Result<Channel, tonic::transport::Error> {
    let uri = match address {
        // Call a gateway that listens on all interfaces on loopback.
        Address::Tcp(address) => {
            let port_of = |any: &str| address.strip_prefix(any);
            match (port_of("0.0.0.0:"), port_of("[::]:")) {
                (Some(port), _) => format!("http://127.0.0.1:{port}"),
                (_, Some(port)) => format!("http://[::1]:{port}"),
                (None, None) => format!("http://{address}"),
            }
        }
        Address::Unix(path) => format!("unix:{}", path.display()),
    };
    Endpoint::from_shared(uri)?.connect().await
}
