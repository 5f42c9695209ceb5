//! TLS for callers: the certificate, and who may call, read again when the files change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use crate::certificate::{certificates, not_after};
use crate::telemetry::Telemetry;

/// How often the files are read. By content, as those of credentials.
const POLL: Duration = Duration::from_secs(2);

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

/// What is wrong with one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsProblem {
    /// The flag that named it.
    pub flag: &'static str,
    /// What is wrong, with its path.
    pub why: String,
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// The bytes of all files together.
type Contents = [Option<Zeroizing<Vec<u8>>>; 3];

struct Loaded {
    config: Arc<ServerConfig>,
    not_after: Option<Timestamp>,
}

/// TLS as new connections get it. Those that are open keep what they began with.
pub struct Tls {
    files: TlsFiles,
    poll: Duration,
    current: ArcSwap<Loaded>,
    reload: Notify,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn load(files: TlsFiles) -> Result<Self, Vec<TlsProblem>> {
        let contents = files.read();
        let loaded = files.parse(&contents)?;
        Ok(Self {
            files,
            poll: POLL,
            current: ArcSwap::new(Arc::new(loaded)),
            reload: Notify::new(),
        })
    }

    /// Reads the files so often, instead of the default.
    #[must_use]
    pub fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Makes the handshake of a new connection.
    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.current.load().config);
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Reads the files at once.
    pub(super) fn reload(&self) {
        self.reload.notify_one();
    }

    /// Takes over each change of the files that is good, for ever.
    pub(super) async fn keep(self: Arc<Self>, telemetry: Telemetry) {
        let metrics = telemetry.metrics().tls().server();
        metrics.serves(self.current.load().not_after);
        // Not what was loaded: a change since then is one, too.
        let mut known: Option<Contents> = None;
        loop {
            let files = self.files.clone();
            let Ok(contents) = tokio::task::spawn_blocking(move || files.read()).await else {
                return;
            };
            if known.as_ref() != Some(&contents) {
                let first = known.is_none();
                match self.files.parse(&contents) {
                    Ok(loaded) => {
                        metrics.serves(loaded.not_after);
                        if !first {
                            metrics.reloaded(true);
                            tracing::info!(
                                not_after = loaded.not_after.map(tracing::field::display),
                                "another certificate serves"
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
                                "the old certificate serves on"
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

impl TlsFiles {
    fn read(&self) -> Contents {
        let client_ca = self.client_ca.as_ref().map(|(path, _)| path);
        [Some(&self.cert), Some(&self.key), client_ca]
            .map(|path| path.and_then(|path| std::fs::read(path).ok()).map(Zeroizing::new))
    }

    fn parse(&self, [cert, key, client_ca]: &Contents) -> Result<Loaded, Vec<TlsProblem>> {
        let mut problems = Vec::new();
        let mut wrong = |flag, path: &Path, why: &str| {
            problems.push(TlsProblem { flag, why: format!("{}: {why}", path.display()) });
        };
        let chain = cert.as_ref().and_then(|pem| certificates(pem));
        if chain.is_none() {
            wrong("--tls-cert", &self.cert, "cannot be read, or holds no PEM certificate");
        }
        let key = key.as_ref().and_then(|pem| PrivateKeyDer::from_pem_slice(pem).ok());
        if key.is_none() {
            wrong("--tls-key", &self.key, "cannot be read, or holds no PEM private key");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut verifier = WebPkiClientVerifier::no_client_auth();
        if let Some((path, auth)) = &self.client_ca {
            let mut roots = RootCertStore::empty();
            for root in client_ca.as_ref().and_then(|pem| certificates(pem)).unwrap_or_default() {
                // What is no certificate leaves the store empty, which is told below.
                let _ = roots.add(root);
            }
            let builder =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            let builder = match auth {
                ClientAuth::Required => builder,
                ClientAuth::Optional => builder.allow_unauthenticated(),
            };
            match builder.build() {
                Ok(built) => verifier = built,
                Err(_) => {
                    wrong("--tls-client-ca", path, "cannot be read, or holds no PEM certificate");
                }
            }
        }
        let (Some(chain), Some(key), true) = (chain, key, problems.is_empty()) else {
            return Err(problems);
        };
        let not_after = chain.first().and_then(|certificate| not_after(certificate));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_client_cert_verifier(verifier).with_single_cert(chain, key)
            });
        match config {
            Ok(mut config) => {
                config.alpn_protocols = vec![b"h2".to_vec()];
                if self.http_1 {
                    config.alpn_protocols.push(b"http/1.1".to_vec());
                }
                Ok(Loaded { config: Arc::new(config), not_after })
            }
            Err(rustls::Error::InconsistentKeys(_)) => Err(vec![TlsProblem {
                flag: "--tls-key",
                why: format!(
                    "{}: does not fit the certificate {}",
                    self.key.display(),
                    self.cert.display()
                ),
            }]),
            Err(error) => Err(vec![TlsProblem {
                flag: "--tls-cert",
                why: format!("{}: {error}", self.cert.display()),
            }]),
        }
    }
}
