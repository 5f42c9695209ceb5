//! Metrics of credentials.

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::rpc::operation::Provider;
use crate::telemetry::{Labels, Metrics};

/// Metrics of one provider's credential. They are timestamps, so that queries can compute ages with
/// `time()`.
///
/// The gauges appear with the first fetch: a provider that is not configured must not look like a
/// failing one.
#[derive(Debug)]
pub(crate) struct CredentialMetrics {
    labels: Labels<1>,
    obtained: Family<Labels<1>, Gauge>,
    expiry: Family<Labels<1>, Gauge>,
    fresh: Family<Labels<1>, Gauge>,
    replaced: Counter,
    failed: Counter,
}

impl CredentialMetrics {
    /// Registers the metrics for these providers. Returns one value per provider.
    pub(crate) fn register(
        metrics: &Metrics,
        providers: impl Iterator<Item = &'static Provider>,
    ) -> Vec<Self> {
        let registry = &metrics.registry;
        let obtained = registry.add_seconds(
            "savepoint_gateway_credential_obtained_timestamp",
            "When the current credential was obtained",
            Family::default(),
        );
        let expiry = registry.add_seconds(
            "savepoint_gateway_credential_expiry_timestamp",
            "When the current credential expires; 0 if that is not known",
            Family::default(),
        );
        let fresh: Family<_, _> = registry.add(
            "savepoint_gateway_credential_last_refresh_success",
            "Whether the last refresh succeeded",
        );
        let refreshes: Family<Labels<2>, Counter> = registry.add(
            "savepoint_gateway_credential_refreshes",
            "Refreshes that obtained a credential, or failed",
        );
        let of_provider = |provider: &'static Provider| {
            let provider = ("provider", provider.name);
            let refresh = |outcome| [provider, ("outcome", outcome)];
            Self {
                labels: [provider],
                obtained: obtained.clone(),
                expiry: expiry.clone(),
                fresh: fresh.clone(),
                replaced: refreshes.get_or_create_owned(&refresh("success")),
                failed: refreshes.get_or_create_owned(&refresh("failure")),
            }
        };
        providers.map(of_provider).collect()
    }

    pub(super) fn obtained(&self, now: Timestamp, expires: Option<Timestamp>) {
        self.obtained.get_or_create(&self.labels).set(now.as_second());
        let expires = expires.map_or(0, Timestamp::as_second);
        self.expiry.get_or_create(&self.labels).set(expires);
        self.replaced.inc();
        self.unchanged();
    }

    /// Records a fetch that returned the current credential.
    pub(super) fn unchanged(&self) {
        self.fresh.get_or_create(&self.labels).set(1);
    }

    pub(super) fn failed(&self) {
        self.failed.inc();
        self.fresh.get_or_create(&self.labels).set(0);
    }
}
