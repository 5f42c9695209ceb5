//! A client of the savepoint gateway: what a service of your own can copy.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Response, Status, Streaming, TimeoutExpired};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::pb::savepoint_service_client::SavepointServiceClient;
use crate::pb::{
    CreateSavepointRequest, CreateSavepointResponse, GetSavepointRequest, GetSavepointResponse,
    ImportSavepointRequest, ImportSavepointResponse, ListSavepointsRequest, Savepoint,
    SavepointState, WatchSavepointRequest,
};

pub mod flink;
pub mod jobs;

/// The generated messages and client.
pub mod pb {
    pub use savepoint::dli::v1 as dli;
    pub use savepoint::flink::v1 as flink;
    pub use savepoint::v1::*;

    // Nested as the packages are, because their messages name each other so.
    mod savepoint {
        pub mod v1 {
            tonic::include_proto!("savepoint.v1");
        }
        pub mod dli {
            pub mod v1 {
                tonic::include_proto!("savepoint.dli.v1");
            }
        }
        pub mod flink {
            pub mod v1 {
                tonic::include_proto!("savepoint.flink.v1");
            }
        }
    }
}

/// The time limit of a call.
pub const DEADLINE: Duration = Duration::from_secs(10);

// snippet:begin

/// A client of the gateway, which is cheap to clone.
pub type Client = SavepointServiceClient<Channel>;

/// Why a watch has not ended with a complete savepoint.
#[derive(Debug)]
pub enum WatchError {
    /// The watch has ended, and its savepoint is not complete.
    SavepointFailed(Box<Savepoint>),
    /// The call has failed.
    Call(Status),
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(status) => status.fmt(f),
            Self::SavepointFailed(savepoint) => {
                let status = savepoint.status.clone().unwrap_or_default();
                let message = status.failure.unwrap_or_default().message;
                let (id, state) = (&savepoint.savepoint_id, status.provider_state);
                write!(f, "savepoint {id} is {state}: {message}")
            }
        }
    }
}

impl Error for WatchError {}

/// Connects with the first call, and again whenever the connection is lost.
///
/// # Errors
/// If the address or the certificates are none.
pub fn connect(address: &str, tls: Option<ClientTlsConfig>) -> Result<Client, Box<dyn Error>> {
    Ok(Client::new(channel(address, tls)?))
}

fn channel(address: &str, tls: Option<ClientTlsConfig>) -> Result<Channel, Box<dyn Error>> {
    let endpoint = match tls {
        None if address.starts_with("unix:") => Endpoint::from_shared(address.to_owned())?,
        None => Endpoint::from_shared(format!("http://{address}"))?,
        Some(tls) => Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?,
    };
    // The keepalive finds connections that are dead, which a watch alone would not notice.
    let endpoint = endpoint
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(30));
    Ok(endpoint.connect_lazy())
}

/// Reads a savepoint.
///
/// # Errors
/// The call's.
pub async fn get_savepoint(
    client: &Client,
    request: GetSavepointRequest,
    limit: Duration,
) -> Result<GetSavepointResponse, Status> {
    read(request, limit, async |request| client.clone().get_savepoint(request).await).await
}

/// Never repeated: if the outcome is unknown, [`list_savepoints`] of the deployment tells it.
///
/// # Errors
/// The call's.
pub async fn create_savepoint(
    client: &Client,
    request: CreateSavepointRequest,
) -> Result<CreateSavepointResponse, Status> {
    call(request, DEADLINE, async |request| client.clone().create_savepoint(request).await).await
}

/// Waits until the savepoint is complete.
///
/// # Errors
/// If it failed, if time is up, or if it cannot be watched.
pub async fn watch_savepoint(
    client: &Client,
    request: WatchSavepointRequest,
    limit: Duration,
) -> Result<Savepoint, WatchError> {
    let watch = async |request| client.clone().watch_savepoint(request).await;
    wait_until_complete(request, limit, watch, |message| message.savepoint).await
}

/// The same with any call that sends savepoints.
async fn wait_until_complete<M: Clone, R>(
    request: M,
    limit: Duration,
    watch: impl AsyncFn(Request<M>) -> Result<Response<Streaming<R>>, Status>,
    savepoint_of: impl Fn(R) -> Option<Savepoint>,
) -> Result<Savepoint, WatchError> {
    let end = Instant::now() + limit;
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    loop {
        let watch = async |request| {
            let mut messages = watch(request).await?.into_inner();
            let mut last = Savepoint::default();
            while let Some(message) = messages.message().await? {
                last = savepoint_of(message).unwrap_or_default();
                backoff.reset();
            }
            Ok(Response::new(last))
        };
        match call(request.clone(), end - Instant::now(), watch).await {
            Ok(savepoint) if is_complete(&savepoint) => return Ok(savepoint),
            Ok(savepoint) => return Err(WatchError::SavepointFailed(Box::new(savepoint))),
            Err(status) => {
                // A watch that ends with one of these says nothing about its savepoint.
                let again = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded);
                if !again || !backoff.wait_before(end).await {
                    return Err(WatchError::Call(status));
                }
            }
        }
    }
}

fn is_complete(savepoint: &Savepoint) -> bool {
    savepoint.status.as_ref().is_some_and(|status| status.state() == SavepointState::Completed)
}

/// The savepoints of all pages.
///
/// # Errors
/// A call's.
pub async fn list_savepoints(
    client: &Client,
    mut request: ListSavepointsRequest,
) -> Result<Vec<Savepoint>, Status> {
    let mut savepoints = Vec::new();
    loop {
        let list = async |request| client.clone().list_savepoints(request).await;
        let page = read(request.clone(), DEADLINE, list).await?;
        savepoints.extend(page.savepoints);
        if page.next_page_token.is_empty() {
            return Ok(savepoints);
        }
        request.page_token = page.next_page_token;
    }
}

/// What grpc-status-details-bin holds: `error_info()`, and `bad_request()`, `request_info()` and
/// `retry_info()` where they apply.
pub fn details_of(status: &Status) -> ErrorDetails {
    status.get_error_details()
}

/// A call that is repeated while the gateway is unavailable, as a service config makes other
/// libraries do. For reads only: after an UNAVAILABLE, an import or a creation may have changed
/// something, and only the caller can know whether to repeat it.
async fn read<M: Clone, R>(
    message: M,
    limit: Duration,
    rpc: impl AsyncFn(Request<M>) -> Result<Response<R>, Status>,
) -> Result<R, Status> {
    const MAX_ATTEMPTS: u32 = 4;
    let end = Instant::now() + limit;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    let mut attempt = 1;
    loop {
        let result = call(message.clone(), end - Instant::now(), &rpc).await;
        match result {
            Err(status) if status.code() == Code::Unavailable && attempt < MAX_ATTEMPTS => {
                if !backoff.wait_before(end).await {
                    return Err(status);
                }
            }
            result => return result,
        }
        attempt += 1;
    }
}

/// One call with a deadline, which the gateway learns, too.
async fn call<M, R>(
    message: M,
    limit: Duration,
    rpc: impl AsyncFnOnce(Request<M>) -> Result<Response<R>, Status>,
) -> Result<R, Status> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    // tonic itself does not limit how long a response takes once it has begun.
    match timeout(limit, rpc(request)).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(with_usual_code(status)),
        Err(elapsed) => Err(Status::deadline_exceeded(elapsed.to_string())),
    }
}

/// With the code that other libraries use. Where tonic makes a status itself, which then has a
/// source, it calls a deadline CANCELLED, and a connection that broke UNKNOWN.
fn with_usual_code(status: Status) -> Status {
    let mut cause = status.source();
    let Some(mut last) = cause else { return status };
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return Status::deadline_exceeded(error.to_string());
        }
        last = error;
        cause = error.source();
    }
    Status::unavailable(format!("{}: {last}", status.message()))
}

/// Waits that grow, with jitter, because many callers may have failed together.
struct Backoff {
    first: Duration,
    next: Duration,
    max: Duration,
}

impl Backoff {
    fn new(first: Duration, max: Duration) -> Self {
        Self { first, next: first, max }
    }

    fn reset(&mut self) {
        self.next = self.first;
    }

    /// Waits, unless that would take until the end.
    async fn wait_before(&mut self, end: Instant) -> bool {
        let wait = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = self.max.min(2 * self.next);
        if Instant::now() + wait >= end {
            return false;
        }
        sleep(wait).await;
        true
    }
}

// snippet:end

/// Imports a savepoint. Never repeated: `outcome` in the [`details_of`] a failure tells whether it
/// may have been made.
///
/// # Errors
/// The call's.
pub async fn import_savepoint(
    client: &Client,
    request: ImportSavepointRequest,
) -> Result<ImportSavepointResponse, Status> {
    call(request, DEADLINE, async |request| client.clone().import_savepoint(request).await).await
}

/// Plaintext, which belongs on loopback only, when `SAVEPOINT_GATEWAY_CA` is not set.
///
/// # Errors
/// If a file cannot be read.
pub fn tls_from_environment() -> Result<Option<ClientTlsConfig>, Box<dyn Error>> {
    let file = |variable: &str| -> Result<Option<Vec<u8>>, Box<dyn Error>> {
        let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let read = std::fs::read(&path);
        Ok(Some(read.map_err(|error| format!("{variable}: {}: {error}", path.display()))?))
    };
    let Some(ca) = file("SAVEPOINT_GATEWAY_CA")? else { return Ok(None) };
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    if let Some(certificate) = file("SAVEPOINT_GATEWAY_CLIENT_CERT")? {
        let key = file("SAVEPOINT_GATEWAY_CLIENT_KEY")?;
        tls = tls.identity(Identity::from_pem(certificate, key.unwrap_or_default()));
    }
    Ok(Some(tls))
}
