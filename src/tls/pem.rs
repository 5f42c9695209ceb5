//! PEM files.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::files::{self, FileError};

/// Maximum file size: a bundle of every public CA has 250 KiB.
const BYTES: u64 = 4 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct FileProblem {
    pub flag: &'static str,
    /// The problem, with the file's path and without its content.
    pub why: String,
}

/// The content of a file, or why it cannot be read. It may be a key.
#[derive(PartialEq)]
pub struct PemFile {
    flag: &'static str,
    path: PathBuf,
    content: Result<Zeroizing<Vec<u8>>, FileError>,
}

impl fmt::Debug for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

impl PemFile {
    pub(crate) fn read(flag: &'static str, path: &Path) -> Self {
        let content = files::read(path, BYTES);
        Self { flag, path: path.to_owned(), content }
    }

    pub(crate) fn problem(&self, why: impl fmt::Display) -> FileProblem {
        FileProblem { flag: self.flag, why: format!("{}: {why}", self.path.display()) }
    }

    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
        let pem = self.content.as_ref().map_err(|error| self.problem(error))?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let found = found.ok().filter(|found| !found.is_empty());
        found.ok_or_else(|| self.problem("has no PEM certificate, or an invalid one"))
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, FileProblem> {
        let pem = self.content.as_ref().map_err(|error| self.problem(error))?;
        PrivateKeyDer::from_pem_slice(pem).map_err(|_| self.problem("has no PEM private key"))
    }
}

/// A certificate with its intermediates, and its key.
pub(crate) fn pair(
    cert: &PemFile,
    key: &PemFile,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Vec<FileProblem>> {
    let (chain, private) = match (cert.certificates(), key.private_key()) {
        (Ok(chain), Ok(private)) => (chain, private),
        (chain, private) => {
            return Err(chain.err().into_iter().chain(private.err()).collect());
        }
    };
    match CertifiedKey::from_der(chain, private, provider) {
        Ok(pair) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let certificate = cert.path.display();
            Err(vec![key.problem(format_args!("does not match the certificate {certificate}"))])
        }
        Err(error) => Err(vec![cert.problem(error)]),
    }
}
