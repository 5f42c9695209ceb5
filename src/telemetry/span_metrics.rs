//! Metrics of traces: how many spans were lost on the way to the collector, and where.
//!
//! # Reference
//! <https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/>

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::registry::{Labels, MetricRegistry};

/// Why spans did not get from the queue to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotExported {
    /// It did not answer in time.
    Timeout,
    /// It was not to be reached, or did not want more.
    Unavailable,
    /// It refused them.
    Rejected,
    /// The process ended first.
    Shutdown,
}

/// Spans on their way to the collector.
#[derive(Debug)]
pub(crate) struct SpanMetrics {
    /// Those that wait for their export.
    pub(super) queued: Counter,
    /// Those that were lost because the queue was full, or the process about to end.
    pub(super) queue_full: Counter,
    pub(super) already_shutdown: Counter,
    /// Those that the collector took.
    pub(crate) exported: Counter,
    not_exported: [Counter; 4],
}

impl SpanMetrics {
    pub(super) fn new(registry: &MetricRegistry) -> Self {
        let processed = registry.add(
            "otel_sdk_processor_span_processed",
            "Spans queued for export, and by error_type those lost before it",
        );
        let exported = registry.add(
            "otel_sdk_exporter_span_exported",
            "Spans that the collector took, and by error_type those lost on the way to it",
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

    /// These many did not reach it.
    pub(crate) fn not_exported(&self, why: NotExported, spans: u64) {
        self.not_exported[why as usize].inc_by(spans);
    }
}
