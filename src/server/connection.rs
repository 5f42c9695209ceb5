//! One connection, from its first byte to its orderly or forced end.

use std::convert::Infallible;
use std::io::{self, Cursor};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tonic::body::Body;

use super::Peer;
use super::activity::{ActiveBody, Activity};
use super::dispatch::Dispatch;
use super::frames::{Frames, PREFACE};
use super::web::Web;
use super::worker::Shared;
use crate::clock::Clock;

/// What a caller that speaks HTTP/1.1 is told.
const NOT_HTTP_1: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
    content-type: text/plain\r\ncontent-length: 41\r\nconnection: close\r\n\r\n\
    This port speaks gRPC over HTTP/2 only.\r\n";

/// Calls that one connection may have open. More are refused without harm to the others.
const STREAMS: u32 = 256;

/// What the HTTP/2 library reads of headers before it gives up on a stream. It does so
/// without a gRPC status, so that [`super::dispatch`] refuses with one well below.
const HEADER_BYTES: u32 = 64 * 1024;

/// An idle peer is asked whether it is still there, and given up if it does not say so.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a connection that was told to end may stay without a call: calls that were sent
/// before the peer knew arrive in that time.
const LINGER: Duration = Duration::from_secs(1);

/// Serves a connection until it ends.
///
/// # Errors
/// What the peer or the network did to it. Nobody needs to act.
pub(super) async fn serve<S>(
    mut stream: S,
    peer: Peer,
    handler: Handler,
    shared: &Shared,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let opening = tokio::select! {
        opening = tokio::time::timeout(shared.config.handshake_timeout, read_opening(&mut stream)) => {
            opening.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no HTTP/2 preface in time"))??
        }
        // Nothing was asked yet, so nothing is lost.
        () = shared.drain.cancelled() => return Ok(()),
    };
    let begun = match opening {
        Opening::Http2 => None,
        Opening::Other(begun) if handler.web.is_some() => Some(begun),
        Opening::Other(_) => {
            stream.write_all(NOT_HTTP_1).await?;
            return stream.shutdown().await;
        }
    };
    let activity = Activity::default();
    let service = service_fn({
        let activity = activity.clone();
        move |request: Request<Incoming>| {
            let (handler, active) = (handler.clone(), activity.begin());
            async move {
                let response = handler.handle(request, peer).await;
                Ok::<_, Infallible>(response.map(|inner| ActiveBody::new(inner, active)))
            }
        }
    });
    // From here on the peer has as long for each thing that it must do.
    let patience = shared.config.handshake_timeout;
    match begun {
        None => {
            let connection = http2(Frames::new(stream, patience), service);
            run(connection, http2::Connection::graceful_shutdown, activity, shared).await
        }
        Some(begun) => {
            let connection = http1(stream, begun, patience, service);
            run(connection, http1::Connection::graceful_shutdown, activity, shared).await
        }
    }
}

/// A connection is large, and a future keeps room for it in each place that it passes through:
/// boxed where it is made, it passes through none.
fn http2<S, F>(stream: Frames<S>, service: F) -> Pin<Box<Http2<Frames<S>, F>>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: HttpService<Incoming, ResBody = ActiveBody>,
    F::Future: Send + 'static,
    F::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        // Callers whose deadlines pass together leave all their calls together. The library
        // takes 20 such for an attack and ends the connection, with every other call on it.
        .max_pending_accept_reset_streams(STREAMS as usize)
        .max_header_list_size(HEADER_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    Box::pin(connection)
}

/// The same for HTTP/1.1, which began with these bytes.
fn http1<S, F>(
    stream: S,
    begun: Vec<u8>,
    patience: Duration,
    service: F,
) -> Pin<Box<http1::Connection<TokioIo<impl AsyncRead + AsyncWrite + Unpin>, F>>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: HttpService<Incoming, ResBody = ActiveBody>,
    F::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (read, write) = tokio::io::split(stream);
    let stream = tokio::io::join(Cursor::new(begun).chain(read), write);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .serve_connection(TokioIo::new(stream), service);
    Box::pin(connection)
}

/// Runs a connection until it ends by itself or is to end.
async fn run<C>(
    mut connection: Pin<Box<C>>,
    shut_down: impl FnOnce(Pin<&mut C>),
    activity: Activity,
    shared: &Shared,
) -> io::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let patience = shared.config.handshake_timeout;
    tokio::select! {
        ended = &mut connection => return ended.map_err(io::Error::other),
        () = shared.drain.cancelled() => {}
        () = old_age(shared.config.max_connection_age, &*shared.clock) => {}
        () = idleness(&activity, shared.config.max_connection_idle) => {}
        () = activity.stalled(patience) => return Err(not_read()),
    }
    shut_down(connection.as_mut());
    // hyper then waits for the peer to answer a PING and to close. A peer that does neither
    // is not waited for: once it has no call here, it has nothing to lose.
    tokio::select! {
        ended = connection => ended.map_err(io::Error::other),
        () = activity.idle_for(LINGER) => Ok(()),
        () = activity.stalled(patience) => Err(not_read()),
    }
}

fn not_read() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer does not read its answers")
}

/// What answers the requests of a connection.
#[derive(Debug, Clone)]
pub(super) struct Handler {
    pub(super) dispatch: Dispatch,
    pub(super) web: Option<Arc<Web>>,
}

impl Handler {
    async fn handle(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        match &self.web {
            None => self.dispatch.handle(request, peer).await,
            Some(web) => web.handle(request.map(Body::new), peer).await,
        }
    }
}

type Http2<S, F> = http2::Connection<TokioIo<S>, F, TokioExecutor>;

/// What the peer speaks.
enum Opening {
    Http2,
    /// Something that is not HTTP/2, with what was read of it.
    Other(Vec<u8>),
}

/// Reads as much as it takes to know what the peer speaks.
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
            // A method of HTTP/1.1 begins with a capital letter, a TLS handshake does not.
            let is_http_1 = bytes[0].is_ascii_uppercase();
            return if is_http_1 {
                Ok(Opening::Other(bytes[..filled].to_vec()))
            } else {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the peer does not speak HTTP"))
            };
        }
    }
    Ok(Opening::Http2)
}

/// Returns when a connection is as old as it may get. Never, when there is no such age.
async fn old_age(age: Option<Duration>, clock: &dyn Clock) {
    let Some(age) = age else { return std::future::pending().await };
    tokio::time::sleep(spread(age, clock.chance())).await;
}

/// The age, give or take a tenth, so that connections made together do not all end together.
/// `chance` is from 0 to 1.
///
/// # Reference
/// <https://github.com/grpc/proposal/blob/master/A9-server-side-conn-mgt.md>
fn spread(age: Duration, chance: f64) -> Duration {
    age.mul_f64(0.9 + 0.2 * chance)
}

async fn idleness(activity: &Activity, idle: Option<Duration>) {
    let Some(idle) = idle else { return std::future::pending().await };
    activity.idle_for(idle).await;
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
            // What floating point leaves over.
            assert!(found.abs_diff(want) < Duration::from_micros(1), "{age:?} {chance}: {found:?}");
        }
    }
}
