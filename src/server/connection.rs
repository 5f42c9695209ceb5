//! One connection, from its first byte to its orderly or forced end.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tonic::body::Body;

use super::Peer;
use super::activity::{ActiveBody, Activity};
use super::dispatch::Dispatch;
use super::frames::Frames;
use super::web::Web;
use super::worker::Shared;
use crate::clock::random;

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

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
    let preface = match opening {
        Opening::Http2 => PREFACE.to_vec(),
        Opening::Other(begun) if handler.web.is_some() => begun,
        Opening::Other(_) => {
            stream.write_all(NOT_HTTP_1).await?;
            return stream.shutdown().await;
        }
    };
    let is_http2 = preface == PREFACE;
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
    if is_http2 {
        // From here on the peer has as long for each thing that it must do.
        let stream = Frames::new(stream, shared.config.handshake_timeout);
        let stream = TokioIo::new(Opened { preface, read: 0, stream });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            // Callers whose deadlines pass together leave all their calls together. The
            // library takes 20 such for an attack and ends the connection, with every other
            // call on it.
            .max_pending_accept_reset_streams(STREAMS as usize)
            .max_header_list_size(HEADER_BYTES)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(stream, service);
        run(connection, http2::Connection::graceful_shutdown, &activity, shared).await
    } else {
        let stream = TokioIo::new(Opened { preface, read: 0, stream });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(shared.config.handshake_timeout)
            .serve_connection(stream, service);
        run(connection, http1::Connection::graceful_shutdown, &activity, shared).await
    }
}

/// Runs a connection until it ends by itself or is to end.
async fn run<C>(
    connection: C,
    shut_down: impl FnOnce(Pin<&mut C>),
    activity: &Activity,
    shared: &Shared,
) -> io::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let patience = shared.config.handshake_timeout;
    let mut connection = pin!(connection);
    tokio::select! {
        ended = &mut connection => return ended.map_err(io::Error::other),
        () = shared.drain.cancelled() => {}
        () = old_age(shared.config.max_connection_age) => {}
        () = idleness(activity, shared.config.max_connection_idle) => {}
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
    pub(super) web: Option<Web>,
}

impl Handler {
    async fn handle(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        match &self.web {
            None => self.dispatch.handle(request, peer).await,
            Some(web) => web.handle(request.map(Body::new), peer).await,
        }
    }
}

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

/// A stream whose first bytes were read already.
struct Opened<S> {
    preface: Vec<u8>,
    read: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Opened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ahead = &self.preface[self.read..];
        if ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let now = ahead.len().min(buf.remaining());
        buf.put_slice(&ahead[..now]);
        self.read += now;
        if self.read == self.preface.len() {
            self.preface = Vec::new();
            self.read = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opened<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Returns when a connection is as old as it may get, give or take a tenth, so that
/// connections made together do not all end together. Never, when there is no such age.
///
/// # Reference
/// <https://github.com/grpc/proposal/blob/master/A9-server-side-conn-mgt.md>
async fn old_age(age: Option<Duration>) {
    let Some(age) = age else { return std::future::pending().await };
    let chance = f64::from(u32::from_le_bytes(random())) / f64::from(u32::MAX);
    tokio::time::sleep(age.mul_f64(0.9 + 0.2 * chance)).await;
}

async fn idleness(activity: &Activity, idle: Option<Duration>) {
    let Some(idle) = idle else { return std::future::pending().await };
    activity.idle_for(idle).await;
}
