//! Connecting: name lookup, every address of the name, and TLS, within one time limit.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiResolver, Name};
use tower_service::Service;

/// A dead peer is noticed after 20 s: on an idle connection by the second unanswered keep-alive
/// probe, on a busy one by unacknowledged data.
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// TCP, with TLS for `https`.
pub(crate) type Connector = HttpsConnector<HttpConnector<Resolver>>;

/// A connector that tries every address of a name within `limit`.
pub(crate) fn connector(tls: &Arc<rustls::ClientConfig>, limit: Duration) -> Connector {
    let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // The limit is divided among the addresses, so that one that drops SYNs leaves time for the
    // next.
    tcp.set_connect_timeout(Some(limit));
    tcp.set_keepalive(Some(PROBE_AFTER));
    tcp.set_keepalive_interval(Some(PROBE_INTERVAL));
    tcp.set_keepalive_retries(Some(2));
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    HttpsConnector::from((tcp, Arc::clone(tls)))
}

/// The system's name lookup, with its own error type.
#[derive(Debug, Clone)]
pub(crate) struct Resolver(GaiResolver);

#[derive(Debug, thiserror::Error)]
#[error("name lookup failed")]
pub(crate) struct NotResolved(#[source] std::io::Error);

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

/// Limits the time for connecting, including name lookup and TLS.
#[derive(Debug, Clone)]
pub(super) struct InTime<C> {
    pub(super) inner: C,
    pub(super) limit: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("connecting timed out")]
pub(super) struct TooLong;

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
