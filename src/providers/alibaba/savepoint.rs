//! A savepoint in Alibaba Cloud's JSON format.

use prost_types::Timestamp;
use serde::Deserialize;

use super::ALIBABA;
use crate::json::{self, Integer};
use crate::pb::{Savepoint, SavepointFailure, SavepointOrigin, SavepointState, SavepointStatus};
use crate::upstream::{ProviderText, Reply};

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SavepointWire<'a> {
    #[serde(borrow)]
    savepoint_id: ProviderText<'a>,
    #[serde(borrow)]
    deployment_id: ProviderText<'a>,
    #[serde(borrow)]
    job_id: ProviderText<'a>,
    #[serde(borrow)]
    namespace: ProviderText<'a>,
    #[serde(borrow)]
    savepoint_origin: ProviderText<'a>,
    #[serde(deserialize_with = "json::boolean")]
    native_format: Option<bool>,
    #[serde(borrow)]
    description: ProviderText<'a>,
    #[serde(deserialize_with = "json::boolean")]
    stop_with_drain_enabled: Option<bool>,
    #[serde(borrow)]
    savepoint_location: ProviderText<'a>,
    #[serde(borrow, deserialize_with = "json::object")]
    status: Option<StatusWire<'a>>,
    #[serde(deserialize_with = "json::integer")]
    created_at: Integer,
    #[serde(deserialize_with = "json::integer")]
    modified_at: Integer,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusWire<'a> {
    #[serde(borrow)]
    state: ProviderText<'a>,
    #[serde(borrow, deserialize_with = "json::object")]
    failure: Option<FailureWire<'a>>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FailureWire<'a> {
    #[serde(borrow)]
    message: ProviderText<'a>,
    #[serde(borrow)]
    reason: ProviderText<'a>,
    #[serde(deserialize_with = "json::integer")]
    failed_at: Integer,
}

impl SavepointWire<'_> {
    /// Whether it has none of the known fields, so that it proves nothing.
    pub(super) fn is_empty(&self) -> bool {
        *self == SavepointWire::default()
    }

    pub(super) fn read(self, reply: &Reply<'_>) -> Savepoint {
        let origin = named(&ORIGINS, &self.savepoint_origin);
        Savepoint {
            savepoint_id: reply.show(self.savepoint_id),
            deployment_id: reply.show(self.deployment_id),
            job_id: reply.show(self.job_id),
            namespace: reply.show(self.namespace),
            origin: origin.unwrap_or(SavepointOrigin::Unspecified).into(),
            provider_origin: reply.show(self.savepoint_origin),
            native_format: self.native_format,
            description: reply.show(self.description),
            stop_with_drain_enabled: self.stop_with_drain_enabled,
            savepoint_location: reply.show(self.savepoint_location),
            status: self.status.map(|status| status.read(reply)),
            create_time: timestamp("createdAt", self.created_at),
            update_time: timestamp("modifiedAt", self.modified_at),
        }
    }
}

impl StatusWire<'_> {
    fn read(self, reply: &Reply<'_>) -> SavepointStatus {
        let state = named(&STATES, &self.state);
        SavepointStatus {
            state: state.unwrap_or(SavepointState::Unspecified).into(),
            provider_state: reply.show(self.state),
            failure: self.failure.map(|failure| SavepointFailure {
                message: reply.show(failure.message),
                reason: reply.show(failure.reason),
                fail_time: timestamp("failedAt", failure.failed_at),
            }),
        }
    }
}

const STATES: [(&str, SavepointState); 3] = [
    ("STARTED", SavepointState::Started),
    ("COMPLETED", SavepointState::Completed),
    ("FAILED", SavepointState::Failed),
];

/// `AUTO_TRIGGERED` is not in the documentation, but in the provider's API metadata.
const ORIGINS: [(&str, SavepointOrigin); 4] = [
    ("USER_REQUEST", SavepointOrigin::UserRequest),
    ("STOP_WITH_SAVEPOINT", SavepointOrigin::StopWithSavepoint),
    ("RETAINED_CHECKPOINT", SavepointOrigin::RetainedCheckpoint),
    ("AUTO_TRIGGERED", SavepointOrigin::AutoTriggered),
];

fn named<T: Copy>(names: &[(&str, T)], text: &ProviderText<'_>) -> Option<T> {
    names.iter().find(|(name, _)| text.is(name)).map(|(_, value)| *value)
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
