//! The one spelling in which Alibaba Cloud hands out temporary credentials.

use jiff::Timestamp;
use serde::Deserialize;

use crate::credential::{Lease, SourceError, lease, refused};
use crate::json;
use crate::upstream::Answer;

/// The parts of a credential. Metadata services put a `Code` beside them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CredentialsWire {
    #[serde(default, deserialize_with = "json::text")]
    code: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    access_key_id: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    access_key_secret: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    security_token: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    expiration: Option<String>,
}

/// What a metadata service, or one that speaks like it, answers.
///
/// # Errors
/// When it has no credential.
pub(super) fn read_local(who: &str, answer: &Answer, now: Timestamp) -> Result<Lease, SourceError> {
    let wire = match answer.status {
        200 => json::read_object::<CredentialsWire>(&answer.body).ok(),
        _ => None,
    };
    match wire {
        Some(wire) if wire.code.as_deref() == Some("Success") => wire.into_lease(who, now),
        _ => Err(refused(who, answer)),
    }
}

impl CredentialsWire {
    pub(super) fn into_lease(self, who: &str, now: Timestamp) -> Result<Lease, SourceError> {
        let expires = self.expiration.as_deref();
        lease(who, self.access_key_id, self.access_key_secret, self.security_token, expires, now)
    }
}
