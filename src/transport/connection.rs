//! One HTTP/1.1 connection.

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use hyper::client::conn::http1::{Builder, SendRequest};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tower_service::Service as _;

use super::WriteStarted;
use super::connect::{BoxError, Connector, NotResolved, TooLong};
use super::error::{Phase, causes, classify};
use super::response::{HEADER_BYTES, HEADERS};
use super::write_started::ObservedBody;
use crate::rpc::Error;
use crate::rpc::reason::Reason;

/// Maximum size of a response head: headers, a status line, and line ends.
const HEAD_BYTES: usize = HEADER_BYTES + 16 * 1024;

/// The scheme, host and port of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: Scheme,
    authority: Authority,
}

impl Origin {
    /// Takes it from an absolute URI, which then begins with its path, as a request line does.
    ///
    /// # Errors
    /// Never for a request to an [`crate::options::Endpoint`].
    pub(super) fn take_from(uri: &mut Uri) -> Result<Self, Error> {
        let mut parts = std::mem::take(uri).into_parts();
        let origin = parts.scheme.take().zip(parts.authority.take());
        let (scheme, authority) = origin.ok_or_else(|| {
            Error::new(Reason::GatewayInternal, "the URI of the request is not absolute")
        })?;
        *uri = parts.path_and_query.unwrap_or(PathAndQuery::from_static("/")).into();
        Ok(Self { scheme, authority })
    }
}

/// A connection that is open, as far as is known.
pub(super) struct Connection {
    pub(super) sender: SendRequest<ObservedBody>,
    pub(super) born: Instant,
    /// Since when the pool has it; none before the first time.
    pub(super) idle_since: Option<Instant>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct NotOpened {
    is_connected: bool,
    error: BoxError,
}

impl Connection {
    /// Connects to a host, and waits until a request can be sent.
    pub(super) async fn open(mut connector: Connector, origin: &Origin) -> Result<Self, NotOpened> {
        let connecting = |error| NotOpened { is_connected: false, error };
        let uri = Uri::builder()
            .scheme(origin.scheme.clone())
            .authority(origin.authority.clone())
            .path_and_query("/")
            .build()
            .map_err(|error| connecting(error.into()))?;
        std::future::poll_fn(|cx| connector.poll_ready(cx)).await.map_err(connecting)?;
        let stream = connector.call(uri).await.map_err(connecting)?;

        let connected = |error: hyper::Error| NotOpened { is_connected: true, error: error.into() };
        let handshake =
            Builder::new().max_buf_size(HEAD_BYTES).max_headers(HEADERS).handshake(stream);
        let (mut sender, connection) = handshake.await.map_err(connected)?;
        let (failed, failure) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                // Later a request that is in flight is told.
                let _ = failed.send(error);
            }
        });
        if let Err(closed) = sender.ready().await {
            return Err(connected(failure.await.unwrap_or(closed)));
        }
        Ok(Self { sender, born: Instant::now(), idle_since: None })
    }

    /// Whether it was in the pool, where the peer may have closed it.
    pub(super) fn was_idle(&self) -> bool {
        self.idle_since.is_some()
    }
}

impl NotOpened {
    pub(super) fn classify(&self, write_started: &WriteStarted) -> Error {
        let error = &*self.error;
        let caused = |is: fn(&(dyn std::error::Error + 'static)) -> bool| causes(error).any(is);
        let phase = match self.is_connected {
            _ if caused(|cause| cause.is::<NotResolved>()) => Phase::Resolving,
            _ if caused(|cause| cause.is::<TooLong>()) => Phase::ConnectTimedOut,
            false => Phase::Connecting,
            true => Phase::Connected,
        };
        classify(error, phase, write_started)
    }
}
