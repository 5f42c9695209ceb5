//! An agency for a workload identity: the security token service exchanges a projected token.
//!
//! # Reference
//! The requests of Huawei's Python SDK, `huaweicloudsdkcore` 3.1.219.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::credential::{Fetch, Lease, SecretFile, Source, SourceClient, lease, rejected};
use crate::json;
use crate::options::endpoint::Endpoint;
use crate::refresh::FetchError;

const WHO: &str = "Huawei Cloud's security token service";

/// The default endpoint of the SDK.
pub(in crate::providers) const STS: &str = "https://sts.cn-north-4.myhuaweicloud.com";

/// Credentials of an agency for a workload identity.
#[derive(Debug)]
pub struct Oidc {
    /// The security token service.
    pub endpoint: Endpoint,
    /// The issuer of the token.
    pub provider_urn: String,
    /// The agency.
    pub agency_urn: String,
    /// The mounted token, read for each fetch, because it is rotated.
    pub token_file: SecretFile,
    /// The session name in the provider's audit log.
    pub session_name: String,
    /// The requested lifetime of a credential.
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

#[derive(Deserialize)]
struct CredentialsWire {
    #[serde(default, deserialize_with = "json::text")]
    access_key_id: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    secret_access_key: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    security_token: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    expiration: Option<String>,
}

impl Oidc {
    async fn assume(&self, client: &SourceClient, clock: &dyn Clock) -> Result<Lease, FetchError> {
        let token = self.token_file.fetch_token().await?;
        let body = serde_json::to_vec(&AssumeWire {
            provider_urn: &self.provider_urn,
            agency_urn: &self.agency_urn,
            agency_session_name: &self.session_name,
            id_token: token.expose(),
            duration_seconds: self.duration_seconds,
        })
        .map_err(|_| FetchError::new("the request cannot be serialized"))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/v5/agencies/assume-with-oidc", self.endpoint.origin()))
            .header(HOST, self.endpoint.host())
            .header(CONTENT_TYPE, "application/json;charset=UTF-8")
            .body(Bytes::from(body))
            .map_err(|_| FetchError::new("the request cannot be built"))?;
        let answer = client.send(WHO, request).await?;
        let wire = match answer.status {
            200..=299 => json::read_object::<AssumedWire>(&answer.body).ok(),
            _ => None,
        };
        let Some(found) = wire.and_then(|wire| wire.credentials) else {
            return Err(rejected(WHO, &answer));
        };
        let CredentialsWire { access_key_id, secret_access_key, security_token, expiration } =
            found;
        let expires = expiration.as_deref();
        lease(WHO, access_key_id, secret_access_key, security_token, expires, clock.now())
    }
}

impl Source for Oidc {
    fn fetch<'a>(&'a self, client: &'a SourceClient, clock: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(self.assume(client, clock))
    }

    fn is_tls(&self) -> bool {
        self.endpoint.is_tls()
    }
}
