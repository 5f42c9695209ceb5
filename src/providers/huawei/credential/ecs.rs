//! The agency of an ECS instance or a CCE node, from its metadata service.
//!
//! # Reference
//! The requests of Huawei's Python SDK, `huaweicloudsdkcore` 3.1.219.

use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Method, Request};
use serde::Deserialize;

use crate::clock::Clock;
use crate::credential::{Fetch, Lease, Source, SourceClient, lease, rejected};
use crate::json;
use crate::options::endpoint::Endpoint;
use crate::refresh::FetchError;

const WHO: &str = "the metadata service of the ECS instance";

/// The metadata service of every instance.
pub(in crate::providers) const METADATA: &str = "http://169.254.169.254";

/// The same as in the SDK.
const MARGIN: Duration = Duration::from_secs(40 * 60);

/// Credentials of the instance's agency.
#[derive(Debug, Clone)]
pub struct EcsAgency {
    /// The metadata service.
    pub endpoint: Endpoint,
}

#[derive(Deserialize)]
struct SecurityKeyWire {
    #[serde(default, deserialize_with = "json::object")]
    credential: Option<CredentialWire>,
}

#[derive(Deserialize)]
struct CredentialWire {
    #[serde(default, deserialize_with = "json::text")]
    access: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    secret: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    securitytoken: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    expires_at: Option<String>,
}

impl EcsAgency {
    async fn security_key(
        &self,
        client: &SourceClient,
        clock: &dyn Clock,
    ) -> Result<Lease, FetchError> {
        let token = self.token(client).await?;
        let mut request = self.request(Method::GET, "/openstack/latest/securitykey");
        if let Some(token) = token {
            request = request.header("x-metadata-token", token);
        }
        let answer = client.send_local(WHO, built(request.body(Bytes::new()))?).await?;
        let wire = match answer.status {
            200 => json::read_object::<SecurityKeyWire>(&answer.body).ok(),
            _ => None,
        };
        let Some(found) = wire.and_then(|wire| wire.credential) else {
            // The one error that a user can fix, recognized by its text.
            return Err(match find(&answer.body, b"Cloud Service Agency") {
                true => FetchError::new(format!("{WHO} reports that no agency is configured")),
                false => rejected(WHO, &answer),
            });
        };
        let CredentialWire { access, secret, securitytoken, expires_at } = found;
        lease(WHO, access, secret, securitytoken, expires_at.as_deref(), clock.now())
    }

    /// The session token of version 2; none if only version 1 is available.
    async fn token(&self, client: &SourceClient) -> Result<Option<HeaderValue>, FetchError> {
        let request = self
            .request(Method::PUT, "/meta-data/latest/api/token")
            .header("x-metadata-token-ttl-seconds", "21600")
            .body(Bytes::new());
        let answer = client.send_local(WHO, built(request)?).await?;
        if matches!(answer.status, 404 | 405 | 503) {
            return Ok(None);
        }
        let text = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
        match HeaderValue::from_str(text) {
            Ok(mut token) if answer.status == 200 && !text.is_empty() => {
                token.set_sensitive(true);
                Ok(Some(token))
            }
            _ => Err(rejected(WHO, &answer)),
        }
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let uri = format!("{}{path}", self.endpoint.origin());
        Request::builder().method(method).uri(uri).header(HOST, self.endpoint.host())
    }
}

fn built(request: http::Result<Request<Bytes>>) -> Result<Request<Bytes>, FetchError> {
    request.map_err(|_| FetchError::new("the request cannot be built"))
}

fn find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

impl Source for EcsAgency {
    fn fetch<'a>(&'a self, client: &'a SourceClient, clock: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(self.security_key(client, clock))
    }

    fn margin(&self) -> Duration {
        MARGIN
    }
}
