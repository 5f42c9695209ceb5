//! PEM files.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::words;
use super::x509::subject;
use crate::files::{self, FileError};
use crate::text;

/// Maximum file size: a bundle of every public CA has 250 KiB.
const BYTES: u64 = 4 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct FileProblem {
    pub flag: &'static str,
    /// The problem, with the file's path and without its content.
    pub why: String,
}

/// When a file is read: at the start with a time limit, later by a [`crate::files::Reader`], which
/// has one.
#[derive(Debug, Clone, Copy)]
pub enum When {
    Start,
    Running,
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
    pub(crate) fn read(flag: &'static str, path: &Path, when: When) -> Self {
        let content = match when {
            When::Start => files::read_at_start(path, BYTES),
            When::Running => files::read(path, BYTES),
        };
        Self { flag, path: path.to_owned(), content }
    }

    pub(super) fn of_text(name: &'static str, text: &[u8]) -> Self {
        let content = Ok(Zeroizing::new(text.to_vec()));
        Self { flag: name, path: name.into(), content }
    }

    pub(crate) fn problem(&self, why: impl fmt::Display) -> FileProblem {
        FileProblem { flag: self.flag, why: format!("{}: {why}", self.path.display()) }
    }

    /// Adds the CA certificates to a store. Those that cannot be used are returned; it is an error
    /// if no other is left.
    pub(super) fn add_roots(
        &self,
        store: &mut RootCertStore,
    ) -> Result<Vec<FileProblem>, FileProblem> {
        let (mut found, mut unusable) = (0, Vec::new());
        let blocks: Vec<_> = CertificateDer::pem_slice_iter(self.bytes()?).collect();
        for (index, block) in blocks.into_iter().enumerate() {
            let why = match block {
                Ok(certificate) => match store.add(certificate.clone()) {
                    Ok(()) => {
                        found += 1;
                        continue;
                    }
                    Err(error) => {
                        let subject = subject(&certificate).map(|name| format!(" ({name})"));
                        let reason = if let rustls::Error::InvalidCertificate(reason) = error {
                            words::of_certificate(&reason)
                        } else {
                            error.to_string()
                        };
                        format!("{}: {reason}", subject.unwrap_or_default())
                    }
                },
                Err(error) => format!(": {}", text::clean(&error.to_string(), 100)),
            };
            unusable.push(format!("certificate {} cannot be used{why}", index + 1));
        }
        match (found, unusable.is_empty()) {
            (0, true) => Err(self.problem("has no PEM certificate")),
            (0, false) => {
                let all = unusable.join("; ");
                Err(self.problem(format_args!("has no valid PEM certificate: {all}")))
            }
            _ => Ok(unusable.iter().map(|why| self.problem(why)).collect()),
        }
    }

    fn bytes(&self) -> Result<&[u8], FileProblem> {
        self.content.as_ref().map(|bytes| &***bytes).map_err(|error| self.problem(error))
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
        let pem = self.bytes()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let found = found.ok().filter(|found| !found.is_empty());
        found.ok_or_else(|| self.problem("has no PEM certificate, or an invalid one"))
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, FileProblem> {
        PrivateKeyDer::from_pem_slice(self.bytes()?)
            .map_err(|_| self.problem("has no PEM private key"))
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
        Err(error) => Err(vec![cert.problem(words::of_file(&error))]),
    }
}
