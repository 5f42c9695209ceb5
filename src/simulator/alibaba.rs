//! Alibaba Cloud Realtime Compute for Apache Flink, simulated.

use bytes::Bytes;
use http::{Method, Request};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::scenario::Answer::{Own, Same};
use super::scenario::{Scenario, Specific};
use super::{Reply, State, part, unsigned};
use crate::providers::alibaba::sign;
use crate::signing::{hex_sha256, percent_decode};

/// Maximum age of a signature.
///
/// # Reference
/// <https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature> (read 2026-11-22)
const VALIDITY_SECONDS: i64 = 15 * 60;

const ADDED: [&str; 3] = ["x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"];

pub(super) fn answer(state: &State, request: &Request<Bytes>) -> Reply {
    if let Err((status, code, message)) = check_signature(state, request) {
        return gateway_error(status, code, message);
    }
    let Some((namespace, savepoint)) = ids(request) else {
        return gateway_error(
            404,
            "InvalidApi.NotFound",
            "Specified api is not found, please check your url and method.",
        );
    };
    let workspace = request.headers().get("workspace").map_or(&b""[..], |value| value.as_bytes());
    if workspace.is_empty() {
        return gateway_error(400, "MissingWorkspace", "workspace is mandatory for this action.");
    }
    match Scenario::of_savepoint(&savepoint) {
        Some(scenario) => reply(scenario, state.count(scenario.name), &namespace, &savepoint),
        None => success(&namespace, &savepoint, "COMPLETED"),
    }
}

fn success(namespace: &str, savepoint: &str, state: &str) -> Reply {
    let failure = match state {
        "FAILED" => json!({
            "message": "create savepoint failed",
            "reason": "IO Exception",
            "failedAt": 1_655_006_835,
        }),
        _ => Value::Null,
    };
    Reply::json(
        200,
        json!({
            "requestId": "CBC799F0-AB7C-1D30-8A4F-882ED4DD0001",
            "success": true,
            "httpCode": 200,
            "errorCode": "",
            "errorMessage": "",
            "data": {
                "savepointId": savepoint,
                "deploymentId": "1d716b22-6aad-4be2-85c2-50cfc7570001",
                "jobId": "5af678c0-7db0-4650-94c2-d2604f0a0001",
                "namespace": namespace,
                "savepointOrigin": "USER_REQUEST",
                "nativeFormat": true,
                "description": "Job snapshot 1",
                "stopWithDrainEnabled": true,
                "savepointLocation": "https://oss/bucket/flink/flink-jobs/namespaces/vvp-team/deployments/5a19a71b-1c42-4f34-94fd-86cf60782c81/checkpoints/sp-3285",
                "status": {"state": state, "failure": failure},
                "createdAt": 1_659_066_711,
                "modifiedAt": 1_659_069_473,
            },
        }),
    )
}

fn gateway_error(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(
        status,
        json!({
            "RequestId": "0B7C9E0F-1111-5222-9333-ABCDEF000001",
            "HostId": "ververica.simulated",
            "Code": code,
            "Message": message,
        }),
    )
}

/// An error of the service itself, which always has status 200.
fn business_error(code: &str, message: &str) -> Reply {
    Reply::json(
        200,
        json!({
            "requestId": "CBC799F0-AB7C-1D30-8A4F-882ED4DD0001",
            "success": false,
            "httpCode": 200,
            "errorCode": code,
            "errorMessage": message,
        }),
    )
}

fn reply(scenario: Scenario, count: u32, namespace: &str, savepoint: &str) -> Reply {
    let specific = match scenario.answer {
        Own(specific) => specific,
        Same(reply) => return reply(&|status, text| gateway_error(status, "Other", text)),
    };
    match specific {
        Specific::RejectedArgument => {
            gateway_error(400, "InvalidNamespaceParameter.Format", "The namespace is not valid.")
        }
        Specific::NotFound => business_error("990301", "The savepoint does not exist."),
        Specific::ReportedFailure => business_error("990000", "The workspace is being upgraded."),
        Specific::Throttled => {
            gateway_error(400, "Throttling.User", "Request was denied due to user flow control.")
                .with("x-acs-retry-after", "60000")
        }
        Specific::QuotaExceeded => gateway_error(429, "QuotaExceeded", "The quota is used up."),
        Specific::PermissionDenied => Reply::json(
            403,
            json!({
                "RequestId": "0B7C9E0F-1111-5222-9333-ABCDEF000001",
                "Code": "NoPermission",
                "Message": "You are not authorized to do this action.",
                "AccessDeniedDetail": {
                    "AuthAction": "stream:GetSavepoint",
                    "NoPermissionType": "ImplicitDeny",
                },
            }),
        ),
        Specific::CredentialsRejected => gateway_error(
            400,
            "SignatureDoesNotMatch",
            "Specified signature does not match our calculation.",
        ),
        Specific::ClockSkew => gateway_error(
            400,
            "InvalidTimeStamp.Expired",
            "Specified time stamp or date value is expired.",
        ),
        Specific::Internal => {
            gateway_error(500, "InternalError", "The request processing has failed.")
        }
        Specific::Recovers if !count.is_multiple_of(3) => gateway_error(
            503,
            "ServiceUnavailable",
            "The request has failed due to a temporary failure of the server.",
        ),
        Specific::Recovers => success(namespace, savepoint, "COMPLETED"),
        Specific::FailedSavepoint => success(namespace, savepoint, "FAILED"),
    }
}

/// `/api/v2/namespaces/{namespace}/savepoints/{savepointId}`
fn ids(request: &Request<Bytes>) -> Option<(String, String)> {
    let rest = request.uri().path().strip_prefix("/api/v2/namespaces/")?;
    let (namespace, savepoint) = rest.split_once("/savepoints/")?;
    let fits = request.method() == Method::GET
        && !namespace.is_empty()
        && !savepoint.is_empty()
        && !savepoint.contains('/');
    fits.then(|| (percent_decode(namespace).into_owned(), percent_decode(savepoint).into_owned()))
}

type Refusal = (u16, &'static str, &'static str);

fn check_signature(state: &State, request: &Request<Bytes>) -> Result<(), Refusal> {
    const INCOMPLETE: Refusal =
        (400, "IncompleteSignature", "The request signature does not conform to Aliyun standards.");
    const MISMATCH: Refusal =
        (400, "SignatureDoesNotMatch", "Specified signature does not match our calculation.");
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    let authorization = header("authorization").ok_or(INCOMPLETE)?;
    let access_key = part(authorization, "Credential=").ok_or(INCOMPLETE)?;
    let signed = part(authorization, "SignedHeaders=").ok_or(INCOMPLETE)?;
    if access_key != state.access_key_id {
        return Err((404, "InvalidAccessKeyId.NotFound", "Specified access key is not found."));
    }
    let all_signed = request
        .headers()
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-acs-") || *name == "host" || *name == "content-type")
        .all(|name| signed.split(';').any(|other| other == name));
    if !all_signed {
        return Err(INCOMPLETE);
    }
    let expired =
        (400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.");
    let date: Timestamp = header("x-acs-date").and_then(|text| text.parse().ok()).ok_or((
        400,
        "InvalidTimeStamp.Format",
        "Specified time stamp is not well formatted.",
    ))?;
    if state.clock.now().duration_since(date).as_secs().abs() > VALIDITY_SECONDS {
        return Err(expired);
    }
    if header("x-acs-content-sha256") != Some(&hex_sha256(request.body())) {
        return Err(MISMATCH);
    }
    let text = header("x-acs-signature-nonce").ok_or(INCOMPLETE)?;
    let nonce = bytes_of(text).ok_or(MISMATCH)?;
    let before = unsigned(request, signed, &ADDED).ok_or(INCOMPLETE)?;
    let stages = sign::stages(&before, &state.credential, date, nonce).map_err(|_| MISMATCH)?;
    if stages.authorization != authorization {
        return Err(MISMATCH);
    }
    let mut nonces = state.nonces.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if nonces.is_new(text, date, state.clock.now(), SignedDuration::from_secs(VALIDITY_SECONDS)) {
        Ok(())
    } else {
        Err((400, "SignatureNonceUsed", "Specified signature nonce was used already."))
    }
}

/// 16 bytes of 32 hex digits.
fn bytes_of(hex: &str) -> Option<[u8; 16]> {
    u128::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 32).map(u128::to_be_bytes)
}
