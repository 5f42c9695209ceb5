//! What all workers of a server share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ServerConfig;
use super::connection::{ConnectionLimits, Crowd};
use super::health::HealthState;
use super::request_memory::RequestMemory;
use crate::clock::Clock;
use crate::policy::{PolicyMetrics, Shares};
use crate::telemetry::{Seldom, Telemetry};
use crate::tls::TlsMetrics;

/// Maximum number of concurrent calls of one connection.
const STREAMS: u32 = 256;

/// What all workers of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: ServerConfig,
    pub(crate) telemetry: Telemetry,
    pub(crate) tls_metrics: TlsMetrics,
    pub(crate) policy_metrics: PolicyMetrics,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) health: HealthState,
    /// Tells connections to close gracefully.
    pub(crate) drain: CancellationToken,
    pub(crate) stop: CancellationToken,
    pub(crate) connections: TaskTracker,
    /// Limits the log lines of peers that do not get as far as a call.
    pub(crate) turned_away: Seldom,
    pub(super) limits: ConnectionLimits,
}

impl Shared {
    pub(crate) fn new(
        config: ServerConfig,
        telemetry: Telemetry,
        clock: Arc<dyn Clock>,
        health: HealthState,
    ) -> Self {
        let (drain, connections) = (CancellationToken::new(), TaskTracker::new());
        let limits = ConnectionLimits {
            peer_timeout: config.peer_timeout,
            max_age: config.max_connection_age,
            max_idle: config.max_connection_idle,
            crowd: Crowd::new(connections.clone(), config.max_connections),
            max_streams: STREAMS,
            memory: RequestMemory::new(
                config.max_request_memory,
                telemetry.metrics().request_memory.clone(),
                config.max_request_memory_per_caller.map(Shares::new),
            ),
            http_1: !config.grpc_web_origins.is_empty(),
            drain: drain.clone(),
            clock: Arc::clone(&clock),
        };
        Self {
            tls_metrics: TlsMetrics::register(telemetry.metrics()),
            policy_metrics: PolicyMetrics::register(telemetry.metrics()),
            config,
            telemetry,
            clock,
            health,
            drain,
            stop: CancellationToken::new(),
            connections,
            turned_away: Seldom::default(),
            limits,
        }
    }
}
