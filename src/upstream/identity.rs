//! The certificate that the gateway shows to clouds which ask for one, read again when its files
//! change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::certificate::{certificates, not_after};
use crate::telemetry::Telemetry;

/// How often the files are read. By content, as those of credentials.
const POLL: Duration = Duration::from_secs(2);

const CERT: &str = "--upstream-client-cert";
const KEY: &str = "--upstream-client-key";

/// What is wrong with one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityProblem {
    /// The flag that named it.
    pub flag: &'static str,
    /// What is wrong, with its path.
    pub why: String,
}

impl fmt::Display for IdentityProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// The bytes of both files.
type Contents = [Option<Zeroizing<Vec<u8>>>; 2];

struct Loaded {
    key: Arc<CertifiedKey>,
    not_after: Option<Timestamp>,
}

/// A certificate and its key. New connections show what is current; open ones go on.
pub struct Identity {
    cert: PathBuf,
    key: PathBuf,
    poll: Duration,
    current: ArcSwap<Loaded>,
    reload: Notify,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("cert", &self.cert)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the files, PEM: the certificate with those between it and its root, and its key.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn load(
        cert: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, Vec<IdentityProblem>> {
        let (cert, key) = (cert.into(), key.into());
        let loaded = parse(&cert, &key, &read(&cert, &key))?;
        let current = ArcSwap::new(Arc::new(loaded));
        Ok(Self { cert, key, poll: POLL, current, reload: Notify::new() })
    }

    /// Reads the files so often, instead of the default.
    #[must_use]
    pub fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Reads the files at once.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// Takes over each change of the files that is good, for ever. One task must run this.
    pub async fn keep(self: Arc<Self>, telemetry: Telemetry) {
        let metrics = telemetry.metrics().tls().upstream();
        metrics.serves(self.current.load().not_after);
        // Not what was loaded: a change since then is one, too.
        let mut known: Option<Contents> = None;
        loop {
            let (cert, key) = (self.cert.clone(), self.key.clone());
            let Ok(contents) = tokio::task::spawn_blocking(move || read(&cert, &key)).await else {
                return;
            };
            if known.as_ref() != Some(&contents) {
                let first = known.is_none();
                match parse(&self.cert, &self.key, &contents) {
                    Ok(loaded) => {
                        metrics.serves(loaded.not_after);
                        if !first {
                            metrics.reloaded(true);
                            tracing::info!(
                                not_after = loaded.not_after.map(tracing::field::display),
                                "another certificate is shown to clouds"
                            );
                        }
                        self.current.store(Arc::new(loaded));
                    }
                    Err(problems) => {
                        metrics.reloaded(false);
                        for problem in problems {
                            tracing::warn!(
                                flag = problem.flag,
                                error = %problem,
                                "the old certificate is shown to clouds on"
                            );
                        }
                    }
                }
                known = Some(contents);
            }
            tokio::select! {
                () = tokio::time::sleep(self.poll) => {}
                () = self.reload.notified() => {}
            }
        }
    }
}

impl ResolvesClientCert for Identity {
    /// Whoever the cloud believes: it, rather than the gateway, says what is wrong with a
    /// certificate of another issuer.
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let key = Arc::clone(&self.current.load().key);
        key.key.choose_scheme(schemes).is_some().then_some(key)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn read(cert: &Path, key: &Path) -> Contents {
    [cert, key].map(|path| std::fs::read(path).ok().map(Zeroizing::new))
}

fn parse(
    cert: &Path,
    key: &Path,
    [cert_pem, key_pem]: &Contents,
) -> Result<Loaded, Vec<IdentityProblem>> {
    let wrong = |flag, path: &Path, why: &str| IdentityProblem {
        flag,
        why: format!("{}: {why}", path.display()),
    };
    let mut problems = Vec::new();
    let chain = cert_pem.as_ref().and_then(|pem| certificates(pem));
    if chain.is_none() {
        problems.push(wrong(CERT, cert, "cannot be read, or holds no PEM certificate"));
    }
    let private = key_pem.as_ref().and_then(|pem| PrivateKeyDer::from_pem_slice(pem).ok());
    if private.is_none() {
        problems.push(wrong(KEY, key, "cannot be read, or holds no PEM private key"));
    }
    let (Some(chain), Some(private)) = (chain, private) else { return Err(problems) };
    let not_after = chain.first().and_then(|certificate| not_after(certificate));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(chain, private, &provider) {
        Ok(key) => Ok(Loaded { key: Arc::new(key), not_after }),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let why = format!("does not fit the certificate {}", cert.display());
            Err(vec![wrong(KEY, key, &why)])
        }
        Err(error) => Err(vec![wrong(CERT, cert, &error.to_string())]),
    }
}
