//! The handlers of `savepoint.flink.v1.FlinkService`.

use tonic::{Request, Response, Status};

use super::{Handlers, Messages, begin, finish, watching};
use crate::pb::flink::flink_service_server::FlinkService;
use crate::pb::flink::{
    GetJobRequest, GetJobResponse, GetSavepointRequest, GetSavepointResponse, ResumeJobRequest,
    ResumeJobResponse, StopWithSavepointRequest, StopWithSavepointResponse,
    TriggerSavepointRequest, TriggerSavepointResponse, WatchSavepointRequest,
    WatchSavepointResponse,
};
use crate::providers::flink::{
    GET_JOB, GET_SAVEPOINT, RESUME_JOB, STOP_WITH_SAVEPOINT, TRIGGER_SAVEPOINT, WATCH_SAVEPOINT,
};
use crate::rpc::operation::Operation;

pub(super) const OPERATIONS: &[&Operation] = &[
    &TRIGGER_SAVEPOINT,
    &STOP_WITH_SAVEPOINT,
    &GET_SAVEPOINT,
    &WATCH_SAVEPOINT,
    &GET_JOB,
    &RESUME_JOB,
];

#[tonic::async_trait]
impl FlinkService for Handlers {
    async fn trigger_savepoint(
        &self,
        request: Request<TriggerSavepointRequest>,
    ) -> Result<Response<TriggerSavepointResponse>, Status> {
        self.change(&self.flink, request, |flink, request, call| async move {
            flink.trigger_savepoint(request, &call).await
        })
        .await
    }

    async fn stop_with_savepoint(
        &self,
        request: Request<StopWithSavepointRequest>,
    ) -> Result<Response<StopWithSavepointResponse>, Status> {
        self.change(&self.flink, request, |flink, request, call| async move {
            flink.stop_with_savepoint(request, &call).await
        })
        .await
    }

    async fn get_savepoint(
        &self,
        request: Request<GetSavepointRequest>,
    ) -> Result<Response<GetSavepointResponse>, Status> {
        let (request, call) = begin(request)?;
        let flink = self.provider(&self.flink, &call)?;
        finish(flink.get_savepoint(&request, &call).await, &call)
    }

    type WatchSavepointStream = Messages<WatchSavepointResponse>;

    async fn watch_savepoint(
        &self,
        request: Request<WatchSavepointRequest>,
    ) -> Result<Response<Self::WatchSavepointStream>, Status> {
        let (request, call) = begin(request)?;
        let flink = self.provider(&self.flink, &call)?;
        watching(flink.watch_savepoint(request, &call), call.clone())
    }

    async fn get_job(
        &self,
        request: Request<GetJobRequest>,
    ) -> Result<Response<GetJobResponse>, Status> {
        let (request, call) = begin(request)?;
        let flink = self.provider(&self.flink, &call)?;
        finish(flink.get_job(&request, &call).await, &call)
    }

    async fn resume_job(
        &self,
        request: Request<ResumeJobRequest>,
    ) -> Result<Response<ResumeJobResponse>, Status> {
        self.change(&self.flink, request, |flink, request, call| async move {
            flink.resume_job(request, &call).await
        })
        .await
    }
}
