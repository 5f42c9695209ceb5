//! Credential sources of Alibaba Cloud.

mod ecs;
mod oidc;
mod uri;

pub use ecs::EcsRole;
pub(super) use ecs::METADATA;
pub use oidc::Rrsa;
pub use uri::CredentialsUri;

use jiff::Timestamp;
use serde::Deserialize;

use crate::credential::{Lease, lease, rejected};
use crate::json;
use crate::refresh::FetchError;
use crate::transport::Response;

/// A temporary credential, in the format of all services of Alibaba Cloud. Metadata services add a
/// `Code`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CredentialsWire {
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

/// Reads the response of a metadata service or credentials URI.
///
/// # Errors
/// If it has no credential.
fn read_local(who: &str, answer: &Response, now: Timestamp) -> Result<Lease, FetchError> {
    let wire = match answer.status {
        200 => json::read_object::<CredentialsWire>(&answer.body).ok(),
        _ => None,
    };
    match wire {
        Some(wire) if wire.code.as_deref() == Some("Success") => wire.into_lease(who, now),
        _ => Err(rejected(who, answer)),
    }
}

impl CredentialsWire {
    fn into_lease(self, who: &str, now: Timestamp) -> Result<Lease, FetchError> {
        let expires = self.expiration.as_deref();
        lease(who, self.access_key_id, self.access_key_secret, self.security_token, expires, now)
    }
}
