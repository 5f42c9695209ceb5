//! The composition root: builds, runs and drains the server, the providers and the background
//! tasks.

mod clients;
mod announce;
mod descriptors;
mod setup;
mod tasks;
mod worker;

pub(crate) use clients::Clients;
pub use descriptors::{Shortage, raise_descriptor_limit};
pub use setup::{Config, Providers, ServeOptions};
pub(crate) use setup::{GatewayOptions, Usage};
pub use tasks::Reloader;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::options::Address;
use crate::options::problems::named;
use crate::otlp::Export;
use crate::providers::Setup;
use crate::rpc::Error;
use crate::server::listener::{self, Bound};
use crate::server::{ExtraServices, HealthState, Shared, Stage, admin};
use crate::service::{Handlers, OPERATIONS, Service};
use crate::telemetry::Telemetry;
use crate::tls::{FileProblem, Trust};
use crate::transport::{ClientOptions, Pool};
use crate::upstream::{Limits, Upstream, Watches};
use worker::Worker;

/// The last part of the drain timeout, in which remaining calls are ended with a status.
const LAST_STATUSES: Duration = Duration::from_millis(500);

/// Time limit for exporting the last spans, within the drain timeout. An unresponsive collector
/// must not make every shutdown take the whole drain timeout.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is not available.
    #[error("{} cannot listen on {address}: {source}{}", named(.flag), way_out(.flag, .source))]
    Bind { flag: &'static str, address: String, source: io::Error },
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
    /// The HTTP client cannot be made.
    #[error("cannot set up the gateway: {0}")]
    Gateway(String),
}

impl StartError {
    /// The option that is to blame, if there is one.
    pub fn flag(&self) -> Option<&'static str> {
        if let Self::Bind { flag, .. } = self { Some(flag) } else { None }
    }
}

/// What to do if an address is not available, as the end of a sentence.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others say enough")]
fn way_out(flag: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; is another gateway running? {flag} 127.0.0.1:0 takes a free port")
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this host has no such address, and 0.0.0.0 stands for all that it has".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 and folders of others need a right that the process lacks"
                .to_owned()
        }
        io::ErrorKind::NotFound => "; does the folder exist?".to_owned(),
        _ => String::new(),
    }
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        Self::Gateway(error.to_string())
    }
}

/// A gateway that is bound to its addresses, but does not serve yet.
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
    /// Binds the addresses. Connections wait until [`Gateway::run`] serves them.
    ///
    /// # Errors
    /// If an address is not available.
    pub async fn bind(
        config: Config,
        telemetry: Telemetry,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let bind = async |flag: &'static str, address: &Address| {
            let bound = listener::bind(address, config.server.socket_mode).await;
            bound.map_err(|source| StartError::Bind { flag, address: address.to_string(), source })
        };
        let bound = bind("--listen", &config.server.listen).await?;
        let admin = bind("--admin-listen", &config.server.admin_listen).await?;
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

    #[must_use]
    pub fn with_extra_services(self, extra: ExtraServices) -> Self {
        Self { extra, ..self }
    }

    pub fn address(&self) -> &Address {
        self.bound.address()
    }

    pub fn admin_address(&self) -> &Address {
        self.admin.address()
    }

    /// A handle that reloads credentials and certificates of the running gateway.
    pub fn reloader(&self) -> Reloader {
        Reloader::new(&self.config)
    }

    /// Serves until `shutdown` completes, then drains. Returns after the drain delay and the drain
    /// timeout at the latest, regardless of connected peers.
    ///
    /// # Errors
    /// If the workers cannot be started.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let Self { bound, admin, config, telemetry, export, clock, extra } = self;
        let trust = trust(&config)?;
        trust.warn();
        let health = HealthState::new(OPERATIONS);
        let shared = Arc::new(Shared::new(config.server.clone(), telemetry, clock, health));
        for setup in config.providers.each() {
            shared.telemetry.metrics().show(setup.provider);
        }
        let changes = TaskTracker::new();
        let upstream = upstreams(&config, &shared, &trust);
        let workers = (0..config.workers)
            .map(|index| {
                let handlers = Handlers {
                    job_control: config.job_control,
                    detached: changes.clone(),
                    ..config.providers.handlers(&upstream)?
                };
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
            // First, so that a server with credentials is ready from the start.
            biased;
            () = tasks::follow_readiness(&config.providers, &shared) => {}
            () = shutdown => {}
        }

        tracing::info!("draining");
        shared.health.set(Stage::Draining);
        tokio::time::sleep(shared.config.drain_delay).await;
        shared.drain.cancel();
        // The listener closes before connections get GOAWAY.
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
            tracing::warn!("drain timeout almost reached, ending the calls in flight");
            shared.stop.cancel();
            tokio::time::timeout(timeout - orderly, &mut all_done).await.is_ok()
        };
        if !ended {
            let connections = shared.connections.len();
            tracing::warn!(connections, "drain timeout reached, closing connections");
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

/// Reads the certificate store only if an endpoint needs it, because that dominates the start-up
/// time.
fn trust(config: &Config) -> Result<Trust, StartError> {
    let trust = if let Some(ca) = &config.upstream.ca {
        ca.clone()
    } else if config.providers.each().any(Setup::is_tls) {
        Trust::platform()
            .map_err(|FileProblem { flag, why }| StartError::Gateway(format!("{flag}: {why}")))?
    } else {
        Trust::nothing()?
    };
    Ok(match &config.upstream.identity {
        Some(identity) => trust.with_identity(Arc::clone(identity)),
        None => trust,
    })
}

/// How this gateway connects to providers.
fn client_options(config: &Config, trust: &Trust, max_idle: usize) -> ClientOptions {
    ClientOptions {
        connect_timeout: config.upstream.connect_timeout,
        max_idle,
        trust: trust.clone(),
        proxy: config.upstream.proxy.clone(),
    }
}

/// A factory for the clients of a worker. Each worker has its own connection pools; limits of a
/// provider are shared by all workers.
fn upstreams<'a>(
    config: &'a Config,
    shared: &'a Shared,
    trust: &'a Trust,
) -> impl Fn(&Setup) -> Result<Upstream, Error> + use<'a> {
    let limits = RefCell::new(BTreeMap::new());
    let poll_timeout = config.server.timeouts.default;
    let watches = Arc::new(Watches::new(config.watch_limits, poll_timeout, &shared.telemetry));
    move |setup: &Setup| {
        // Each worker has a pool. An idle connection holds memory and a file descriptor.
        let max_idle = config.max_idle.div_ceil(config.workers);
        let pool = Pool::new(&client_options(config, trust, max_idle));
        let mut limits = limits.borrow_mut();
        let limits = limits
            // One cluster must not take what another needs.
            .entry((setup.provider.name, setup.endpoint.origin().to_owned()))
            .or_insert_with(|| {
                let limits = Limits::new(config.max_in_flight, config.backoff);
                Arc::new(limits.with_share(config.max_in_flight_per_caller))
            });
        Ok(Upstream {
            provider: setup.provider,
            endpoint: setup.endpoint.clone(),
            credentials: setup.credentials.clone(),
            pool,
            limits: Arc::clone(limits),
            watches: Arc::clone(&watches),
            clock: Arc::clone(&shared.clock),
            telemetry: shared.telemetry.clone(),
        })
    }
}
