//! Connecting in single steps, each with its own result: what [`super::connect`] does at once.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use jiff::Timestamp;
use tower_service::Service;

use super::ClientOptions;
use super::connect::{BoxError, Connecting, Resolver, Route, Stream};
use super::error::{Phase, classify};
use super::write_started::WriteStarted;
use crate::options::Endpoint;
use crate::rpc::Error;
use crate::rpc::reason::Reason;
use crate::tls::not_after;

/// The way to one endpoint, as a client with these options takes it.
#[derive(Debug)]
pub(crate) struct Reach<'a> {
    options: &'a ClientOptions,
    endpoint: Uri,
}

/// A connection to one address, and what was found out about it.
#[derive(Debug)]
pub(crate) struct Reached {
    /// When the certificate of the provider expires. The outer one is none without TLS.
    pub(crate) certificate: Option<Option<Timestamp>>,
}

impl<'a> Reach<'a> {
    /// # Errors
    /// Never for an endpoint that was parsed.
    pub(crate) fn new(options: &'a ClientOptions, endpoint: &Endpoint) -> Result<Self, Error> {
        let endpoint = endpoint
            .origin()
            .parse()
            .map_err(|_| Error::new(Reason::GatewayInternal, "the endpoint is not a URI"))?;
        Ok(Self { options, endpoint })
    }

    /// Whether the connection leads through the proxy.
    pub(crate) fn is_proxied(&self) -> bool {
        self.options.proxy.is_some() && self.endpoint.scheme_str() == Some("https")
    }

    /// The host and the port that the gateway connects to: the proxy's if there is one.
    pub(crate) fn host(&self) -> (&str, u16) {
        let uri = match &self.options.proxy {
            Some(proxy) if self.is_proxied() => &proxy.uri,
            _ => &self.endpoint,
        };
        let standard = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(standard))
    }

    /// Whether that host is an address, and not a name.
    pub(crate) fn is_address(&self) -> bool {
        ip(self.host().0).is_some()
    }

    /// The addresses of that host, in the order in which they are tried.
    ///
    /// # Errors
    /// If the name cannot be resolved in time.
    pub(crate) async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let (host, port) = self.host();
        if let Some(ip) = ip(host) {
            return Ok(vec![(ip, port).into()]);
        }
        let Ok(name) = Name::from_str(host) else {
            return Err(Error::new(Reason::ConnectFailed, "the host is not a name"));
        };
        let mut resolver = Resolver::System(GaiResolver::new());
        let found = self.in_time(resolver.call(name)).await.map_err(|failed| match failed {
            Some(error) => classify(&error, Phase::Resolving, &WriteStarted::default()),
            None => timed_out("the lookup of the host name", self.options.connect_timeout),
        })?;
        Ok(found.map(|found| SocketAddr::new(found.ip(), port)).collect())
    }

    /// Connects to one of the addresses: TCP, the proxy's tunnel if there is one, and TLS.
    ///
    /// # Errors
    /// The first of these steps that failed or took too long.
    pub(crate) async fn connect(&self, address: SocketAddr) -> Result<Reached, Error> {
        let options = self.options;
        let (tls, limit) = (options.trust.http_1(), options.connect_timeout);
        let resolver = Resolver::Fixed(vec![address]);
        let mut route = Route::new(resolver, tls, limit, options.proxy.as_ref());
        let first = if self.is_proxied() { "the tunnel of the proxy" } else { "the connection" };
        let opened = self.step(first, route.call(self.endpoint.clone())).await?;
        let mut secure = HttpsConnector::from((Given(Some(opened)), tls.clone()));
        let secured = self.step("the TLS handshake", secure.call(self.endpoint.clone())).await?;
        let certificate = match &secured {
            MaybeHttpsStream::Http(_) => None,
            MaybeHttpsStream::Https(stream) => {
                let certificates = stream.inner().get_ref().1.peer_certificates();
                Some(certificates.and_then(|found| not_after(found.first()?)))
            }
        };
        Ok(Reached { certificate })
    }

    async fn step<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, Error> {
        self.in_time(work).await.map_err(|failed| match failed {
            Some(error) => classify(&*error, Phase::Connecting, &WriteStarted::default()),
            None => timed_out(what, self.options.connect_timeout),
        })
    }

    /// The result, or none as the error if it takes too long.
    async fn in_time<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Option<E>> {
        match tokio::time::timeout(self.options.connect_timeout, work).await {
            Ok(result) => result.map_err(Some),
            Err(_) => Err(None),
        }
    }
}

/// The address that a host of a URI is.
fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn timed_out(what: &str, limit: Duration) -> Error {
    Error::new(Reason::ConnectFailed, format!("{what} was not complete within {limit:?}"))
}

/// A connector whose connection exists, so that only TLS is left to do.
struct Given(Option<Stream>);

impl Service<Uri> for Given {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take();
        Box::pin(async { stream.ok_or_else(|| "the connection is in use".into()) })
    }
}
