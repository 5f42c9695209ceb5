//! Metrics of traces: how many spans were lost on the way to the collector, and where.
//!
//! # Reference
//! <https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/>

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::registry::{Labels, MetricRegistry};

/// Why spans did not get into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotQueued {
    /// It was full.
    QueueFull,
    /// The process was about to end.
    AlreadyShutdown,
}

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
    queued: Counter,
    not_queued: [Counter; 2],
    exported: Counter,
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
            not_queued: ["queue_full", "already_shutdown"].map(|why| count(&processed, why)),
            exported: count(&exported, ""),
            not_exported: ["timeout", "unavailable", "rejected", "shutdown"]
                .map(|why| count(&exported, why)),
        }
    }

    /// A span waits for its export.
    pub(crate) fn queued(&self) {
        self.queued.inc();
    }

    /// A span was lost before.
    pub(crate) fn not_queued(&self, why: NotQueued) {
        self.not_queued[why as usize].inc();
    }

    /// The collector took these many.
    pub(crate) fn exported(&self, spans: u64) {
        self.exported.inc_by(spans);
    }

    /// These many did not reach it.
    pub(crate) fn not_exported(&self, why: NotExported, spans: u64) {
        self.not_exported[why as usize].inc_by(spans);
    }
}
