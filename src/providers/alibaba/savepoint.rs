//! A savepoint in Alibaba Cloud's JSON format.

use prost_types::Timestamp;
use serde::Deserialize;

use super::ALIBABA;
use crate::json::{self, Integer, Text};
use crate::pb::{Savepoint, SavepointFailure, SavepointOrigin, SavepointState, SavepointStatus};

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SavepointWire {
    savepoint_id: Text,
    deployment_id: Text,
    job_id: Text,
    namespace: Text,
    savepoint_origin: Text,
    #[serde(deserialize_with = "json::boolean")]
    native_format: Option<bool>,
    description: Text,
    #[serde(deserialize_with = "json::boolean")]
    stop_with_drain_enabled: Option<bool>,
    savepoint_location: Text,
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
    state: Text,
    #[serde(deserialize_with = "json::object")]
    failure: Option<FailureWire>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FailureWire {
    message: Text,
    reason: Text,
    #[serde(deserialize_with = "json::integer")]
    failed_at: Integer,
}

impl From<SavepointWire> for Savepoint {
    fn from(wire: SavepointWire) -> Self {
        let origin =
            wire.savepoint_origin.0.as_deref().map_or(SavepointOrigin::Unspecified, origin);
        Self {
            savepoint_id: wire.savepoint_id.0.unwrap_or_default(),
            deployment_id: wire.deployment_id.0.unwrap_or_default(),
            job_id: wire.job_id.0.unwrap_or_default(),
            namespace: wire.namespace.0.unwrap_or_default(),
            origin: origin.into(),
            provider_origin: wire.savepoint_origin.0.unwrap_or_default(),
            native_format: wire.native_format,
            description: wire.description.0.unwrap_or_default(),
            stop_with_drain_enabled: wire.stop_with_drain_enabled,
            savepoint_location: wire.savepoint_location.0.unwrap_or_default(),
            status: wire.status.map(SavepointStatus::from),
            create_time: timestamp("createdAt", wire.created_at),
            update_time: timestamp("modifiedAt", wire.modified_at),
        }
    }
}

impl From<StatusWire> for SavepointStatus {
    fn from(wire: StatusWire) -> Self {
        let state = wire.state.0.as_deref().map_or(SavepointState::Unspecified, state);
        Self {
            state: state.into(),
            provider_state: wire.state.0.unwrap_or_default(),
            failure: wire.failure.map(|failure| SavepointFailure {
                message: failure.message.0.unwrap_or_default(),
                reason: failure.reason.0.unwrap_or_default(),
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

/// `AUTO_TRIGGERED` is not in the documentation, but in the provider's API metadata.
fn origin(text: &str) -> SavepointOrigin {
    match text {
        "USER_REQUEST" => SavepointOrigin::UserRequest,
        "STOP_WITH_SAVEPOINT" => SavepointOrigin::StopWithSavepoint,
        "RETAINED_CHECKPOINT" => SavepointOrigin::RetainedCheckpoint,
        "AUTO_TRIGGERED" => SavepointOrigin::AutoTriggered,
        _ => SavepointOrigin::Unspecified,
    }
}

/// Epoch numbers from here on are milliseconds: as seconds they would be after the year 5138. The
/// documentation names no unit; its examples are seconds.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;

/// The range of `google.protobuf.Timestamp`: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Converts an epoch number; none, and logged, if it is outside the range of Timestamp.
fn timestamp(field: &'static str, number: Integer) -> Option<Timestamp> {
    let (seconds, millis) = match number {
        Integer::Absent => return None,
        // Out of range like any other such number.
        Integer::Unusable => (i64::MAX, 0),
        Integer::Value(n) if n < FIRST_MILLISECONDS => (n, 0),
        Integer::Value(n) => (n / 1000, n % 1000),
    };
    if !SECONDS.contains(&seconds) {
        tracing::warn!(provider = %ALIBABA, field, "number outside the range of Timestamp, field omitted");
        return None;
    }
    let nanos = i32::try_from(millis * 1_000_000).unwrap_or_default();
    Some(Timestamp { seconds, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_epoch_numbers_depends_on_their_size_and_they_never_wrap() {
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
