//! `grpc.health.v1`.

use std::collections::BTreeSet;
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
use crate::rpc::operation::Operation;

/// Health names in addition to the services: the whole server, and the names that Kubernetes
/// manifests commonly use. `liveness` stays SERVING during a drain, so that the process is not
/// killed early.
const NAMES: [&str; 3] = ["", "readiness", LIVENESS];
const LIVENESS: &str = "liveness";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waiting for the first credentials.
    Starting,
    Serving,
    Expired,
    Draining,
}

/// The state shared by all copies of the health service.
#[derive(Debug, Clone)]
pub(crate) struct HealthState {
    stage: Arc<watch::Sender<Stage>>,
    operations: &'static [&'static Operation],
}

impl HealthState {
    /// Starts as [`Stage::Starting`].
    pub(crate) fn new(operations: &'static [&'static Operation]) -> Self {
        Self { stage: Arc::new(watch::Sender::new(Stage::Starting)), operations }
    }

    /// Sets the stage, and notifies watchers.
    pub(crate) fn set(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    fn names(&self) -> BTreeSet<&'static str> {
        NAMES.into_iter().chain(self.operations.iter().map(|operation| operation.service)).collect()
    }

    fn status_of(&self, name: &str, stage: Stage) -> ServingStatus {
        if !self.names().contains(name) {
            ServingStatus::ServiceUnknown
        } else if stage == Stage::Serving || name == LIVENESS {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
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
        match self.status_of(&request.get_ref().service, self.stage()) {
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
        let status = |name: &str| response(self.status_of(name, self.stage()));
        let statuses =
            self.names().into_iter().map(|name| (name.to_owned(), status(name))).collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static>>;

    /// Reports an unknown name as SERVICE_UNKNOWN and keeps the stream open, as health.proto
    /// requires.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        // Not the caller's text, which would be kept for as long as the stream lives.
        let name = self.names().get(&*request.into_inner().service).copied();
        let mut last = None;
        let state = self.clone();
        let changes = WatchStream::new(self.stage.subscribe()).filter_map(move |stage| {
            let status =
                name.map_or(ServingStatus::ServiceUnknown, |name| state.status_of(name, stage));
            let changed = last != Some(status);
            last = Some(status);
            changed.then(|| Ok(response(status)))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
