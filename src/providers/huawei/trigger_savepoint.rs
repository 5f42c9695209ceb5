//! TriggerSavepoint: `POST /v1.0/{project_id}/streaming/jobs/{job_id}/savepoint`.
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-dli/dli_02_0392.html> (read 2026-11-26)

use serde::Serialize;

use super::rest::{Change, JobCall};
use super::{HUAWEI, Huawei, rest};
use crate::call::Call;
use crate::pb::dli::dli_service_server::SERVICE_NAME;
use crate::pb::dli::{TriggerSavepointRequest, TriggerSavepointResponse};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};

/// The RPC. It is not idempotent, because there is no idempotency key.
pub static TRIGGER_SAVEPOINT: Operation = Operation {
    service: SERVICE_NAME,
    name: "TriggerSavepoint",
    provider: &HUAWEI,
    kind: Kind::Unary,
    rest: &[Rest {
        http_method: "POST",
        url_template: "/v1.0/{project_id}/streaming/jobs/{job_id}/savepoint",
    }],
    is_idempotent: false,
    changes_something: true,
    controls_jobs: false,
};

#[derive(Debug, Serialize)]
struct TriggerWire<'a> {
    action: &'static str,
    savepoint_path: &'a str,
}

impl Huawei {
    pub(crate) async fn trigger_savepoint(
        &self,
        request: &TriggerSavepointRequest,
        call: &Call,
    ) -> Result<TriggerSavepointResponse, Error> {
        let project_id = self.project(&request.project_id);
        let mut violations = rest::check_job(project_id.as_deref(), request.job_id);
        rest::check_savepoint_path(&mut violations, &request.savepoint_path);
        violations.into_result()?;
        let project_id = self.lookup(project_id, call).await?;
        call.note_target(rest::target(&project_id, request.job_id));
        rest::judge(&project_id, call)?;
        let path = format!("/v1.0/{project_id}/streaming/jobs/{}/savepoint", request.job_id);
        let body = TriggerWire { action: "TRIGGER", savepoint_path: &request.savepoint_path };
        let trigger = Change {
            rest: &TRIGGER_SAVEPOINT.rest[0],
            call: JobCall::new(self, path, project_id, &body)?,
            has_list: false,
        };
        let (message, request_id) = self.upstream.call(&TRIGGER_SAVEPOINT, &trigger, call).await?;
        Ok(TriggerSavepointResponse { message, request_id })
    }
}
