//! What metrics say of credentials: that they are fresh, and until when.

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::metrics::{OutcomeLabels, ProviderLabels};
use crate::operation::Provider;

/// The credential of one provider. Times are those of day: an age is what a query makes of
/// `time()` and of them, whenever it runs.
///
/// The gauges appear when the source was first asked: a provider that is not configured must
/// not look like one whose source fails.
#[derive(Debug)]
pub struct CredentialMetrics {
    labels: ProviderLabels,
    obtained: Family<ProviderLabels, Gauge>,
    expiry: Family<ProviderLabels, Gauge>,
    fresh: Family<ProviderLabels, Gauge>,
    replaced: Counter,
    failed: Counter,
}

impl CredentialMetrics {
    /// Registers them, one of each for each provider.
    pub(super) fn all<const N: usize>(
        registry: &mut Registry,
        providers: [Provider; N],
    ) -> [Self; N] {
        let obtained = Family::<ProviderLabels, Gauge>::default();
        let expiry = Family::<ProviderLabels, Gauge>::default();
        let fresh = Family::<ProviderLabels, Gauge>::default();
        let refreshes = Family::<OutcomeLabels, Counter>::default();
        registry.register_with_unit(
            "credential_obtained_timestamp",
            "When the credential that serves was obtained",
            Unit::Seconds,
            obtained.clone(),
        );
        registry.register_with_unit(
            "credential_expiry_timestamp",
            "When the credential that serves ends; 0 when that is not known",
            Unit::Seconds,
            expiry.clone(),
        );
        registry.register(
            "credential_last_refresh_success",
            "Whether the source of credentials answered when it was last asked",
            fresh.clone(),
        );
        registry.register(
            "credential_refreshes",
            "Credentials obtained, and attempts that failed",
            refreshes.clone(),
        );
        providers.map(|provider| {
            let provider = provider.as_str();
            let refresh = |outcome| OutcomeLabels { provider, outcome };
            Self {
                labels: ProviderLabels { provider },
                obtained: obtained.clone(),
                expiry: expiry.clone(),
                fresh: fresh.clone(),
                replaced: refreshes.get_or_create_owned(&refresh("success")),
                failed: refreshes.get_or_create_owned(&refresh("failure")),
            }
        })
    }

    /// A credential was obtained.
    pub fn had(&self, now: Timestamp, expires: Option<Timestamp>) {
        self.obtained.get_or_create(&self.labels).set(now.as_second());
        let expires = expires.map_or(0, Timestamp::as_second);
        self.expiry.get_or_create(&self.labels).set(expires);
        self.replaced.inc();
        self.unchanged();
    }

    /// The source answered with the credential that serves.
    pub fn unchanged(&self) {
        self.fresh.get_or_create(&self.labels).set(1);
    }

    /// The source had none.
    pub fn failed(&self) {
        self.failed.inc();
        self.fresh.get_or_create(&self.labels).set(0);
    }
}
