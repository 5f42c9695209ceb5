//! TriggerSavepoint: `POST /jobs/{job_id}/savepoints`.
//!
//! # Reference
//! - <https://nightlies.apache.org/flink/flink-docs-stable/docs/ops/rest_api/> (read 2026-11-26)

use serde::Serialize;

use super::{FLINK, Flink, rest};
use crate::call::Call;
use crate::pb::flink::flink_service_server::SERVICE_NAME;
use crate::pb::flink::{TriggerSavepointRequest, TriggerSavepointResponse};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};

/// The RPC. It is idempotent over the attempts of a call, because they have the same trigger id.
pub static TRIGGER_SAVEPOINT: Operation = Operation {
    service: SERVICE_NAME,
    name: "TriggerSavepoint",
    provider: &FLINK,
    kind: Kind::Unary,
    rest: &[Rest { http_method: "POST", url_template: "/jobs/{job_id}/savepoints" }],
    is_idempotent: true,
    changes_something: true,
    controls_jobs: false,
};

/// The name of the directory has a dash here and none for a stop. Flink ignores the other one.
#[derive(Debug, Serialize)]
struct TriggerWire<'a> {
    #[serde(rename = "target-directory", skip_serializing_if = "str::is_empty")]
    target_directory: &'a str,
    #[serde(rename = "formatType", skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    #[serde(rename = "triggerId")]
    trigger_id: &'a str,
}

impl Flink {
    pub(crate) async fn trigger_savepoint(
        &self,
        mut request: TriggerSavepointRequest,
        call: &Call,
    ) -> Result<TriggerSavepointResponse, Error> {
        let mut violations = self.check_job(&request.cluster, &request.job_id);
        let (target_directory, key) = (&request.target_directory, &request.idempotency_key);
        let format = rest::check_savepoint(&mut violations, target_directory, request.format, key);
        violations.into_result()?;
        let cluster = self.known_cluster(&request.cluster)?;
        request.cluster.clone_from(&cluster.name);
        request.job_id = rest::small(&request.job_id);
        let clock = &*cluster.upstream.clock;
        let key = &request.idempotency_key;
        let trigger_id = rest::chosen_id(&TRIGGER_SAVEPOINT, &request, key, clock);
        let body = TriggerWire {
            target_directory: &request.target_directory,
            format,
            trigger_id: &trigger_id,
        };
        let path = format!("/jobs/{}/savepoints", request.job_id);
        cluster
            .begin(&TRIGGER_SAVEPOINT, &request.job_id, (path, &body), &trigger_id, call)
            .await?;
        Ok(TriggerSavepointResponse { trigger_id })
    }
}
