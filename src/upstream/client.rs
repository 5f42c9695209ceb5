//! The one place that names reqwest: an HTTP/1.1 client that keeps the truth of what happened.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::error::Error;
use crate::failure::Failure;
use crate::upstream::{Answer, Identity, Sent};

/// Larger bodies are not read. The documented answers are below 1 KiB.
pub(super) const BODY_BYTES: usize = 1024 * 1024;

/// Larger headers are not accepted. Both providers send below 2 KiB.
const HEADER_BYTES: usize = 64 * 1024;

/// Below the 60 s after which common load balancers close an idle connection, so that a
/// request is rarely written to one that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Which certificates of providers are believed.
#[derive(Debug, Clone)]
pub struct Trust(Arc<rustls::ClientConfig>);

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
pub struct Proxy(reqwest::Proxy);

impl Proxy {
    /// The proxy at an `http://` or `https://` URL, which may hold a user and a password.
    pub fn parse(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok()?;
        let known = matches!(url.scheme(), "http" | "https") && url.has_host();
        if !known || !matches!(url.path(), "" | "/") || url.query().is_some() {
            return None;
        }
        reqwest::Proxy::https(url).ok().map(Self)
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
            builder = builder.proxy(proxy.0.clone());
        }
        builder
            .build()
            .map(Self)
            .map_err(|_| Error::new(Failure::GatewayInternal, "the HTTP client did not start"))
    }

    /// Sends the request, whose URI is absolute, and reads the answer whole.
    ///
    /// # Errors
    /// When there is no answer, or none that may be read. An HTTP status is never an error
    /// here.
    pub async fn send(&self, request: Request<Bytes>, sent: &Sent) -> Result<Answer, Error> {
        if request.body().is_empty() {
            // There is no body whose first byte could be watched.
            sent.set();
        }
        let request = request
            .map(|bytes| reqwest::Body::wrap(Watched { bytes: Some(bytes), sent: sent.clone() }));
        let request = reqwest::Request::try_from(request)
            .map_err(|_| Error::new(Failure::GatewayInternal, "the request has no valid URI"))?;
        let mut response =
            self.0.execute(request).await.map_err(|error| of_exchange(&error, sent))?;

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
                Err(error) => return Err(of_exchange(&error, sent)),
            }
        }
        Ok(Answer { status, headers, body: body.freeze(), whole })
    }
}

/// A request body that notes when the first byte of it is asked for. That happens when the
/// connection stands and the head is being written; before, nothing can have left.
struct Watched {
    bytes: Option<Bytes>,
    sent: Sent,
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

fn check_head(headers: &HeaderMap) -> Result<(), Error> {
    if headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING) {
        // RFC 9112, section 6.3: a sign of response splitting, to be handled as an error.
        return Err(Error::new(
            Failure::MalformedResponse,
            "the answer has both Content-Length and Transfer-Encoding",
        ));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > HEADER_BYTES {
        return Err(too_large());
    }
    Ok(())
}

fn too_large() -> Error {
    Error::new(Failure::ResponseTooLarge, "the answer is larger than the gateway reads")
}

/// What went wrong on the way. The library's own texts name the URL, so none is passed on.
fn of_exchange(error: &reqwest::Error, sent: &Sent) -> Error {
    let causes = || causes(error);
    let tls = causes().find_map(tls_error);
    if let Some(rustls::Error::InvalidCertificate(why)) = tls {
        return Error::new(
            Failure::CertificateRejected,
            format!("the certificate is not to be trusted: {why:?}"),
        );
    }
    if let Some(rustls::Error::AlertReceived(alert)) = tls
        && is_about_our_certificate(*alert)
    {
        // With TLS 1.3 this arrives behind the handshake, and still before any of the request
        // was read.
        return Error::new(
            Failure::CertificateRejected,
            format!("the gateway's own certificate, or that it has none, was refused: {alert:?}"),
        );
    }
    let hyper = causes().find_map(|cause| cause.downcast_ref::<hyper::Error>());
    if hyper.is_some_and(hyper::Error::is_parse_too_large) {
        return too_large();
    }
    if hyper.is_some_and(hyper::Error::is_parse) {
        return Error::new(Failure::MalformedResponse, "the answer is not HTTP");
    }
    if error.is_connect() || !sent.get() {
        let what = if error.is_dns() {
            "the name of the host was not resolved"
        } else if tls.is_some() {
            "the TLS handshake failed"
        } else if error.is_timeout() {
            "no connection was made in time"
        } else {
            match causes().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind)
            {
                Some(io::ErrorKind::ConnectionRefused) => "the connection was refused",
                _ => "no connection could be made",
            }
        };
        return Error::new(Failure::ConnectFailed, what);
    }
    Error::new(Failure::ConnectionLost, "the connection broke before the whole answer arrived")
}

/// Whether a peer says by this that it does not want the certificate that it asked for.
///
/// # Reference
/// <https://www.rfc-editor.org/rfc/rfc8446#section-6.2>
fn is_about_our_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}

/// What an error was caused by, from the nearest to the first.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// The TLS library's error in a cause. tokio and hyper hand it on inside of `io::Error`s, which
/// [`StdError::source`] skips.
fn tls_error<'a>(cause: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(error) = cause.downcast_ref() {
        return Some(error);
    }
    tls_error(cause.downcast_ref::<io::Error>()?.get_ref()?)
}

/// Whether the peer closed the connection in good order, but before the end of the body.
fn is_end_of_stream(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
            || cause
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
    })
}
