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

use crate::credential::{Lease, granted, lease};
use crate::json::Text;
use crate::refresh::FetchError;
use crate::transport::Response;

/// A temporary credential, in the format of all services of Alibaba Cloud. Metadata services add a
/// `Code`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CredentialsWire {
    code: Text,
    access_key_id: Text,
    access_key_secret: Text,
    security_token: Text,
    expiration: Text,
}

/// Reads the response of a metadata service or credentials URI.
fn read_local(who: &str, answer: &Response, now: Timestamp) -> Result<Lease, FetchError> {
    let successful =
        |wire: CredentialsWire| (wire.code.0.as_deref() == Some("Success")).then_some(wire);
    granted(who, answer, 200..=200, successful)?.into_lease(who, now)
}

impl CredentialsWire {
    fn into_lease(self, who: &str, now: Timestamp) -> Result<Lease, FetchError> {
        let parts = [self.access_key_id, self.access_key_secret, self.security_token];
        lease(who, parts, &self.expiration, now)
    }
}
