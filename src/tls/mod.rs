//! TLS on both sides: the server certificate, the CAs of callers, the CAs of providers, and the
//! client certificate for them.

mod client;
mod metrics;
mod not_after;
mod options;
mod pem;
mod reload;
mod server;

pub use client::ClientIdentity;
pub(crate) use metrics::TlsMetrics;
pub(crate) use options::TlsOptions;
pub use pem::FileProblem;
pub use server::{ClientAuth, ServerTls, TlsFiles};

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use pem::PemFile;

#[derive(Debug, Clone)]
pub struct Trust(Arc<rustls::ClientConfig>);

impl Trust {
    /// The CAs of the platform, or Mozilla's bundled ones if it has none, as in an image without a
    /// certificate store. `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured.
    pub(crate) fn platform() -> Result<Self, rustls::Error> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self::roots(roots)
    }

    /// Only the CAs in this PEM file. `flag` names it.
    pub(crate) fn of_file(flag: &'static str, path: &Path) -> Result<Self, FileProblem> {
        let file = PemFile::read(flag, path);
        let mut roots = rustls::RootCertStore::empty();
        for certificate in file.certificates()? {
            roots.add(certificate).map_err(|error| file.problem(error))?;
        }
        Self::roots(roots).map_err(|error| file.problem(error))
    }

    /// Only the CAs in this PEM text.
    ///
    /// # Errors
    /// If it has no certificate, or an invalid one.
    pub fn bundle(pem: &[u8]) -> Result<Self, rustls::Error> {
        let broken = || rustls::Error::General("has no valid PEM certificate".into());
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|_| broken())?).map_err(|_| broken())?;
        }
        if roots.is_empty() { Err(broken()) } else { Self::roots(roots) }
    }

    /// No CAs: enough for endpoints without TLS, and fast.
    pub(crate) fn nothing() -> Result<Self, rustls::Error> {
        Self::roots(rustls::RootCertStore::empty())
    }

    fn roots(roots: rustls::RootCertStore) -> Result<Self, rustls::Error> {
        // Named explicitly, because rustls cannot choose if another crate brings a second provider.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn http_1(&self) -> &Arc<rustls::ClientConfig> {
        &self.0
    }

    pub(crate) fn http_2(&self) -> Arc<rustls::ClientConfig> {
        let mut config = (*self.0).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// The same CAs, with a client certificate for providers that request one.
    #[must_use]
    pub(crate) fn with_identity(self, identity: Arc<ClientIdentity>) -> Self {
        let mut config = (*self.0).clone();
        config.client_auth_cert_resolver = identity;
        // A resumed session would keep the certificate that it started with.
        config.resumption = rustls::client::Resumption::disabled();
        Self(Arc::new(config))
    }
}
