//! A savepoint of a job on a cluster of Apache Flink: begun once, and watched until it is complete.

use std::error::Error;
use std::time::Duration;

use tonic::Status;
use tonic::transport::{Channel, ClientTlsConfig};

use crate::pb::Savepoint;
use crate::pb::flink::flink_service_client::FlinkServiceClient;
use crate::pb::flink::{TriggerSavepointRequest, WatchSavepointRequest};
use crate::{DEADLINE, WatchError, channel, read, wait_until_complete};

/// A client for clusters of Apache Flink, which is cheap to clone.
pub type Flink = FlinkServiceClient<Channel>;

/// Connects as [`crate::connect`] does.
///
/// # Errors
/// If the address or the certificates are none.
pub fn connect_flink(address: &str, tls: Option<ClientTlsConfig>) -> Result<Flink, Box<dyn Error>> {
    Ok(Flink::new(channel(address, tls)?))
}

/// Begins a savepoint and returns its trigger id. It is repeated like a read while the gateway is
/// unavailable, because all calls with the same idempotency key begin one savepoint.
///
/// # Errors
/// The call's.
pub async fn trigger_savepoint(
    flink: &Flink,
    mut request: TriggerSavepointRequest,
) -> Result<String, Status> {
    if request.idempotency_key.is_empty() {
        request.idempotency_key = format!("{:032x}", fastrand::u128(..));
    }
    let trigger = async |request| flink.clone().trigger_savepoint(request).await;
    Ok(read(request, DEADLINE, trigger).await?.trigger_id)
}

/// Begins a savepoint and waits until it is complete.
///
/// # Errors
/// If it cannot be begun, if it failed, if time is up, or if it cannot be watched.
pub async fn take_savepoint(
    flink: &Flink,
    request: TriggerSavepointRequest,
    limit: Duration,
) -> Result<Savepoint, WatchError> {
    let (cluster, job_id) = (request.cluster.clone(), request.job_id.clone());
    let trigger_id = trigger_savepoint(flink, request).await.map_err(WatchError::Call)?;
    let watched = WatchSavepointRequest { cluster, job_id, trigger_id };
    let watch = async |request| flink.clone().watch_savepoint(request).await;
    wait_until_complete(watched, limit, watch, |message| message.savepoint).await
}
