//! How sources reach the services that hand out credentials.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header::USER_AGENT};
use jiff::Timestamp;

use super::{Credential, Lease};
use crate::json;
use crate::secret::Secret;
use crate::text::identifier;
use crate::upstream::{Answer, Client, Sent};

/// Why a source has no credential. The text is for logs: it names what went wrong and holds
/// nothing that the source was given or answered with, but for an error code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    text: String,
    rest: Option<Duration>,
}

impl SourceError {
    /// With a text for people: lower case, no full stop, no secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), rest: None }
    }

    /// The same, of a service that must be left alone for so long: it counts refusals, and
    /// locks whom it refused too often.
    #[must_use]
    pub fn leave_alone(mut self, rest: Duration) -> Self {
        self.rest = Some(rest);
        self
    }

    /// How long the service must be left alone, where that is more than good manners.
    pub(crate) fn rest(&self) -> Option<Duration> {
        self.rest
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for SourceError {}

/// The HTTP clients of sources.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Through the proxy, where one is configured.
    outside: Client,
    /// Never through a proxy: metadata services answer for the machine that asks them.
    local: Client,
}

impl Exchange {
    /// `outside` reaches the clouds, `local` the services beside the gateway.
    pub fn new(outside: Client, local: Client) -> Self {
        Self { outside, local }
    }

    /// Asks a service of the cloud.
    ///
    /// # Errors
    /// When it cannot be reached, or does not answer in time.
    pub async fn ask(&self, who: &str, request: Request<Bytes>) -> Result<Answer, SourceError> {
        send(&self.outside, who, request, Duration::from_secs(10)).await
    }

    /// Asks a service of this machine.
    ///
    /// # Errors
    /// As [`Exchange::ask`].
    pub async fn ask_local(
        &self,
        who: &str,
        request: Request<Bytes>,
    ) -> Result<Answer, SourceError> {
        send(&self.local, who, request, Duration::from_secs(3)).await
    }
}

async fn send(
    client: &Client,
    who: &str,
    mut request: Request<Bytes>,
    timeout: Duration,
) -> Result<Answer, SourceError> {
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(crate::USER_AGENT));
    match tokio::time::timeout(timeout, client.send(request, &Sent::default())).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(SourceError::new(format!("{who}: {error}"))),
        Err(_) => Err(SourceError::new(format!("{who} did not answer within {timeout:?}"))),
    }
}

/// The error codes that the services answer with, in their several spellings.
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

/// The error for an answer that holds no credential. Only the status and the code are shown:
/// some services repeat what they were sent.
pub(crate) fn refused(who: &str, answer: &Answer) -> SourceError {
    let wire = json::read_object::<CodeWire>(&answer.body).ok();
    let code = wire.and_then(|wire| wire.code.or(wire.error.and_then(|nested| nested.code)));
    let code = code.and_then(|code| identifier(&code, 64));
    SourceError::new(match code {
        Some(code) => format!("{who} answered with HTTP {}, {code}", answer.status),
        None => format!("{who} answered with HTTP {} and no credential", answer.status),
    })
}

/// A token out of the parts of an answer.
pub(crate) fn token_lease(
    who: &str,
    token: Option<Secret>,
    expires: Option<&str>,
    now: Timestamp,
) -> Result<Lease, SourceError> {
    let Some(token) = token else {
        return Err(SourceError::new(format!("{who} answered without a token")));
    };
    let credential = Credential::token(token)
        .map_err(|error| SourceError::new(format!("the answer of {who}: {error}")))?;
    until(who, credential, expires, now)
}

/// A temporary credential out of the parts of an answer.
pub(crate) fn lease(
    who: &str,
    id: Option<String>,
    secret: Option<String>,
    token: Option<String>,
    expires: Option<&str>,
    now: Timestamp,
) -> Result<Lease, SourceError> {
    let (secret, token) = (secret.map(Secret::new), token.map(Secret::new));
    let (Some(id), Some(secret), Some(token)) = (id, secret, token) else {
        return Err(SourceError::new(format!("{who} answered without a whole credential")));
    };
    let credential = Credential::new(id, secret, Some(token))
        .map_err(|error| SourceError::new(format!("the answer of {who}: {error}")))?;
    until(who, credential, expires, now)
}

fn until(
    who: &str,
    credential: Credential,
    expires: Option<&str>,
    now: Timestamp,
) -> Result<Lease, SourceError> {
    let Some(expires) = expires.and_then(|text| text.trim().parse::<Timestamp>().ok()) else {
        return Err(SourceError::new(format!("{who} does not say when its credential ends")));
    };
    if expires <= now {
        return Err(SourceError::new(format!("{who} answered with a credential that has ended")));
    }
    Ok(Lease::until(credential, expires))
}
