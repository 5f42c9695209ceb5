//! The providers, one module each with the same layout, and their configuration.

pub mod alibaba;
pub mod flink;
pub mod huawei;

use std::borrow::Cow;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use crate::clock::Clock;
use crate::credential::{Credentials, SourceClient};
use crate::options::{Endpoint, Problems};
use crate::rpc::operation::Provider;
use crate::telemetry::Telemetry;
use crate::upstream::Probed;

#[derive(Debug, Clone)]
pub struct Setup {
    pub provider: &'static Provider,
    /// The name of the cluster, where the provider has several.
    pub(crate) cluster: Option<String>,
    pub endpoint: Endpoint,
    pub credentials: Credentials,
    /// What stands in for a field that requests leave out, for the log.
    pub(crate) default: Option<String>,
    /// Facts to look up before every call can be served.
    pub(crate) lookups: Vec<Arc<dyn Lookup>>,
}

impl Setup {
    /// A provider without lookups.
    pub fn new(provider: &'static Provider, endpoint: Endpoint, credentials: Credentials) -> Self {
        let (default, lookups) = (None, Vec::new());
        Self { provider, cluster: None, endpoint, credentials, default, lookups }
    }

    /// Its name for people.
    pub fn name(&self) -> Cow<'static, str> {
        match &self.cluster {
            Some(cluster) => Cow::Owned(format!("{} {cluster}", self.provider)),
            None => Cow::Borrowed(self.provider.name),
        }
    }

    /// Whether any part of it uses TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.endpoint.is_tls()
            || self.credentials.is_tls()
            || self.lookups.iter().any(|lookup| lookup.is_tls())
    }
}

/// A fact that is looked up in the background, for example an id by its name.
pub(crate) trait Lookup: Debug + Send + Sync {
    /// Looks up the fact until it is known. Exactly one task must run this.
    fn run(self: Arc<Self>, with: LookupContext) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Returns once the first attempt has ended, successful or not.
    fn attempted(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// What cannot be served without the fact, and why; none if it is known.
    fn missing(&self) -> Option<String>;

    /// The fact, for people; none if it is not known.
    fn known(&self) -> Option<String>;

    fn is_tls(&self) -> bool;
}

/// A client of a provider that can prove that the provider accepts what it signs.
pub(crate) trait Probe: Debug + Send + Sync {
    /// Makes one request that changes nothing, and that counts as little as possible if it fails.
    fn probe(&self) -> Pin<Box<dyn Future<Output = Probed> + Send + '_>>;
}

/// What is probed: a provider, or one cluster of it.
pub(crate) type Probing = (Setup, Box<dyn Probe>);

#[derive(Debug, Clone)]
pub(crate) struct LookupContext {
    pub(crate) credentials: Credentials,
    pub(crate) client: SourceClient,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) telemetry: Telemetry,
}

/// The configured endpoint, else the region's, which `of_region` returns.
fn endpoint(
    problems: &mut Problems<'_>,
    (endpoint_flag, endpoint): (&str, Option<&str>),
    (region_flag, region): (&str, Option<&str>),
    insecure: bool,
    of_region: impl FnOnce(&str) -> Result<String, String>,
) -> Option<Endpoint> {
    if let Some(endpoint) = endpoint {
        return problems.endpoint(endpoint_flag, endpoint, insecure);
    }
    let url = of_region(region?).map_err(|why| problems.report(region_flag, why)).ok()?;
    problems.endpoint(region_flag, &url, false)
}
