//! The handlers of `savepoint.dli.v1.DliService`.

use tonic::{Request, Response, Status};

use super::{Handlers, begin, finish};
use crate::pb::dli::dli_service_server::DliService;
use crate::pb::dli::{
    GetJobRequest, GetJobResponse, ResumeJobRequest, ResumeJobResponse, StopJobRequest,
    StopJobResponse, TriggerSavepointRequest, TriggerSavepointResponse,
};
use crate::providers::huawei::{GET_JOB, RESUME_JOB, STOP_JOB, TRIGGER_SAVEPOINT};
use crate::rpc::operation::Operation;

pub(super) const OPERATIONS: &[&Operation] =
    &[&TRIGGER_SAVEPOINT, &GET_JOB, &RESUME_JOB, &STOP_JOB];

#[tonic::async_trait]
impl DliService for Handlers {
    async fn trigger_savepoint(
        &self,
        request: Request<TriggerSavepointRequest>,
    ) -> Result<Response<TriggerSavepointResponse>, Status> {
        self.change(&self.huawei, request, |huawei, request, call| async move {
            huawei.trigger_savepoint(&request, &call).await
        })
        .await
    }

    async fn get_job(
        &self,
        request: Request<GetJobRequest>,
    ) -> Result<Response<GetJobResponse>, Status> {
        let (request, call) = begin(request)?;
        let huawei = self.provider(&self.huawei, &call)?;
        finish(huawei.get_job(&request, &call).await, &call)
    }

    async fn resume_job(
        &self,
        request: Request<ResumeJobRequest>,
    ) -> Result<Response<ResumeJobResponse>, Status> {
        self.change(&self.huawei, request, |huawei, request, call| async move {
            huawei.resume_job(&request, &call).await
        })
        .await
    }

    async fn stop_job(
        &self,
        request: Request<StopJobRequest>,
    ) -> Result<Response<StopJobResponse>, Status> {
        self.change(&self.huawei, request, |huawei, request, call| async move {
            huawei.stop_job(&request, &call).await
        })
        .await
    }
}
