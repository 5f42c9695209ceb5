//! ResumeJob: `POST /v1.0/{project_id}/streaming/jobs/run`, for one job.
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-dli/dli_02_0233.html> (read 2026-11-26)

use serde::Serialize;

use super::rest::{Change, JobCall};
use super::{HUAWEI, Huawei, rest};
use crate::call::Call;
use crate::pb::dli::dli_service_server::SERVICE_NAME;
use crate::pb::dli::{ResumeJobRequest, ResumeJobResponse};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};

/// The RPC. What the provider answers to a repeated request is not documented.
pub static RESUME_JOB: Operation = Operation {
    service: SERVICE_NAME,
    name: "ResumeJob",
    provider: &HUAWEI,
    kind: Kind::Unary,
    rest: &[Rest { http_method: "POST", url_template: "/v1.0/{project_id}/streaming/jobs/run" }],
    is_idempotent: false,
    changes_something: true,
    controls_jobs: true,
};

/// Always from a savepoint: without the flag the job would begin empty, whatever was imported.
#[derive(Debug, Serialize)]
struct ResumeWire {
    resume_savepoint: bool,
    job_ids: [i64; 1],
}

impl Huawei {
    pub(crate) async fn resume_job(
        &self,
        request: &ResumeJobRequest,
        call: &Call,
    ) -> Result<ResumeJobResponse, Error> {
        let project_id = self.project(&request.project_id);
        rest::check_job(project_id.as_deref(), request.job_id).into_result()?;
        let project_id = self.lookup(project_id, call).await?;
        call.note_target(rest::target(&project_id, request.job_id));
        rest::judge(&project_id, call)?;
        let path = format!("/v1.0/{project_id}/streaming/jobs/run");
        let body = ResumeWire { resume_savepoint: true, job_ids: [request.job_id] };
        let resume = Change {
            rest: &RESUME_JOB.rest[0],
            call: JobCall::new(self, path, project_id, &body)?,
            has_list: true,
        };
        let (message, request_id) = self.upstream.call(&RESUME_JOB, &resume, call).await?;
        Ok(ResumeJobResponse { message, request_id })
    }
}
