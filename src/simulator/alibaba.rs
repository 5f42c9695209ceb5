//! Alibaba Cloud Realtime Compute for Apache Flink, simulated.

use bytes::Bytes;
use http::{Method, Request};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::savepoints::Savepoint;
use super::scenario::Answer::{Own, Same};
use super::scenario::{Scenario, Specific};
use super::{Reply, State, part, unsigned};
use crate::providers::alibaba::{NO_SAVEPOINT, sign};
use crate::signing::{hex_sha256, percent_decode};
use crate::text::bytes_of_hex;

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
    let Some(operation) = Operation::of(request) else {
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
    let scenario = operation.scenario();
    let failure = scenario.and_then(|scenario| {
        let count = state.count(scenario.name);
        failure(scenario, count, operation.action())
    });
    failure.unwrap_or_else(|| operation.succeed(state, scenario.is_some()))
}

/// What a request asks for.
enum Operation {
    Get { namespace: String, savepoint: String },
    List { namespace: String, filters: Filters },
    Create { namespace: String, body: CreateBody },
}

/// The query of a list. The provider's defaults apply.
struct Filters {
    deployment: String,
    job: String,
    page_index: usize,
    page_size: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateBody {
    deployment_id: String,
    #[serde(default)]
    description: String,
    native_format: Option<bool>,
}

impl Operation {
    fn of(request: &Request<Bytes>) -> Option<Self> {
        let rest = request.uri().path().strip_prefix("/api/v2/namespaces/")?;
        let (namespace, rest) =
            rest.split_once("/savepoints").filter(|(name, _)| !name.is_empty())?;
        let namespace = percent_decode(namespace).into_owned();
        let id = rest.strip_prefix('/').filter(|id| !id.is_empty() && !id.contains('/'));
        match (request.method(), id) {
            (&Method::GET, Some(id)) => {
                Some(Self::Get { namespace, savepoint: percent_decode(id).into_owned() })
            }
            (&Method::GET, None) if rest.is_empty() => {
                let filters = Filters::of(request.uri().query().unwrap_or_default());
                Some(Self::List { namespace, filters })
            }
            (&Method::POST, None) if rest.is_empty() => {
                let body = serde_json::from_slice(request.body()).ok()?;
                Some(Self::Create { namespace, body })
            }
            _ => None,
        }
    }

    fn action(&self) -> &'static str {
        match self {
            Self::Get { .. } => "stream:GetSavepoint",
            Self::List { .. } => "stream:ListSavepoints",
            Self::Create { .. } => "stream:CreateSavepoint",
        }
    }

    fn scenario(&self) -> Option<Scenario> {
        Scenario::of_id(match self {
            Self::Get { savepoint, .. } => savepoint,
            Self::List { filters, .. } => &filters.deployment,
            Self::Create { body, .. } => &body.deployment_id,
        })
    }

    /// `fails`: the savepoint that is made or read is one that failed.
    fn succeed(self, state: &State, fails: bool) -> Reply {
        let fails = fails && self.scenario().is_some_and(|scenario| scenario.fails_savepoint());
        match self {
            Self::Get { savepoint, .. } if savepoint == NO_SAVEPOINT => not_found(),
            Self::Get { namespace, savepoint } => {
                let mut found = state.savepoints.read(&namespace, &savepoint);
                found.fails |= fails;
                success(&found.to_json())
            }
            Self::List { namespace, filters } => {
                let Filters { deployment, job, page_index, page_size } = filters;
                let all = state.savepoints.list(&namespace, &deployment, &job);
                let start = page_size.saturating_mul(page_index.saturating_sub(1));
                let page: Vec<_> =
                    all.iter().skip(start).take(page_size).map(Savepoint::to_json).collect();
                let mut envelope = envelope(&Value::Array(page));
                envelope["pageIndex"] = page_index.into();
                envelope["pageSize"] = page_size.into();
                envelope["totalSize"] = all.len().into();
                Reply::json(200, envelope)
            }
            Self::Create { namespace, body } => {
                let now = state.clock.now();
                let mut created = Savepoint::begun(&namespace, &body.deployment_id, now);
                created.description = body.description;
                created.native_format = body.native_format;
                created.fails = fails;
                let reply = success(&created.to_json());
                state.savepoints.add(created);
                reply
            }
        }
    }
}

impl Filters {
    fn of(query: &str) -> Self {
        let value = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let found = pairs.into_iter().find(|(found, _)| *found == name);
            found.map(|(_, value)| percent_decode(value).into_owned())
        };
        let number =
            |name, default| value(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        Self {
            deployment: value("deploymentId").unwrap_or_default(),
            job: value("jobId").unwrap_or_default(),
            page_index: number("pageIndex", 1),
            page_size: number("pageSize", 10),
        }
    }
}

fn envelope(data: &Value) -> Value {
    json!({
        "requestId": "CBC799F0-AB7C-1D30-8A4F-882ED4DD0001",
        "success": true,
        "httpCode": 200,
        "errorCode": "",
        "errorMessage": "",
        "data": data,
    })
}

fn success(data: &Value) -> Reply {
    Reply::json(200, envelope(data))
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

fn not_found() -> Reply {
    business_error("990301", "The savepoint does not exist.")
}

/// What a provider answers in a scenario; none if it succeeds.
fn failure(scenario: Scenario, count: u32, action: &str) -> Option<Reply> {
    let specific = match scenario.answer {
        Own(specific) => specific,
        Same(reply) => return Some(reply(&|status, text| gateway_error(status, "Other", text))),
    };
    Some(match specific {
        Specific::RejectedArgument => {
            gateway_error(400, "InvalidNamespaceParameter.Format", "The namespace is not valid.")
        }
        Specific::NotFound => not_found(),
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
                    "AuthAction": action,
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
        // Throttling, because all calls may be repeated after it.
        Specific::Recovers if !count.is_multiple_of(3) && action == "stream:CreateSavepoint" => {
            gateway_error(400, "Throttling.User", "Request was denied due to user flow control.")
        }
        Specific::Recovers if !count.is_multiple_of(3) => gateway_error(
            503,
            "ServiceUnavailable",
            "The request has failed due to a temporary failure of the server.",
        ),
        Specific::Recovers | Specific::FailedSavepoint => return None,
    })
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
    let nonce = bytes_of_hex(text).ok_or(MISMATCH)?;
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
