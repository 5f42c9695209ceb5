//! The gRPC server: accepting, serving and ending connections.
//!
//! The generated services run on an accept loop of our own. tonic's does not end while a
//! connected peer stays silent, spins when file descriptors run out, cuts calls at the
//! maximum age of a connection and answers CANCELLED to a deadline; see
//! `docs/adr/0001-own-accept-loop.md`.

mod activity;
mod admin;
mod beside;
mod connection;
mod dispatch;
mod frames;
mod health;
#[cfg(feature = "inside")]
pub(crate) mod inside;
mod listener;
mod readiness;
mod reload;
mod tls;
mod unary;
mod web;
mod worker;

pub use beside::Beside;
pub use health::{HealthState, Stage};
pub use listener::{Address, Bound};
pub use reload::Reloader;
pub use tls::{ClientAuth, Tls, TlsFiles};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::Error;
use crate::telemetry::Telemetry;
use crate::upstream::Limits;
use worker::{Shared, Worker};

/// What is kept of the drain timeout for telling calls that they end, and for the answers to
/// leave.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long the last spans may take to leave, where the drain timeout leaves that much. A
/// collector that is away must not make every end as long as the drain timeout.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Why the server did not start.
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

/// A server that is bound to its addresses and not serving yet.
#[derive(Debug)]
pub struct Server {
    bound: Bound,
    admin: Bound,
    config: Config,
    telemetry: Telemetry,
    clock: Arc<dyn Clock>,
    beside: Beside,
}

impl Server {
    /// Binds the addresses. Connections wait from here on; they are served by [`Server::run`].
    ///
    /// # Errors
    /// When an address cannot be had.
    pub async fn bind(
        config: Config,
        telemetry: Telemetry,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let bind = async |address: &Address| {
            address
                .bind(config.socket_mode)
                .await
                .map_err(|source| StartError::Bind { address: address.to_string(), source })
        };
        let bound = bind(&config.listen).await?;
        let admin = bind(&config.admin_listen).await?;
        let telemetry =
            telemetry.with_traces(&config.traces, bound.address()).map_err(StartError::Worker)?;
        Ok(Self { bound, admin, config, telemetry, clock, beside: Beside::default() })
    }

    /// Serves these, too.
    #[must_use]
    pub fn with_beside(self, beside: Beside) -> Self {
        Self { beside, ..self }
    }

    /// Where gRPC is served.
    pub fn address(&self) -> &Address {
        self.bound.address()
    }

    /// Where operators are served.
    pub fn admin_address(&self) -> &Address {
        self.admin.address()
    }

    /// What makes the running server read its files again.
    pub fn reloader(&self) -> Reloader {
        Reloader::new(&self.config)
    }

    /// Serves until `shutdown` is done, then drains, and returns at the latest when the drain
    /// delay and the drain timeout are over, whatever connected peers do.
    ///
    /// # Errors
    /// When the workers cannot be started.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let Self { bound, admin, config, telemetry, clock, beside } = self;
        let shared = Arc::new(Shared {
            health: HealthState::new(),
            telemetry,
            clock,
            huawei: Arc::new(Limits::new(config.max_in_flight, config.backoff)),
            alibaba: Arc::new(Limits::new(config.max_in_flight, config.backoff)),
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
            connections: TaskTracker::new(),
            imports: TaskTracker::new(),
            trust: worker::trust(&config)?,
            config,
        });
        let workers = (0..shared.config.workers)
            .map(|i| Worker::start(i, &shared, beside.clone()))
            .collect::<Result<Vec<_>, _>>()?;

        let admin_task = tokio::spawn(admin::serve(admin, Arc::clone(&shared)));
        let mut keepers = worker::keepers(&shared)?;
        let accepting = tokio::spawn(listener::accept(bound, Arc::clone(&shared), workers.clone()));
        let ready = readiness::tell(&shared);
        tokio::select! {
            // First, so that a server whose credentials are there serves from the start.
            biased;
            () = ready => {}
            () = shutdown => {}
        }

        tracing::info!("draining");
        shared.health.set(Stage::Draining);
        tokio::time::sleep(shared.config.drain_delay).await;
        shared.drain.cancel();
        // The listener is closed before connections are told to go elsewhere.
        let _ = accepting.await;
        shared.connections.close();
        shared.imports.close();
        let all_done = async {
            shared.connections.wait().await;
            shared.imports.wait().await;
        };
        let timeout = shared.config.drain_timeout;
        let latest = Instant::now() + timeout;
        let orderly = timeout.saturating_sub(LAST_WORDS.min(timeout / 4));
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
        keepers.abort_all();
        for worker in workers {
            worker.end();
        }
        shared.telemetry.end_traces(latest.min(Instant::now() + LAST_SPANS)).await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// The peer of a connection, as far as it has an address.
type Peer = Option<SocketAddr>;
