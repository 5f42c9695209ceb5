//! PEM files, as the options name them.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The flag that named it.
    pub flag: &'static str,
    /// What is wrong, with its path and without what is in it.
    pub why: String,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// A file that was read, if it can be. It may hold a key.
#[derive(PartialEq)]
pub(crate) struct PemFile {
    flag: &'static str,
    path: PathBuf,
    content: Option<Zeroizing<Vec<u8>>>,
}

impl PemFile {
    /// Reads it.
    pub(crate) fn read(flag: &'static str, path: &Path) -> Self {
        let content = std::fs::read(path).ok().map(Zeroizing::new);
        Self { flag, path: path.to_owned(), content }
    }

    /// This is wrong with it.
    pub(crate) fn problem(&self, why: impl fmt::Display) -> FileProblem {
        FileProblem { flag: self.flag, why: format!("{}: {why}", self.path.display()) }
    }

    /// All its certificates.
    ///
    /// # Errors
    /// When there is not one, or a broken one.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
        let found = self.content.as_ref().and_then(|pem| {
            CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok()
        });
        found
            .filter(|found| !found.is_empty())
            .ok_or_else(|| self.problem("cannot be read, or holds no PEM certificate"))
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, FileProblem> {
        let pem = self.content.as_ref();
        pem.and_then(|pem| PrivateKeyDer::from_pem_slice(pem).ok())
            .ok_or_else(|| self.problem("cannot be read, or holds no PEM private key"))
    }
}

/// A certificate, those between it and its root, and its key.
///
/// # Errors
/// All that is wrong with the two files, also that they do not fit.
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
            Err(vec![key.problem(format_args!("does not fit the certificate {certificate}"))])
        }
        Err(error) => Err(vec![cert.problem(error)]),
    }
}
