//! Metrics of credentials: whether they are fresh, and until when.

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::rpc::operation::Provider;
use crate::telemetry::{Labels, Metrics};

/// The credential of one provider. Times are times of day: an age is what a query computes from
/// `time()` and them, whenever it runs.
///
/// The gauges appear with the first fetch: a provider that is not configured must not look like
/// one whose source fails.
#[derive(Debug)]
pub struct CredentialMetrics {
    labels: Labels<1>,
    obtained: Family<Labels<1>, Gauge>,
    expiry: Family<Labels<1>, Gauge>,
    fresh: Family<Labels<1>, Gauge>,
    replaced: Counter,
    failed: Counter,
}

impl CredentialMetrics {
    /// Registers them for these providers, one of each for each.
    pub fn register(
        metrics: &Metrics,
        providers: impl Iterator<Item = &'static Provider>,
    ) -> Vec<Self> {
        let registry = &metrics.registry;
        let obtained = registry.add_seconds(
            "credential_obtained_timestamp",
            "When the credential in use was obtained",
            Family::default(),
        );
        let expiry = registry.add_seconds(
            "credential_expiry_timestamp",
            "When the credential in use expires; 0 when that is not known",
            Family::default(),
        );
        let fresh: Family<_, _> = registry.add(
            "credential_last_refresh_success",
            "Whether the last request to the source of credentials succeeded",
        );
        let refreshes: Family<Labels<2>, Counter> =
            registry.add("credential_refreshes", "Credentials obtained, and attempts that failed");
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

    /// A credential was obtained.
    pub(super) fn obtained(&self, now: Timestamp, expires: Option<Timestamp>) {
        self.obtained.get_or_create(&self.labels).set(now.as_second());
        let expires = expires.map_or(0, Timestamp::as_second);
        self.expiry.get_or_create(&self.labels).set(expires);
        self.replaced.inc();
        self.unchanged();
    }

    /// The source answered with the credential in use.
    pub(super) fn unchanged(&self) {
        self.fresh.get_or_create(&self.labels).set(1);
    }

    /// The source had none.
    pub(super) fn failed(&self) {
        self.failed.inc();
        self.fresh.get_or_create(&self.labels).set(0);
    }
}
