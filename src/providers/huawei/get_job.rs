//! GetJob: `GET /v1.0/{project_id}/streaming/jobs/{job_id}`.
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-dli/dli_02_0235.html> (read 2026-11-26)

use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Request};
use serde::Deserialize;

use super::rest::JobCall;
use super::{HUAWEI, Huawei, rest};
use crate::call::Call;
use crate::credential::Credential;
use crate::json::{self, Integer};
use crate::pb::dli::dli_service_server::SERVICE_NAME;
use crate::pb::dli::{GetJobRequest, GetJobResponse, Job, JobState};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};
use crate::upstream::{NotSuccess, ProviderText, Reply, RestCall, named, timestamp};

pub static GET_JOB: Operation = Operation {
    service: SERVICE_NAME,
    name: "GetJob",
    provider: &HUAWEI,
    kind: Kind::Unary,
    rest: &[Rest {
        http_method: "GET",
        url_template: "/v1.0/{project_id}/streaming/jobs/{job_id}",
    }],
    is_idempotent: true,
    changes_something: false,
    controls_jobs: false,
};

impl Huawei {
    pub(crate) async fn get_job(
        &self,
        request: &GetJobRequest,
        call: &Call,
    ) -> Result<GetJobResponse, Error> {
        let project_id = self.project(&request.project_id);
        rest::check_job(project_id.as_deref(), request.job_id).into_result()?;
        let project_id = self.lookup(project_id, call).await?;
        rest::judge(&project_id, call)?;
        let get = GetJob::new(self, project_id, request.job_id);
        self.upstream.call(&GET_JOB, &get, call).await
    }
}

#[derive(Debug)]
pub(crate) struct GetJob<'a> {
    call: JobCall<'a>,
    job_id: i64,
}

impl<'a> GetJob<'a> {
    pub(crate) fn new(huawei: &'a Huawei, project_id: Cow<'a, str>, job_id: i64) -> Self {
        let path = format!("/v1.0/{project_id}/streaming/jobs/{job_id}");
        Self { call: JobCall::without_body(huawei, path, project_id), job_id }
    }
}

impl RestCall for GetJob<'_> {
    type Output = GetJobResponse;

    fn rest(&self) -> &'static Rest {
        &GET_JOB.rest[0]
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        self.call.request(Method::GET, credential)
    }

    fn response(&self, reply: &Reply<'_>) -> Result<GetJobResponse, NotSuccess> {
        let failed = NotSuccess { expected: "is_success and the job_detail of this job" };
        let (_, request_id) = rest::success(reply)?;
        let DetailWire { job_detail } = reply.json().ok_or(failed)?;
        let job = job_detail.filter(|job| *job != JobWire::default()).ok_or(failed)?;
        // What is told of another job must not be taken for this one's state.
        match job.job_id {
            Integer::Value(id) if id != self.job_id => return Err(failed),
            Integer::Unusable => return Err(failed),
            Integer::Value(_) | Integer::Absent => {}
        }
        Ok(GetJobResponse { job: Some(job.read(self.job_id, reply)), request_id })
    }
}

#[derive(Debug, Deserialize)]
struct DetailWire<'a> {
    #[serde(default, borrow, deserialize_with = "json::object")]
    job_detail: Option<JobWire<'a>>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct JobWire<'a> {
    #[serde(deserialize_with = "json::integer")]
    job_id: Integer,
    #[serde(borrow)]
    name: ProviderText<'a>,
    #[serde(borrow)]
    desc: ProviderText<'a>,
    #[serde(borrow)]
    job_type: ProviderText<'a>,
    #[serde(borrow)]
    queue_name: ProviderText<'a>,
    #[serde(borrow)]
    status: ProviderText<'a>,
    #[serde(borrow)]
    status_desc: ProviderText<'a>,
    #[serde(deserialize_with = "json::boolean")]
    has_savepoint: Option<bool>,
    #[serde(borrow)]
    savepoint_path: ProviderText<'a>,
    #[serde(deserialize_with = "json::integer")]
    create_time: Integer,
    #[serde(deserialize_with = "json::integer")]
    start_time: Integer,
    #[serde(deserialize_with = "json::integer")]
    update_time: Integer,
}

const STATES: [(&str, JobState); 14] = [
    ("job_init", JobState::Init),
    ("job_submitting", JobState::Submitting),
    ("job_submit_fail", JobState::SubmitFail),
    ("job_running", JobState::Running),
    ("job_running_exception", JobState::RunningException),
    ("job_downloading", JobState::Downloading),
    ("job_idle", JobState::Idle),
    ("job_canceling", JobState::Canceling),
    ("job_cancel_success", JobState::CancelSuccess),
    ("job_cancel_fail", JobState::CancelFail),
    ("job_savepointing", JobState::Savepointing),
    ("job_arrearage_stopped", JobState::ArrearageStopped),
    ("job_arrearage_recovering", JobState::ArrearageRecovering),
    ("job_finish", JobState::Finish),
];

impl JobWire<'_> {
    fn read(self, job_id: i64, reply: &Reply<'_>) -> Job {
        let state = named(&STATES, &self.status).unwrap_or(JobState::Unspecified);
        let time = |field, number| timestamp(&HUAWEI, field, number);
        Job {
            job_id,
            name: reply.show(self.name),
            description: reply.show(self.desc),
            job_type: reply.show(self.job_type),
            queue_name: reply.show(self.queue_name),
            state: state.into(),
            provider_state: reply.show(self.status),
            state_description: reply.show(self.status_desc),
            has_savepoint: self.has_savepoint,
            savepoint_path: reply.show(self.savepoint_path),
            create_time: time("create_time", self.create_time),
            start_time: time("start_time", self.start_time),
            update_time: time("update_time", self.update_time),
        }
    }
}
