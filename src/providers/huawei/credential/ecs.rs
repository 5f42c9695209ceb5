//! The agency of an ECS instance or a CCE node, from its metadata service.
//!
//! # Reference
//! The requests of Huawei's Python SDK, `huaweicloudsdkcore` 3.1.219.

use std::time::Duration;

use serde::Deserialize;

use super::CredentialsWire;
use crate::clock::Clock;
use crate::credential::{Fetch, Metadata, Source, SourceClient, granted};
use crate::json;
use crate::options::endpoint::Endpoint;
use crate::refresh::FetchError;

pub(in crate::providers) const METADATA: &str = "http://169.254.169.254";

#[derive(Debug, Clone)]
pub struct EcsAgency {
    pub endpoint: Endpoint,
}

#[derive(Deserialize)]
struct SecurityKeyWire {
    #[serde(default, deserialize_with = "json::object")]
    credential: Option<CredentialsWire>,
}

impl Source for EcsAgency {
    fn fetch<'a>(&'a self, client: &'a SourceClient, clock: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(async {
            const WHO: &str = Metadata::WHO;
            const NO_AGENCY: &[u8] = b"Cloud Service Agency";
            let service =
                Metadata { endpoint: &self.endpoint, client, token_header: "x-metadata-token" };
            let token = service.token("/meta-data/latest/api/token", true).await?;
            let answer = service.get("/openstack/latest/securitykey", token.as_ref()).await?;
            granted(WHO, &answer, 200..=200, |wire: SecurityKeyWire| wire.credential)
                // The one error that a user can fix, recognized by its text.
                .map_err(|error| {
                    match answer.body.windows(NO_AGENCY.len()).any(|part| part == NO_AGENCY) {
                        true => {
                            FetchError::new(format!("{WHO} reports that no agency is configured"))
                        }
                        false => error,
                    }
                })?
                .into_lease(WHO, clock.now())
        })
    }

    /// The same as in the SDK.
    fn margin(&self) -> Duration {
        Duration::from_secs(40 * 60)
    }
}
