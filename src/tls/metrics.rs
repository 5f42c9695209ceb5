//! Metrics of certificates: the server's, and the client certificate for providers.

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;

use crate::telemetry::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    outcome: &'static str,
}

/// The certificates, and failed TLS handshakes of callers.
#[derive(Debug, Clone)]
pub(crate) struct TlsMetrics {
    /// The certificate of the gRPC port.
    pub(crate) server: CertificateMetrics,
    /// The client certificate for providers.
    pub(crate) upstream: CertificateMetrics,
    handshakes_failed: Counter,
}

/// One certificate that is reloaded when its files change.
#[derive(Debug, Clone)]
pub(crate) struct CertificateMetrics {
    expiry: Gauge,
    taken: Counter,
    refused: Counter,
}

impl TlsMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let handshakes_failed = Counter::default();
        metrics.register(|registry| {
            registry.register(
                "tls_handshakes_failed",
                "Connections whose TLS handshake failed",
                handshakes_failed.clone(),
            );
        });
        Self {
            server: CertificateMetrics::register(metrics, "tls", "of the gRPC port"),
            upstream: CertificateMetrics::register(
                metrics,
                "upstream_tls",
                "that is presented to providers",
            ),
            handshakes_failed,
        }
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }
}

impl CertificateMetrics {
    fn register(metrics: &Metrics, prefix: &str, which: &str) -> Self {
        let reloads = Family::<ReloadLabels, Counter>::default();
        let made = Self {
            expiry: Gauge::default(),
            taken: reloads.get_or_create_owned(&ReloadLabels { outcome: "success" }),
            refused: reloads.get_or_create_owned(&ReloadLabels { outcome: "failure" }),
        };
        metrics.register(|registry| {
            registry.register_with_unit(
                format!("{prefix}_certificate_expiry_timestamp"),
                format!("When the certificate {which} expires; 0 where there is none"),
                Unit::Seconds,
                made.expiry.clone(),
            );
            registry.register(
                format!("{prefix}_reloads"),
                format!("Changes of the files of the certificate {which}, loaded or rejected"),
                reloads,
            );
        });
        made
    }

    /// Sets the expiry of the current certificate.
    pub(super) fn in_use(&self, not_after: Option<Timestamp>) {
        self.expiry.set(not_after.map_or(0, Timestamp::as_second));
    }

    /// Counts a change of the files, by whether it was loaded.
    pub(super) fn reloaded(&self, taken: bool) {
        if taken { &self.taken } else { &self.refused }.inc();
    }
}
