//! What metrics say of the lookup of the project: whether it is known.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::metrics::{OutcomeLabels, ProviderLabels};
use crate::operation::Provider;

/// The lookup of the project of requests that name none.
///
/// The gauge appears when the first lookup has ended: a gateway whose project is configured
/// looks for none.
#[derive(Debug)]
pub struct ProjectLookupMetrics {
    known: Family<ProviderLabels, Gauge>,
    found: Counter,
    failed: Counter,
}

impl ProjectLookupMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let lookups = Family::<OutcomeLabels, Counter>::default();
        let lookup = |outcome| OutcomeLabels { provider: PROVIDER, outcome };
        let made = Self {
            known: Family::default(),
            found: lookups.get_or_create_owned(&lookup("success")),
            failed: lookups.get_or_create_owned(&lookup("failure")),
        };
        registry.register(
            "project_known",
            "Whether the project of requests that name none is known",
            made.known.clone(),
        );
        registry.register("project_lookups", "Lookups of that project, by outcome", lookups);
        made
    }

    /// A lookup ended, with the project or without.
    pub fn ended(&self, found: bool) {
        if found { &self.found } else { &self.failed }.inc();
        let known = self.known.get_or_create_owned(&ProviderLabels { provider: PROVIDER });
        known.set(found.into());
    }
}

const PROVIDER: &str = Provider::HuaweiDli.as_str();
