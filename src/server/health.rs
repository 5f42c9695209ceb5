//! `grpc.health.v1`: whether calls should be sent here.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use crate::pb::health::health_check_response::ServingStatus;
use crate::pb::health::health_server::Health;
use crate::pb::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};

/// The names that are known: the whole server, its service, and what Kubernetes' manifests
/// like to ask for. `liveness` stays SERVING while the process drains: a process that is
/// about to end in good order must not be killed for it.
const NAMES: [&str; 4] = ["", "savepoint.v1.SavepointService", "readiness", LIVENESS];
const LIVENESS: &str = "liveness";

/// How far the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A credential is still missing.
    Starting,
    /// Calls should be sent here.
    Serving,
    /// No cloud can be called any more: every credential has ended.
    Ended,
    /// The process is about to end.
    Draining,
}

/// The state that all copies of the health service tell.
#[derive(Debug, Clone)]
pub struct HealthState(Arc<watch::Sender<Stage>>);

impl HealthState {
    /// Not serving yet.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Stage::Starting)))
    }

    /// Says from now on whether calls should be sent here. Watchers are told.
    pub fn set(&self, stage: Stage) {
        self.0.send_replace(stage);
    }

    /// How far the process is.
    pub fn stage(&self) -> Stage {
        *self.0.borrow()
    }

    /// Whether calls should be sent here.
    pub fn is_serving(&self) -> bool {
        self.stage() == Stage::Serving
    }
}

impl Default for HealthState {
    fn default() -> Self {
        Self::new()
    }
}

/// What a service of this name answers.
fn status_of(name: &str, serving: bool) -> ServingStatus {
    if !NAMES.contains(&name) {
        ServingStatus::ServiceUnknown
    } else if serving || name == LIVENESS {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthState {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match status_of(&request.get_ref().service, self.is_serving()) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("no such service")),
            status @ (ServingStatus::Unknown
            | ServingStatus::Serving
            | ServingStatus::NotServing) => Ok(Response::new(response(status))),
        }
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let serving = self.is_serving();
        let statuses = NAMES
            .into_iter()
            .map(|name| (name.to_owned(), response(status_of(name, serving))))
            .collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static>>;

    /// An unknown name is told as SERVICE_UNKNOWN and the stream stays open, as health.proto
    /// asks for.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.into_inner().service;
        let mut last = None;
        let changes = WatchStream::new(self.0.subscribe()).filter_map(move |stage| {
            let status = status_of(&name, stage == Stage::Serving);
            let changed = last != Some(status);
            last = Some(status);
            changed.then(|| Ok(response(status)))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
