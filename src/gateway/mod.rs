//! The composition root: the server, the providers and the background tasks of one process, from
//! its start to its end.

mod setup;
mod tasks;
mod worker;

pub use setup::{Config, GatewayOptions, Providers, ServeOptions};
pub use tasks::Reloader;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::options::Address;
use crate::otlp::Export;
use crate::providers::Setup;
use crate::rpc::Error;
use crate::server::listener::{self, Bound};
use crate::server::{ExtraServices, HealthState, Shared, Stage, admin};
use crate::service::{Handlers, OPERATIONS, Service};
use crate::telemetry::Telemetry;
use crate::tls::Trust;
use crate::transport::{ClientOptions, Pool};
use crate::upstream::{Limits, Upstream};
use worker::Worker;

/// The part of the drain timeout that is left for the statuses of the calls that it ends.
const LAST_STATUSES: Duration = Duration::from_millis(500);

/// How long the last spans may take to leave, where the drain timeout leaves that much. A
/// collector that does not answer must not make every shutdown as long as the drain timeout.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The certificate store could not be used.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// A worker thread could not be started.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
    /// The HTTP client or the descriptors of reflection are defective.
    #[error("cannot set up the gateway: {0}")]
    Gateway(String),
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        Self::Gateway(error.to_string())
    }
}

/// A gateway that is bound to its addresses and not serving yet.
#[derive(Debug)]
pub struct Gateway {
    bound: Bound,
    admin: Bound,
    config: Config,
    telemetry: Telemetry,
    export: Option<Export>,
    clock: Arc<dyn Clock>,
    extra: ExtraServices,
}

impl Gateway {
    /// Binds the addresses. Connections wait from here on; they are served by [`Gateway::run`].
    ///
    /// # Errors
    /// When an address is not available.
    pub async fn bind(
        config: Config,
        telemetry: Telemetry,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let bind = async |address: &Address| {
            let bound = listener::bind(address, config.server.socket_mode).await;
            bound.map_err(|source| StartError::Bind { address: address.to_string(), source })
        };
        let bound = bind(&config.server.listen).await?;
        let admin = bind(&config.server.admin_listen).await?;
        let traces = &config.traces;
        let (export, queue) = match &traces.export {
            Some(export) => {
                let (running, queue) =
                    Export::start(export, bound.address(), Arc::clone(telemetry.metrics()))?;
                (Some(running), Some((export.sampler, queue)))
            }
            None => (None, None),
        };
        let telemetry = telemetry.with_traces(traces.accept, traces.forward, queue);
        let extra = ExtraServices::default();
        Ok(Self { bound, admin, config, telemetry, export, clock, extra })
    }

    /// Serves these services, too.
    #[must_use]
    pub fn with_extra_services(self, extra: ExtraServices) -> Self {
        Self { extra, ..self }
    }

    /// The address of the gRPC port.
    pub fn address(&self) -> &Address {
        self.bound.address()
    }

    /// The address of the admin port.
    pub fn admin_address(&self) -> &Address {
        self.admin.address()
    }

    /// What makes the running gateway read its files again.
    pub fn reloader(&self) -> Reloader {
        Reloader::new(&self.config)
    }

    /// Serves until `shutdown` is done, then drains, and returns at the latest when the drain
    /// delay and the drain timeout are over, whatever connected peers do.
    ///
    /// # Errors
    /// When the workers cannot be started.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let Self { bound, admin, config, telemetry, export, clock, extra } = self;
        let trust = trust(&config)?;
        let health = HealthState::new(OPERATIONS);
        let shared = Arc::new(Shared::new(config.server.clone(), telemetry, clock, health));
        let changes = TaskTracker::new();
        let make_handlers = handlers(&config, &shared, &trust);
        let workers = (0..config.workers)
            .map(|index| {
                let handlers = Handlers { detached: changes.clone(), ..make_handlers()? };
                Worker::start(index, &shared, Service::new(handlers), extra.clone())
            })
            .collect::<Result<Vec<_>, _>>()?;

        let missing: Arc<admin::Missing> = {
            let (providers, clock) = (config.providers.clone(), Arc::clone(&shared.clock));
            Arc::new(move || tasks::missing(&providers, &*clock))
        };
        let admin_task = tokio::spawn(admin::serve(admin, Arc::clone(&shared), missing));
        let mut tasks = tasks::start(&config, &shared, &trust)?;
        let accepting = tokio::spawn(worker::accept(bound, Arc::clone(&shared), workers.clone()));
        tokio::select! {
            // First, so that a server with its credentials serves from the start.
            biased;
            () = tasks::follow_readiness(&config.providers, &shared) => {}
            () = shutdown => {}
        }

        tracing::info!("draining");
        shared.health.set(Stage::Draining);
        tokio::time::sleep(shared.config.drain_delay).await;
        shared.drain.cancel();
        // The listener is closed before connections are sent elsewhere.
        let _ = accepting.await;
        shared.connections.close();
        changes.close();
        let all_done = async {
            shared.connections.wait().await;
            changes.wait().await;
        };
        let timeout = shared.config.drain_timeout;
        let latest = Instant::now() + timeout;
        let orderly = timeout.saturating_sub(LAST_STATUSES.min(timeout / 4));
        let mut all_done = std::pin::pin!(all_done);
        let ended = tokio::time::timeout(orderly, &mut all_done).await.is_ok() || {
            tracing::warn!("the drain timeout is almost over: ending the calls in flight");
            shared.stop.cancel();
            tokio::time::timeout(timeout - orderly, &mut all_done).await.is_ok()
        };
        if !ended {
            let connections = shared.connections.len();
            tracing::warn!(connections, "the drain timeout is over: closing connections");
        }
        shared.stop.cancel();
        admin_task.abort();
        tasks.abort_all();
        for worker in workers {
            worker.end();
        }
        if let Some(export) = export {
            export.end(latest.min(Instant::now() + LAST_SPANS)).await;
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Reads the certificate store, unless no endpoint needs it: it is most of the start-up time.
fn trust(config: &Config) -> Result<Trust, rustls::Error> {
    let trust = if let Some(ca) = &config.upstream.ca {
        ca.clone()
    } else if config.providers.each().any(Setup::is_tls) {
        Trust::platform()?
    } else {
        Trust::nothing()?
    };
    Ok(match &config.upstream.identity {
        Some(identity) => trust.with_identity(Arc::clone(identity)),
        None => trust,
    })
}

/// What makes the handlers of a worker. Each worker has connection pools of its own; what must
/// hold for a provider in the whole process is shared.
fn handlers<'a>(
    config: &'a Config,
    shared: &'a Shared,
    trust: &'a Trust,
) -> impl Fn() -> Result<Handlers, Error> + use<'a> {
    let limits: Vec<_> = config
        .providers
        .each()
        .map(|setup| (setup.provider, Arc::new(Limits::new(config.max_in_flight, config.backoff))))
        .collect();
    let upstream = move |setup: &Setup| {
        let pool = Pool::new(&ClientOptions {
            connect_timeout: config.upstream.connect_timeout,
            max_idle: config.max_in_flight,
            trust: trust.clone(),
            proxy: config.upstream.proxy.clone(),
        })?;
        let limits = limits.iter().find(|(provider, _)| *provider == setup.provider);
        let limits = limits
            .map(|(_, limits)| Arc::clone(limits))
            .unwrap_or_else(|| Arc::new(Limits::new(config.max_in_flight, config.backoff)));
        Ok(Upstream::new(
            setup.provider,
            setup.endpoint.clone(),
            setup.credentials.clone(),
            pool,
            limits,
            Arc::clone(&shared.clock),
            shared.telemetry.clone(),
        ))
    };
    move || config.providers.handlers(&upstream)
}
