//! HTTP clients for the services that issue credentials.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header::USER_AGENT};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::needles::Needles;
use crate::json::{self, Text};
use crate::refresh::FetchError;
use crate::secret::Secret;
use crate::text::identifier;
use crate::transport::{Pool, Response, WriteStarted};

#[derive(Debug, Clone)]
pub struct SourceClient {
    /// For services of the provider. Uses the proxy, if one is configured.
    pub(crate) remote: LimitedClient,
    /// For services of this machine. Never uses a proxy: a metadata service identifies the machine
    /// that sends the request.
    pub(crate) local: LimitedClient,
}

/// A client, with its time limit for responses.
#[derive(Debug, Clone)]
pub(crate) struct LimitedClient(Pool, Duration);

impl SourceClient {
    pub(crate) fn new(remote: Pool, local: Pool) -> Self {
        Self {
            remote: LimitedClient(remote, Duration::from_secs(10)),
            local: LimitedClient(local, Duration::from_secs(3)),
        }
    }
}

impl LimitedClient {
    pub(crate) async fn send(
        &self,
        who: &str,
        request: http::Result<Request<Bytes>>,
    ) -> Result<Response, FetchError> {
        let Self(client, limit) = self;
        let mut request = request.map_err(|_| FetchError::new("the request cannot be built"))?;
        let sent = secrets_in(&request);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(crate::USER_AGENT));
        match tokio::time::timeout(*limit, client.fetch(request, &WriteStarted::default())).await {
            Ok(Ok(mut answer)) => {
                // A code is the only text of an answer that is shown.
                if code_of(&answer).is_some_and(|code| tells(&code, &sent)) {
                    answer.body = Bytes::new();
                }
                Ok(answer)
            }
            Ok(Err(error)) => Err(FetchError::new(format!("{who}: {error}"))),
            Err(_) => Err(FetchError::new(format!("{who} did not answer within {limit:?}"))),
        }
    }
}

/// A secret in the URI or body of a request, as an extension of it: its answer may repeat it.
#[derive(Debug, Clone)]
pub(crate) struct Sent(pub(crate) Secret);

/// The secrets that a request has.
fn secrets_in(request: &Request<Bytes>) -> Vec<Secret> {
    let headers = request.headers().values().filter(|value| value.is_sensitive());
    // Of a signature, only what is behind its labels.
    let texts =
        headers.filter_map(|value| value.to_str().ok()?.rsplit('=').find(|t| !t.is_empty()));
    let named = request.extensions().get::<Sent>().map(|Sent(secret)| secret.clone());
    texts.map(Secret::new).chain(named).collect()
}

fn tells(text: &str, secrets: &[Secret]) -> bool {
    let mut needles = Needles::default();
    let secrets = secrets.iter().map(|secret| secret.expose().as_bytes());
    secrets.clone().for_each(|secret| needles.add(secret));
    !needles.find(text, secrets).is_empty()
}

/// The error code of a service, in any of its spellings.
#[derive(Deserialize)]
struct CodeWire {
    #[serde(default, alias = "Code", alias = "error_code")]
    code: Text,
    #[serde(default, deserialize_with = "json::object")]
    error: Option<NestedCodeWire>,
}

#[derive(Deserialize)]
struct NestedCodeWire {
    #[serde(default)]
    code: Text,
}

/// Reads a response with one of these statuses and a JSON object in which `find` finds something.
/// Other responses are [`rejected`].
pub(crate) fn granted<W: DeserializeOwned, T>(
    who: &str,
    answer: &Response,
    statuses: RangeInclusive<u16>,
    find: impl FnOnce(W) -> Option<T>,
) -> Result<T, FetchError> {
    let is_good = statuses.contains(&answer.status);
    let wire = is_good.then(|| json::read_object(&answer.body).ok()).flatten();
    wire.and_then(find).ok_or_else(|| rejected(who, answer))
}

/// The error for a response without a credential. It shows only the status and the code: some
/// services echo the request.
pub(crate) fn rejected(who: &str, answer: &Response) -> FetchError {
    let code = code_of(answer);
    FetchError::new(match code.as_ref().and_then(|code| identifier(code.as_bytes(), 64)) {
        Some(code) => format!("{who} answered with HTTP {}, {code}", answer.status),
        None => format!("{who} answered with HTTP {} and no credential", answer.status),
    })
}

fn code_of(answer: &Response) -> Option<String> {
    let wire = json::read_object::<CodeWire>(&answer.body).ok()?;
    wire.code.0.or(wire.error.and_then(|nested| nested.code.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_repeats_what_was_sent_is_known() {
        let signed = "SDK-HMAC-SHA256 Access=AK, SignedHeaders=host, Signature=f694fdb1c5a1d0f6";
        let mut signature = HeaderValue::from_static(signed);
        signature.set_sensitive(true);
        let request = Request::get("http://h.example/")
            .header("authorization", signature)
            .header("x-shown", "EntityNotExist")
            .extension(Sent(Secret::new("eyJhbGciOiJSUzI1NiJ9.example/Token")))
            .body(Bytes::new())
            .expect("a request");
        let sent = secrets_in(&request);
        for (code, is_secret) in [
            ("EntityNotExist.Role", false),
            ("SDK-HMAC-SHA256", false),
            ("f694fdb1c5a1d0f6", true),
            ("E-f694fdb1c5", true),
            ("eyJhbGciOiJSUzI1NiJ9", true),
            ("EYJHBGCIOIJSUZI1NIJ9.EXAMPLE", true),
            ("eyJhbGciOiJSUzI1NiJ9.example%2FToken", true),
        ] {
            assert_eq!(tells(code, &sent), is_secret, "{code}");
        }
    }
}
