//! What the gateway tells about itself: one log line per call, metrics, and process events.

mod credentials;
mod log;
mod metrics;
mod project;
mod record;
mod tls;
mod trace;
mod trace_context;
mod trace_export;
mod trace_metrics;
mod trace_wire;

pub use credentials::CredentialMetrics;
pub use log::{LogFormat, LogLevel, LogSink, install};
pub use metrics::{Method, Metrics};
pub use project::ProjectLookupMetrics;
pub use record::Record;
pub use tls::{CertificateMetrics, TlsMetrics};
pub use trace::{Sampler, Trace, TraceConfig};
pub use trace_context::{SpanId, TraceId};
pub use trace_export::{ExportConfig, Protocol};
pub use trace_metrics::{NotExported, NotQueued, SpanMetrics};

use std::io;
use std::sync::Arc;

use http::HeaderMap;
use tokio::time::Instant;

use crate::server::Address;
use trace::Tracer;
use trace_context::TraceContext;
use trace_export::Export;

/// The metrics, the log and the traces that all workers share.
#[derive(Debug, Clone)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    log: LogSink,
    accepts_traces: bool,
    forwards_traces: bool,
    tracer: Option<Arc<Tracer>>,
}

impl Telemetry {
    /// Metrics that begin at zero, beside this log.
    pub fn new(log: LogSink) -> Self {
        Self {
            metrics: Arc::new(Metrics::new()),
            log,
            accepts_traces: false,
            forwards_traces: false,
            tracer: None,
        }
    }

    /// The same with traces, of a server that listens here.
    ///
    /// # Errors
    /// When the thread that exports them cannot be started.
    pub fn with_traces(self, config: &TraceConfig, listen: &Address) -> io::Result<Self> {
        let tracer = match &config.export {
            Some(config) => {
                let server = trace_wire::server(listen);
                let export = Export::start(config, server, Arc::clone(&self.metrics))?;
                Some(Arc::new(Tracer::new(config.sampler, export)))
            }
            None => None,
        };
        let (accepts_traces, forwards_traces) = (config.accept, config.forward);
        Ok(Self { accepts_traces, forwards_traces, tracer, ..self })
    }

    /// The trace of a call with these headers; none when nobody traces it.
    pub fn trace(&self, method: Method, headers: &HeaderMap) -> Option<Trace> {
        let parent = if self.accepts_traces { TraceContext::of_caller(headers) } else { None };
        match (&self.tracer, method) {
            (Some(tracer), Method::Savepoint(_)) => Some(Trace::begin(tracer, parent)),
            // Probes come every few seconds, and nobody looks for them in traces.
            _ => parent.map(Trace::joined),
        }
    }

    /// Whether providers are told the trace context.
    pub fn forwards_traces(&self) -> bool {
        self.forwards_traces
    }

    /// Exports the spans that are left, until then at the latest. Later ones are dropped.
    pub async fn end_traces(&self, until: Instant) {
        if let Some(tracer) = &self.tracer {
            tracer.end(until).await;
        }
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The log.
    pub fn log(&self) -> &LogSink {
        &self.log
    }
}
