//! GetSavepoint: `GET /api/v2/namespaces/{namespace}/savepoints/{savepointId}`.
//!
//! # Reference
//! - <https://www.alibabacloud.com/help/en/flink/realtime-flink/developer-reference/api-ververica-2022-07-18-getsavepoint> (read 2026-11-22)

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request};
use prost_types::Timestamp;
use serde::Deserialize;

use super::{Alibaba, sign};
use crate::call::Call;
use crate::canonical::percent_encode;
use crate::credential::Credential;
use crate::error::Error;
use crate::failure::Failure;
use crate::fault::{Unproven, request_id};
use crate::json::{self, Integer};
use crate::operation::{Operation, Provider};
use crate::pb::{
    GetSavepointRequest, GetSavepointResponse, Savepoint, SavepointFailure, SavepointOrigin,
    SavepointState, SavepointStatus,
};
use crate::upstream::Answer;
use crate::validate::{Violations, is_path_segment, is_workspace};

const OPERATION: Operation = Operation::GetSavepoint;

/// The envelope. `httpCode` in it is documented to be 200 whatever happened: `success` alone
/// decides.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvelopeWire {
    #[serde(default, deserialize_with = "json::boolean")]
    success: Option<bool>,
    #[serde(default, deserialize_with = "json::text")]
    request_id: Option<String>,
    #[serde(default, rename = "RequestId", deserialize_with = "json::text")]
    gateway_request_id: Option<String>,
    #[serde(default, deserialize_with = "json::object")]
    data: Option<SavepointWire>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SavepointWire {
    #[serde(deserialize_with = "json::text")]
    savepoint_id: Option<String>,
    #[serde(deserialize_with = "json::text")]
    deployment_id: Option<String>,
    #[serde(deserialize_with = "json::text")]
    job_id: Option<String>,
    #[serde(deserialize_with = "json::text")]
    namespace: Option<String>,
    #[serde(deserialize_with = "json::text")]
    savepoint_origin: Option<String>,
    #[serde(deserialize_with = "json::boolean")]
    native_format: Option<bool>,
    #[serde(deserialize_with = "json::text")]
    description: Option<String>,
    #[serde(deserialize_with = "json::boolean")]
    stop_with_drain_enabled: Option<bool>,
    #[serde(deserialize_with = "json::text")]
    savepoint_location: Option<String>,
    #[serde(deserialize_with = "json::object")]
    status: Option<StatusWire>,
    #[serde(deserialize_with = "json::integer")]
    created_at: Integer,
    #[serde(deserialize_with = "json::integer")]
    modified_at: Integer,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusWire {
    #[serde(deserialize_with = "json::text")]
    state: Option<String>,
    #[serde(deserialize_with = "json::object")]
    failure: Option<FailureWire>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FailureWire {
    #[serde(deserialize_with = "json::text")]
    message: Option<String>,
    #[serde(deserialize_with = "json::text")]
    reason: Option<String>,
    #[serde(deserialize_with = "json::integer")]
    failed_at: Integer,
}

/// What is asked of the provider for one request, whatever the number of attempts.
#[derive(Debug)]
pub(crate) struct GetPlan<'a> {
    uri: String,
    workspace: &'a str,
}

impl Alibaba {
    /// Gets a savepoint.
    ///
    /// # Errors
    /// Any row of [`Failure`]. Nothing is sent when the request breaks a rule.
    pub async fn get_savepoint(
        &self,
        request: &GetSavepointRequest,
        call: &Call,
    ) -> Result<GetSavepointResponse, Error> {
        let plan = self.plan(request)?;
        self.upstream.call(OPERATION, call, || self.attempt_get(&plan, call)).await
    }

    /// Checks the request and says what is asked of the provider for it.
    pub(crate) fn plan<'a>(
        &'a self,
        request: &'a GetSavepointRequest,
    ) -> Result<GetPlan<'a>, Error> {
        let workspace = match request.workspace.as_str() {
            "" => self.workspace.as_deref().unwrap_or_default(),
            given => given,
        };
        validate(workspace, request)?;
        let uri = format!(
            "{}/api/v2/namespaces/{}/savepoints/{}",
            self.upstream.endpoint().origin(),
            percent_encode(&request.namespace),
            percent_encode(&request.savepoint_id),
        );
        Ok(GetPlan { uri, workspace })
    }

    async fn attempt_get(
        &self,
        plan: &GetPlan<'_>,
        call: &Call,
    ) -> Result<GetSavepointResponse, Error> {
        let credential = self.credentials.current(self.upstream.clock()).await?;
        let request = self.signed(plan, &credential)?;
        let answer = self.upstream.send(OPERATION, request, call).await?;
        self.read(&answer, &credential)
    }

    pub(crate) fn signed(
        &self,
        plan: &GetPlan<'_>,
        credential: &Credential,
    ) -> Result<Request<Bytes>, Error> {
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(&plan.uri)
            .header(HOST, self.upstream.endpoint().host())
            .header("workspace", plan.workspace)
            .header("x-acs-action", "GetSavepoint")
            .header("x-acs-version", "2022-07-18")
            .body(Bytes::new())
            .map_err(|_| Error::new(Failure::GatewayInternal, "the request cannot be built"))?;
        let clock = self.upstream.clock();
        sign::sign(&mut request, credential, clock.now(), clock.nonce())?;
        // Added after signing: proxies on the way may change them.
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(crate::USER_AGENT));
        Ok(request)
    }

    pub(crate) fn read(
        &self,
        answer: &Answer,
        credential: &Credential,
    ) -> Result<GetSavepointResponse, Error> {
        let header_id = || request_id(answer.header("x-acs-request-id"), credential);
        let wire = if answer.is_2xx() && answer.whole {
            json::read_object::<EnvelopeWire>(&answer.body).ok()
        } else {
            None
        };
        let success = wire.as_ref().and_then(|wire| wire.success);
        if success == Some(true)
            && let Some(EnvelopeWire { request_id: id, gateway_request_id, data: Some(data), .. }) =
                wire
            // An object in which nothing is known says as little as none.
            && data != SavepointWire::default()
        {
            let id = request_id(id.as_deref(), credential)
                .or(request_id(gateway_request_id.as_deref(), credential));
            return Ok(GetSavepointResponse {
                savepoint: Some(data.into()),
                request_id: id.or_else(header_id).unwrap_or_default(),
            });
        }

        let unproven = Unproven {
            operation: OPERATION,
            answer,
            success,
            proof: "success and data",
            credential,
            now: self.upstream.clock().now(),
        };
        Err(unproven.error(|told| request_id(told, credential).or_else(header_id)))
    }
}

fn validate(workspace: &str, request: &GetSavepointRequest) -> Result<(), Error> {
    const SEGMENT: &str =
        "must be 1 to 128 of 0-9, A-Z, a-z, _, ., ~ and -, and begin with a letter or digit";
    let mut violations = Violations::default();
    violations.check(
        "workspace",
        is_workspace(workspace),
        if workspace.is_empty() {
            "is empty and the gateway has no --alibaba-workspace"
        } else {
            "must be 1 to 128 of 0-9, A-Z, a-z, _, . and -, and begin with a letter or digit"
        },
    );
    violations.check("namespace", is_path_segment(&request.namespace), SEGMENT);
    violations.check("savepoint_id", is_path_segment(&request.savepoint_id), SEGMENT);
    violations.into_result()
}

impl From<SavepointWire> for Savepoint {
    fn from(wire: SavepointWire) -> Self {
        let origin = wire.savepoint_origin.as_deref().map_or(SavepointOrigin::Unspecified, origin);
        Self {
            savepoint_id: wire.savepoint_id.unwrap_or_default(),
            deployment_id: wire.deployment_id.unwrap_or_default(),
            job_id: wire.job_id.unwrap_or_default(),
            namespace: wire.namespace.unwrap_or_default(),
            origin: origin.into(),
            provider_origin: wire.savepoint_origin.unwrap_or_default(),
            native_format: wire.native_format,
            description: wire.description.unwrap_or_default(),
            stop_with_drain_enabled: wire.stop_with_drain_enabled,
            savepoint_location: wire.savepoint_location.unwrap_or_default(),
            status: wire.status.map(SavepointStatus::from),
            create_time: timestamp("createdAt", wire.created_at),
            update_time: timestamp("modifiedAt", wire.modified_at),
        }
    }
}

impl From<StatusWire> for SavepointStatus {
    fn from(wire: StatusWire) -> Self {
        let state = wire.state.as_deref().map_or(SavepointState::Unspecified, state);
        Self {
            state: state.into(),
            provider_state: wire.state.unwrap_or_default(),
            failure: wire.failure.map(|failure| SavepointFailure {
                message: failure.message.unwrap_or_default(),
                reason: failure.reason.unwrap_or_default(),
                fail_time: timestamp("failedAt", failure.failed_at),
            }),
        }
    }
}

fn state(text: &str) -> SavepointState {
    match text {
        "STARTED" => SavepointState::Started,
        "COMPLETED" => SavepointState::Completed,
        "FAILED" => SavepointState::Failed,
        _ => SavepointState::Unspecified,
    }
}

/// `AUTO_TRIGGERED` is missing from the documentation page, but in the provider's API metadata.
fn origin(text: &str) -> SavepointOrigin {
    match text {
        "USER_REQUEST" => SavepointOrigin::UserRequest,
        "STOP_WITH_SAVEPOINT" => SavepointOrigin::StopWithSavepoint,
        "RETAINED_CHECKPOINT" => SavepointOrigin::RetainedCheckpoint,
        "AUTO_TRIGGERED" => SavepointOrigin::AutoTriggered,
        _ => SavepointOrigin::Unspecified,
    }
}

/// From here on a number of an epoch counts milliseconds: as seconds it would lie beyond the
/// year 5138. The documentation names no unit; its examples are seconds.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;

/// The instants of a `google.protobuf.Timestamp`: 0001-01-01T00:00:00Z to
/// 9999-12-31T23:59:59Z.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The instant that a number means; absent, and logged, when no Timestamp can hold it.
fn timestamp(field: &'static str, number: Integer) -> Option<Timestamp> {
    let (seconds, millis) = match number {
        Integer::Absent => return None,
        // Beyond every Timestamp, like all that is treated alike here.
        Integer::Unusable => (i64::MAX, 0),
        Integer::Value(n) if n < FIRST_MILLISECONDS => (n, 0),
        Integer::Value(n) => (n / 1000, n % 1000),
    };
    if !SECONDS.contains(&seconds) {
        let provider = Provider::AlibabaFlink.as_str();
        tracing::warn!(provider, field, "no Timestamp can hold the number: left absent");
        return None;
    }
    let nanos = i32::try_from(millis * 1_000_000).unwrap_or_default();
    Some(Timestamp { seconds, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_numbers_are_told_apart_by_size_and_never_wrap() {
        use Integer::{Absent, Unusable, Value};
        for (number, want) in [
            (Value(1_659_066_711), Some((1_659_066_711, 0))),
            (Value(1_659_066_711_123), Some((1_659_066_711, 123_000_000))),
            (Value(99_999_999_999), Some((99_999_999_999, 0))),
            (Value(100_000_000_000), Some((100_000_000, 0))),
            (Value(0), Some((0, 0))),
            (Value(-1), Some((-1, 0))),
            (Value(-62_135_596_800), Some((-62_135_596_800, 0))),
            (Value(-62_135_596_801), None),
            (Value(253_402_300_799_999), Some((253_402_300_799, 999_000_000))),
            (Value(253_402_300_800_000), None),
            (Value(i64::MIN), None),
            (Value(i64::MAX), None),
            (Unusable, None),
            (Absent, None),
        ] {
            let got = timestamp("createdAt", number).map(|t| (t.seconds, t.nanos));
            assert_eq!(got, want, "{number:?}");
        }
    }
}
