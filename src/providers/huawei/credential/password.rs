//! A login to IAM with a user's name and password, for a token that is sent instead of signatures.
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-iam/iam_30_0001.html> (read 2026-11-22)
//! - The requests of Huawei's Python SDK, `huaweicloudsdkiam` 3.1.219.
//! - Locking of users: <https://support.huaweicloud.com/intl/en-us/usermanual-iam5/iam_01_1172.html>
//!   (read 2026-11-22)

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clock::Clock;
use crate::credential::{
    Changed, Fetch, Lease, SecretFile, Sent, Source, SourceClient, granted, token_lease,
};
use crate::files::{POLL, SETTLE};
use crate::json::{self, Text};
use crate::options::endpoint::Endpoint;
use crate::refresh::FetchError;
use crate::secret::Secret;
use crate::transport::Response;

const WHO: &str = "Huawei Cloud's IAM";

/// By default IAM locks a user for 15 minutes after 5 failures within 15 minutes, at its strictest
/// after 3 within an hour.
const REFUSED: Duration = Duration::from_secs(30 * 60);

pub struct Password {
    endpoint: Endpoint,
    domain_name: String,
    user_name: String,
    password: PasswordOf,
    scope: TokenScope,
    poll: Duration,
    settle: Duration,
    last_read: ArcSwapOption<Read>,
}

type Read = Result<Secret, String>;

#[derive(Debug, Clone)]
pub enum PasswordOf {
    Text(Secret),
    /// A file. A change triggers a login, because the token of the old password becomes invalid
    /// soon.
    File(SecretFile),
}

/// The scope of a token: one project.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum TokenScope {
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
            last_read: ArcSwapOption::empty(),
        }
    }

    /// Overrides the poll interval, and how long a change must be stable.
    #[must_use]
    pub fn with_times(mut self, poll: Duration, settle: Duration) -> Self {
        (self.poll, self.settle) = (poll, settle);
        self
    }
}

impl PasswordOf {
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
        Box::pin(async {
            let read_now = self.password.fetch().await;
            self.last_read.store(Some(Arc::new(read_now.clone())));
            let password = read_now.map_err(FetchError::new)?;
            let body = json!({"auth": {
                "identity": {"methods": ["password"], "password": {"user": {
                    "domain": {"name": self.domain_name},
                    "name": self.user_name,
                    "password": password.expose(),
                }}},
                "scope": {"project": self.scope},
            }});
            let request = self.endpoint.request(Method::POST, "/v3/auth/tokens?nocatalog=true");
            let request = request.header(CONTENT_TYPE, "application/json;charset=utf-8");
            let request = request.extension(Sent(password));
            let body = Bytes::from(body.to_string());
            read(&client.remote.send(WHO, request.body(body)).await?, clock.now())
        })
    }

    /// Returns once the file has changed since the last login, also if it has become unusable: this
    /// must be reported before the token expires.
    fn changed(&self) -> Changed<'_> {
        if matches!(self.password, PasswordOf::Text(_)) {
            return Box::pin(std::future::pending());
        }
        Box::pin(async {
            loop {
                tokio::time::sleep(self.poll).await;
                let found = self.password.fetch().await;
                if self.last_read.load().as_deref() == Some(&found) {
                    continue;
                }
                tokio::time::sleep(self.settle).await;
                if self.password.fetch().await == found {
                    return;
                }
            }
        })
    }

    fn is_tls(&self) -> bool {
        self.endpoint.is_tls()
    }
}

#[derive(Deserialize)]
struct TokenWire {
    #[serde(default, deserialize_with = "json::object")]
    token: Option<TokenPartsWire>,
}

/// The token itself is in a header.
#[derive(Deserialize)]
struct TokenPartsWire {
    #[serde(default)]
    expires_at: Text,
}

fn read(answer: &Response, now: Timestamp) -> Result<Lease, FetchError> {
    let found = granted(WHO, answer, 200..=299, |wire: TokenWire| wire.token);
    let found = found.map_err(|error| match answer.status {
        400..=403 => error.with_retry_after(REFUSED),
        _ => error,
    })?;
    let token = answer.header("x-subject-token").map(Secret::new);
    token_lease(WHO, token, &found.expires_at, now)
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
                    assert_eq!(found.retry_after, wait, "{found}");
                }
                (found, want) => panic!("{answer:?}: {found:?}, not {want:?}"),
            }
        }
    }
}
