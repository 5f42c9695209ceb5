//! A login to IAM with a user's name and password, for a token that is sent instead of signatures.
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-iam/iam_30_0001.html> (read 2026-11-22)
//! - The requests of Huawei's Python SDK, `huaweicloudsdkiam` 3.1.219.
//! - Locking of users: <https://support.huaweicloud.com/intl/en-us/usermanual-iam5/iam_01_1172.html>
//!   (read 2026-11-22)

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::credential::{
    Changed, Fetch, Lease, SecretFile, Source, SourceClient, rejected, token_lease,
};
use crate::files::{POLL, SETTLE};
use crate::json;
use crate::options::endpoint::Endpoint;
use crate::refresh::FetchError;
use crate::secret::Secret;
use crate::transport::Response;

const WHO: &str = "Huawei Cloud's IAM";

/// By default IAM locks a user for 15 minutes after 5 failures within 15 minutes, at its strictest
/// after 3 within an hour.
const REFUSED: Duration = Duration::from_secs(30 * 60);

/// IAM tokens of a user.
pub struct Password {
    endpoint: Endpoint,
    domain_name: String,
    user_name: String,
    password: PasswordOf,
    scope: TokenScope,
    poll: Duration,
    settle: Duration,
    /// The password of the last login.
    last_read: Mutex<Option<Read>>,
}

type Read = Result<Secret, String>;

/// Where the password comes from.
#[derive(Debug, Clone)]
pub enum PasswordOf {
    /// The password itself.
    Text(Secret),
    /// A file. A change triggers a login, because the token of the old password becomes invalid
    /// soon.
    File(SecretFile),
}

/// The scope of a token: one project.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum TokenScope {
    /// By its id.
    Id(String),
    /// By its name. A region's default project has the region's name.
    Name(String),
}

impl Password {
    /// A user of an account (a domain, in IAM's terms) at this IAM endpoint.
    pub fn new(
        endpoint: Endpoint,
        domain_name: impl Into<String>,
        user_name: impl Into<String>,
        password: PasswordOf,
        scope: TokenScope,
    ) -> Self {
        Self {
            endpoint,
            domain_name: domain_name.into(),
            user_name: user_name.into(),
            password,
            scope,
            poll: POLL,
            settle: SETTLE,
            last_read: Mutex::default(),
        }
    }

    /// Overrides the poll interval, and how long a change must be stable.
    #[must_use]
    pub fn with_times(mut self, poll: Duration, settle: Duration) -> Self {
        (self.poll, self.settle) = (poll, settle);
        self
    }

    /// Reads the password.
    ///
    /// # Errors
    /// The problem of its file, with its path and without its content.
    pub fn read(&self) -> Result<Secret, String> {
        self.password.read()
    }

    async fn log_in(&self, client: &SourceClient, clock: &dyn Clock) -> Result<Lease, FetchError> {
        let read_now = self.password.fetch().await;
        *self.last_read() = Some(read_now.clone());
        let password = read_now.map_err(FetchError::new)?;
        let body = body(&self.domain_name, &self.user_name, &password, &self.scope)
            .map_err(|_| FetchError::new("the request cannot be serialized"))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/v3/auth/tokens?nocatalog=true", self.endpoint.origin()))
            .header(HOST, self.endpoint.host())
            .header(CONTENT_TYPE, "application/json;charset=utf-8")
            .body(Bytes::from(body))
            .map_err(|_| FetchError::new("the request cannot be built"))?;
        read(&client.send(WHO, request).await?, clock.now())
    }

    /// Returns once the file has changed since the last login, also if it has become unusable: this
    /// must be reported before the token expires.
    async fn wait_for_another(&self) {
        if matches!(self.password, PasswordOf::Text(_)) {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(self.poll).await;
            let found = self.password.fetch().await;
            if self.last_read().as_ref() == Some(&found) {
                continue;
            }
            tokio::time::sleep(self.settle).await;
            if self.password.fetch().await == found {
                return;
            }
        }
    }

    fn last_read(&self) -> MutexGuard<'_, Option<Read>> {
        self.last_read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PasswordOf {
    fn read(&self) -> Read {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(file) => file.read(),
        }
    }

    async fn fetch(&self) -> Read {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(file) => file.fetch().await,
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password")
            .field("endpoint", &self.endpoint)
            .field("password", &self.password)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl Source for Password {
    fn fetch<'a>(&'a self, client: &'a SourceClient, clock: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(self.log_in(client, clock))
    }

    fn changed(&self) -> Changed<'_> {
        Box::pin(self.wait_for_another())
    }

    fn is_tls(&self) -> bool {
        self.endpoint.is_tls()
    }
}

#[derive(Serialize)]
struct LoginWire<'a> {
    auth: AuthWire<'a>,
}

#[derive(Serialize)]
struct AuthWire<'a> {
    identity: IdentityWire<'a>,
    scope: ScopeWire<'a>,
}

#[derive(Serialize)]
struct IdentityWire<'a> {
    methods: [&'static str; 1],
    password: PasswordWire<'a>,
}

#[derive(Serialize)]
struct PasswordWire<'a> {
    user: UserWire<'a>,
}

#[derive(Serialize)]
struct UserWire<'a> {
    domain: DomainWire<'a>,
    name: &'a str,
    password: &'a str,
}

#[derive(Serialize)]
struct DomainWire<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct ScopeWire<'a> {
    project: &'a TokenScope,
}

#[derive(Deserialize)]
struct TokenWire {
    #[serde(default, deserialize_with = "json::object")]
    token: Option<TokenPartsWire>,
}

/// The token itself is in a header.
#[derive(Deserialize)]
struct TokenPartsWire {
    #[serde(default, deserialize_with = "json::text")]
    expires_at: Option<String>,
}

/// Reads the token of a response.
fn read(answer: &Response, now: Timestamp) -> Result<Lease, FetchError> {
    let wire = match answer.status {
        200..=299 => json::read_object::<TokenWire>(&answer.body).ok(),
        _ => None,
    };
    let Some(found) = wire.and_then(|wire| wire.token) else {
        let error = rejected(WHO, answer);
        return Err(match answer.status {
            400..=403 => error.with_retry_after(REFUSED),
            _ => error,
        });
    };
    let token = answer.header("x-subject-token").map(Secret::new);
    token_lease(WHO, token, found.expires_at.as_deref(), now)
}

/// # Format
/// ```text
/// {"auth": {"identity": {"methods": ["password"], "password": {"user": {
///     "domain": {"name": "IAMDomain"}, "name": "IAMUser", "password": "..."}}},
///   "scope": {"project": {"name": "cn-north-4"}}}}
/// ```
fn body(
    domain: &str,
    user: &str,
    password: &Secret,
    scope: &TokenScope,
) -> serde_json::Result<Vec<u8>> {
    let domain = DomainWire { name: domain };
    let user = UserWire { domain, name: user, password: password.expose() };
    let password = PasswordWire { user };
    let identity = IdentityWire { methods: ["password"], password };
    serde_json::to_vec(&LoginWire {
        auth: AuthWire { identity, scope: ScopeWire { project: scope } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_responses_are_accepted_and_rejections_are_not_retried_soon() {
        let token = |expires: &str| {
            format!(r#"{{"token":{{"expires_at":"{expires}","methods":["password"]}}}}"#)
        };
        let good = token("2026-01-16T08:30:00.701000Z");
        let wrong = r#"{"error":{"code":401,"message":"The username or password is wrong.","title":"Unauthorized"}}"#;
        for (status, header, body, want) in [
            (201, Some("MIIEXAMPLE"), good.clone(), Ok(())),
            (201, None, good.clone(), Err(("has no token", None))),
            (201, Some("MII EXAMPLE"), good, Err(("the token contains a character", None))),
            (201, Some("MIIEXAMPLE"), token("soon"), Err(("no valid expiry", None))),
            (
                201,
                Some("MIIEXAMPLE"),
                token("2026-01-14T08:30:00Z"),
                Err(("already expired", None)),
            ),
            (201, Some("MIIEXAMPLE"), "<html>".into(), Err(("HTTP 201 and no", None))),
            (401, None, wrong.into(), Err(("HTTP 401, 401", Some(REFUSED)))),
            (403, None, String::new(), Err(("HTTP 403", Some(REFUSED)))),
            (429, None, String::new(), Err(("HTTP 429", None))),
            (503, Some("MIIEXAMPLE"), String::new(), Err(("HTTP 503", None))),
        ] {
            let mut headers = http::HeaderMap::new();
            if let Some(header) = header {
                headers.insert("x-subject-token", http::HeaderValue::from_static(header));
            }
            let answer = Response { status, headers, body: Bytes::from(body), whole: true };
            let found = read(&answer, "2026-01-15T08:30:00Z".parse().unwrap());
            match (found, want) {
                (Ok(_), Ok(())) => {}
                (Err(found), Err((text, wait))) => {
                    assert!(found.to_string().contains(text), "{found}");
                    assert_eq!(found.retry_after(), wait, "{found}");
                }
                (found, want) => panic!("{answer:?}: {found:?}, not {want:?}"),
            }
        }
    }
}
