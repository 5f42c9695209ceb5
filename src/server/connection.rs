//! One connection, from its first byte to its graceful or forced end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use http::header::{CONTENT_TYPE, ORIGIN};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;

use super::h2_guard::{H2Guard, PREFACE};
use super::http1_stream::Http1Stream;
use super::in_flight::{InFlight, InFlightGuard, TrackedBody};
use super::request_memory::{Admission, Exhausted, RequestMemory};
use super::write_limit::{WriteLimit, not_read};
use crate::caller::Peer;
use crate::clock::Clock;
use crate::rpc::Error;
use crate::rpc::reason::{Outcome, Reason};

/// The response to a peer that speaks HTTP/1.1 where only HTTP/2 is served.
const NOT_HTTP_1: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
    content-type: text/plain\r\ncontent-length: 41\r\nconnection: close\r\n\r\n\
    This port speaks gRPC over HTTP/2 only.\r\n";

/// Limit above which h2 resets a stream without a gRPC status. [`super::grpc`] has a lower limit,
/// which returns one.
const HEADER_BYTES: u32 = 48 * 1024;

/// How much of a message a caller may send before it is read. It fits the largest one.
pub(super) const STREAM_WINDOW: u32 = 16 * 1024;

/// The same for all calls of a connection. h2 allows for small frames half as many bytes, of which
/// a frame counts 256; each of the calls may need one.
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// How much of a response is taken before the caller reads it. Only streams have more.
const SEND_BYTES: usize = 16 * 1024;

/// The buffer for the headers of an HTTP/1.1 request, and for as much of its body.
const HTTP_1_BYTES: usize = 32 * 1024;

/// Sent to an idle peer; without a reply the connection is closed.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a closing connection may stay without a call: calls that were sent before the GOAWAY
/// arrived come in during this time, and the rest of requests that had begun.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// How much is read of what follows a request that is refused. Closing with unread bytes would lose
/// the refusal.
const READ_OUT_BYTES: u64 = 64 * 1024;

#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    /// Time limit for each step that a peer must complete: the HTTP/2 preface or the HTTP/1.1
    /// headers, the first call, a started frame, reading a response.
    pub(crate) peer_timeout: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_idle: Option<Duration>,
    /// Whether places are scarce, so that connections without a call are ended after
    /// `peer_timeout`.
    pub(crate) crowd: Crowd,
    /// Maximum number of concurrent calls of one connection. Further ones are refused without
    /// affecting the others.
    pub(crate) max_streams: u32,
    /// What all calls of the port may make the process hold.
    pub(crate) memory: RequestMemory,
    /// Whether HTTP/1.1 is served in addition to HTTP/2.
    pub(crate) http_1: bool,
    /// Tells connections to close gracefully.
    pub(crate) drain: CancellationToken,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The connections of a port, and the number from which on they are a crowd. The default never is
/// one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crowd(Option<(TaskTracker, usize)>);

impl Crowd {
    /// Seven eighths of the maximum are a crowd.
    pub(crate) fn new(connections: TaskTracker, most: usize) -> Self {
        Self(Some((connections, most - most / 8)))
    }

    fn is_there(&self) -> bool {
        self.0.as_ref().is_some_and(|(connections, many)| connections.len() >= *many)
    }
}

/// One connection, as its calls know it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) peer: Peer,
    /// Cancelled when the connection begins to close: the drain, its age, its idle time. Streams
    /// then end, because nothing else would end them.
    closing: CancellationToken,
    pub(super) in_flight: InFlight,
    pub(super) memory: RequestMemory,
    /// Whether the request that came in last is refused.
    refuses: AtomicBool,
}

impl Connection {
    pub(crate) fn new(peer: Peer, limits: &ConnectionLimits) -> Arc<Self> {
        let (closing, in_flight) = (limits.drain.child_token(), InFlight::default());
        let memory = limits.memory.of(&peer.caller);
        Arc::new(Self { peer, closing, in_flight, memory, refuses: AtomicBool::new(false) })
    }

    /// Returns when the connection closes, with the error for its streams.
    pub(super) async fn closed(&self) -> Error {
        self.closing.cancelled().await;
        Error::new(Reason::Draining, "the connection is being closed; repeat the call on another")
    }

    /// The same for requests that have not arrived completely, a moment later.
    pub(super) async fn closed_to_requests(&self) -> Error {
        let error = self.closed().await;
        tokio::time::sleep(LINGER).await;
        error.with_outcome(Outcome::NotApplied)
    }
}

/// Handles the requests of one port, after [`serve`] has applied the limits of its connections.
pub(crate) trait Handler: Clone + Send + Sync + 'static {
    /// Handles one request. There is always a response.
    fn handle(
        &self,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Serves a connection until it ends.
///
/// # Errors
/// Problems of the peer or the network, which need no action.
pub(crate) async fn serve<S>(
    stream: S,
    connection: Arc<Connection>,
    handler: impl Handler,
    limits: &ConnectionLimits,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let patience = limits.peer_timeout;
    let mut stream = WriteLimit::new(stream, patience);
    let opening = tokio::select! {
        opening = tokio::time::timeout(patience, read_opening(&mut stream)) => {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no HTTP/2 preface in time");
            opening.map_err(late)??
        }
        // No request has been read, so nothing is lost.
        () = limits.drain.cancelled() => return Ok(()),
    };
    let begun = match opening {
        Opening::Http2 => None,
        Opening::Other(begun) if limits.http_1 => Some(begun),
        Opening::Other(_) => {
            refuse(stream).await?;
            return Err(wrong_protocol("the caller speaks HTTP/1.1, and this port only HTTP/2"));
        }
    };
    let service = service_fn({
        let connection = Arc::clone(&connection);
        move |mut request: Request<Incoming>| {
            let (handler, connection) = (handler.clone(), Arc::clone(&connection));
            // At once, not when the call has its turn: very many can come in before.
            let guard = admit(&mut request, &connection);
            // Boxed, because the task of a call would otherwise keep its space while the response
            // is read, which for a stream can be hours, and each layer that takes it would move it.
            Box::pin(async move {
                let guard = guard?;
                let response = handler.handle(request, connection).await;
                Ok::<_, h2::Error>(TrackedBody::wrap(response, guard))
            })
        }
    });
    match begun {
        None => {
            let (stream, calls) =
                (H2Guard::new(stream, patience, LINGER), Calls(Arc::clone(&connection)));
            let http2 = http2(stream, limits.max_streams, calls, service);
            let has_left = std::future::pending();
            run(http2, http2::Connection::graceful_shutdown, has_left, &connection, limits).await
        }
        Some(begun) => {
            let stream = Http1Stream::new(stream, &begun);
            let http1 = http1(stream.clone(), patience, service);
            let has_left = async {
                stream.end_of_peer().await;
                connection.in_flight.done_for(LINGER).await;
            };
            run(http1, http1::Connection::graceful_shutdown, has_left, &connection, limits).await
        }
    }
}

/// Marks a request for whose call there is no memory. It only gets its status.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overloaded;

/// Starts a call, if there is memory for it or at least for its refusal.
fn admit(request: &mut Request<Incoming>, at: &Connection) -> Result<InFlightGuard, h2::Error> {
    let admission = at.memory.admit(request.headers());
    at.refuses.store(!matches!(admission, Ok(Admission::Admitted(_))), Ordering::Relaxed);
    match admission {
        Ok(Admission::Admitted(share)) => Ok(at.in_flight.begin(share)),
        Ok(Admission::Refused(share)) => {
            let fields = std::mem::take(request.headers_mut());
            for name in [CONTENT_TYPE, ORIGIN] {
                if let Some(value) = fields.get(&name) {
                    request.headers_mut().insert(name, value.clone());
                }
            }
            request.extensions_mut().insert(Overloaded);
            Ok(at.in_flight.begin(share))
        }
        Err(Exhausted) => {
            request.headers_mut().clear();
            Err(h2::Reason::REFUSED_STREAM.into())
        }
    }
}

/// Runs the calls of an HTTP/2 connection, each as a task. Those that are refused run at once: a
/// task takes memory until it has its turn, and there can be very many.
#[derive(Debug, Clone)]
struct Calls(Arc<Connection>);

impl<F> Executor<F> for Calls
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, call: F) {
        if !self.0.refuses.load(Ordering::Relaxed) {
            tokio::spawn(call);
            return;
        }
        let mut call = Box::pin(call);
        if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(call);
        }
    }
}

/// Answers a peer that speaks HTTP/1.1 where it is not served.
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.write_all(NOT_HTTP_1).await?;
    stream.shutdown().await?;
    let (mut rest, mut sink) = (stream.take(READ_OUT_BYTES), tokio::io::sink());
    let reading = tokio::io::copy(&mut rest, &mut sink);
    tokio::time::timeout(LINGER, reading).await.unwrap_or(Ok(0)).map(drop)
}

/// Boxed at once: a connection is large, and every future that moves it reserves space for it.
fn http2<S, F>(
    stream: H2Guard<S>,
    max_streams: u32,
    calls: Calls,
    service: F,
) -> Pin<Box<Http2<H2Guard<S>, F>>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: HttpService<Incoming, ResBody = TrackedBody>,
    F::Future: Send + 'static,
    F::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connection = http2::Builder::new(calls)
        .timer(TokioTimer::new())
        .max_concurrent_streams(max_streams)
        // Callers whose deadlines pass together reset all their streams together. By default h2
        // treats 20 such resets as an attack and closes the connection.
        .max_pending_accept_reset_streams(max_streams as usize)
        .max_header_list_size(HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    Box::pin(connection)
}

/// The same for HTTP/1.1.
fn http1<S, F>(stream: S, patience: Duration, service: F) -> Pin<Box<Http1<S, F>>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: HttpService<Incoming, ResBody = TrackedBody>,
    F::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Also the time between two requests.
        .header_read_timeout(patience)
        // A peer may end its side after its request.
        .half_close(true)
        .max_buf_size(HTTP_1_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    Box::pin(connection)
}

/// Runs a connection until it ends or has to be closed.
async fn run<C>(
    mut protocol: Pin<Box<C>>,
    shut_down: impl FnOnce(Pin<&mut C>),
    has_left: impl Future<Output = ()>,
    connection: &Connection,
    limits: &ConnectionLimits,
) -> io::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let (patience, Connection { closing, in_flight, .. }) = (limits.peer_timeout, connection);
    tokio::select! {
        ended = &mut protocol => return ended.map_err(io::Error::other),
        // Nobody reads what is left, which is a stream.
        () = has_left => return Ok(()),
        () = closing.cancelled() => {}
        () = old_age(limits.max_age, &*limits.clock) => {}
        () = idleness(in_flight, limits.max_idle) => {}
        () = disuse(in_flight, limits) => {}
        () = in_flight.stalled(patience) => return Err(not_read()),
    }
    closing.cancel();
    shut_down(protocol.as_mut());
    // hyper then waits for the peer to answer a PING and to close. This bounds the wait: without
    // calls in flight nothing is lost, and streams have been told.
    tokio::select! {
        ended = protocol => ended.map_err(io::Error::other),
        () = in_flight.done_for(LINGER) => Ok(()),
        () = in_flight.stalled(patience) => Err(not_read()),
    }
}

type Http1<S, F> = http1::Connection<TokioIo<S>, F>;
type Http2<S, F> = http2::Connection<TokioIo<S>, F, Calls>;

enum Opening {
    Http2,
    /// Not HTTP/2, with the bytes read so far.
    Other(Vec<u8>),
}

/// The first byte of a TLS connection (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

fn wrong_protocol(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, WrongProtocol(text))
}

/// Why a peer cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongProtocol(&'static str);

/// Reads just enough to detect the protocol.
async fn read_opening(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Opening> {
    let mut bytes = [0; PREFACE.len()];
    let mut filled = 0;
    while filled < bytes.len() {
        let read = stream.read(&mut bytes[filled..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        if bytes[..filled] != PREFACE[..filled] {
            // An HTTP/1.1 method starts with a capital letter; a TLS handshake does not.
            let is_http_1 = bytes[0].is_ascii_uppercase();
            return if is_http_1 {
                Ok(Opening::Other(bytes[..filled].to_vec()))
            } else {
                let is_tls = bytes[0] == TLS_HANDSHAKE;
                Err(wrong_protocol(match is_tls {
                    true => {
                        "the caller speaks TLS, and this port does not: set --tls-cert and --tls-key"
                    }
                    false => "the caller does not speak HTTP",
                }))
            };
        }
    }
    Ok(Opening::Http2)
}

/// Returns when a connection reaches its maximum age; never if there is none.
async fn old_age(age: Option<Duration>, clock: &dyn Clock) {
    let Some(age) = age else { return std::future::pending().await };
    tokio::time::sleep(spread(age, clock.chance())).await;
}

/// The age plus or minus a tenth, so that connections made together do not all end together.
/// `chance` is from 0 to 1.
///
/// # Reference
/// <https://github.com/grpc/proposal/blob/master/A9-server-side-conn-mgt.md>
fn spread(age: Duration, chance: f64) -> Duration {
    age.mul_f64(0.9 + 0.2 * chance)
}

async fn idleness(in_flight: &InFlight, idle: Option<Duration>) {
    let Some(idle) = idle else { return std::future::pending().await };
    in_flight.idle_for(idle).await;
}

/// Returns if there is no first call in time, or none for as long while places are scarce.
async fn disuse(in_flight: &InFlight, limits: &ConnectionLimits) {
    loop {
        in_flight.idle_for(limits.peer_timeout).await;
        if in_flight.begun() == 0 || limits.crowd.is_there() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_end_within_a_tenth_of_their_age() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        for (age, chance, want) in [
            (second, 0.0, Duration::from_millis(900)),
            (second, 0.5, second),
            (second, 1.0, Duration::from_millis(1100)),
            (30 * minute, 0.0, 27 * minute),
            (30 * minute, 0.25, Duration::from_secs(1710)),
            (30 * minute, 0.5, 30 * minute),
            (30 * minute, 1.0, 33 * minute),
        ] {
            let found = spread(age, chance);
            // Floating-point rounding.
            assert!(found.abs_diff(want) < Duration::from_micros(1), "{age:?} {chance}: {found:?}");
        }
    }
}
