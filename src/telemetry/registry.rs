//! The registry of metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::registry::{Metric, Registry, Unit};

/// The names and values of labels that are known at start-up.
pub(crate) type Labels<const N: usize> = [(&'static str, &'static str); N];

#[derive(Debug, Default)]
pub(crate) struct MetricRegistry(Mutex<Registry>);

impl MetricRegistry {
    pub(super) fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add<M: Metric + Clone + Default>(
        &self,
        name: impl Into<String>,
        help: impl Into<String>,
    ) -> M {
        let metric = M::default();
        self.lock().register(name, help, metric.clone());
        metric
    }

    pub(crate) fn add_seconds<M: Metric + Clone>(
        &self,
        name: impl Into<String>,
        help: impl Into<String>,
        metric: M,
    ) -> M {
        self.lock().register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }
}
