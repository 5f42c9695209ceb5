//! The RAM role of an ECS instance, from its metadata service.
//!
//! # Reference
//! The requests of `alibabacloud-credentials` 1.0.12.

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Method, Request};

use super::read_local;
use crate::clock::Clock;
use crate::credential::{Fetch, Lease, Source, SourceClient, rejected};
use crate::options::endpoint::Endpoint;
use crate::refresh::FetchError;
use crate::signing::percent_encode;
use crate::text::identifier;
use crate::transport::Response;

const WHO: &str = "the metadata service of the ECS instance";
const PATH: &str = "/latest/meta-data/ram/security-credentials/";

/// The metadata service of every instance.
pub(in crate::providers) const METADATA: &str = "http://100.100.100.200";

/// Credentials of the instance's role.
#[derive(Debug, Clone)]
pub struct EcsRole {
    /// The metadata service.
    pub endpoint: Endpoint,
    /// The role; requested from the service if none.
    pub role: Option<String>,
    /// Whether to fall back to version 1 of the service.
    pub allow_v1: bool,
}

impl EcsRole {
    async fn role_credential(
        &self,
        client: &SourceClient,
        clock: &dyn Clock,
    ) -> Result<Lease, FetchError> {
        let token = self.token(client).await?;
        let role = match &self.role {
            Some(role) => role.clone(),
            None => {
                let answer = self.get(client, "", token.as_ref()).await?;
                let text = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
                match identifier(text, 128) {
                    Some(role) if answer.status == 200 => role,
                    _ => return Err(rejected(WHO, &answer)),
                }
            }
        };
        let role = percent_encode(&role).into_owned();
        let mut answer = self.get(client, &role, token.as_ref()).await?;
        if answer.status != 200 && token.is_some() && self.allow_v1 {
            answer = self.get(client, &role, None).await?;
        }
        read_local(WHO, &answer, clock.now())
    }

    /// The session token of version 2; none if only version 1 is available.
    async fn token(&self, client: &SourceClient) -> Result<Option<HeaderValue>, FetchError> {
        let request = self
            .request(Method::PUT, "/latest/api/token")
            .header("x-aliyun-ecs-metadata-token-ttl-seconds", "21600")
            .body(Bytes::new());
        let answer = match client.send_local(WHO, built(request)?).await {
            Ok(answer) => answer,
            // The hop limit of the PUT's response may be too low for containers.
            Err(_) if self.allow_v1 => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
        match HeaderValue::from_str(text) {
            Ok(mut token) if answer.status == 200 && !text.is_empty() => {
                token.set_sensitive(true);
                Ok(Some(token))
            }
            _ if self.allow_v1 => Ok(None),
            _ => Err(rejected(WHO, &answer)),
        }
    }

    async fn get(
        &self,
        client: &SourceClient,
        role: &str,
        token: Option<&HeaderValue>,
    ) -> Result<Response, FetchError> {
        let mut request = self.request(Method::GET, &format!("{PATH}{role}"));
        if let Some(token) = token {
            request = request.header("x-aliyun-ecs-metadata-token", token);
        }
        client.send_local(WHO, built(request.body(Bytes::new()))?).await
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let uri = format!("{}{path}", self.endpoint.origin());
        Request::builder().method(method).uri(uri).header(HOST, self.endpoint.host())
    }
}

fn built(request: http::Result<Request<Bytes>>) -> Result<Request<Bytes>, FetchError> {
    request.map_err(|_| FetchError::new("the request cannot be built"))
}

impl Source for EcsRole {
    fn fetch<'a>(&'a self, client: &'a SourceClient, clock: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(self.role_credential(client, clock))
    }
}
