//! The metadata service of an instance.

use bytes::Bytes;
use http::{HeaderValue, Method};

use super::{SourceClient, rejected};
use crate::options::Endpoint;
use crate::refresh::FetchError;
use crate::transport::Response;

pub(crate) struct Metadata<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) client: &'a SourceClient,
    pub(crate) token_header: &'static str,
}

impl Metadata<'_> {
    pub(crate) const WHO: &'static str = "the metadata service";

    /// The session token of version 2; none if it cannot be had and `allow_v1`. That may be because
    /// the service has only version 1, or because the hop limit of its responses to version 2 is too
    /// low for containers, so that they never arrive.
    pub(crate) async fn token(
        &self,
        path: &str,
        allow_v1: bool,
    ) -> Result<Option<HeaderValue>, FetchError> {
        let request = self.endpoint.request(Method::PUT, path);
        let request = request.header(format!("{}-ttl-seconds", self.token_header), "21600");
        let answer = match self.client.local.send(Self::WHO, request.body(Bytes::new())).await {
            Err(_) if allow_v1 => return Ok(None),
            answer => answer?,
        };
        let text = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
        match HeaderValue::from_str(text) {
            Ok(mut token) if answer.status == 200 && !text.is_empty() => {
                token.set_sensitive(true);
                Ok(Some(token))
            }
            _ if allow_v1 => Ok(None),
            _ => Err(rejected(Self::WHO, &answer)),
        }
    }

    pub(crate) async fn get(
        &self,
        path: &str,
        token: Option<&HeaderValue>,
    ) -> Result<Response, FetchError> {
        let mut request = self.endpoint.request(Method::GET, path);
        if let Some(token) = token {
            request = request.header(self.token_header, token);
        }
        self.client.local.send(Self::WHO, request.body(Bytes::new())).await
    }
}
