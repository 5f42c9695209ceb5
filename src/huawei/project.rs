//! The project of requests that name none, looked up by its name where its id is not configured.
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-iam/iam_06_0001.html> (read 2026-11-22)
//! - The requests of Huawei's Python SDK, `huaweicloudsdkcore` 3.1.219.
//! - Locking of keys: "AK access failed to reach the limit", API Gateway's FAQ `apig-faq-0003`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{HeaderValue, Method, Request};
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use super::{X_AUTH_TOKEN, sign};
use crate::canonical::{percent_encode, sensitive};
use crate::clock::Clock;
use crate::credential::{Credential, Credentials, Exchange, SourceError, backoff, refused};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::failure::Failure;
use crate::json;
use crate::operation::Provider;
use crate::telemetry::Telemetry;
use crate::upstream::Answer;
use crate::validate::is_project_id;

const WHO: &str = "Huawei Cloud's IAM";

/// More than five signatures in a row that are refused lock a key for five minutes, so a
/// refused one is not tried again soon: not before another credential serves, or for so long.
const REFUSED: Duration = Duration::from_secs(10 * 60);

/// No lookup needs longer.
const LONGEST: Duration = Duration::from_secs(30);

/// The project of requests that name none.
#[derive(Debug, Clone)]
pub enum Project {
    /// There is none: each request must name its project.
    None,
    /// The project with this id.
    Id(Arc<str>),
    /// The project that IAM knows by its name.
    Lookup(ProjectLookup),
}

impl Project {
    /// The id, as far as it is known by now.
    pub(super) fn known(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Id(id) => Some(id),
            Self::Lookup(lookup) => lookup.id(),
        }
    }

    /// The lookup that this project comes from.
    pub fn lookup(&self) -> Option<&ProjectLookup> {
        match self {
            Self::None | Self::Id(_) => None,
            Self::Lookup(lookup) => Some(lookup),
        }
    }
}

/// A lookup at IAM that is made once, in the background, however many requests wait for it.
#[derive(Debug, Clone)]
pub struct ProjectLookup(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    iam: Endpoint,
    name: String,
    id: OnceLock<String>,
    phase: watch::Sender<Phase>,
    /// The operator says that the answer may be another by now.
    reload: Notify,
}

#[derive(Debug, Clone)]
enum Phase {
    Asking,
    Known,
    Failed(SourceError),
}

#[derive(Deserialize)]
struct ProjectsWire {
    #[serde(default)]
    projects: Vec<ProjectWire>,
}

#[derive(Deserialize)]
struct ProjectWire {
    #[serde(default, deserialize_with = "json::text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "json::text")]
    name: Option<String>,
}

impl ProjectLookup {
    /// The project of this name, from when [`ProjectLookup::keep`] runs.
    pub fn new(iam: Endpoint, name: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            iam,
            name: name.into(),
            id: OnceLock::new(),
            phase: watch::Sender::new(Phase::Asking),
            reload: Notify::new(),
        }))
    }

    /// The id, once it is known.
    pub fn id(&self) -> Option<&str> {
        self.0.id.get().map(String::as_str)
    }

    /// The id. Waits only while IAM is being asked.
    ///
    /// # Errors
    /// [`Failure::CredentialsUnavailable`] when IAM has not told it.
    pub(super) async fn wait(&self) -> Result<&str, Error> {
        let mut phases = self.0.phase.subscribe();
        loop {
            let phase = phases.borrow_and_update().clone();
            if let Some(id) = self.id() {
                return Ok(id);
            }
            if let Phase::Failed(why) = phase {
                let text = format!(
                    "the request names no project, and the gateway's own is not known: {why}"
                );
                return Err(Error::new(Failure::CredentialsUnavailable, text));
            }
            // The sender lives as long as this.
            let _ = phases.changed().await;
        }
    }

    /// Returns when IAM was asked for the first time, whatever came of it.
    pub async fn asked(&self) {
        let asked = |phase: &Phase| !matches!(phase, Phase::Asking);
        let _ = self.0.phase.subscribe().wait_for(asked).await;
    }

    /// Why the project is not known, if so.
    pub fn last_error(&self) -> Option<SourceError> {
        match &*self.0.phase.borrow() {
            Phase::Failed(why) => Some(why.clone()),
            Phase::Asking | Phase::Known => None,
        }
    }

    /// Asks at once, unless the project is known.
    pub fn reload(&self) {
        self.0.reload.notify_one();
    }

    /// Whether IAM is reached over TLS.
    pub fn is_tls(&self) -> bool {
        self.0.iam.is_tls()
    }

    /// Asks until the project is known. One task of the process must run this.
    pub async fn keep(
        self,
        credentials: Credentials,
        exchange: Exchange,
        clock: Arc<dyn Clock>,
        telemetry: Telemetry,
    ) {
        let metrics = telemetry.metrics().project_lookup();
        let mut failures = 0;
        let mut told = None;
        loop {
            let credential = credentials.current(&*clock).await;
            let result = match &credential {
                Ok(credential) => {
                    let ask = self.ask(credential, &exchange, &*clock);
                    tokio::time::timeout(LONGEST, ask)
                        .await
                        .unwrap_or_else(|_| Err(SourceError::new(format!("{WHO} took too long"))))
                }
                Err(error) => Err(SourceError::new(error.to_string())),
            };
            let error = match result {
                Ok(id) => {
                    metrics.ended(true);
                    let provider = Provider::HuaweiDli;
                    tracing::info!(%provider, project_id = id, "the project is known");
                    // Nobody else sets it.
                    let _ = self.0.id.set(id);
                    self.0.phase.send_replace(Phase::Known);
                    return;
                }
                Err(error) => error,
            };
            failures += 1;
            metrics.ended(false);
            if told.as_ref() != Some(&error) {
                let provider = Provider::HuaweiDli;
                tracing::warn!(%provider, error = %error, "the project is not known");
                told = Some(error.clone());
            }
            let rest = error.rest().unwrap_or_else(|| backoff(failures, clock.chance()));
            self.0.phase.send_replace(Phase::Failed(error));
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                () = self.0.reload.notified() => {}
                () = credentials.replaced(credential.as_deref().ok()) => {}
            }
        }
    }

    async fn ask(
        &self,
        credential: &Credential,
        exchange: &Exchange,
        clock: &dyn Clock,
    ) -> Result<String, SourceError> {
        let Inner { iam, name, .. } = &*self.0;
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(format!("{}/v3/projects?name={}", iam.origin(), percent_encode(name)))
            .header(HOST, iam.host())
            .body(Bytes::new())
            .map_err(|_| SourceError::new("the request cannot be built"))?;
        let authorized = match credential.auth_token() {
            Some(token) => sensitive(token.expose()).map(|token| {
                request.headers_mut().insert(X_AUTH_TOKEN, token);
            }),
            None => sign::sign(&mut request, credential, clock.now()),
        };
        authorized.map_err(|error| SourceError::new(error.to_string()))?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        read(name, &exchange.ask(WHO, request).await?)
    }
}

/// The id of the one project of this name.
fn read(name: &str, answer: &Answer) -> Result<String, SourceError> {
    let wire = match answer.status {
        200 => json::read_object::<ProjectsWire>(&answer.body).ok(),
        _ => None,
    };
    let Some(ProjectsWire { mut projects }) = wire else {
        let error = refused(WHO, answer);
        return Err(match answer.status {
            401 => error.leave_alone(REFUSED),
            _ => error,
        });
    };
    // A service that does not filter must not make another project be taken for this one.
    projects.retain(|project| project.name.as_ref().is_none_or(|found| found == name));
    let mend = "set --huawei-project-id";
    match <[ProjectWire; 1]>::try_from(projects) {
        Ok([ProjectWire { id: Some(id), .. }]) if is_project_id(&id) => Ok(id),
        Ok(_) => {
            Err(SourceError::new(format!("{WHO} answered with a project without a usable id")))
        }
        Err(none) if none.is_empty() => Err(SourceError::new(format!(
            "{WHO} knows no project {name:?} that this identity may see; {mend}"
        ))),
        Err(several) => Err(SourceError::new(format!(
            "{WHO} knows {} projects {name:?}; {mend}",
            several.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_project_of_the_name_is_found_and_nothing_else_is_taken_for_it() {
        let one = r#"{"links":{"self":"x"},"projects":[{"domain_id":"d","is_domain":false,"parent_id":"d","name":"cn-north-4","id":"p1","enabled":true}]}"#;
        let beside = r#"{"projects":[{"name":"cn-north-4_team","id":"p0"},{"name":"cn-north-4","id":"p1"}]}"#;
        for (status, body, want) in [
            (200, one, Ok("p1")),
            (200, r#"{"projects":[{"id":"p1"}]}"#, Ok("p1")),
            (200, beside, Ok("p1")),
            (200, r#"{"projects":[]}"#, Err(("no project \"cn-north-4\"", None))),
            (200, r#"{"projects":[{"id":"p1"},{"id":"p2"}]}"#, Err(("knows 2 projects", None))),
            (200, r#"{"projects":[{"id":"../p1"}]}"#, Err(("without a usable id", None))),
            (200, r#"{"projects":[{}]}"#, Err(("without a usable id", None))),
            (200, "<html>", Err(("HTTP 200 and no", None))),
            (200, "[]", Err(("HTTP 200 and no", None))),
            (403, r#"{"error_code":"IAM.0003"}"#, Err(("HTTP 403, IAM.0003", None))),
            (500, "", Err(("HTTP 500", None))),
            (
                401,
                r#"{"error":{"code":401,"message":"hidden","title":"Unauthorized"}}"#,
                Err(("HTTP 401, 401", Some(REFUSED))),
            ),
        ] {
            let body = Bytes::from_static(body.as_bytes());
            let answer = Answer { status, headers: Default::default(), body, whole: true };
            match (read("cn-north-4", &answer), want) {
                (Ok(found), Ok(want)) => assert_eq!(found, want),
                (Err(found), Err((text, rest))) => {
                    assert!(found.to_string().contains(text), "{found}");
                    assert!(!found.to_string().contains("hidden"), "{found}");
                    assert_eq!(found.rest(), rest, "{found}");
                }
                (found, want) => panic!("{answer:?}: {found:?}, not {want:?}"),
            }
        }
    }
}
