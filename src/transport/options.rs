//! The options of connections to providers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::Proxy;
use crate::options::Problems;
use crate::options::problems::{HIDDEN, non_empty, non_empty_secret};
use crate::secret::Secret;
use crate::tls::{ClientIdentity, FileProblem, Trust};

/// The options of connections to providers.
#[derive(Debug, Args)]
#[command(next_help_heading = "All providers")]
pub(crate) struct UpstreamOptions {
    /// CAs of providers' certificates, PEM
    ///
    /// Instead of the platform's
    #[arg(long, hide_short_help = true, value_name = "FILE")]
    upstream_ca: Option<String>,
    /// Client certificate for providers that request one, PEM
    #[arg(long, hide_short_help = true, value_name = "FILE")]
    upstream_client_cert: Option<String>,
    /// Key of the client certificate, PEM
    #[arg(long, hide_short_help = true, value_name = "FILE")]
    upstream_client_key: Option<String>,
    /// HTTP proxy for https endpoints, used with CONNECT
    #[arg(long, hide_short_help = true, value_name = "URL")]
    upstream_proxy: Option<Secret>,
}

#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    /// CAs of providers' certificates, instead of the platform's.
    pub ca: Option<Trust>,
    /// The client certificate for providers that request one.
    pub identity: Option<Arc<ClientIdentity>>,
    pub proxy: Option<Proxy>,
    /// Time limit for connecting.
    pub connect_timeout: Duration,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self { ca: None, identity: None, proxy: None, connect_timeout: Duration::from_secs(5) }
    }
}

impl UpstreamOptions {
    /// Loads the files, and builds the configuration.
    pub(crate) fn setup(&self, problems: &mut Problems<'_>) -> UpstreamConfig {
        UpstreamConfig {
            ca: self.ca(problems),
            identity: self.identity(problems),
            proxy: self.proxy(problems),
            ..UpstreamConfig::default()
        }
    }

    /// Which of them are set.
    pub(crate) fn set(&self) -> [(&'static str, Option<&str>); 3] {
        [
            ("--upstream-ca", non_empty(&self.upstream_ca)),
            ("--upstream-client-cert", non_empty(&self.upstream_client_cert)),
            ("--upstream-proxy", non_empty_secret(&self.upstream_proxy).map(|_| HIDDEN)),
        ]
    }

    fn ca(&self, problems: &mut Problems<'_>) -> Option<Trust> {
        let trust = Trust::of_file("--upstream-ca", Path::new(non_empty(&self.upstream_ca)?));
        trust.map_err(|found| FileProblem::report(vec![found], problems)).ok()
    }

    fn identity(&self, problems: &mut Problems<'_>) -> Option<Arc<ClientIdentity>> {
        let (cert, key) = problems.pair(
            ("--upstream-client-cert", non_empty(&self.upstream_client_cert)),
            ("--upstream-client-key", non_empty(&self.upstream_client_key)),
        )?;
        let identity = ClientIdentity::load(cert, key);
        identity.map(Arc::new).map_err(|found| FileProblem::report(found, problems)).ok()
    }

    fn proxy(&self, problems: &mut Problems<'_>) -> Option<Proxy> {
        let text = non_empty_secret(&self.upstream_proxy)?;
        let proxy = Proxy::parse(text);
        if proxy.is_none() {
            // Of its text only the scheme is shown: it may contain a password.
            let scheme = text.split_once("://").map(|(scheme, _)| scheme);
            let scheme = scheme.filter(|scheme| {
                scheme.len() < 10 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
            });
            let shown = scheme.map(|scheme| format!("\"{scheme}://...\" ")).unwrap_or_default();
            problems.report(
                "--upstream-proxy",
                format_args!("{shown}is not a URL such as http://proxy.example:3128"),
            );
        }
        proxy
    }
}
