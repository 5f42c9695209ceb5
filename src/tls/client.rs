//! The client certificate for providers that request one.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use super::pem::{FileProblem, PemFile, When, pair};
use super::reload::{FileSource, Loaded, Reloading};
use super::x509::not_after;

/// A certificate and its key. New connections use the current one; open connections continue.
pub type ClientIdentity = Reloading<Pair>;

#[derive(Debug, Clone)]
pub struct Pair {
    cert: PathBuf,
    key: PathBuf,
}

impl ClientIdentity {
    /// Reads the PEM files: the certificate with its intermediates, and its key.
    ///
    /// # Errors
    /// All problems of the files.
    pub fn load(
        cert: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, Vec<FileProblem>> {
        Self::of(Pair { cert: cert.into(), key: key.into() })
    }
}

impl ResolvesClientCert for ClientIdentity {
    /// Ignores the issuers that the provider names: it reports a wrong issuer better than the
    /// gateway could.
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = self.current();
        key.key.choose_scheme(schemes).is_some().then_some(key)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl FileSource for Pair {
    type Content = [PemFile; 2];
    type Output = CertifiedKey;

    const WHOSE: &str = "upstream client";
    const FLAG: &str = "--upstream-client-cert";

    fn read(&self, when: When) -> Self::Content {
        [
            PemFile::read("--upstream-client-cert", &self.cert, when),
            PemFile::read("--upstream-client-key", &self.key, when),
        ]
    }

    fn load(&self, [cert, key]: &[PemFile; 2]) -> Result<Loaded<CertifiedKey>, Vec<FileProblem>> {
        let key = pair(cert, key, &rustls::crypto::aws_lc_rs::default_provider())?;
        let not_after = key.cert.first().and_then(|certificate| not_after(certificate));
        Ok(Loaded { value: Arc::new(key), not_after, unusable: Vec::new() })
    }
}
