//! TLS for callers: the certificate, and who may call.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::{FileProblem, Files, Kept, Made, PemFile, not_after, pair};
use crate::telemetry::Telemetry;

/// Whether a caller must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// No call without one.
    Required,
    /// One that is shown must be good.
    Optional,
}

/// Where the certificate and its key are, and whom to believe.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate and those between it and its root, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Who issues the certificates of callers, PEM. Without it, callers need none.
    pub client_ca: Option<(PathBuf, ClientAuth)>,
    /// Whether HTTP/1.1 is spoken beside HTTP/2, as pages that call by gRPC-Web may do.
    pub http_1: bool,
}

/// TLS as new connections get it. Those that are open keep what they began with.
#[derive(Debug)]
pub struct Tls(Kept<TlsFiles>);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn load(files: TlsFiles) -> Result<Self, Vec<FileProblem>> {
        Kept::load(files).map(Self)
    }

    /// Reads the files so often, instead of the default.
    #[must_use]
    pub fn with_poll(self, poll: Duration) -> Self {
        Self(self.0.with_poll(poll))
    }

    /// Makes the handshake of a new connection.
    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.0.current()).accept(stream).await
    }

    /// Reads the files at once.
    pub(super) fn reload(&self) {
        self.0.reload();
    }

    /// Takes over each change of the files that is good, for ever.
    pub(super) async fn keep(self: Arc<Self>, telemetry: Telemetry) {
        self.0.keep(telemetry.metrics().tls().server()).await;
    }
}

/// The certificate, its key, and the issuers of callers' certificates.
type Read = (PemFile, PemFile, Option<(PemFile, ClientAuth)>);

impl Files for TlsFiles {
    type Read = Read;
    type Made = ServerConfig;

    const TAKEN: &str = "another certificate serves";
    const REFUSED: &str = "the old certificate serves on";

    fn read(&self) -> Read {
        let client_ca = self.client_ca.as_ref();
        (
            PemFile::read("--tls-cert", &self.cert),
            PemFile::read("--tls-key", &self.key),
            client_ca.map(|(path, auth)| (PemFile::read("--tls-client-ca", path), *auth)),
        )
    }

    fn make(&self, (cert, key, client_ca): &Read) -> Result<Made<ServerConfig>, Vec<FileProblem>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = match client_ca {
            Some((issuers, auth)) => verifier(issuers, *auth, &provider),
            None => Ok(WebPkiClientVerifier::no_client_auth()),
        };
        let (pair, verifier) = match (pair(cert, key, &provider), verifier) {
            (Ok(pair), Ok(verifier)) => (pair, verifier),
            (pair, verifier) => {
                let problems = pair.err().unwrap_or_default();
                return Err(problems.into_iter().chain(verifier.err()).collect());
            }
        };
        let not_after = pair.cert.first().and_then(|certificate| not_after(certificate));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| vec![cert.problem(error)])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![b"h2".to_vec()];
        if self.http_1 {
            config.alpn_protocols.push(b"http/1.1".to_vec());
        }
        Ok(Made { value: Arc::new(config), not_after })
    }
}

fn verifier(
    issuers: &PemFile,
    auth: ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, FileProblem> {
    let mut roots = RootCertStore::empty();
    for root in issuers.certificates()? {
        // What is no certificate leaves the store empty, which is told below.
        let _ = roots.add(root);
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match auth {
        ClientAuth::Required => builder,
        ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    let no_certificate = "cannot be read, or holds no PEM certificate";
    builder.build().map(|verifier| verifier as _).map_err(|_| issuers.problem(no_certificate))
}
