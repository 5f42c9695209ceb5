//! The options of TLS for callers.

use std::sync::Arc;

use clap::Args;

use super::{ClientAuth, FileProblem, ServerTls, TlsFiles};
use crate::options::problems::non_empty;
use crate::options::{Address, Problems};

/// The options of TLS for callers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Listeners")]
pub(crate) struct TlsOptions {
    /// Certificate of the gRPC port, PEM
    ///
    /// With its intermediates
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// CAs of callers' certificates, PEM
    ///
    /// Without it callers need no certificate
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<String>,
    /// Whether callers must present a certificate if --tls-client-ca is set: required or optional
    /// [default: required]
    #[arg(long, hide_short_help = true, value_name = "WHETHER")]
    tls_client_auth: Option<String>,
}

impl TlsOptions {
    /// Loads the files. `http_1`: whether HTTP/1.1 is accepted as well.
    pub(crate) fn setup(
        &self,
        problems: &mut Problems<'_>,
        listen: &Address,
        http_1: bool,
    ) -> Option<Arc<ServerTls>> {
        let auth = non_empty(&self.tls_client_auth);
        let client_ca = non_empty(&self.tls_client_ca);
        if client_ca.is_none() {
            let options = [("--tls-client-auth", auth)];
            problems.without_effect(&options, "without --tls-client-ca");
        }
        let auth = auth.and_then(|text| problems.parse("--tls-client-auth", text));
        let (cert, key) = (non_empty(&self.tls_cert), non_empty(&self.tls_key));
        if cert.or(key).is_none() {
            let options = [("--tls-client-ca", client_ca)];
            problems.without_effect(&options, "without --tls-cert and --tls-key");
        }
        let (cert, key) = problems.pair(("--tls-cert", cert), ("--tls-key", key))?;
        if matches!(listen, Address::Unix(_)) {
            let why = format_args!("cannot be used with --listen {listen}, a Unix socket");
            problems.report("--tls-cert", why);
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
    pub(crate) fn report(found: Vec<Self>, problems: &mut Problems<'_>) {
        for problem in found {
            problems.report(problem.flag, problem.why);
        }
    }

    /// Tells of certificates that are ignored.
    pub(super) fn warn(ignored: &[Self]) {
        for Self { flag, why } in ignored {
            tracing::warn!(option = flag, problem = why, "a CA certificate is ignored");
        }
    }
}
