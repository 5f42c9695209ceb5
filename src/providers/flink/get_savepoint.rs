//! GetSavepoint: `GET /jobs/{job_id}/savepoints/{trigger_id}`.
//!
//! # Reference
//! - <https://nightlies.apache.org/flink/flink-docs-stable/docs/ops/rest_api/> (read 2026-11-26)

use bytes::Bytes;
use http::{Method, Request};
use serde::Deserialize;

use super::{Cluster, FLINK, Flink, rest};
use crate::call::Call;
use crate::credential::Credential;
use crate::json::{self, Nothing};
use crate::pb::flink::flink_service_server::SERVICE_NAME;
use crate::pb::flink::{GetSavepointRequest, GetSavepointResponse};
use crate::pb::{Savepoint, SavepointFailure, SavepointState, SavepointStatus};
use crate::rpc::Error;
use crate::rpc::error::ProviderError;
use crate::rpc::operation::{Kind, Operation, Rest};
use crate::rpc::reason::Reason;
use crate::upstream::{NotSuccess, ProviderText, Reply, RestCall, Upstream, string};

pub static GET_SAVEPOINT: Operation = Operation {
    service: SERVICE_NAME,
    name: "GetSavepoint",
    provider: &FLINK,
    kind: Kind::Unary,
    rest: &[Rest { http_method: "GET", url_template: "/jobs/{job_id}/savepoints/{trigger_id}" }],
    is_idempotent: true,
    changes_something: false,
    controls_jobs: false,
};

/// Maximum length of what is told of a stack trace.
const TEXT_BYTES: usize = 1024;

/// What Flink says of a job that it does not know, or that has ended.
const JOB_NOT_FOUND: &str = "org.apache.flink.runtime.messages.FlinkJobNotFoundException";

impl Flink {
    pub(crate) async fn get_savepoint(
        &self,
        request: &GetSavepointRequest,
        call: &Call,
    ) -> Result<GetSavepointResponse, Error> {
        let get = self.get_call(request, call)?;
        Ok(GetSavepointResponse { savepoint: Some(get.run(&GET_SAVEPOINT, call).await?) })
    }

    /// Validates the request, and builds the REST call.
    pub(super) fn get_call(
        &self,
        request: &GetSavepointRequest,
        call: &Call,
    ) -> Result<Get<'_>, Error> {
        let mut violations = self.check_job(&request.cluster, &request.job_id);
        rest::check_id(&mut violations, "trigger_id", &request.trigger_id);
        violations.into_result()?;
        let cluster = self.known_cluster(&request.cluster)?;
        cluster.judge(call)?;
        let Cluster { name, upstream } = cluster;
        let (job_id, trigger_id) = (rest::small(&request.job_id), rest::small(&request.trigger_id));
        let path = format!("/jobs/{job_id}/savepoints/{trigger_id}");
        Ok(Get { cluster: name, upstream, path, job_id, trigger_id })
    }
}

#[derive(Debug)]
pub(super) struct Get<'a> {
    pub(super) cluster: &'a str,
    pub(super) upstream: &'a Upstream,
    path: String,
    job_id: String,
    trigger_id: String,
}

impl Get<'_> {
    /// What all watches of this savepoint share.
    pub(super) fn key(&self) -> String {
        // No part contains a line end.
        [self.cluster, &self.job_id, &self.trigger_id].join("\n")
    }

    pub(super) async fn run(
        &self,
        operation: &'static Operation,
        call: &Call,
    ) -> Result<Savepoint, Error> {
        let savepoint = self.upstream.call(operation, self, call).await.map_err(|error| {
            if error.reason() != Reason::NotFound {
                return error;
            }
            error.with_advice(
                "Flink forgets a trigger id some minutes after its savepoint ended, and when its \
                 JobManager restarts: the savepoint may exist all the same",
            )
        })?;
        let failure = savepoint.status.as_ref().and_then(|status| status.failure.as_ref());
        match failure.filter(|failure| failure.reason == JOB_NOT_FOUND) {
            Some(failure) => {
                let said = ProviderError {
                    message: Some(failure.message.clone()),
                    ..ProviderError::default()
                };
                Err(Error::of_response(operation, Reason::NotFound, said, "")
                    .with_advice("it does not know the job, or the job has ended")
                    .with_attempts(call.requests()))
            }
            None => Ok(savepoint),
        }
    }
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "reading what denies a success is the check")]
struct SavepointWire<'a> {
    #[serde(default, borrow, deserialize_with = "json::object")]
    status: Option<StatusWire<'a>>,
    #[serde(default, borrow, deserialize_with = "json::object")]
    operation: Option<OperationWire<'a>>,
    // What denies a success.
    #[serde(default)]
    errors: Nothing,
}

#[derive(Debug, Deserialize)]
struct StatusWire<'a> {
    #[serde(default, borrow)]
    id: ProviderText<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OperationWire<'a> {
    #[serde(borrow, deserialize_with = "string")]
    location: ProviderText<'a>,
    #[serde(borrow, rename = "failure-cause", deserialize_with = "json::object")]
    failure_cause: Option<CauseWire<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CauseWire<'a> {
    #[serde(borrow)]
    class: ProviderText<'a>,
    #[serde(borrow, rename = "stack-trace")]
    stack_trace: ProviderText<'a>,
}

impl RestCall for Get<'_> {
    type Output = Savepoint;

    fn rest(&self) -> &'static Rest {
        &GET_SAVEPOINT.rest[0]
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        self.upstream.flink_request((Method::GET, &self.path), Bytes::new(), credential)
    }

    fn response(&self, reply: &Reply<'_>) -> Result<Savepoint, NotSuccess> {
        let failed = NotSuccess { expected: "status and operation that fit each other" };
        let SavepointWire { status, operation, .. } = reply.json().ok_or(failed)?;
        let id = status.ok_or(failed)?.id;
        let OperationWire { location, failure_cause } = operation.unwrap_or_default();
        let (in_progress, completed) = (id.is("IN_PROGRESS"), id.is("COMPLETED"));
        let state = match (location.is_empty(), &failure_cause) {
            (true, None) if in_progress => SavepointState::Started,
            (false, None) if completed => SavepointState::Completed,
            (true, Some(_)) if completed => SavepointState::Failed,
            // A state that is not known says nothing of success.
            (true, None) if !completed && !id.is_empty() => SavepointState::Unspecified,
            _ => return Err(failed),
        };
        let failure = failure_cause.map(|cause| {
            let line = cause.stack_trace.first_line();
            let named = line.exception();
            let reason = if named.is_empty() { cause.class.first_line() } else { named };
            SavepointFailure {
                reason: reply.show_at_most(&reason, TEXT_BYTES),
                message: reply.show_at_most(&line, TEXT_BYTES),
                fail_time: None,
            }
        });
        Ok(Savepoint {
            savepoint_id: self.trigger_id.clone(),
            job_id: self.job_id.clone(),
            savepoint_location: reply.show(location),
            status: Some(SavepointStatus {
                state: state.into(),
                provider_state: reply.show(id),
                failure,
            }),
            ..Savepoint::default()
        })
    }
}
