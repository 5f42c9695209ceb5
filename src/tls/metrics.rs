//! Metrics of certificates: the server's, and the client certificate for providers.

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::reload::ReloadMetrics;
use crate::telemetry::{Labels, Metrics};

/// The certificates, and failed TLS handshakes of callers.
#[derive(Debug, Clone)]
pub(crate) struct TlsMetrics {
    pub(crate) server: CertificateMetrics,
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
        Self {
            handshakes_failed: metrics.registry.add(
                "savepoint_gateway_tls_handshakes_failed",
                "Connections whose TLS handshake failed",
            ),
            server: CertificateMetrics::register(metrics, "tls", "of the gRPC port"),
            upstream: CertificateMetrics::register(
                metrics,
                "upstream_tls",
                "that is presented to providers",
            ),
        }
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }
}

impl CertificateMetrics {
    fn register(metrics: &Metrics, prefix: &str, which: &str) -> Self {
        let registry = &metrics.registry;
        let expiry = registry.add_seconds(
            format!("savepoint_gateway_{prefix}_certificate_expiry_timestamp"),
            format!("When the certificate {which} expires; 0 where there is none"),
            Gauge::default(),
        );
        let reloads: Family<Labels<1>, Counter> = registry.add(
            format!("savepoint_gateway_{prefix}_reloads"),
            format!("Changes of the files of the certificate {which}, loaded or rejected"),
        );
        Self {
            expiry,
            taken: reloads.get_or_create_owned(&[("outcome", "success")]),
            refused: reloads.get_or_create_owned(&[("outcome", "failure")]),
        }
    }
}

impl ReloadMetrics for CertificateMetrics {
    fn in_use(&self, not_after: Option<Timestamp>) {
        self.expiry.set(not_after.map_or(0, Timestamp::as_second));
    }

    fn reloaded(&self, taken: bool) {
        if taken { &self.taken } else { &self.refused }.inc();
    }
}
