//! What the gateway tells about itself: one log line per call, metrics, and process events.

mod credentials;
mod log;
mod metrics;
mod project;
mod record;
mod tls;

pub use credentials::CredentialMetrics;
pub use log::{LogFormat, LogLevel, LogSink, install};
pub use metrics::{Method, Metrics};
pub use project::ProjectLookupMetrics;
pub use record::Record;
pub use tls::{CertificateMetrics, TlsMetrics};

use std::sync::Arc;

/// The metrics and the log that all workers share.
#[derive(Debug, Clone)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    log: LogSink,
}

impl Telemetry {
    /// Metrics that begin at zero, beside this log.
    pub fn new(log: LogSink) -> Self {
        Self { metrics: Arc::new(Metrics::new()), log }
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
