//! The one spelling in which Alibaba Cloud hands out temporary credentials.

use jiff::Timestamp;
use serde::Deserialize;

use crate::credential::{Lease, SourceError, lease};
use crate::json;

/// The parts of a credential. Metadata services put a `Code` beside them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CredentialsWire {
    #[serde(default, deserialize_with = "json::text")]
    pub(super) code: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    access_key_id: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    access_key_secret: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    security_token: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    expiration: Option<String>,
}

impl CredentialsWire {
    pub(super) fn into_lease(self, who: &str, now: Timestamp) -> Result<Lease, SourceError> {
        let expires = self.expiration.as_deref();
        lease(who, self.access_key_id, self.access_key_secret, self.security_token, expires, now)
    }
}
