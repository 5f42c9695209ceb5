//! Threads that serve connections.
//!
//! Each worker is one thread with a runtime, a connection pool and handlers of its own. Calls
//! never move between threads, so a call takes no lock that another thread holds for long, and
//! a worker costs what one thread costs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;
use super::beside::Beside;
use super::connection::{self, Handler};
use super::dispatch::Dispatch;
use super::health::HealthState;
use super::listener::Accepted;
use super::tls::Tls;
use super::web::Web;
use crate::alibaba::Alibaba;
use crate::clock::Clock;
use crate::config::{Config, ProviderConfig};
use crate::credential::Exchange;
use crate::huawei::{Huawei, Project, ProjectLookup};
use crate::service::Service;
use crate::telemetry::Telemetry;
use crate::upstream::{Client, ClientOptions, Limits, Pool, Proxy, Trust, Upstream};

/// What all workers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) telemetry: Telemetry,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) health: HealthState,
    pub(super) huawei: Arc<Limits>,
    pub(super) alibaba: Arc<Limits>,
    /// Asks connections to end in good order.
    pub(super) drain: CancellationToken,
    /// Ends the calls that are still in flight.
    pub(super) stop: CancellationToken,
    pub(super) connections: TaskTracker,
    pub(super) imports: TaskTracker,
    pub(super) trust: Trust,
}

/// Reads the certificate store, unless no endpoint needs it: it is most of the start-up time.
pub(super) fn trust(config: &Config) -> Result<Trust, rustls::Error> {
    let is_tls =
        |provider: &ProviderConfig| provider.endpoint.is_tls() || provider.credentials.is_tls();
    let trust = if let Some(trust) = &config.upstream_ca {
        trust.clone()
    } else if config.providers().any(|(_, provider)| is_tls(provider))
        || config.huawei_project.as_ref().is_some_and(ProjectLookup::is_tls)
    {
        Trust::platform()?
    } else {
        Trust::nothing()?
    };
    Ok(match &config.upstream_identity {
        Some(identity) => trust.with_identity(Arc::clone(identity)),
        None => trust,
    })
}

/// A handle of a worker thread.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    handle: Handle,
    connections: Arc<AtomicUsize>,
    dispatch: Dispatch,
    web: Option<Arc<Web>>,
    shared: Arc<Shared>,
    end: CancellationToken,
}

impl Worker {
    /// Starts the thread.
    pub(super) fn start(
        index: usize,
        shared: &Arc<Shared>,
        beside: Beside,
    ) -> Result<Self, StartError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(StartError::Worker)?;
        let handle = runtime.handle().clone();
        let end = CancellationToken::new();
        let dispatch = Dispatch::new(
            service(shared)?,
            shared.health.clone(),
            beside,
            shared.config.timeouts,
            // Each call waits for it: a token of its own spares the workers each other's lock.
            shared.stop.child_token(),
            shared.telemetry.clone(),
        )
        .map_err(|error| StartError::Gateway(error.to_string()))?;
        let origins = &shared.config.grpc_web_origins;
        let web = (!origins.is_empty()).then(|| Arc::new(Web::new(dispatch.clone(), origins)));
        std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn({
                let end = end.clone();
                move || {
                    runtime.block_on(end.cancelled());
                    // A name lookup that hangs must not hold up the end of the process.
                    runtime.shutdown_background();
                }
            })
            .map_err(StartError::Worker)?;
        let (connections, shared) = (Arc::default(), Arc::clone(shared));
        Ok(Self { handle, connections, dispatch, web, shared, end })
    }

    /// How many connections it serves.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Serves this connection until it ends.
    pub(super) fn serve(&self, accepted: Accepted) {
        let open = Open::new(Arc::clone(&self.connections), self.shared.telemetry.clone());
        let handler = Handler { dispatch: self.dispatch.clone(), web: self.web.clone() };
        let shared = Arc::clone(&self.shared);
        let serving = async move {
            let served = match accepted {
                Accepted::Tcp(stream, peer) => match TcpStream::from_std(stream) {
                    Ok(stream) => serve_tcp(stream, peer, handler, &shared).await,
                    Err(error) => Err(error),
                },
                Accepted::Unix(stream) => match UnixStream::from_std(stream) {
                    Ok(stream) => connection::serve(stream, None, handler, &shared).await,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = served {
                tracing::debug!(error = %error, "connection ended");
            }
            drop(open);
        };
        self.handle.spawn(self.shared.connections.track_future(serving));
    }

    /// Ends the thread, and with it every connection that is left.
    pub(super) fn end(&self) {
        self.end.cancel();
    }
}

/// Serves a connection that came over a network, over TLS where that is configured.
async fn serve_tcp(
    stream: TcpStream,
    peer: SocketAddr,
    handler: Handler,
    shared: &Shared,
) -> io::Result<()> {
    match &shared.config.tls {
        None => connection::serve(stream, Some(peer), handler, shared).await,
        // What TLS keeps is large, and connections without it should not keep room for it.
        Some(tls) => Box::pin(serve_tls(tls, stream, peer, handler, shared)).await,
    }
}

async fn serve_tls(
    tls: &Tls,
    stream: TcpStream,
    peer: SocketAddr,
    handler: Handler,
    shared: &Shared,
) -> io::Result<()> {
    let handshake = tokio::time::timeout(shared.config.handshake_timeout, tls.accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        () = shared.drain.cancelled() => return Ok(()),
    };
    match shaken {
        Ok(stream) => connection::serve(stream, Some(peer), handler, shared).await,
        Err(error) => {
            shared.telemetry.metrics().tls().handshake_failed();
            Err(error)
        }
    }
}

/// An open connection in the books.
struct Open {
    connections: Arc<AtomicUsize>,
    telemetry: Telemetry,
}

impl Open {
    fn new(connections: Arc<AtomicUsize>, telemetry: Telemetry) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        telemetry.metrics().connections().inc();
        Self { connections, telemetry }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.telemetry.metrics().connections().dec();
    }
}

/// Starts the tasks that keep credentials fresh. They end with the set.
pub(super) fn keepers(shared: &Shared) -> Result<JoinSet<()>, StartError> {
    let mut keepers = JoinSet::new();
    if let Some(tls) = &shared.config.tls {
        keepers.spawn(Arc::clone(tls).keep(shared.telemetry.clone()));
    }
    if let Some(identity) = &shared.config.upstream_identity {
        keepers.spawn(Arc::clone(identity).keep(shared.telemetry.clone()));
    }
    let client = |proxy: Option<Proxy>| {
        Client::new(&ClientOptions {
            connect_timeout: shared.config.connect_timeout,
            max_idle: 1,
            trust: shared.trust.clone(),
            proxy,
        })
    };
    let exchange = Exchange::new(client(shared.config.upstream_proxy.clone())?, client(None)?);
    for (provider, config) in shared.config.providers() {
        keepers.spawn(config.credentials.clone().keep(
            provider,
            exchange.clone(),
            Arc::clone(&shared.clock),
            shared.telemetry.clone(),
        ));
    }
    if let (Some(lookup), Some(huawei)) = (&shared.config.huawei_project, &shared.config.huawei) {
        keepers.spawn(lookup.clone().keep(
            huawei.credentials.clone(),
            exchange,
            Arc::clone(&shared.clock),
            shared.telemetry.clone(),
        ));
    }
    Ok(keepers)
}

/// The handlers of one worker, each provider with a connection pool of its own.
fn service(shared: &Shared) -> Result<Service, StartError> {
    let config = &shared.config;
    let upstream = |provider: &ProviderConfig, limits: &Arc<Limits>| {
        let pool = Pool::new(&ClientOptions {
            connect_timeout: config.connect_timeout,
            max_idle: config.max_in_flight,
            trust: shared.trust.clone(),
            proxy: config.upstream_proxy.clone(),
        })?;
        Ok::<_, StartError>(Upstream::new(
            pool,
            provider.endpoint.clone(),
            Arc::clone(limits),
            Arc::clone(&shared.clock),
            shared.telemetry.clone(),
        ))
    };
    let huawei = match &config.huawei {
        Some(provider) => Some(Huawei::new(
            upstream(provider, &shared.huawei)?,
            provider.credentials.clone(),
            match (&provider.scope, &config.huawei_project) {
                (Some(id), _) => Project::Id(id.as_str().into()),
                (None, Some(lookup)) => Project::Lookup(lookup.clone()),
                (None, None) => Project::None,
            },
        )),
        None => None,
    };
    let alibaba = match &config.alibaba {
        Some(provider) => Some(Alibaba::new(
            upstream(provider, &shared.alibaba)?,
            provider.credentials.clone(),
            provider.scope.clone(),
        )),
        None => None,
    };
    Ok(Service::new(huawei, alibaba, shared.imports.clone()))
}
