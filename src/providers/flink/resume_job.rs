//! ResumeJob: `POST /jars/{jar_id}/run`.
//!
//! # Reference
//! - <https://nightlies.apache.org/flink/flink-docs-stable/docs/ops/rest_api/> (read 2026-11-26)

use serde::Serialize;

use super::{FLINK, Flink, rest};
use crate::call::Call;
use crate::pb::flink::flink_service_server::SERVICE_NAME;
use crate::pb::flink::resume_job_request::Restore;
use crate::pb::flink::{ClaimMode, ResumeJobRequest, ResumeJobResponse};
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation, Rest};
use crate::rpc::reason::Reason;
use crate::rpc::validate::{Violations, is_savepoint_path};
use crate::signing::percent_encode;

/// The RPC. It is idempotent over the attempts of a call, because they have the same job id.
pub static RESUME_JOB: Operation = Operation {
    service: SERVICE_NAME,
    name: "ResumeJob",
    provider: &FLINK,
    kind: Kind::Unary,
    rest: &[Rest { http_method: "POST", url_template: "/jars/{jar_id}/run" }],
    is_idempotent: true,
    changes_something: true,
    controls_jobs: true,
};

/// The parallelism of a job is at most that of its key groups.
const PARALLELISM: std::ops::RangeInclusive<i32> = 0..=32_768;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RunWire<'a> {
    job_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    savepoint_path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow_non_restored_state: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    entry_class: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    program_args_list: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    parallelism: Option<i32>,
}

impl Flink {
    pub(crate) async fn resume_job(
        &self,
        mut request: ResumeJobRequest,
        call: &Call,
    ) -> Result<ResumeJobResponse, Error> {
        let mut violations = self.check_cluster(&request.cluster);
        let claim_mode = check(&mut violations, &request);
        violations.into_result()?;
        let cluster = self.known_cluster(&request.cluster)?;
        request.cluster.clone_from(&cluster.name);
        let clock = &*cluster.upstream.clock;
        let job_id = rest::chosen_id(&RESUME_JOB, &request, &request.idempotency_key, clock);
        let savepoint_path = match &request.restore {
            Some(Restore::SavepointPath(path)) => Some(&**path),
            Some(Restore::WithoutState(_)) | None => None,
        };
        let body = RunWire {
            job_id: &job_id,
            savepoint_path,
            allow_non_restored_state: savepoint_path.map(|_| request.allow_non_restored_state),
            claim_mode: savepoint_path.map(|_| claim_mode),
            entry_class: &request.entry_class,
            program_args_list: &request.program_args,
            parallelism: Some(request.parallelism).filter(|parallelism| *parallelism > 0),
        };
        let path = format!("/jars/{}/run", percent_encode(&request.jar_id));
        match cluster.begin(&RESUME_JOB, &job_id, (path, &body), &job_id, call).await {
            Ok(()) => Ok(ResumeJobResponse { job_id, already_submitted: false }),
            // The id is that of this request and of no other.
            Err(error) if error.reason() == Reason::AlreadyExists => {
                Ok(ResumeJobResponse { job_id, already_submitted: true })
            }
            Err(error) => Err(error),
        }
    }
}

/// Checks all fields but the cluster, and returns the claim mode.
fn check(violations: &mut Violations, request: &ResumeJobRequest) -> &'static str {
    let is_text = |text: &str| !text.chars().any(char::is_control);
    let jar_id = &*request.jar_id;
    // Flink decodes the path twice, and cuts it off at a question mark.
    violations.check(
        "jar_id",
        (1..=255).contains(&jar_id.len())
            && is_text(jar_id)
            && !jar_id.contains(['/', '\\', '%', '?', '+'])
            && !matches!(jar_id, "." | ".."),
        "must be 1 to 255 bytes of UTF-8 without control characters and none of / \\ % ? +, and not \
         . or ..",
    );
    match &request.restore {
        Some(Restore::SavepointPath(path)) => violations.check(
            "savepoint_path",
            is_savepoint_path(path),
            "must be 1 to 1024 bytes of UTF-8 without control characters",
        ),
        Some(Restore::WithoutState(sure)) => {
            violations.check("without_state", *sure, "must be true if it is set");
            let without = "has no effect without savepoint_path";
            violations.check("claim_mode", request.claim_mode == 0, without);
            violations.check(
                "allow_non_restored_state",
                !request.allow_non_restored_state,
                without,
            );
        }
        None => violations.check(
            "restore",
            false,
            "is missing: set savepoint_path, or without_state for a job that begins without state",
        ),
    }
    violations.check(
        "entry_class",
        request.entry_class.len() <= 512 && is_text(&request.entry_class),
        "must be at most 512 bytes of UTF-8 without control characters",
    );
    violations.check(
        "program_args",
        request.program_args.len() <= 64
            && request.program_args.iter().all(|arg| arg.len() <= 1024),
        "must be at most 64 of at most 1024 bytes each",
    );
    violations.check(
        "parallelism",
        PARALLELISM.contains(&request.parallelism),
        "must be 0 to 32768",
    );
    rest::check_key(violations, &request.idempotency_key);
    match ClaimMode::try_from(request.claim_mode) {
        Ok(ClaimMode::Unspecified | ClaimMode::NoClaim) => "NO_CLAIM",
        Ok(ClaimMode::Claim) => "CLAIM",
        Err(_) => {
            violations.check("claim_mode", false, "is not a claim mode of this contract");
            "NO_CLAIM"
        }
    }
}
