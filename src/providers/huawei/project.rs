//! The project of requests that do not name one. Without a configured id it is looked up by name.
//!
//! # Reference
//! - <https://support.huaweicloud.com/intl/en-us/api-iam/iam_06_0001.html> (read 2026-11-22)
//! - The requests of Huawei's Python SDK, `huaweicloudsdkcore` 3.1.219.
//! - Locking of keys: "AK access failed to reach the limit", API Gateway's FAQ `apig-faq-0003`.

use std::borrow::Cow;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Method};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde::Deserialize;

use super::rest::authorize;
use super::{HUAWEI, Huawei};
use crate::call::Call;
use crate::credential::{Credential, granted};
use crate::json::Text;
use crate::options::Endpoint;
use crate::providers::{Lookup, LookupContext};
use crate::refresh::{FetchError, Refresh, Upkeep};
use crate::rpc::Error;
use crate::rpc::reason::Reason;
use crate::rpc::validate::is_project_id;
use crate::signing::percent_encode;
use crate::telemetry::{Labels, Metrics};
use crate::transport::Response;

const WHO: &str = "Huawei Cloud's IAM";

/// More than five rejected signatures in a row lock a key for five minutes, so a rejected lookup is
/// retried only with a new credential, or after this time.
const REJECTED_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// The project of requests that do not name one.
#[derive(Debug, Clone)]
pub enum Project {
    /// None: each request must name its project.
    None,
    Id(Arc<str>),
    /// A project that is looked up in IAM by name.
    Lookup(Arc<ProjectLookup>),
}

impl Huawei {
    /// The project that a request names, or the default, which is empty if there is none.
    /// [`None`] while the default is being looked up.
    pub(super) fn project<'a>(&'a self, named: &'a str) -> Option<Cow<'a, str>> {
        match (&self.project, named) {
            (Project::None, "") => Some(Cow::Borrowed("")),
            (Project::Id(id), "") => Some(Cow::Borrowed(id)),
            (Project::Lookup(lookup), "") => lookup.id().map(Cow::Owned),
            (_, named) => Some(Cow::Borrowed(named)),
        }
    }

    /// Waits for the lookup, if the project is not known.
    pub(super) async fn lookup<'a>(
        &self,
        known: Option<Cow<'a, str>>,
        call: &Call,
    ) -> Result<Cow<'a, str>, Error> {
        match (known, &self.project) {
            (None, Project::Lookup(lookup)) => {
                call.bound(pin!(lookup.wait())).await.map(Cow::Owned)
            }
            (known, _) => Ok(known.unwrap_or_default()),
        }
    }
}

/// A lookup in IAM: one, in the background, for all requests that wait for it.
#[derive(Debug)]
pub struct ProjectLookup {
    iam: Endpoint,
    name: String,
    id: Refresh<String>,
}

#[derive(Deserialize)]
struct ProjectsWire {
    #[serde(default)]
    projects: Vec<ProjectWire>,
}

#[derive(Deserialize)]
struct ProjectWire {
    #[serde(default)]
    id: Text,
    #[serde(default)]
    name: Text,
}

impl ProjectLookup {
    /// A project of this name, looked up by [`Lookup::run`].
    pub fn new(iam: Endpoint, name: impl Into<String>) -> Self {
        Self { iam, name: name.into(), id: Refresh::new(None) }
    }

    fn id(&self) -> Option<String> {
        self.id.map(String::clone)
    }

    /// The id. Waits only while a lookup is in progress.
    pub(super) async fn wait(&self) -> Result<String, Error> {
        self.id.wait(|id| Some(id.clone())).await.map_err(|why| {
            let text =
                format!("the request does not name a project, and the default is unknown: {why}");
            Error::new(Reason::CredentialsUnavailable, text)
        })
    }
}

impl Lookup for ProjectLookup {
    fn run(self: Arc<Self>, with: LookupContext) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let metrics = ProjectMetrics::register(with.telemetry.metrics());
            let last_used = ArcSwapOption::empty();
            let upkeep = ProjectUpkeep { lookup: &self, with: &with, metrics, last_used };
            self.id.run(&upkeep, &*with.clock).await;
        })
    }

    fn attempted(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.id.attempted())
    }

    fn missing(&self) -> Option<String> {
        if self.id().is_some() {
            return None;
        }
        let why = self.id.last_error().map(|why| format!(": {why}")).unwrap_or_default();
        Some(format!("no project for requests that do not name one{why}"))
    }

    fn known(&self) -> Option<String> {
        self.id().map(|id| format!("project {id} has the name {:?}", self.name))
    }

    fn is_tls(&self) -> bool {
        self.iam.is_tls()
    }
}

struct ProjectUpkeep<'a> {
    lookup: &'a ProjectLookup,
    with: &'a LookupContext,
    metrics: ProjectMetrics,
    last_used: ArcSwapOption<Credential>,
}

impl Upkeep for ProjectUpkeep<'_> {
    type Value = String;

    async fn fetch(&self) -> Result<Option<String>, FetchError> {
        let (ProjectLookup { iam, name, .. }, clock) = (self.lookup, &*self.with.clock);
        let credential = self.with.credentials.current(clock).await;
        self.last_used.store(credential.as_ref().ok().cloned());
        let failed = |error: Error| FetchError::new(error.to_string());
        let path = format!("/v3/projects?name={}", percent_encode(name));
        let request = iam.request(Method::GET, &path).body(Bytes::new());
        let mut request = request.map_err(|_| FetchError::new("the request cannot be built"))?;
        authorize(&mut request, &*credential.map_err(failed)?, clock).map_err(failed)?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        read(name, &self.with.client.remote.send(WHO, Ok(request)).await?).map(Some)
    }

    fn fetched(&self, new: Option<&String>, _: Option<&String>, _: bool) -> Option<Duration> {
        self.metrics.ended(true);
        tracing::info!(provider = %HUAWEI, project_id = new, "project found");
        None
    }

    fn failed(&self, error: &FetchError, _: Option<&String>, repeated: bool) {
        self.metrics.ended(false);
        if !repeated {
            tracing::warn!(provider = %HUAWEI, error = %error, "project lookup failed");
        }
    }

    async fn changed(&self, _: bool) -> Duration {
        let last = self.last_used.load_full();
        self.with.credentials.replaced(last.as_deref()).await;
        Duration::ZERO
    }
}

/// Metrics of the lookup. The gauge appears with the first lookup, so not if the project is
/// configured.
struct ProjectMetrics {
    known: Family<Labels<1>, Gauge>,
    found: Counter,
    failed: Counter,
}

impl ProjectMetrics {
    fn register(metrics: &Metrics) -> Self {
        let registry = &metrics.registry;
        let known = registry.add(
            "savepoint_gateway_project_known",
            "Whether the project of requests that do not name one is known",
        );
        let lookups: Family<_, Counter> = registry
            .add("savepoint_gateway_project_lookups", "Lookups of that project, by outcome");
        let lookup = |outcome| {
            lookups.get_or_create_owned(&[("provider", HUAWEI.name), ("outcome", outcome)])
        };
        Self { known, found: lookup("success"), failed: lookup("failure") }
    }

    fn ended(&self, found: bool) {
        if found { &self.found } else { &self.failed }.inc();
        self.known.get_or_create(&[("provider", HUAWEI.name)]).set(found.into());
    }
}

/// Reads the id of the only project with this name.
fn read(name: &str, answer: &Response) -> Result<String, FetchError> {
    let projects = granted(WHO, answer, 200..=200, |wire: ProjectsWire| Some(wire.projects));
    let mut projects = projects.map_err(|error| match answer.status {
        401 => error.with_retry_after(REJECTED_INTERVAL),
        _ => error,
    })?;
    // If the service ignores the filter, the gateway must not use another project.
    projects.retain(|project| project.name.0.as_ref().is_none_or(|found| found == name));
    let fix = "set --huawei-project-id";
    match <[ProjectWire; 1]>::try_from(projects) {
        Ok([ProjectWire { id: Text(Some(id)), .. }]) if is_project_id(&id) => Ok(id),
        Ok(_) => Err(FetchError::new(format!("{WHO} returned a project without a valid id"))),
        Err(none) if none.is_empty() => Err(FetchError::new(format!(
            "{WHO} has no project {name:?} that this identity may see; {fix}"
        ))),
        Err(several) => {
            Err(FetchError::new(format!("{WHO} has {} projects {name:?}; {fix}", several.len())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_project_of_the_name_is_accepted() {
        let one = r#"{"links":{"self":"x"},"projects":[{"domain_id":"d","is_domain":false,"parent_id":"d","name":"cn-north-4","id":"p1","enabled":true}]}"#;
        let another = r#"{"projects":[{"name":"cn-north-4_team","id":"p0"},{"name":"cn-north-4","id":"p1"}]}"#;
        for (status, body, want) in [
            (200, one, Ok("p1")),
            (200, r#"{"projects":[{"id":"p1"}]}"#, Ok("p1")),
            (200, another, Ok("p1")),
            (200, r#"{"projects":[]}"#, Err(("no project \"cn-north-4\"", None))),
            (200, r#"{"projects":[{"id":"p1"},{"id":"p2"}]}"#, Err(("has 2 projects", None))),
            (200, r#"{"projects":[{"id":"../p1"}]}"#, Err(("without a valid id", None))),
            (200, r#"{"projects":[{}]}"#, Err(("without a valid id", None))),
            (200, "<html>", Err(("HTTP 200 and no", None))),
            (200, "[]", Err(("HTTP 200 and no", None))),
            (403, r#"{"error_code":"IAM.0003"}"#, Err(("HTTP 403, IAM.0003", None))),
            (500, "", Err(("HTTP 500", None))),
            (
                401,
                r#"{"error":{"code":401,"message":"hidden","title":"Unauthorized"}}"#,
                Err(("HTTP 401, 401", Some(REJECTED_INTERVAL))),
            ),
        ] {
            let body = Bytes::from_static(body.as_bytes());
            let answer = Response { status, headers: Default::default(), body, whole: true };
            match (read("cn-north-4", &answer), want) {
                (Ok(found), Ok(want)) => assert_eq!(found, want),
                (Err(found), Err((text, wait))) => {
                    assert!(found.to_string().contains(text), "{found}");
                    assert!(!found.to_string().contains("hidden"), "{found}");
                    assert_eq!(found.retry_after, wait, "{found}");
                }
                (found, want) => panic!("{answer:?}: {found:?}, not {want:?}"),
            }
        }
    }
}
