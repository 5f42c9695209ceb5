//! Huawei Cloud DLI, simulated.

use bytes::Bytes;
use http::{Method, Request};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::json;

use super::scenario::Answer::{Own, Same};
use super::scenario::{Scenario, Specific};
use super::{Reply, State, part, unsigned};
use crate::providers::huawei::sign;

/// Maximum age of a signature.
///
/// # Reference
/// <https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-0001.html> (read 2026-11-22)
const VALIDITY_SECONDS: i64 = 15 * 60;

pub(super) fn answer(state: &State, request: &Request<Bytes>) -> Reply {
    if let Err(text) = check_signature(state, request) {
        return Reply::json(
            401,
            json!({
                "error_msg": format!("Incorrect IAM authentication information: {text}"),
                "error_code": "APIG.0301",
                "request_id": "in-the-header-too",
            }),
        );
    }
    let Some((project, operation)) = Operation::of(request) else {
        return Reply::json(
            404,
            json!({
                "error_msg": "The API does not exist or has not been published in the environment",
                "error_code": "APIG.0101",
            }),
        );
    };
    let header = request.headers().get("x-project-id").map(http::HeaderValue::as_bytes);
    let operation = operation.filter(|_| header == Some(project.as_bytes()));
    let Some((job, operation)) = operation else {
        return Reply::json(
            400,
            json!({"error_code": "DLI.0001", "error_msg": "Parameter check errors occur."}),
        );
    };
    let failure = Scenario::of_job(job)
        .and_then(|scenario| failure(scenario, state.count(scenario.name), operation.permission()));
    failure.unwrap_or_else(|| operation.carry_out(job, state))
}

/// What a request asks for. The body of a request is as strict as the provider's documentation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, untagged)]
enum Operation {
    Import {
        job_id: i64,
        savepoint_path: String,
    },
    Trigger {
        action: Trigger,
        savepoint_path: String,
    },
    Run {
        job_ids: [i64; 1],
        #[serde(default)]
        resume_savepoint: bool,
    },
    Stop {
        job_ids: [i64; 1],
        #[serde(default)]
        trigger_savepoint: bool,
    },
    #[serde(skip)]
    Show,
    /// Of no job.
    #[serde(skip)]
    List,
}

#[derive(Deserialize)]
enum Trigger {
    #[serde(rename = "TRIGGER")]
    Trigger,
}

impl Operation {
    /// The project, and the job with the operation if the body is well formed; none if there is no
    /// such API.
    fn of(request: &Request<Bytes>) -> Option<(&str, Option<(i64, Self)>)> {
        let rest = request.uri().path().strip_prefix("/v1.0/")?;
        let (project, rest) = rest.split_once("/streaming/jobs")?;
        if rest.is_empty() {
            let is_get = request.method() == Method::GET;
            return is_get.then_some((project, Some((0, Self::List))));
        }
        let rest = rest.strip_prefix('/')?;
        let body = || serde_json::from_slice::<Self>(request.body()).ok();
        let is_post = request.method() == Method::POST;
        let found = match rest.split_once('/').map_or((rest, ""), |parts| parts) {
            ("run", "") if is_post => body().and_then(|body| {
                let Self::Run { job_ids: [job], .. } = body else { return None };
                Some((job, body))
            }),
            ("stop", "") if is_post => body().and_then(|body| match body {
                Self::Stop { job_ids: [job], .. } => Some((job, body)),
                // Without its own field it looks like the other.
                Self::Run { job_ids: [job], resume_savepoint: false } => {
                    Some((job, Self::Stop { job_ids: [job], trigger_savepoint: false }))
                }
                Self::Run { .. }
                | Self::Import { .. }
                | Self::Trigger { .. }
                | Self::Show
                | Self::List => None,
            }),
            (job, "import-savepoint") if is_post => {
                let job = job.parse().ok()?;
                body().filter(|body| matches!(body, Self::Import { job_id, savepoint_path } if *job_id == job && !savepoint_path.is_empty())).map(|body| (job, body))
            }
            (job, "savepoint") if is_post => {
                let job = job.parse().ok()?;
                body().filter(|body| matches!(body, Self::Trigger { .. })).map(|body| (job, body))
            }
            (job, "") if request.method() == Method::GET => Some((job.parse().ok()?, Self::Show)),
            _ => return None,
        };
        Some((project, found))
    }

    fn permission(&self) -> &'static str {
        match self {
            Self::Import { .. } | Self::Trigger { .. } => "dli:jobs:update",
            Self::Run { .. } => "dli:jobs:startFlinkJob",
            Self::Stop { .. } => "dli:jobs:stopFlinkJob",
            Self::Show => "dli:jobs:get",
            Self::List => "dli:jobs:list",
        }
    }

    fn carry_out(&self, job: i64, state: &State) -> Reply {
        let (jobs, now) = (&state.jobs, state.clock.now());
        let (changed, is_list) = match self {
            Self::Import { savepoint_path, .. } => (jobs.import(job, savepoint_path, now), false),
            Self::Trigger { savepoint_path, action: Trigger::Trigger } => {
                (jobs.trigger(job, savepoint_path, now), false)
            }
            Self::Run { resume_savepoint, .. } => (jobs.run(job, *resume_savepoint, now), true),
            Self::Stop { trigger_savepoint, .. } => (jobs.stop(job, *trigger_savepoint, now), true),
            Self::Show => {
                return Reply::json(
                    200,
                    json!({
                        "is_success": "true",
                        "message": "Job detail query succeeds.",
                        "job_detail": jobs.read(job, now),
                    }),
                );
            }
            Self::List => {
                let list = json!({"total_count": 0, "jobs": []});
                let answer = json!({"is_success": "true", "message": "", "job_list": list});
                return Reply::json(200, answer);
            }
        };
        let answer = match (changed, self) {
            // Two forms of a boolean, as documented.
            (Ok(message), Self::Import { .. }) => json!({"is_success": true, "message": message}),
            (Ok(message), _) => json!({"is_success": "true", "message": message}),
            (Err(message), _) => json!({"is_success": "false", "message": message}),
        };
        Reply::json(200, if is_list { json!([answer]) } else { answer })
    }
}

/// What the provider answers in a scenario; none if it succeeds.
fn failure(scenario: Scenario, count: u32, permission: &str) -> Option<Reply> {
    let error = |status, code: &str, text: &str| {
        Reply::json(status, json!({"error_code": code, "error_msg": text}))
    };
    let throttled = || {
        error(
            429,
            "APIG.0308",
            "The throttling threshold has been reached: policy user over ratelimit",
        )
    };
    let specific = match scenario.answer {
        Own(specific) => specific,
        Same(reply) => return Some(reply(&|status, text| error(status, "DLI.9999", text))),
    };
    Some(match specific {
        Specific::RejectedArgument => error(400, "DLI.0001", "Parameter check errors occur."),
        Specific::NotFound => {
            error(400, "DLI.12004", "The job does not exist. Check the reason or create a job.")
        }
        Specific::ReportedFailure => {
            Reply::json(200, json!({"is_success": "false", "message": "The job is running."}))
        }
        Specific::Throttled => throttled().with("retry-after", "60"),
        Specific::QuotaExceeded => error(400, "DLI.1028", "The quota is exceeded."),
        Specific::PermissionDenied => {
            error(403, "DLI.0016", &format!("No permission: {permission}."))
        }
        Specific::CredentialsRejected => error(
            401,
            "APIG.0301",
            "Incorrect IAM authentication information: verify aksk signature fail",
        ),
        Specific::ClockSkew => {
            error(401, "APIG.0301", "Incorrect IAM authentication information: signature expired")
        }
        Specific::Internal => error(500, "DLI.0999", "Queue backend is too busy."),
        Specific::Recovers if !count.is_multiple_of(3) => throttled(),
        Specific::Recovers | Specific::FailedSavepoint => return None,
    })
}

fn check_signature(state: &State, request: &Request<Bytes>) -> Result<(), &'static str> {
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    let authorization = header("authorization").ok_or("no Authorization")?;
    let access_key = part(authorization, "Access=").ok_or("bad Authorization")?;
    let signed = part(authorization, "SignedHeaders=").ok_or("bad Authorization")?;
    if access_key != state.access_key_id {
        return Err("Get secretKey failed,ak:***,err:ak not exist");
    }
    let date = header("x-sdk-date").and_then(date).ok_or("x-sdk-date not found")?;
    if state.clock.now().duration_since(date).as_secs().abs() > VALIDITY_SECONDS {
        return Err("signature expired");
    }
    let before = unsigned(request, signed, &["x-sdk-date"]).ok_or("signed header not found")?;
    let stages = sign::stages(&before, &state.credential, date).map_err(|_| "cannot be signed")?;
    if stages.authorization == authorization { Ok(()) } else { Err("verify aksk signature fail") }
}

fn date(text: &str) -> Option<Timestamp> {
    let date = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}
