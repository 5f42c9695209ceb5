//! The providers, one room each, in files of the same names, and what setting one up brings.

pub mod alibaba;
pub mod huawei;

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use crate::clock::Clock;
use crate::credential::{Credentials, SourceClient};
use crate::options::{Endpoint, Problems};
use crate::rpc::operation::Provider;
use crate::telemetry::Telemetry;

/// A provider as it is configured, before anything is connected.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The provider.
    pub provider: &'static Provider,
    /// Where it is called.
    pub endpoint: Endpoint,
    /// What requests are signed with.
    pub credentials: Credentials,
    /// What else has to be found out before every call can be served.
    pub(crate) lookups: Vec<Arc<dyn Lookup>>,
}

impl Setup {
    /// A provider that needs a credential and nothing else.
    pub fn new(provider: &'static Provider, endpoint: Endpoint, credentials: Credentials) -> Self {
        Self { provider, endpoint, credentials, lookups: Vec::new() }
    }

    /// Whether anything of it is reached over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.endpoint.is_tls()
            || self.credentials.is_tls()
            || self.lookups.iter().any(|lookup| lookup.is_tls())
    }
}

/// A fact that a provider's room finds out in the background, for example an id by its name.
pub(crate) trait Lookup: Debug + Send + Sync {
    /// Looks the fact up until it is known. One task of the process must run this.
    fn run(self: Arc<Self>, with: LookupContext) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Returns when the first attempt has ended, successful or not.
    fn attempted(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Looks it up at once, unless it is known.
    fn reload(&self);

    /// What cannot be served without the fact, and why it is not known; none when it is known.
    fn missing(&self) -> Option<String>;

    /// Whether it is looked up over TLS.
    fn is_tls(&self) -> bool;
}

/// What a lookup is made with.
#[derive(Debug, Clone)]
pub(crate) struct LookupContext {
    pub(crate) credentials: Credentials,
    pub(crate) client: SourceClient,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) telemetry: Telemetry,
}

/// Where a provider is called: at the endpoint that is configured, or else at the region's own,
/// which `of_region` knows.
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
