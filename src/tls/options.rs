//! The options of TLS for callers.

use std::sync::Arc;

use clap::Args;

use super::{ClientAuth, FileProblem, ServerTls, TlsFiles};
use crate::options::problems::non_empty;
use crate::options::{Address, Problems};

/// The options of TLS for callers.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsOptions {
    /// The certificate of the gRPC port with its intermediates, PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// The key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// The issuers of callers' certificates, PEM; without it callers need none
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<String>,
    /// Whether callers must present a certificate, where --tls-client-ca is set: required or
    /// optional
    #[arg(long, value_name = "WHETHER", default_value = "required")]
    tls_client_auth: String,
}

impl TlsOptions {
    /// What the options set up. `http_1`: whether HTTP/1.1 is accepted, too.
    pub(crate) fn setup(
        &self,
        problems: &mut Problems<'_>,
        listen: &Address,
        http_1: bool,
    ) -> Option<Arc<ServerTls>> {
        let auth = match self.tls_client_auth.as_str() {
            "" => None,
            text => problems.parse("--tls-client-auth", text),
        };
        let client_ca = non_empty(&self.tls_client_ca);
        let (cert, key) = (non_empty(&self.tls_cert), non_empty(&self.tls_key));
        if cert.or(key).is_none() && client_ca.is_some() {
            problems.report("--tls-client-ca", "needs --tls-cert and --tls-key");
        }
        let (cert, key) = problems.pair(("--tls-cert", cert), ("--tls-key", key))?;
        if matches!(listen, Address::Unix(_)) {
            problems.report("--tls-cert", "is for host:port, and --listen is a Unix socket");
        }
        let files = TlsFiles {
            cert: cert.into(),
            key: key.into(),
            client_ca: client_ca.map(|path| (path.into(), auth.unwrap_or(ClientAuth::Required))),
            http_1,
        };
        ServerTls::load(files)
            .map(Arc::new)
            .map_err(|found| FileProblem::report(found, problems))
            .ok()
    }
}

impl FileProblem {
    /// Reports what is wrong with files.
    pub(crate) fn report(found: Vec<Self>, problems: &mut Problems<'_>) {
        for problem in found {
            problems.report(problem.flag, problem.why);
        }
    }
}
