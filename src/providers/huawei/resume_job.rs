//! ResumeJob: `POST /v1.0/{project_id}/streaming/jobs/run`, for one job.
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-dli/dli_02_0233.html> (read 2026-11-26)

use bytes::Bytes;
use http::{Method, Request};
use serde::Serialize;

use super::rest::JobCall;
use super::{HUAWEI, Huawei, rest};
use crate::call::Call;
use crate::credential::Credential;
use crate::pb::dli::dli_service_server::SERVICE_NAME;
use crate::pb::dli::{ResumeJobRequest, ResumeJobResponse};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};
use crate::upstream::{NotSuccess, Reply, RestCall};

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
        let path = format!("/v1.0/{project_id}/streaming/jobs/run");
        let body = ResumeWire { resume_savepoint: true, job_ids: [request.job_id] };
        let resume = Resume(JobCall::new(self, path, project_id, &body)?);
        self.upstream.call(&RESUME_JOB, &resume, call).await
    }
}

struct Resume<'a>(JobCall<'a>);

impl RestCall for Resume<'_> {
    type Output = ResumeJobResponse;

    fn rest(&self) -> &'static Rest {
        &RESUME_JOB.rest[0]
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        self.0.request(Method::POST, credential)
    }

    fn body<'b>(&self, body: &'b [u8]) -> &'b [u8] {
        rest::only_element(body)
    }

    fn response(&self, reply: &Reply<'_>) -> Result<ResumeJobResponse, NotSuccess> {
        let (message, request_id) = rest::success(reply)?;
        Ok(ResumeJobResponse { message, request_id })
    }
}
