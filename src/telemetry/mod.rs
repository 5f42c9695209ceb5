//! The log, metrics and traces.

mod exposition;
mod log;
mod log_queue;
mod metrics;
mod options;
mod process;
mod registry;
mod seldom;
mod span_metrics;
mod trace;
mod trace_context;

pub(crate) use exposition::Exposition;
pub use log::{LogFormat, LogSink, install};
pub(crate) use metrics::{Metrics, method_names, providers_of};
pub use options::LogConfig;
pub(crate) use options::LogOptions;
pub(crate) use prometheus_client::metrics::gauge::Gauge;
pub(crate) use registry::Labels;
pub(crate) use seldom::Seldom;
pub(crate) use span_metrics::{NotExported, SpanMetrics};
pub(crate) use trace::{AttemptSpan, Span, SpanKind, SpanQueue};
pub use trace::{Sampler, Trace};
pub(crate) use trace_context::{SpanId, TraceContext, TraceId};
pub use tracing_subscriber::filter::LevelFilter;

use std::sync::Arc;

use http::HeaderMap;

use crate::rpc::operation::Operation;
use trace::Tracer;

/// The metrics, the log and the traces, shared by all workers.
#[derive(Debug, Clone)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    log: LogSink,
    accepts_traces: bool,
    pub(crate) forwards_traces: bool,
    tracer: Option<Arc<Tracer>>,
}

impl Telemetry {
    /// Metrics of these operations, with this log and no traces.
    pub fn new(log: LogSink, operations: &[&'static Operation]) -> Self {
        Self {
            metrics: Arc::new(Metrics::new(operations)),
            log,
            accepts_traces: false,
            forwards_traces: false,
            tracer: None,
        }
    }

    /// Adds traces. `accept`: whether to use the trace context of callers. `forward`: whether to
    /// send the trace context to providers.
    #[must_use]
    pub(crate) fn with_traces(
        self,
        accept: bool,
        forward: bool,
        export: Option<(Sampler, SpanQueue)>,
    ) -> Self {
        let tracer = export.map(|(sampler, queue)| Arc::new(Tracer { sampler, queue }));
        Self { accepts_traces: accept, forwards_traces: forward, tracer, ..self }
    }

    /// The trace of a call with these headers; none if it is not traced.
    pub(crate) fn trace(
        &self,
        operation: Option<&'static Operation>,
        headers: &HeaderMap,
    ) -> Option<Trace> {
        let parent = if self.accepts_traces { TraceContext::of_caller(headers) } else { None };
        match (&self.tracer, operation) {
            (Some(tracer), Some(_)) => Some(Trace::begin(tracer, parent)),
            // Probes are frequent, and of no interest in traces.
            _ => parent.map(Trace::joined),
        }
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub fn log(&self) -> &LogSink {
        &self.log
    }
}
