//! Metrics of certificates: the server's, and the one that the gateway presents to providers.

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::{Labels, Metrics};

/// The certificates, and the TLS handshakes of callers that failed.
#[derive(Debug, Clone)]
pub(crate) struct TlsMetrics {
    /// The certificate of the gRPC port.
    pub(crate) server: CertificateMetrics,
    /// The certificate that is presented to providers.
    pub(crate) upstream: CertificateMetrics,
    handshakes_failed: Counter,
}

/// One certificate that is read again when its files change.
#[derive(Debug, Clone)]
pub(crate) struct CertificateMetrics {
    expiry: Gauge,
    taken: Counter,
    refused: Counter,
}

impl TlsMetrics {
    /// Registers them.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        Self {
            handshakes_failed: metrics
                .registry
                .add("tls_handshakes_failed", "Connections that ended in their TLS handshake"),
            server: CertificateMetrics::register(metrics, "tls", "of the gRPC port"),
            upstream: CertificateMetrics::register(
                metrics,
                "upstream_tls",
                "that is presented to providers",
            ),
        }
    }

    /// A handshake failed.
    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }
}

impl CertificateMetrics {
    fn register(metrics: &Metrics, prefix: &str, which: &str) -> Self {
        let registry = &metrics.registry;
        let expiry = registry.add_seconds(
            format!("{prefix}_certificate_expiry_timestamp"),
            format!("When the certificate {which} expires; 0 where there is none"),
            Gauge::default(),
        );
        let reloads: Family<Labels<1>, Counter> = registry.add(
            format!("{prefix}_reloads"),
            format!("Changes of the files of the certificate {which}, used or refused"),
        );
        Self {
            expiry,
            taken: reloads.get_or_create_owned(&[("outcome", "success")]),
            refused: reloads.get_or_create_owned(&[("outcome", "failure")]),
        }
    }

    /// This certificate is in use, which expires then.
    pub(super) fn in_use(&self, not_after: Option<Timestamp>) {
        self.expiry.set(not_after.map_or(0, Timestamp::as_second));
    }

    /// The files changed; whether the change is in use.
    pub(super) fn reloaded(&self, taken: bool) {
        if taken { &self.taken } else { &self.refused }.inc();
    }
}
