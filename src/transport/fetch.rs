//! The client for occasional requests, such as those for credentials, and the only use of reqwest.
//! Calls use [`super::Pool`].

use bytes::Bytes;
use http::Request;

use super::error::{Phase, classify};
use super::response::HEADERS;
use super::write_started::ObservedBody;
use super::{ClientOptions, IDLE_TIMEOUT, LargeBodies, Response, WriteStarted};
use crate::rpc::Error;
use crate::rpc::reason::Reason;

/// An HTTP/1.1 client with its own connection pool.
#[derive(Debug, Clone)]
pub struct Client(reqwest::Client);

impl Client {
    /// Makes a client.
    ///
    /// Redirects are off because signed headers must not be forwarded, retries because each attempt
    /// needs a new signature, and the environment's proxies because only the configuration decides
    /// where signed requests go.
    ///
    /// # Errors
    /// If TLS cannot be initialized.
    pub fn new(options: &ClientOptions) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(options.trust.http_1().as_ref().clone())
            .http1_only()
            .http1_max_headers(HEADERS)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(options.connect_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(options.max_idle)
            .tcp_nodelay(true);
        if let Some(proxy) = &options.proxy {
            let proxy = reqwest::Proxy::https(proxy.url.clone()).map_err(|_| defective())?;
            builder = builder.proxy(proxy);
        }
        builder.build().map(Self).map_err(|_| defective())
    }

    /// Sends the request, whose URI is absolute, and reads the complete response.
    ///
    /// # Errors
    /// If there is no valid response. An HTTP status is never an error here.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        write_started: &WriteStarted,
    ) -> Result<Response, Error> {
        let request =
            request.map(|bytes| reqwest::Body::wrap(ObservedBody::new(bytes, write_started)));
        let request = reqwest::Request::try_from(request)
            .map_err(|_| Error::new(Reason::GatewayInternal, "the request has no valid URI"))?;
        let response = self.0.execute(request).await.map_err(|error| {
            let phase = match &error {
                error if error.is_dns() => Phase::Resolving,
                error if error.is_connect() && error.is_timeout() => Phase::ConnectTimedOut,
                error if error.is_connect() => Phase::Connecting,
                _ => Phase::Connected,
            };
            classify(&error, phase, write_started)
        })?;
        // One at a time for each source of credentials.
        let bodies = LargeBodies::default();
        Response::read(http::Response::from(response), write_started, &mut bodies.place()).await
    }
}

fn defective() -> Error {
    Error::new(Reason::GatewayInternal, "the HTTP client did not start")
}
