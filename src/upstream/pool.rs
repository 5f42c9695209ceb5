//! The connections that calls to a provider go over.
//!
//! They are made by the client that reqwest itself is built on: reqwest parses the URL of a
//! request three times and copies its headers twice, a fifth of what a call takes of the
//! processor (`docs/adr/0007-calls-without-reqwest.md`).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http::{Request, Response, Uri};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;
use tower_service::Service;

use super::client::{ClientOptions, IDLE_TIMEOUT, Watched};
use super::trouble::{
    BODY_BYTES, Broken, HEADER_BYTES, causes, check_head, is_end_of_stream, too_large, trouble,
};
use super::{Answer, Sent};
use crate::error::Error;
use crate::failure::Failure;

/// A name is looked up for new connections only. So that a provider that moves is followed
/// although its old address still answers, connections are given up at this age.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// What a head may take while it is read: what is accepted of headers, a status line, and the
/// line ends.
const HEAD_BYTES: usize = HEADER_BYTES + 16 * 1024;

/// A peer that vanished without a word is noticed after 20 s: with the second probe that it
/// leaves unanswered while nothing is said, and by what it does not acknowledge otherwise.
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

type Tcp = HttpConnector<Resolver>;
type Secure = HttpsConnector<Tcp>;
type Tunnelled = HttpsConnector<Tunnel<Secure>>;

/// HTTP/1.1 connections to one provider.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    options: ClientOptions,
    current: ArcSwap<Generation>,
}

/// Connections that are given up together.
struct Generation {
    client: Kind,
    born: Instant,
}

enum Kind {
    Direct(Box<Client<InTime<Secure>, Watched>>),
    Tunnelled(Box<Client<InTime<Tunnelled>, Watched>>),
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool without a connection yet.
    ///
    /// # Errors
    /// When the proxy has no usable address.
    pub fn new(options: &ClientOptions) -> Result<Self, Error> {
        let first = Generation::new(options).ok_or_else(|| {
            Error::new(Failure::GatewayInternal, "the proxy has no usable address")
        })?;
        let (options, current) = (options.clone(), ArcSwap::from_pointee(first));
        Ok(Self(Arc::new(Inner { options, current })))
    }

    /// Sends the request, whose URI is absolute, and reads the answer whole.
    ///
    /// Nothing is sent twice, but for a request on a connection that was closed before any of
    /// it was written.
    ///
    /// # Errors
    /// When there is no answer, or none that may be read. An HTTP status is never an error
    /// here.
    pub async fn send(&self, request: Request<Bytes>, sent: &Sent) -> Result<Answer, Error> {
        let response = self.request(request.map(|bytes| Watched::new(bytes, sent)));
        let (head, mut body) = response.await.map_err(|error| told(&error, sent))?.into_parts();
        check_head(&head.headers)?;
        if body.size_hint().lower() > BODY_BYTES as u64 {
            return Err(too_large());
        }
        let status = head.status.as_u16();
        let mut read = BytesMut::new();
        let mut whole = true;
        while let Some(frame) = body.frame().await {
            match frame.map(|frame| frame.into_data()) {
                Ok(Ok(data)) if read.len() + data.len() > BODY_BYTES => return Err(too_large()),
                Ok(Ok(data)) => read.extend_from_slice(&data),
                // Trailers.
                Ok(Err(_)) => {}
                // A failure is told by its status, however much of its text arrived.
                Err(_) if !(200..=299).contains(&status) => break,
                Err(error) if is_end_of_stream(&error) => {
                    whole = false;
                    break;
                }
                Err(error) => return Err(trouble(&error, Broken::Connected, sent)),
            }
        }
        Ok(Answer { status, headers: head.headers, body: read.freeze(), whole })
    }

    async fn request(&self, request: Request<Watched>) -> Result<Response<Incoming>, ClientError> {
        let mut generation = self.0.current.load();
        if generation.born.elapsed() > MAX_AGE
            && let Some(next) = Generation::new(&self.0.options)
        {
            // Calls on their way keep the connections that they have.
            self.0.current.store(Arc::new(next));
            generation = self.0.current.load();
        }
        let response = match &generation.client {
            Kind::Direct(client) => client.request(request),
            Kind::Tunnelled(client) => client.request(request),
        };
        drop(generation);
        response.await
    }
}

impl Generation {
    fn new(options: &ClientOptions) -> Option<Self> {
        let tls = |inner| HttpsConnector::from((inner, Arc::clone(&options.trust.0)));
        let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(PROBE_AFTER));
        tcp.set_keepalive_interval(Some(PROBE_INTERVAL));
        tcp.set_keepalive_retries(Some(2));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let client = match &options.proxy {
            None => Kind::Direct(Box::new(client(tls(tcp), options))),
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri()?, tls(tcp));
                if let Some(auth) = &proxy.auth {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                let tls = HttpsConnector::from((tunnel, Arc::clone(&options.trust.0)));
                Kind::Tunnelled(Box::new(client(tls, options)))
            }
        };
        Some(Self { client, born: Instant::now() })
    }
}

fn client<C>(connector: C, options: &ClientOptions) -> Client<InTime<C>, Watched>
where
    InTime<C>: Connect + Clone,
{
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(options.max_idle)
        .http1_max_buf_size(HEAD_BYTES)
        // The signature covers the header as it is.
        .set_host(false)
        .build(InTime { inner: connector, limit: options.connect_timeout })
}

fn told(error: &ClientError, sent: &Sent) -> Error {
    let caused = |is: fn(&(dyn std::error::Error + 'static)) -> bool| causes(error).any(is);
    let broken = match error.is_connect() {
        _ if caused(|cause| cause.is::<NotResolved>()) => Broken::Resolving,
        _ if caused(|cause| cause.is::<TooLong>()) => Broken::ConnectingTooLong,
        true => Broken::Connecting,
        false => Broken::Connected,
    };
    trouble(error, broken, sent)
}

/// The system's name lookup, whose failure can be told from others.
#[derive(Debug, Clone)]
struct Resolver(GaiResolver);

/// A name that was not resolved.
#[derive(Debug, thiserror::Error)]
#[error("the name was not resolved")]
struct NotResolved(#[source] std::io::Error);

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = NotResolved;
    type Future = Pin<Box<dyn Future<Output = Result<GaiAddrs, NotResolved>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NotResolved>> {
        self.0.poll_ready(cx).map_err(NotResolved)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let lookup = self.0.call(name);
        Box::pin(async move { lookup.await.map_err(NotResolved) })
    }
}

/// Connecting, name lookup and TLS included, within a limit.
#[derive(Debug, Clone)]
struct InTime<C> {
    inner: C,
    limit: Duration,
}

/// A connection that took too long to be made.
#[derive(Debug, thiserror::Error)]
#[error("no connection was made in time")]
struct TooLong;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<C> Service<Uri> for InTime<C>
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.limit, self.inner.call(uri));
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(TooLong.into()),
            }
        })
    }
}
