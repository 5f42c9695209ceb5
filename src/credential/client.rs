//! HTTP clients for the services that issue credentials.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header::USER_AGENT};

use crate::json;
use crate::refresh::FetchError;
use crate::text::identifier;
use crate::transport::{Client, Response, WriteStarted};

/// The HTTP clients of sources.
#[derive(Debug, Clone)]
pub struct SourceClient {
    /// Uses the proxy, if one is configured.
    remote: Client,
    /// Never uses a proxy: a metadata service identifies the machine that sends the request.
    local: Client,
}

impl SourceClient {
    /// `remote` is for providers, `local` for services of this machine.
    pub fn new(remote: Client, local: Client) -> Self {
        Self { remote, local }
    }

    /// Sends a request to a service of the provider.
    ///
    /// # Errors
    /// If it cannot be reached, or does not respond in time.
    pub async fn send(&self, who: &str, request: Request<Bytes>) -> Result<Response, FetchError> {
        send(&self.remote, who, request, Duration::from_secs(10)).await
    }

    /// Sends a request to a service of this machine.
    ///
    /// # Errors
    /// As [`SourceClient::send`].
    pub(crate) async fn send_local(
        &self,
        who: &str,
        request: Request<Bytes>,
    ) -> Result<Response, FetchError> {
        send(&self.local, who, request, Duration::from_secs(3)).await
    }
}

async fn send(
    client: &Client,
    who: &str,
    mut request: Request<Bytes>,
    timeout: Duration,
) -> Result<Response, FetchError> {
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(crate::USER_AGENT));
    match tokio::time::timeout(timeout, client.send(request, &WriteStarted::default())).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(FetchError::new(format!("{who}: {error}"))),
        Err(_) => Err(FetchError::new(format!("{who} did not answer within {timeout:?}"))),
    }
}

/// The error code of a service, in any of its spellings.
#[derive(serde::Deserialize)]
struct CodeWire {
    #[serde(default, alias = "Code", alias = "error_code", deserialize_with = "json::text")]
    code: Option<String>,
    #[serde(default, deserialize_with = "json::object")]
    error: Option<NestedCodeWire>,
}

#[derive(serde::Deserialize)]
struct NestedCodeWire {
    #[serde(default, deserialize_with = "json::text")]
    code: Option<String>,
}

/// The error for a response without a credential. It shows only the status and the code: some
/// services echo the request.
pub(crate) fn rejected(who: &str, answer: &Response) -> FetchError {
    let wire = json::read_object::<CodeWire>(&answer.body).ok();
    let code = wire.and_then(|wire| wire.code.or(wire.error.and_then(|nested| nested.code)));
    let code = code.and_then(|code| identifier(&code, 64));
    FetchError::new(match code {
        Some(code) => format!("{who} answered with HTTP {}, {code}", answer.status),
        None => format!("{who} answered with HTTP {} and no credential", answer.status),
    })
}
