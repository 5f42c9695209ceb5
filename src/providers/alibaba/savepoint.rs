//! A savepoint in Alibaba Cloud's JSON format.

use serde::Deserialize;

use super::ALIBABA;
use crate::json::{self, Integer};
use crate::pb::{Savepoint, SavepointFailure, SavepointOrigin, SavepointState, SavepointStatus};
use crate::upstream::{ProviderText, Reply, named, timestamp};

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
            create_time: timestamp(&ALIBABA, "createdAt", self.created_at),
            update_time: timestamp(&ALIBABA, "modifiedAt", self.modified_at),
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
                fail_time: timestamp(&ALIBABA, "failedAt", failure.failed_at),
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
