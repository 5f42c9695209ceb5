//! Metrics of the policy.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::telemetry::{Labels, Metrics};
use crate::tls::ReloadMetrics;

#[derive(Debug, Clone)]
pub(crate) struct PolicyMetrics {
    taken: Counter,
    failed: Counter,
    refused: Counter,
    would_refuse: Counter,
}

impl PolicyMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let registry = &metrics.registry;
        let reloads: Family<Labels<1>, Counter> = registry.add(
            "savepoint_gateway_policy_reloads",
            "Changes of the file of the policy, loaded or rejected",
        );
        let refusals: Family<Labels<1>, Counter> = registry.add(
            "savepoint_gateway_policy_refusals",
            "Calls that the policy refused, or would have refused without --policy-dry-run",
        );
        Self {
            taken: reloads.get_or_create_owned(&[("outcome", "success")]),
            failed: reloads.get_or_create_owned(&[("outcome", "failure")]),
            refused: refusals.get_or_create_owned(&[("mode", "enforced")]),
            would_refuse: refusals.get_or_create_owned(&[("mode", "dry_run")]),
        }
    }

    pub(super) fn refused(&self, dry_run: bool) {
        if dry_run { &self.would_refuse } else { &self.refused }.inc();
    }
}

impl ReloadMetrics for PolicyMetrics {
    fn reloaded(&self, taken: bool) {
        if taken { &self.taken } else { &self.failed }.inc();
    }
}
