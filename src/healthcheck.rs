//! Asking a running gateway whether it serves.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::pb::health::HealthCheckRequest;
use crate::pb::health::health_check_response::ServingStatus;
use crate::pb::health::health_client::HealthClient;
use crate::server::Address;

/// Why the answer is no.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// Nobody answers there.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address that was asked.
        address: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The gateway answers, but with an error.
    #[error("{address} answers {code:?}: {message}")]
    Refused {
        /// The address that was asked.
        address: String,
        /// The gRPC code.
        code: tonic::Code,
        /// Its text.
        message: String,
    },
    /// The gateway does not serve.
    #[error("{address} says {}", .status.as_str_name())]
    NotServing {
        /// The address that was asked.
        address: String,
        /// What it said.
        status: ServingStatus,
    },
    /// There was no answer in time.
    #[error("no answer from {0} in time")]
    Timeout(String),
}

/// Asks `grpc.health.v1` at this address about this service, the whole gateway when empty.
///
/// # Errors
/// When the answer is not SERVING, or there is none in time.
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
    match address.clone() {
        Address::Tcp(address) => {
            // What listens everywhere is asked on loopback.
            let address = address
                .strip_prefix("0.0.0.0:")
                .map(|port| format!("127.0.0.1:{port}"))
                .or_else(|| address.strip_prefix("[::]:").map(|port| format!("[::1]:{port}")))
                .unwrap_or(address);
            let connector = tower_fn(move |_: Uri| {
                let address = address.clone();
                async move {
                    let stream = TcpStream::connect(address).await?;
                    // The head and the message of a request are two writes; the second must
                    // not wait until the first is acknowledged.
                    stream.set_nodelay(true)?;
                    Ok(TokioIo::new(stream))
                }
            });
            endpoint().connect_with_connector(connector).await
        }
        Address::Unix(path) => {
            let connector = tower_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            });
            endpoint().connect_with_connector(connector).await
        }
    }
}

/// The authority is a name for the `:authority` header only.
fn endpoint() -> Endpoint {
    Endpoint::from_static("http://localhost")
}

/// A connector made of a function.
pub(crate) fn tower_fn<F, R, T>(
    f: F,
) -> impl tower_service::Service<Uri, Response = T, Error = std::io::Error, Future = R> + Clone
where
    F: Fn(Uri) -> R + Clone,
    R: Future<Output = std::io::Result<T>>,
{
    Connector(f)
}

#[derive(Clone)]
struct Connector<F>(F);

impl<F, R, T> tower_service::Service<Uri> for Connector<F>
where
    F: Fn(Uri) -> R,
    R: Future<Output = std::io::Result<T>>,
{
    type Response = T;
    type Error = std::io::Error;
    type Future = R;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> R {
        (self.0)(uri)
    }
}
