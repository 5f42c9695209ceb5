//! The connections to providers and to the services that issue credentials.
//!
//! Uses hyper-util's client directly (`docs/adr/0007-calls-without-reqwest.md`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::connect::{Connector, NotResolved, TooLong, connector};
use super::error::{Phase, causes, classify};
use super::response::{HEADER_BYTES, HEADERS};
use super::write_started::ObservedBody;
use super::{ClientOptions, IDLE_TIMEOUT, LargeBodies, Place, Response, WriteStarted};
use crate::rpc::Error;

/// Maximum age of connections. Names are looked up only for new connections, so this makes the
/// gateway follow a provider to a new address while the old one still works.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// Maximum size of a response head: headers, a status line, and line ends.
const HEAD_BYTES: usize = HEADER_BYTES + 16 * 1024;

/// HTTP/1.1 connections. Redirects are never followed, because signed headers must not be forwarded.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    options: ClientOptions,
    current: ArcSwap<Generation>,
}

struct Generation {
    client: Client<Connector, ObservedBody>,
    born: Instant,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool without connections.
    pub fn new(options: &ClientOptions) -> Self {
        let (options, current) = (options.clone(), ArcSwap::from_pointee(Generation::new(options)));
        Self(Arc::new(Inner { options, current }))
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

    /// The same for occasional requests, such as those for credentials, of which there is one at a
    /// time.
    ///
    /// # Errors
    /// If there is no valid response. An HTTP status is never an error here.
    pub(crate) async fn fetch(
        &self,
        request: Request<Bytes>,
        write_started: &WriteStarted,
    ) -> Result<Response, Error> {
        let bodies = LargeBodies::default();
        self.send(request, write_started, &mut bodies.place()).await
    }

    async fn request(
        &self,
        request: Request<ObservedBody>,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let mut generation = self.0.current.load();
        if generation.born.elapsed() > MAX_AGE {
            // Calls in flight keep their connections.
            self.0.current.store(Arc::new(Generation::new(&self.0.options)));
            generation = self.0.current.load();
        }
        let response = generation.client.request(request);
        drop(generation);
        response.await
    }
}

impl Generation {
    fn new(options: &ClientOptions) -> Self {
        let (limit, proxy) = (options.connect_timeout, options.proxy.as_ref());
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(options.max_idle)
            .http1_max_buf_size(HEAD_BYTES)
            .http1_max_headers(HEADERS)
            .build(connector(options.trust.http_1(), limit, proxy));
        Self { client, born: Instant::now() }
    }
}
