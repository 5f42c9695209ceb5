//! The connections for calls to a provider.
//!
//! Uses hyper-util's client directly: reqwest, which is built on it, parses each URL three times
//! and copies the headers twice, a fifth of the CPU time of a call
//! (`docs/adr/0007-calls-without-reqwest.md`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::connect::{Connector, InTime, NotResolved, TooLong, connector};
use super::error::{Phase, causes, classify};
use super::response::{HEADER_BYTES, HEADERS};
use super::write_started::ObservedBody;
use super::{ClientOptions, IDLE_TIMEOUT, Place, Response, WriteStarted};
use crate::rpc::Error;
use crate::rpc::reason::Reason;

/// Maximum age of connections. Names are looked up only for new connections, so this makes the
/// gateway follow a provider to a new address while the old one still works.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// Maximum size of a response head: headers, a status line, and line ends.
const HEAD_BYTES: usize = HEADER_BYTES + 16 * 1024;

type Tunnelled = HttpsConnector<Tunnel<Connector>>;

/// HTTP/1.1 connections to one provider.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    options: ClientOptions,
    current: ArcSwap<Generation>,
}

struct Generation {
    client: Kind,
    born: Instant,
}

enum Kind {
    Direct(Box<Client<InTime<Connector>, ObservedBody>>),
    Tunnelled(Box<Client<InTime<Tunnelled>, ObservedBody>>),
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool without connections.
    ///
    /// # Errors
    /// If the proxy has no usable address.
    pub fn new(options: &ClientOptions) -> Result<Self, Error> {
        let first = Generation::new(options).ok_or_else(|| {
            Error::new(Reason::GatewayInternal, "the proxy has no usable address")
        })?;
        let (options, current) = (options.clone(), ArcSwap::from_pointee(first));
        Ok(Self(Arc::new(Inner { options, current })))
    }

    /// Sends the request, whose URI is absolute, and reads the complete response.
    ///
    /// A request is sent again only if its connection was closed before any of it was written.
    ///
    /// # Errors
    /// If there is no valid response. An HTTP status is never an error here.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        write_started: &WriteStarted,
        place: &mut Place<'_>,
    ) -> Result<Response, Error> {
        let request = request.map(|bytes| ObservedBody::new(bytes, write_started));
        let response = self.request(request).await.map_err(|error| {
            let caused =
                |is: fn(&(dyn std::error::Error + 'static)) -> bool| causes(&error).any(is);
            let phase = match error.is_connect() {
                _ if caused(|cause| cause.is::<NotResolved>()) => Phase::Resolving,
                _ if caused(|cause| cause.is::<TooLong>()) => Phase::ConnectTimedOut,
                true => Phase::Connecting,
                false => Phase::Connected,
            };
            classify(&error, phase, write_started)
        })?;
        Response::read(response, write_started, place).await
    }

    async fn request(
        &self,
        request: Request<ObservedBody>,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let mut generation = self.0.current.load();
        if generation.born.elapsed() > MAX_AGE
            && let Some(next) = Generation::new(&self.0.options)
        {
            // Calls in flight keep their connections.
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
        let tls = options.trust.http_1();
        let direct = connector(tls, options.connect_timeout);
        let client = match &options.proxy {
            None => Kind::Direct(Box::new(client(direct, options))),
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri()?, direct);
                if let Some(auth) = &proxy.auth {
                    tunnel = tunnel.with_auth(auth.clone());
                }
                let tunnelled = HttpsConnector::from((tunnel, Arc::clone(tls)));
                Kind::Tunnelled(Box::new(client(tunnelled, options)))
            }
        };
        Some(Self { client, born: Instant::now() })
    }
}

fn client<C>(connector: C, options: &ClientOptions) -> Client<InTime<C>, ObservedBody>
where
    InTime<C>: Connect + Clone,
{
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(options.max_idle)
        .http1_max_buf_size(HEAD_BYTES)
        .http1_max_headers(HEADERS)
        // The `Host` header is signed as it is.
        .set_host(false)
        .build(InTime { inner: connector, limit: options.connect_timeout })
}
