//! Metrics of traces: spans that were exported or dropped, and why.
//!
//! # Reference
//! <https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/>

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::registry::{Labels, MetricRegistry};

/// Why queued spans were not exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotExported {
    Timeout,
    Unavailable,
    Rejected,
    /// The process exited first.
    Shutdown,
}

#[derive(Debug)]
pub(crate) struct SpanMetrics {
    pub(super) queued: Counter,
    pub(super) queue_full: Counter,
    pub(super) already_shutdown: Counter,
    pub(crate) exported: Counter,
    not_exported: [Counter; 4],
}

impl SpanMetrics {
    pub(super) fn new(registry: &MetricRegistry) -> Self {
        let processed = registry.add(
            "otel_sdk_processor_span_processed",
            "Spans queued for export, and by error_type those dropped before that",
        );
        let exported = registry.add(
            "otel_sdk_exporter_span_exported",
            "Spans that the collector accepted, and by error_type those that were lost",
        );
        let count = |family: &Family<Labels<1>, Counter>, error_type| {
            family.get_or_create_owned(&[("error_type", error_type)])
        };
        Self {
            queued: count(&processed, ""),
            queue_full: count(&processed, "queue_full"),
            already_shutdown: count(&processed, "already_shutdown"),
            exported: count(&exported, ""),
            not_exported: ["timeout", "unavailable", "rejected", "shutdown"]
                .map(|why| count(&exported, why)),
        }
    }

    pub(crate) fn not_exported(&self, why: NotExported, spans: u64) {
        self.not_exported[why as usize].inc_by(spans);
    }
}
