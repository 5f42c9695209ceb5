//! GetJob: `GET /jobs/{job_id}` and `GET /jobs/{job_id}/checkpoints`.
//!
//! Not `/jobs/{job_id}/status`, which answers 500 for an unknown job.
//!
//! # Reference
//! - <https://nightlies.apache.org/flink/flink-docs-stable/docs/ops/rest_api/> (read 2026-11-26)

use std::fmt;

use bytes::Bytes;
use http::{Method, Request};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::{FLINK, Flink, rest};
use crate::call::Call;
use crate::credential::Credential;
use crate::json::{self, Integer, Nothing, Object};
use crate::pb::flink::flink_service_server::SERVICE_NAME;
use crate::pb::flink::{
    CompletedSavepoint, GetJobRequest, GetJobResponse, Job, JobState, RestoredState,
};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};
use crate::upstream::{NotSuccess, ProviderText, Reply, RestCall, Upstream, named, timestamp};

pub static GET_JOB: Operation = Operation {
    service: SERVICE_NAME,
    name: "GetJob",
    provider: &FLINK,
    kind: Kind::Unary,
    rest: &[
        Rest { http_method: "GET", url_template: "/jobs/{job_id}" },
        Rest { http_method: "GET", url_template: "/jobs/{job_id}/checkpoints" },
    ],
    is_idempotent: true,
    changes_something: false,
    controls_jobs: false,
};

/// What Flink answers, with a 404, for the checkpoints of a batch job.
const NO_CHECKPOINTS: &str = "Checkpointing has not been enabled.";

impl Flink {
    pub(crate) async fn get_job(
        &self,
        request: &GetJobRequest,
        call: &Call,
    ) -> Result<GetJobResponse, Error> {
        self.check_job(&request.cluster, &request.job_id).into_result()?;
        let cluster = self.known_cluster(&request.cluster)?;
        cluster.judge(call)?;
        let upstream = &cluster.upstream;
        let job_id = rest::small(&request.job_id);
        let details = Details { upstream, path: format!("/jobs/{job_id}"), job_id: &job_id };
        let mut job = upstream.call(&GET_JOB, &details, call).await?;
        let checkpoints = Checkpoints { upstream, path: format!("/jobs/{job_id}/checkpoints") };
        let latest = match upstream.call(&GET_JOB, &checkpoints, call).await {
            // A batch job is there, but makes no checkpoints.
            Err(error) if error.provider_error().message.as_deref() == Some(NO_CHECKPOINTS) => {
                (None, None)
            }
            latest => latest?,
        };
        (job.restored_from, job.latest_savepoint) = latest;
        Ok(GetJobResponse { job: Some(job) })
    }
}

pub(super) struct Details<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) path: String,
    pub(super) job_id: &'a str,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct JobWire<'a> {
    #[serde(borrow)]
    jid: ProviderText<'a>,
    #[serde(borrow)]
    name: ProviderText<'a>,
    #[serde(borrow)]
    state: ProviderText<'a>,
    #[serde(rename = "start-time", deserialize_with = "json::integer")]
    start_time: Integer,
    #[serde(rename = "end-time", deserialize_with = "json::integer")]
    end_time: Integer,
    vertices: Vertices,
    // What denies a success.
    errors: Nothing,
}

/// How many vertices a job has, and of how many all tasks run.
#[derive(Debug, Default)]
struct Vertices {
    count: usize,
    running: usize,
}

/// The status of a vertex is RUNNING as soon as one of its tasks runs: only the tasks tell that all
/// of them do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct VertexWire {
    #[serde(deserialize_with = "json::integer")]
    parallelism: Integer,
    #[serde(deserialize_with = "json::object")]
    tasks: Option<TasksWire>,
}

/// The number of tasks in a state.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TasksWire {
    #[serde(rename = "RUNNING", deserialize_with = "json::integer")]
    running: Integer,
}

impl VertexWire {
    fn runs(&self) -> bool {
        let tasks = self.tasks.as_ref().map(|tasks| tasks.running);
        matches!(self.parallelism, Integer::Value(1..)) && tasks == Some(self.parallelism)
    }
}

impl<'de> Deserialize<'de> for Vertices {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Counting;

        impl<'de> Visitor<'de> for Counting {
            type Value = Vertices;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of vertices")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vertices, A::Error> {
                let mut vertices = Vertices::default();
                while let Some(Object(vertex)) = list.next_element::<Object<VertexWire>>()? {
                    vertices.count += 1;
                    vertices.running += usize::from(vertex.runs());
                }
                Ok(vertices)
            }

            fn visit_unit<E>(self) -> Result<Vertices, E> {
                Ok(Vertices::default())
            }
        }

        from.deserialize_any(Counting)
    }
}

const STATES: [(&str, JobState); 11] = [
    ("INITIALIZING", JobState::Initializing),
    ("CREATED", JobState::Created),
    ("RUNNING", JobState::Running),
    ("FAILING", JobState::Failing),
    ("FAILED", JobState::Failed),
    ("CANCELLING", JobState::Cancelling),
    ("CANCELED", JobState::Canceled),
    ("FINISHED", JobState::Finished),
    ("RESTARTING", JobState::Restarting),
    ("SUSPENDED", JobState::Suspended),
    ("RECONCILING", JobState::Reconciling),
];

impl RestCall for Details<'_> {
    type Output = Job;

    fn rest(&self) -> &'static Rest {
        &GET_JOB.rest[0]
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        self.upstream.flink_request((Method::GET, &self.path), Bytes::new(), credential)
    }

    fn response(&self, reply: &Reply<'_>) -> Result<Job, NotSuccess> {
        let failed = NotSuccess { expected: "jid, which must be the job's, and state" };
        let job: JobWire<'_> = reply.json().ok_or(failed)?;
        if !job.jid.is(self.job_id) || job.state.is_empty() {
            return Err(failed);
        }
        let state = named(&STATES, &job.state).unwrap_or(JobState::Unspecified);
        let Vertices { count, running } = job.vertices;
        // -1 while it has not ended.
        let ended = |time: &Integer| matches!(time, Integer::Value(0..));
        Ok(Job {
            job_id: self.job_id.to_owned(),
            name: reply.show(job.name),
            state: state.into(),
            provider_state: reply.show(job.state),
            all_tasks_running: state == JobState::Running && count > 0 && count == running,
            start_time: timestamp(&FLINK, "start-time", job.start_time),
            end_time: Some(job.end_time)
                .filter(ended)
                .and_then(|time| timestamp(&FLINK, "end-time", time)),
            restored_from: None,
            latest_savepoint: None,
        })
    }
}

pub(super) struct Checkpoints<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) path: String,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "reading what denies a success is the check")]
struct CheckpointsWire<'a> {
    #[serde(default, borrow, deserialize_with = "json::object")]
    latest: Option<LatestWire<'a>>,
    // What denies a success.
    #[serde(default)]
    errors: Nothing,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LatestWire<'a> {
    #[serde(borrow, deserialize_with = "json::object")]
    savepoint: Option<CheckpointWire<'a>>,
    #[serde(borrow, deserialize_with = "json::object")]
    restored: Option<CheckpointWire<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CheckpointWire<'a> {
    #[serde(borrow)]
    external_path: ProviderText<'a>,
    #[serde(deserialize_with = "json::boolean")]
    is_savepoint: Option<bool>,
    #[serde(deserialize_with = "json::integer")]
    restore_timestamp: Integer,
    #[serde(deserialize_with = "json::integer")]
    trigger_timestamp: Integer,
    #[serde(deserialize_with = "json::integer")]
    latest_ack_timestamp: Integer,
    #[serde(deserialize_with = "json::integer")]
    state_size: Integer,
}

impl RestCall for Checkpoints<'_> {
    type Output = (Option<RestoredState>, Option<CompletedSavepoint>);

    fn rest(&self) -> &'static Rest {
        &GET_JOB.rest[1]
    }

    fn request(&self, credential: &Credential) -> Result<Request<Bytes>, Error> {
        self.upstream.flink_request((Method::GET, &self.path), Bytes::new(), credential)
    }

    fn response(&self, reply: &Reply<'_>) -> Result<Self::Output, NotSuccess> {
        let failed = NotSuccess { expected: "latest checkpoints" };
        let CheckpointsWire { latest, .. } = reply.json().ok_or(failed)?;
        let LatestWire { savepoint, restored } = latest.ok_or(failed)?;
        let restored = restored.map(|from| RestoredState {
            location: reply.show(from.external_path),
            is_savepoint: from.is_savepoint.unwrap_or_default(),
            restore_time: timestamp(&FLINK, "restore_timestamp", from.restore_timestamp),
        });
        let savepoint = savepoint.map(|made| CompletedSavepoint {
            location: reply.show(made.external_path),
            trigger_time: timestamp(&FLINK, "trigger_timestamp", made.trigger_timestamp),
            complete_time: timestamp(&FLINK, "latest_ack_timestamp", made.latest_ack_timestamp),
            state_size: match made.state_size {
                Integer::Value(bytes) => Some(bytes),
                Integer::Absent | Integer::Unusable => None,
            },
        });
        Ok((restored, savepoint))
    }
}
