//! A login to IAM with a user's name and password, for a token that is sent instead of signatures.
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-iam/iam_30_0001.html> (read 2026-11-22)
//! - The requests of Huawei's Python SDK, `huaweicloudsdkiam` 3.1.219.
//! - Locking of users: <https://support.huaweicloud.com/intl/en-us/usermanual-iam5/iam_01_1172.html>
//!   (read 2026-11-22)

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::credential::{
    Changed, Fetch, Lease, SecretFile, Sent, Source, SourceClient, granted, token_lease,
};
use crate::json::{self, Text};
use crate::options::endpoint::Endpoint;
use crate::refresh::FetchError;
use crate::secret::Secret;
use crate::transport::Response;

const WHO: &str = "Huawei Cloud's IAM";

/// By default IAM locks a user for 15 minutes after 5 failures within 15 minutes, at its strictest
/// after 3 within an hour.
const REFUSED: Duration = Duration::from_secs(30 * 60);

/// After this many refused passwords a new one does not end the wait either: a file that changes
/// again and again would lock the user.
const MOST_REFUSALS: usize = 3;

pub struct Password {
    endpoint: Endpoint,
    domain_name: String,
    user_name: String,
    password: PasswordOf,
    scope: TokenScope,
    /// Since the last successful login.
    refusals: Mutex<Vec<Refusal>>,
}

/// A password that is not sent again before its wait is over, whatever happens to its file.
struct Refusal {
    password: Secret,
    error: FetchError,
    until: Instant,
}

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
            refusals: Mutex::default(),
        }
    }

    fn refusals(&self) -> MutexGuard<'_, Vec<Refusal>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The refusal that this password has to wait for, with the time that is left.
    fn refused(&self, password: &Secret) -> Option<FetchError> {
        let (mut refusals, now) = (self.refusals(), Instant::now());
        refusals.retain(|refusal| refusal.until > now);
        let same = refusals.iter().find(|refusal| refusal.password == *password);
        let oldest = refusals.first().filter(|_| refusals.len() >= MOST_REFUSALS);
        let Refusal { error, until, .. } = same.or(oldest)?;
        Some(error.clone().with_retry_after(until.duration_since(now)))
    }

    /// Remembers how a login ended.
    fn note(&self, password: Secret, result: &Result<Lease, FetchError>) {
        let mut refusals = self.refusals();
        match result {
            Ok(_) => refusals.clear(),
            Err(error) => {
                // Others end soon.
                if let Some(wait) = error.retry_after {
                    let until = Instant::now() + wait;
                    refusals.push(Refusal { password, error: error.clone(), until });
                }
            }
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
            let password = match &self.password {
                PasswordOf::Text(secret) => secret.clone(),
                PasswordOf::File(file) => file.fetch().await?,
            };
            if let Some(error) = self.refused(&password) {
                return Err(error);
            }
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
            let request = request.extension(Sent(password.clone()));
            let body = Bytes::from(body.to_string());
            let answer = client.remote.send(WHO, request.body(body)).await?;
            let result = read(&answer, clock.now());
            self.note(password, &result);
            result
        })
    }

    fn changed(&self) -> Changed<'_> {
        match &self.password {
            PasswordOf::File(file) => Box::pin(file.changed()),
            PasswordOf::Text(_) => Box::pin(std::future::pending()),
        }
    }

    fn has_changed(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        match &self.password {
            PasswordOf::File(file) => Box::pin(file.has_changed()),
            PasswordOf::Text(_) => Box::pin(std::future::ready(false)),
        }
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

    #[tokio::test(start_paused = true)]
    async fn a_refused_password_waits_and_after_several_every_password_does() {
        let endpoint = Endpoint::parse("https://iam.example", false).unwrap();
        let text = PasswordOf::Text(Secret::new("unused"));
        let source = Password::new(endpoint, "d", "u", text, TokenScope::Id("p".into()));
        let refuse = |password: &str| {
            let error = FetchError::new(password).with_retry_after(REFUSED);
            source.note(Secret::new(password), &Err(error));
        };
        let refused = |password: &str| source.refused(&Secret::new(password));
        refuse("first");
        tokio::time::advance(REFUSED / 3).await;
        assert_eq!(refused("first").unwrap().retry_after, Some(REFUSED / 3 * 2));
        assert_eq!(refused("second"), None);
        refuse("second");
        // Back to a password that was refused before.
        assert!(refused("first").is_some());
        source.note(Secret::new("third"), &Err(FetchError::new("HTTP 503")));
        assert_eq!(refused("third"), None);
        refuse("third");
        assert_eq!(refused("fourth").unwrap().to_string(), "first");
        tokio::time::advance(REFUSED / 3 * 2).await;
        assert_eq!(refused("fourth"), None);
        assert!(refused("third").is_some());
        let lease = Lease::open(crate::credential::Credential::token(Secret::new("T")).unwrap());
        source.note(Secret::new("fourth"), &Ok(lease));
        assert_eq!(refused("third"), None);
    }

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
