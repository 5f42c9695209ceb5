//! Reading again, on the operator's word, what is read from files.

use std::sync::Arc;

use super::Tls;
use crate::config::Config;
use crate::credential::Credentials;

/// Makes a server read its credentials and certificates again, at once.
#[derive(Debug, Clone)]
pub struct Reloader {
    credentials: Vec<Credentials>,
    tls: Option<Arc<Tls>>,
}

impl Reloader {
    pub(super) fn new(config: &Config) -> Self {
        let credentials =
            config.providers().map(|(_, provider)| provider.credentials.clone()).collect();
        Self { credentials, tls: config.tls.clone() }
    }

    /// Reads again. What cannot be read stays as it was, and the log says so.
    pub fn reload(&self) {
        tracing::info!("told to read credentials and certificates again");
        for credentials in &self.credentials {
            credentials.reload();
        }
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }
}
