//! Threads that serve connections.
//!
//! Each worker is one thread with a runtime, a connection pool and handlers of its own. Calls
//! never move between threads, so a call takes no lock that another thread holds for long, and
//! a worker costs what one thread costs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::server::listener::{Accepted, Bound, is_of_one_connection};
use crate::server::{self, ExtraServices, GrpcPort, Services, Shared};
use crate::telemetry::Telemetry;
use crate::tls::ServerTls;

/// How long accepting pauses when the process is out of file descriptors or memory. Trying
/// again at once would only use up the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// A handle of a worker thread.
#[derive(Debug, Clone)]
pub(super) struct Worker<S> {
    handle: Handle,
    connections: Arc<AtomicUsize>,
    port: GrpcPort<S>,
    shared: Arc<Shared>,
    end: CancellationToken,
}

impl<S: Services> Worker<S> {
    /// Starts the thread.
    pub(super) fn start(
        index: usize,
        shared: &Arc<Shared>,
        services: S,
        extra: ExtraServices,
    ) -> Result<Self, StartError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(StartError::Worker)?;
        let handle = runtime.handle().clone();
        let end = CancellationToken::new();
        let port = GrpcPort::new(services, extra, shared)
            .map_err(|error| StartError::Gateway(error.to_string()))?;
        std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn({
                let end = end.clone();
                move || {
                    runtime.block_on(end.cancelled());
                    // A name lookup that hangs must not delay the end of the process.
                    runtime.shutdown_background();
                }
            })
            .map_err(StartError::Worker)?;
        Ok(Self { handle, connections: Arc::default(), port, shared: Arc::clone(shared), end })
    }

    /// How many connections it serves.
    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Serves this connection until it ends.
    fn serve(&self, accepted: Accepted) {
        let open = Open::new(Arc::clone(&self.connections), self.shared.telemetry.clone());
        let (port, shared) = (self.port.clone(), Arc::clone(&self.shared));
        let serving = async move {
            let served = match accepted {
                Accepted::Tcp(stream, peer) => match TcpStream::from_std(stream) {
                    Ok(stream) => serve_tcp(stream, peer, port, &shared).await,
                    Err(error) => Err(error),
                },
                Accepted::Unix(stream) => match UnixStream::from_std(stream) {
                    Ok(stream) => serve(stream, None, port).await,
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

/// Accepts connections until the server drains, and gives each to the worker that has the
/// fewest: a caller's connections live long and are few, so their number is what to balance.
pub(super) async fn accept<S: Services>(
    bound: Bound,
    shared: Arc<Shared>,
    workers: Vec<Worker<S>>,
) {
    loop {
        let accepted = tokio::select! {
            () = shared.drain.cancelled() => return,
            accepted = bound.accept() => accepted,
        };
        match accepted {
            Ok(_) if shared.connections.len() >= shared.config.max_connections => {
                shared.telemetry.metrics().connections_refused.inc();
                tracing::debug!("connection refused: there are too many");
            }
            Ok(accepted) => {
                if let Some(worker) = workers.iter().min_by_key(|worker| worker.connections()) {
                    worker.serve(accepted);
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(error = %error, "cannot accept connections");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves a connection that came over a network, over TLS where that is configured.
async fn serve_tcp<S: Services>(
    stream: TcpStream,
    peer: SocketAddr,
    port: GrpcPort<S>,
    shared: &Shared,
) -> io::Result<()> {
    match &shared.config.tls {
        None => serve(stream, Some(peer), port).await,
        // The state of TLS is large, and connections without it should not reserve space for it.
        Some(tls) => Box::pin(serve_tls(tls, stream, peer, port, shared)).await,
    }
}

async fn serve_tls<S: Services>(
    tls: &ServerTls,
    stream: TcpStream,
    peer: SocketAddr,
    port: GrpcPort<S>,
    shared: &Shared,
) -> io::Result<()> {
    let handshake = tokio::time::timeout(shared.config.peer_timeout, tls.accept(stream));
    let result = tokio::select! {
        result = handshake => result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        () = shared.drain.cancelled() => return Ok(()),
    };
    match result {
        Ok(stream) => serve(stream, Some(peer), port).await,
        Err(error) => {
            shared.tls_metrics.handshake_failed();
            Err(error)
        }
    }
}

async fn serve<T, S: Services>(
    stream: T,
    peer: Option<SocketAddr>,
    port: GrpcPort<S>,
) -> io::Result<()>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let limits = port.limits().clone();
    server::serve(stream, peer, port, &limits).await
}

/// An open connection in the counts.
struct Open {
    connections: Arc<AtomicUsize>,
    telemetry: Telemetry,
}

impl Open {
    fn new(connections: Arc<AtomicUsize>, telemetry: Telemetry) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        telemetry.metrics().connections.inc();
        Self { connections, telemetry }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        self.telemetry.metrics().connections.dec();
    }
}
