//! Metrics of traces: spans that were exported or dropped, and why.
//!
//! # Reference
//! <https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/>

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    error_type: &'static str,
}

/// Why spans were not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotQueued {
    QueueFull,
    AlreadyShutdown,
}

/// Why queued spans were not exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotExported {
    Timeout,
    /// The collector was unreachable or overloaded.
    Unavailable,
    Rejected,
    /// The process exited first.
    Shutdown,
}

#[derive(Debug)]
pub(crate) struct SpanMetrics {
    queued: Counter,
    not_queued: [Counter; 2],
    exported: Counter,
    not_exported: [Counter; 4],
}

impl SpanMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let processed = Family::<ErrorLabels, Counter>::default();
        let exported = Family::<ErrorLabels, Counter>::default();
        let count = |family: &Family<ErrorLabels, Counter>, error_type| {
            family.get_or_create_owned(&ErrorLabels { error_type })
        };
        registry.register(
            "otel_sdk_processor_span_processed",
            "Spans queued for export, and by error_type those dropped before that",
            processed.clone(),
        );
        registry.register(
            "otel_sdk_exporter_span_exported",
            "Spans that the collector accepted, and by error_type those that were lost",
            exported.clone(),
        );
        Self {
            queued: count(&processed, ""),
            not_queued: ["queue_full", "already_shutdown"].map(|why| count(&processed, why)),
            exported: count(&exported, ""),
            not_exported: ["timeout", "unavailable", "rejected", "shutdown"]
                .map(|why| count(&exported, why)),
        }
    }

    pub(crate) fn queued(&self) {
        self.queued.inc();
    }

    /// Counts a span that was not queued.
    pub(crate) fn not_queued(&self, why: NotQueued) {
        self.not_queued[why as usize].inc();
    }

    pub(crate) fn exported(&self, spans: u64) {
        self.exported.inc_by(spans);
    }

    pub(crate) fn not_exported(&self, why: NotExported, spans: u64) {
        self.not_exported[why as usize].inc_by(spans);
    }
}
