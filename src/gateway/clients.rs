//! The clients of the providers without a server in front of them.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Config, StartError, client_options, tasks, trust, upstreams};
use crate::clock::Clock;
use crate::providers::{Probe, Setup};
use crate::server::{HealthState, Shared};
use crate::service::OPERATIONS;
use crate::telemetry::Telemetry;
use crate::tls::Trust;
use crate::transport::ClientOptions;

/// The clients that a gateway of this configuration would have. Credentials are refreshed until it
/// is dropped.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) probes: Vec<(Setup, Box<dyn Probe>)>,
    pub(crate) options: ClientOptions,
    pub(crate) trust: Trust,
    _tasks: JoinSet<()>,
}

impl Clients {
    /// Starts to fetch credentials and to look up facts.
    ///
    /// # Errors
    /// If the platform's certificates are needed and cannot be read.
    pub(crate) fn start(
        config: &Config,
        telemetry: Telemetry,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let trust = trust(config)?;
        let health = HealthState::new(OPERATIONS);
        let shared = Shared::new(config.server.clone(), telemetry, clock, health);
        let probes = config.providers.probes(upstreams(config, &shared, &trust))?;
        let _tasks = tasks::start(config, &shared, &trust)?;
        Ok(Self { probes, options: client_options(config, &trust, 1), trust, _tasks })
    }
}
