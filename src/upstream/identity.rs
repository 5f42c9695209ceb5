//! The certificate that the gateway shows to clouds which ask for one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use crate::certificate::{FileProblem, Files, Kept, Made, PemFile, not_after, pair};
use crate::telemetry::Telemetry;

/// A certificate and its key. New connections show what is current; open ones go on.
#[derive(Debug)]
pub struct Identity(Kept<Pair>);

#[derive(Debug, Clone)]
struct Pair {
    cert: PathBuf,
    key: PathBuf,
}

impl Identity {
    /// Reads the files, PEM: the certificate with those between it and its root, and its key.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn load(
        cert: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, Vec<FileProblem>> {
        Kept::load(Pair { cert: cert.into(), key: key.into() }).map(Self)
    }

    /// Reads the files so often, instead of the default.
    #[must_use]
    pub fn with_poll(self, poll: Duration) -> Self {
        Self(self.0.with_poll(poll))
    }

    /// Reads the files at once.
    pub fn reload(&self) {
        self.0.reload();
    }

    /// Takes over each change of the files that is good, for ever. One task must run this.
    pub async fn keep(self: Arc<Self>, telemetry: Telemetry) {
        self.0.keep(telemetry.metrics().tls().upstream()).await;
    }
}

impl ResolvesClientCert for Identity {
    /// Whoever the cloud believes: it, rather than the gateway, says what is wrong with a
    /// certificate of another issuer.
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = self.0.current();
        key.key.choose_scheme(schemes).is_some().then_some(key)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Files for Pair {
    type Read = [PemFile; 2];
    type Made = CertifiedKey;

    const TAKEN: &str = "another certificate is shown to clouds";
    const REFUSED: &str = "the old certificate is shown to clouds on";

    fn read(&self) -> Self::Read {
        [
            PemFile::read("--upstream-client-cert", &self.cert),
            PemFile::read("--upstream-client-key", &self.key),
        ]
    }

    fn make(&self, [cert, key]: &Self::Read) -> Result<Made<CertifiedKey>, Vec<FileProblem>> {
        let key = pair(cert, key, &rustls::crypto::aws_lc_rs::default_provider())?;
        let not_after = key.cert.first().and_then(|certificate| not_after(certificate));
        Ok(Made { value: Arc::new(key), not_after })
    }
}
