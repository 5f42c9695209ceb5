//! Worker threads.
//!
//! Each worker is a thread with its own runtime, connection pool and handlers. Calls never move
//! between threads, so there is little contention for locks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::task::AbortHandle;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::caller::Peer;
use crate::clock::Clock;
use crate::refresh::{CLOCK_CHECK, until};
use crate::server::listener::{Accepted, Bound, is_of_one_connection};
use crate::server::{self, Connection, ExtraServices, GrpcPort, Services, Shared, WrongProtocol};
use crate::telemetry::Telemetry;
use crate::tls::{ServerTls, words};

/// How long accepting pauses if the process is out of file descriptors or memory, to avoid a busy
/// loop.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub(super) struct Worker<S> {
    handle: Handle,
    connections: Arc<AtomicUsize>,
    port: GrpcPort<S>,
    shared: Arc<Shared>,
    end: CancellationToken,
}

impl<S: Services> Worker<S> {
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
        let port = GrpcPort::new(services, extra, shared);
        std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn({
                let end = end.clone();
                move || {
                    runtime.block_on(end.cancelled());
                    // A hung name lookup must not delay the exit.
                    runtime.shutdown_background();
                }
            })
            .map_err(StartError::Worker)?;
        Ok(Self { handle, connections: Arc::default(), port, shared: Arc::clone(shared), end })
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn serve(&self, accepted: Accepted) {
        let open = Open::new(Arc::clone(&self.connections), self.shared.telemetry.clone());
        let (port, shared) = (self.port.clone(), Arc::clone(&self.shared));
        let serving = async move {
            let peer = accepted.peer();
            if let Err(error) = serve(accepted, port, &shared).await {
                if error.get_ref().is_some_and(|cause| cause.is::<WrongProtocol>()) {
                    turned_away(peer, &error.to_string(), "connection refused", &shared);
                } else {
                    tracing::debug!(error = %error, "connection ended");
                }
            }
            drop(open);
        };
        self.handle.spawn(self.shared.connections.track_future(serving));
    }

    /// Ends the thread and its remaining connections.
    pub(super) fn end(&self) {
        self.end.cancel();
    }
}

/// Accepts connections until the server drains, and gives each to the worker with the fewest.
/// Callers have few, long-lived connections, so balancing their number is enough.
pub(super) async fn accept<S: Services>(
    bound: Bound,
    shared: Arc<Shared>,
    workers: Vec<Worker<S>>,
) {
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            () = shared.drain.cancelled() => return,
            accepted = bound.accept() => accepted,
        };
        match accepted {
            Ok(_) if shared.connections.len() >= shared.config.max_connections => {
                shared.telemetry.metrics().connections_refused.inc();
                tracing::debug!("connection refused: too many connections");
            }
            Ok(accepted) => {
                if let Some(worker) = workers.iter().min_by_key(|worker| worker.connections()) {
                    worker.serve(accepted);
                }
            }
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(error = %error, "cannot accept connections");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        if std::mem::take(&mut failing) {
            tracing::info!("accepting connections again");
        }
    }
}

/// Serves a connection; TCP with TLS, if configured.
async fn serve<S: Services>(
    accepted: Accepted,
    port: GrpcPort<S>,
    shared: &Shared,
) -> io::Result<()> {
    let limits = port.limits().clone();
    match (accepted.into_stream()?, &shared.config.tls) {
        ((Either::Left(stream), peer), Some(tls)) => {
            // TLS state is large; connections without TLS must not reserve space for it.
            Box::pin(async {
                let Some(stream) = handshake(tls, stream, &peer, shared).await? else {
                    return Ok(());
                };
                let mut limits = limits;
                let peer = Peer { caller: ServerTls::caller(&stream), ..peer };
                // A caller's certificate ends its connection, as the end of its age would.
                let _expiry = ServerTls::caller_not_after(&stream).map(|not_after| {
                    limits.drain = limits.drain.child_token();
                    expiry(not_after, limits.drain.clone(), &shared.clock)
                });
                server::serve(stream, Connection::new(peer, &limits), port, &limits).await
            })
            .await
        }
        ((stream, peer), _) => {
            server::serve(stream, Connection::new(peer, &limits), port, &limits).await
        }
    }
}

/// Ends this token at this time of day. The task ends when the result is dropped.
fn expiry(not_after: Timestamp, end: CancellationToken, clock: &Arc<dyn Clock>) -> AbortOnDrop {
    let clock = Arc::clone(clock);
    let task = tokio::spawn(async move {
        loop {
            let left = until(clock.now(), not_after);
            if left.is_zero() {
                return end.cancel();
            }
            // The wall clock can jump.
            tokio::time::sleep(left.min(CLOCK_CHECK)).await;
        }
    });
    AbortOnDrop(task.abort_handle())
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// None if the server drains first.
async fn handshake(
    tls: &ServerTls,
    stream: TcpStream,
    peer: &Peer,
    shared: &Shared,
) -> io::Result<Option<TlsStream<TcpStream>>> {
    let handshake = tokio::time::timeout(shared.config.peer_timeout, tls.accept(stream));
    let result = tokio::select! {
        result = handshake => result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        () = shared.drain.cancelled() => return Ok(None),
    };
    if let Err(error) = &result {
        shared.tls_metrics.handshake_failed();
        turned_away(peer.address, &words::of_handshake(error), "TLS handshake failed", shared);
    }
    result.map(Some)
}

/// Tells of a peer that did not get as far as a call.
fn turned_away(peer: Option<SocketAddr>, error: &str, what: &'static str, shared: &Shared) {
    if let Some(left_out) = shared.turned_away.allows(Instant::now()) {
        let peer = peer.map(tracing::field::display);
        let left_out = (left_out > 0).then_some(left_out);
        tracing::warn!(peer, error, left_out, "{what}");
    }
}

/// Counts an open connection until dropped.
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
