//! Huawei Cloud DLI, simulated.

use bytes::Bytes;
use http::{Method, Request};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

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
    let Some((project, job)) = ids(request) else {
        return Reply::json(
            404,
            json!({
                "error_msg": "The API does not exist or has not been published in the environment",
                "error_code": "APIG.0101",
            }),
        );
    };
    let header = request.headers().get("x-project-id").map(http::HeaderValue::as_bytes);
    let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let well_formed = header == Some(project.as_bytes())
        && body["job_id"].as_i64().is_some_and(|id| id.to_string() == job)
        && body["savepoint_path"].as_str().is_some_and(|path| !path.is_empty());
    if !well_formed {
        return Reply::json(
            400,
            json!({"error_code": "DLI.0001", "error_msg": "Parameter check errors occur."}),
        );
    }
    match Scenario::of_job(job) {
        Some(scenario) => reply(scenario, state.count(scenario.name)),
        None => success(),
    }
}

fn success() -> Reply {
    Reply::json(200, json!({"is_success": true, "message": "The job is successfully updated."}))
}

fn reply(scenario: Scenario, count: u32) -> Reply {
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
        Same(reply) => return reply(&|status, text| error(status, "DLI.9999", text)),
    };
    match specific {
        Specific::RejectedArgument => error(400, "DLI.0001", "Parameter check errors occur."),
        Specific::NotFound => {
            error(400, "DLI.12004", "The job does not exist. Check the reason or create a job.")
        }
        Specific::ReportedFailure => {
            Reply::json(200, json!({"is_success": "false", "message": "The job is running."}))
        }
        Specific::Throttled => throttled().with("retry-after", "60"),
        Specific::QuotaExceeded => error(400, "DLI.1028", "The quota is exceeded."),
        Specific::PermissionDenied => error(403, "DLI.0016", "No permission: dli:jobs:update."),
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
        Specific::Recovers | Specific::FailedSavepoint => success(),
    }
}

/// `/v1.0/{project_id}/streaming/jobs/{job_id}/import-savepoint`
fn ids(request: &Request<Bytes>) -> Option<(&str, &str)> {
    let mut segments = request.uri().path().strip_prefix("/v1.0/")?.split('/');
    let project = segments.next()?;
    (segments.next()? == "streaming" && segments.next()? == "jobs").then_some(())?;
    let job = segments.next()?;
    let rest_fits = segments.next() == Some("import-savepoint") && segments.next().is_none();
    (rest_fits && request.method() == Method::POST).then_some((project, job))
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
