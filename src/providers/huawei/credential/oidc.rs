//! An agency for a workload identity: the security token service exchanges a projected token.
//!
//! # Reference
//! The requests of Huawei's Python SDK, `huaweicloudsdkcore` 3.1.219.

use std::pin::Pin;

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};

use super::CredentialsWire;
use crate::clock::Clock;
use crate::credential::{Fetch, SecretFile, Sent, Source, SourceClient, granted};
use crate::json;
use crate::options::endpoint::Endpoint;
use crate::refresh::FetchError;

const WHO: &str = "Huawei Cloud's security token service";

/// Credentials of an agency for a workload identity.
#[derive(Debug)]
pub struct Oidc {
    pub endpoint: Endpoint,
    pub provider_urn: String,
    pub agency_urn: String,
    /// The mounted token, read for each fetch, because it is rotated.
    pub token_file: SecretFile,
    /// The session name in the provider's audit log.
    pub session_name: String,
    pub duration_seconds: u32,
}

#[derive(Serialize)]
struct AssumeWire<'a> {
    provider_urn: &'a str,
    agency_urn: &'a str,
    agency_session_name: &'a str,
    id_token: &'a str,
    duration_seconds: u32,
}

#[derive(Deserialize)]
struct AssumedWire {
    #[serde(default, deserialize_with = "json::object")]
    credentials: Option<CredentialsWire>,
}

impl Source for Oidc {
    fn fetch<'a>(&'a self, client: &'a SourceClient, clock: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(async {
            let token = self.token_file.fetch().await?;
            let body = serde_json::to_vec(&AssumeWire {
                provider_urn: &self.provider_urn,
                agency_urn: &self.agency_urn,
                agency_session_name: &self.session_name,
                id_token: token.expose(),
                duration_seconds: self.duration_seconds,
            })
            .map_err(|_| FetchError::new("the request body cannot be serialized"))?;
            let request = self.endpoint.request(Method::POST, "/v5/agencies/assume-with-oidc");
            let request = request.header(CONTENT_TYPE, "application/json;charset=UTF-8");
            let request = request.extension(Sent(token));
            let answer = client.remote.send(WHO, request.body(Bytes::from(body))).await?;
            granted(WHO, &answer, 200..=299, |wire: AssumedWire| wire.credentials)?
                .into_lease(WHO, clock.now())
        })
    }

    fn has_changed(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(self.token_file.has_changed())
    }

    fn is_tls(&self) -> bool {
        self.endpoint.is_tls()
    }
}
