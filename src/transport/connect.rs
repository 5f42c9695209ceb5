//! Connecting: name lookup, every address of the name, a proxy, and TLS, within one time limit.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::Proxy;
use super::tunnel::{self, TunnelError};

/// A dead peer is noticed after 20 s: on an idle connection by the second unanswered keep-alive
/// probe, on a busy one by unacknowledged data.
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// How long the addresses of the preferred family are tried before those of the other one are tried
/// at the same time.
///
/// # Reference
/// <https://www.rfc-editor.org/rfc/rfc8305#section-8>
const OTHER_FAMILY_AFTER: Duration = Duration::from_millis(300);

/// TCP, through a proxy if one is configured, with TLS for `https`.
pub(crate) type Connector = InTime<HttpsConnector<Route>>;

type Tcp = HttpConnector<Resolver>;
pub(super) type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// A connector that tries every address of a name within `limit`.
pub(crate) fn connector(
    tls: &Arc<rustls::ClientConfig>,
    limit: Duration,
    proxy: Option<&Proxy>,
) -> Connector {
    resolving(Resolver::System(GaiResolver::new()), tls, limit, proxy)
}

pub(super) fn resolving(
    resolver: Resolver,
    tls: &Arc<rustls::ClientConfig>,
    limit: Duration,
    proxy: Option<&Proxy>,
) -> Connector {
    let route = Route::new(resolver, tls, limit, proxy);
    InTime { inner: HttpsConnector::from((route, Arc::clone(tls))), limit }
}

/// The way to a host: direct, or through the proxy. Plain endpoints never use the proxy.
#[derive(Clone)]
pub(crate) struct Route {
    tcp: Tcp,
    proxy: Option<(Proxy, HttpsConnector<Tcp>)>,
}

impl Route {
    pub(super) fn new(
        resolver: Resolver,
        tls: &Arc<rustls::ClientConfig>,
        limit: Duration,
        proxy: Option<&Proxy>,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // The limit is divided among the addresses, so that one that drops SYNs leaves time for the
        // next.
        tcp.set_connect_timeout(Some(limit));
        tcp.set_happy_eyeballs_timeout(Some(OTHER_FAMILY_AFTER.min(limit / 2)));
        tcp.set_keepalive(Some(PROBE_AFTER));
        tcp.set_keepalive_interval(Some(PROBE_INTERVAL));
        tcp.set_keepalive_retries(Some(2));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let proxy = proxy.map(|proxy| {
            let to_proxy = HttpsConnector::from((tcp.clone(), Arc::clone(tls)));
            (proxy.clone(), to_proxy)
        });
        Self { tcp, proxy }
    }
}

impl Service<Uri> for Route {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match &mut self.proxy {
            Some((proxy, to_proxy)) if uri.scheme_str() == Some("https") => {
                let connecting = to_proxy.call(proxy.uri.clone());
                let auth = proxy.auth.clone();
                Box::pin(async move {
                    let stream = connecting.await.map_err(TunnelError::Unreachable)?;
                    Ok(tunnel::open(stream, &uri, auth.as_ref()).await?)
                })
            }
            _ => {
                let connecting = self.tcp.call(uri);
                Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) })
            }
        }
    }
}

/// The name lookup, with its own error type.
#[derive(Clone)]
pub(super) enum Resolver {
    System(GaiResolver),
    /// Every name has these addresses.
    Fixed(Vec<SocketAddr>),
}

#[derive(Debug, thiserror::Error)]
#[error("name lookup failed")]
pub(super) struct NotResolved(#[source] std::io::Error);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NotResolved;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NotResolved>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NotResolved>> {
        match self {
            Self::System(system) => system.poll_ready(cx).map_err(NotResolved),
            Self::Fixed(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, name: Name) -> Self::Future {
        match self {
            Self::System(system) => {
                let lookup = system.call(name);
                Box::pin(async move {
                    let found = lookup.await.map_err(NotResolved)?;
                    Ok(found.collect::<Vec<_>>().into_iter())
                })
            }
            Self::Fixed(found) => Box::pin(std::future::ready(Ok(found.clone().into_iter()))),
        }
    }
}

/// Limits the time for connecting, including name lookup, proxy and TLS.
#[derive(Clone)]
pub(crate) struct InTime<C> {
    inner: C,
    limit: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("connecting timed out")]
pub(super) struct TooLong;

impl<C> Service<Uri> for InTime<C>
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Connecting<C::Response>;

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

#[cfg(test)]
mod tests;
