//! TLS for callers: the server certificate, and the CAs of callers.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::pem::{FileProblem, PemFile, When, pair};
use super::reload::{FileSource, Loaded, Reloading};
use super::x509::{names, not_after};
use crate::caller::Caller;

/// Whether a caller must present a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    Required,
    /// Callers may present none, but one that is presented must be valid.
    Optional,
}

/// The files of the server certificate and of the callers' CAs.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate and its intermediates, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The CAs of callers' certificates, PEM. Without it, callers need no certificate.
    pub client_ca: Option<(PathBuf, ClientAuth)>,
    /// Whether HTTP/1.1 is offered, for pages that use gRPC-Web.
    pub http_1: bool,
}

impl FromStr for ClientAuth {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "required" => Ok(Self::Required),
            "optional" => Ok(Self::Optional),
            _ => Err("is neither required nor optional"),
        }
    }
}

/// TLS for new connections. Open connections keep the configuration that they started with.
pub type ServerTls = Reloading<TlsFiles>;

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// All problems of the files.
    pub fn load(files: TlsFiles) -> Result<Self, Vec<FileProblem>> {
        Self::of(files)
    }

    /// Whether callers must present a certificate; none if they are not asked for one.
    pub(crate) fn client_auth(&self) -> Option<ClientAuth> {
        self.source().client_ca.as_ref().map(|(_, auth)| *auth)
    }

    /// When the certificate of this caller expires, if it presented one.
    pub(crate) fn caller_not_after(stream: &TlsStream<TcpStream>) -> Option<Timestamp> {
        not_after(stream.get_ref().1.peer_certificates()?.first()?)
    }

    /// The identity in the certificate of this caller, which the handshake has verified.
    pub(crate) fn caller(stream: &TlsStream<TcpStream>) -> Caller {
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let names = certificate.and_then(|certificate| names(certificate));
        names.map(|names| Caller::certificate(&names)).unwrap_or_default()
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current()).accept(stream).await
    }
}

/// The contents of certificate, key and client CAs.
type Content = (PemFile, PemFile, Option<(PemFile, ClientAuth)>);

impl FileSource for TlsFiles {
    type Content = Content;
    type Output = ServerConfig;

    const WHOSE: &str = "server";
    const FLAG: &str = "--tls-cert";

    fn read(&self, when: When) -> Content {
        let client_ca = self.client_ca.as_ref();
        (
            PemFile::read("--tls-cert", &self.cert, when),
            PemFile::read("--tls-key", &self.key, when),
            client_ca.map(|(path, auth)| (PemFile::read("--tls-client-ca", path, when), *auth)),
        )
    }

    fn load(
        &self,
        (cert, key, client_ca): &Content,
    ) -> Result<Loaded<ServerConfig>, Vec<FileProblem>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = match client_ca {
            Some((issuers, auth)) => verifier(issuers, *auth, &provider),
            None => Ok((WebPkiClientVerifier::no_client_auth(), Vec::new())),
        };
        let (pair, (verifier, unusable)) = match (pair(cert, key, &provider), verifier) {
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
        if client_ca.is_some() {
            // A resumed session is not verified again: its certificate may have expired, or its CA
            // may have been removed.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Loaded { value: Arc::new(config), not_after, unusable })
    }
}

fn verifier(
    issuers: &PemFile,
    auth: ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<(Arc<dyn ClientCertVerifier>, Vec<FileProblem>), FileProblem> {
    let mut roots = RootCertStore::empty();
    let unusable = issuers.add_roots(&mut roots)?;
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match auth {
        ClientAuth::Required => builder,
        ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    let verifier = builder.build().map_err(|error| issuers.problem(error))?;
    Ok((verifier, unusable))
}
