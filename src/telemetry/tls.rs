//! What metrics say of the server's certificate.

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    outcome: &'static str,
}

/// The certificate that is served, and the handshakes that failed.
#[derive(Debug)]
pub struct TlsMetrics {
    expiry: Gauge,
    taken: Counter,
    refused: Counter,
    handshakes_failed: Counter,
}

impl TlsMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let reloads = Family::<ReloadLabels, Counter>::default();
        let made = Self {
            expiry: Gauge::default(),
            taken: reloads.get_or_create_owned(&ReloadLabels { outcome: "success" }),
            refused: reloads.get_or_create_owned(&ReloadLabels { outcome: "failure" }),
            handshakes_failed: Counter::default(),
        };
        registry.register_with_unit(
            "tls_certificate_expiry_timestamp",
            "When the certificate that is served ends; 0 without TLS",
            Unit::Seconds,
            made.expiry.clone(),
        );
        registry.register(
            "tls_reloads",
            "Changes of certificate files, taken over or refused",
            reloads,
        );
        registry.register(
            "tls_handshakes_failed",
            "Connections that ended in their TLS handshake",
            made.handshakes_failed.clone(),
        );
        made
    }

    /// A certificate is served that ends then.
    pub fn serves(&self, not_after: Option<Timestamp>) {
        self.expiry.set(not_after.map_or(0, Timestamp::as_second));
    }

    /// The files changed; whether the change was taken over.
    pub fn reloaded(&self, taken: bool) {
        if taken { &self.taken } else { &self.refused }.inc();
    }

    /// A handshake did not come to its end.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }
}
