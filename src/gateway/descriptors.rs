//! File descriptors: how many the configuration can need, and how a lower limit is shared out, so
//! that neither callers nor calls take what probes need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Config;
use crate::server::admin;

/// Standard streams, listeners, locks, files that are read, name lookups, requests for
/// credentials, and the export of spans.
const OTHERS: usize = 64;

/// The event loop of a worker.
const WORKER: usize = 4;

/// Connections that callers get whatever the limit.
const LEAST_CALLERS: usize = 8;

/// Raises the soft limit to the hard one. The result is the limit that holds now; none if there is
/// none.
///
/// The soft limit is low only for programs that use `select`, which this one does not.
pub fn raise_descriptor_limit() -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let holds = if setrlimit(Resource::Nofile, raised).is_ok() { maximum } else { current };
    holds.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// A limit that is lower than what the configuration can need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    pub limit: usize,
    pub needed: usize,
}

impl Config {
    /// How many file descriptors this can need at most.
    fn descriptors(&self) -> usize {
        let providers = self.providers.each().count();
        let idle = self.workers.saturating_mul(self.max_idle.div_ceil(self.workers));
        let upstream = self.max_in_flight.saturating_add(idle).saturating_mul(providers);
        self.fixed().saturating_add(self.server.max_connections).saturating_add(upstream)
    }

    /// How many are needed whatever callers do, and by probes.
    fn fixed(&self) -> usize {
        OTHERS + admin::CONNECTIONS + WORKER.saturating_mul(self.workers)
    }

    /// The same configuration with lower limits, if the process may not open enough files for it:
    /// calls get up to five eighths, idle connections to providers up to a quarter of what is left,
    /// and callers' connections the rest.
    #[must_use]
    pub fn within_descriptors(mut self, limit: usize) -> (Self, Option<Shortage>) {
        let needed = self.descriptors();
        if needed <= limit {
            return (self, None);
        }
        let providers = self.providers.each().count().max(1);
        let spare = limit - self.fixed().min(limit / 2);
        let calls = (spare - spare * 3 / 8) / providers;
        self.max_in_flight = self.max_in_flight.min(calls).max(1);
        let left = spare.saturating_sub(self.max_in_flight * providers);
        let idle = (left / 4 / providers / self.workers).max(1) * self.workers;
        self.max_idle = self.max_idle.min(idle);
        let left = left.saturating_sub(self.max_idle * providers);
        self.server.max_connections = self.server.max_connections.min(left.max(LEAST_CALLERS));
        (self, Some(Shortage { limit, needed }))
    }
}
