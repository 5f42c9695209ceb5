//! Credential sources of Huawei Cloud.

mod ecs;
mod oidc;
mod password;

pub use ecs::EcsAgency;
pub(super) use ecs::METADATA;
pub use oidc::Oidc;
pub use password::{Password, PasswordOf, TokenScope};

use jiff::Timestamp;
use serde::Deserialize;

use crate::credential::{Lease, lease};
use crate::json::Text;
use crate::refresh::FetchError;

/// A temporary credential, in the formats of the security token service and the metadata service.
#[derive(Default, Deserialize)]
#[serde(default)]
struct CredentialsWire {
    #[serde(alias = "access")]
    access_key_id: Text,
    #[serde(alias = "secret")]
    secret_access_key: Text,
    #[serde(alias = "securitytoken")]
    security_token: Text,
    #[serde(alias = "expires_at")]
    expiration: Text,
}

impl CredentialsWire {
    fn into_lease(self, who: &str, now: Timestamp) -> Result<Lease, FetchError> {
        let Self { access_key_id, secret_access_key, security_token, expiration } = self;
        lease(who, [access_key_id, secret_access_key, security_token], &expiration, now)
    }
}
