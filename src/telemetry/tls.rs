//! What metrics say of certificates: the server's, and the one that is shown to clouds.

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

/// The certificates, and the handshakes of callers that failed.
#[derive(Debug)]
pub struct TlsMetrics {
    server: CertificateMetrics,
    upstream: CertificateMetrics,
    handshakes_failed: Counter,
}

/// One certificate that is read again when its files change.
#[derive(Debug)]
pub struct CertificateMetrics {
    expiry: Gauge,
    taken: Counter,
    refused: Counter,
}

impl TlsMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let made = Self {
            server: CertificateMetrics::new(registry, "tls", "is served"),
            upstream: CertificateMetrics::new(registry, "upstream_tls", "is shown to clouds"),
            handshakes_failed: Counter::default(),
        };
        registry.register(
            "tls_handshakes_failed",
            "Connections that ended in their TLS handshake",
            made.handshakes_failed.clone(),
        );
        made
    }

    /// The certificate that is served.
    pub fn server(&self) -> &CertificateMetrics {
        &self.server
    }

    /// The certificate that is shown to clouds.
    pub fn upstream(&self) -> &CertificateMetrics {
        &self.upstream
    }

    /// A handshake did not come to its end.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }
}

impl CertificateMetrics {
    fn new(registry: &mut Registry, prefix: &str, used: &str) -> Self {
        let reloads = Family::<ReloadLabels, Counter>::default();
        let made = Self {
            expiry: Gauge::default(),
            taken: reloads.get_or_create_owned(&ReloadLabels { outcome: "success" }),
            refused: reloads.get_or_create_owned(&ReloadLabels { outcome: "failure" }),
        };
        registry.register_with_unit(
            format!("{prefix}_certificate_expiry_timestamp"),
            format!("When the certificate that {used} ends; 0 where there is none"),
            Unit::Seconds,
            made.expiry.clone(),
        );
        registry.register(
            format!("{prefix}_reloads"),
            format!("Changes of the files of the certificate that {used}, taken over or refused"),
            reloads,
        );
        made
    }

    /// This certificate is used, which ends then.
    pub fn serves(&self, not_after: Option<Timestamp>) {
        self.expiry.set(not_after.map_or(0, Timestamp::as_second));
    }

    /// The files changed; whether the change was taken over.
    pub fn reloaded(&self, taken: bool) {
        if taken { &self.taken } else { &self.refused }.inc();
    }
}
