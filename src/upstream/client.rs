//! The one place that names reqwest: the client for what is fetched now and then, as credentials
//! are. Calls go over [`super::Pool`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper_util::client::proxy::matcher::Matcher;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::trouble::{BODY_BYTES, Broken, check_head, is_end_of_stream, too_large, trouble};
use super::{Answer, Identity, Sent};
use crate::error::Error;
use crate::failure::Failure;

/// Below the 60 s after which common load balancers close an idle connection, so that a
/// request is rarely written to one that is just being closed.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Which certificates of providers are believed.
#[derive(Debug, Clone)]
pub struct Trust(pub(super) Arc<rustls::ClientConfig>);

impl Trust {
    /// The roots of the platform, or the bundled ones of Mozilla where it has none, as in an
    /// image without a certificate store. `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured.
    ///
    /// # Errors
    /// When the platform's store cannot be read at all.
    pub fn platform() -> Result<Self, rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self::roots(roots)
    }

    /// The certificates of a PEM file, and no others.
    ///
    /// # Errors
    /// When there is none in it, or one that is broken.
    pub fn bundle(pem: &[u8]) -> Result<Self, rustls::Error> {
        let broken = || rustls::Error::General("holds no usable PEM certificate".into());
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|_| broken())?).map_err(|_| broken())?;
        }
        if roots.is_empty() { Err(broken()) } else { Self::roots(roots) }
    }

    /// No certificate at all: enough for endpoints without TLS, and nothing to load.
    ///
    /// # Errors
    /// When the cryptographic library offers no common protocol version.
    pub fn nothing() -> Result<Self, rustls::Error> {
        Self::roots(rustls::RootCertStore::empty())
    }

    /// Exactly these roots.
    ///
    /// # Errors
    /// When the cryptographic library offers no common protocol version.
    pub fn roots(roots: rustls::RootCertStore) -> Result<Self, rustls::Error> {
        // The provider is named because rustls cannot choose one when another crate in the
        // same program brings a second.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// The same certificates, for a connection that speaks HTTP/2.
    pub(crate) fn http_2(&self) -> Arc<rustls::ClientConfig> {
        let mut config = (*self.0).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// The same trust, with a certificate to show where one is asked for.
    #[must_use]
    pub fn with_identity(self, identity: Arc<Identity>) -> Self {
        let mut config = (*self.0).clone();
        config.client_auth_cert_resolver = identity;
        // A session that is taken up again stands for the certificate that began it, which may
        // be an old one by now.
        config.resumption = rustls::client::Resumption::disabled();
        Self(Arc::new(config))
    }
}

/// A proxy that connections to TLS endpoints are made through, by CONNECT. Plain endpoints
/// are loopback, and never go through it.
#[derive(Clone)]
pub struct Proxy {
    url: url::Url,
    /// What says who we are, where the URL holds a user.
    pub(super) auth: Option<HeaderValue>,
}

impl Proxy {
    /// The proxy at an `http://` or `https://` URL, which may hold a user and a password.
    pub fn parse(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok()?;
        let known = matches!(url.scheme(), "http" | "https") && url.has_host();
        if !known || !matches!(url.path(), "" | "/") || url.query().is_some() {
            return None;
        }
        let matcher = Matcher::builder().https(url.as_str()).build();
        let auth =
            matcher.intercept(&Uri::from_static("https://any.example"))?.basic_auth().cloned();
        Some(Self { url, auth })
    }

    /// Where it is, without the user.
    pub(super) fn uri(&self) -> Option<Uri> {
        let mut bare = self.url.clone();
        bare.set_username("").and_then(|()| bare.set_password(None)).ok()?;
        bare.as_str().parse().ok()
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proxy([redacted])")
    }
}

/// What a client is made from.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How long a connection, TLS included, may take to be made.
    pub connect_timeout: Duration,
    /// How many idle connections are kept.
    pub max_idle: usize,
    /// Which certificates are believed.
    pub trust: Trust,
    /// What TLS connections are made through.
    pub proxy: Option<Proxy>,
}

/// An HTTP/1.1 client for one provider, with its own pool of connections.
#[derive(Debug, Clone)]
pub struct Client(reqwest::Client);

impl Client {
    /// Makes a client.
    ///
    /// Redirects are off because signed headers must not travel, retries because each attempt
    /// needs a signature of its own, and the environment's proxies because signed requests go
    /// where the configuration says and nowhere else.
    ///
    /// # Errors
    /// When the TLS library does not start.
    pub fn new(options: &ClientOptions) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured((*options.trust.0).clone())
            .http1_only()
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

    /// Sends the request, whose URI is absolute, and reads the answer whole.
    ///
    /// # Errors
    /// When there is no answer, or none that may be read. An HTTP status is never an error
    /// here.
    pub async fn send(&self, request: Request<Bytes>, sent: &Sent) -> Result<Answer, Error> {
        let request = request.map(|bytes| reqwest::Body::wrap(Watched::new(bytes, sent)));
        let request = reqwest::Request::try_from(request)
            .map_err(|_| Error::new(Failure::GatewayInternal, "the request has no valid URI"))?;
        let mut response = self.0.execute(request).await.map_err(|error| told(&error, sent))?;

        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        check_head(&headers)?;
        if response.content_length().is_some_and(|length| length > BODY_BYTES as u64) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        let mut whole = true;
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > BODY_BYTES => return Err(too_large()),
                // The usual answer is one chunk, and is then not copied.
                Ok(Some(chunk)) if body.is_empty() => body = BytesMut::from(chunk),
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                // A failure is told by its status, however much of its text arrived.
                Err(_) if !(200..=299).contains(&status) => break,
                Err(error) if is_end_of_stream(&error) => {
                    whole = false;
                    break;
                }
                Err(error) => return Err(told(&error, sent)),
            }
        }
        Ok(Answer { status, headers, body: body.freeze(), whole })
    }
}

/// A request body that notes when the first byte of it is asked for. That happens when the
/// connection stands and the head is being written; before, nothing can have left.
pub(super) struct Watched {
    bytes: Option<Bytes>,
    sent: Sent,
}

impl Watched {
    pub(super) fn new(bytes: Bytes, sent: &Sent) -> Self {
        if bytes.is_empty() {
            // There is no body whose first byte could be watched.
            sent.set();
        }
        Self { bytes: Some(bytes), sent: sent.clone() }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.sent.set();
        let bytes = self.bytes.take().filter(|bytes| !bytes.is_empty());
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

fn defective() -> Error {
    Error::new(Failure::GatewayInternal, "the HTTP client did not start")
}

fn told(error: &reqwest::Error, sent: &Sent) -> Error {
    let broken = match error {
        error if error.is_dns() => Broken::Resolving,
        error if error.is_connect() && error.is_timeout() => Broken::ConnectingTooLong,
        error if error.is_connect() => Broken::Connecting,
        _ => Broken::Connected,
    };
    trouble(error, broken, sent)
}
