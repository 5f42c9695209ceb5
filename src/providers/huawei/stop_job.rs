//! StopJob: `POST /v1.0/{project_id}/streaming/jobs/stop`, for one job.
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-dli/dli_02_0241.html> (read 2026-11-26)

use serde::Serialize;

use super::rest::{Change, JobCall};
use super::{HUAWEI, Huawei, rest};
use crate::call::Call;
use crate::pb::dli::dli_service_server::SERVICE_NAME;
use crate::pb::dli::{StopJobRequest, StopJobResponse};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};

/// The RPC. What the provider answers to a repeated request is not documented.
pub static STOP_JOB: Operation = Operation {
    service: SERVICE_NAME,
    name: "StopJob",
    provider: &HUAWEI,
    kind: Kind::Unary,
    rest: &[Rest { http_method: "POST", url_template: "/v1.0/{project_id}/streaming/jobs/stop" }],
    is_idempotent: false,
    changes_something: true,
    controls_jobs: true,
};

/// The order of the fields is the SDK's.
#[derive(Debug, Serialize)]
struct StopWire {
    trigger_savepoint: bool,
    job_ids: [i64; 1],
}

impl Huawei {
    pub(crate) async fn stop_job(
        &self,
        request: &StopJobRequest,
        call: &Call,
    ) -> Result<StopJobResponse, Error> {
        let project_id = self.project(&request.project_id);
        rest::check_job(project_id.as_deref(), request.job_id).into_result()?;
        let project_id = self.lookup(project_id, call).await?;
        call.note_target(rest::target(&project_id, request.job_id));
        rest::judge(&project_id, call)?;
        let path = format!("/v1.0/{project_id}/streaming/jobs/stop");
        let body =
            StopWire { trigger_savepoint: request.trigger_savepoint, job_ids: [request.job_id] };
        let stop = Change {
            rest: &STOP_JOB.rest[0],
            call: JobCall::new(self, path, project_id, &body)?,
            has_list: true,
        };
        let (message, request_id) = self.upstream.call(&STOP_JOB, &stop, call).await?;
        Ok(StopJobResponse { message, request_id })
    }
}
