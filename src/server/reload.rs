//! Reading again, on the operator's word, what is read from files.

use std::sync::Arc;

use super::Tls;
use crate::config::Config;
use crate::credential::Credentials;
use crate::huawei::ProjectLookup;
use crate::upstream::Identity;

/// Makes a server read its credentials and certificates again, at once.
#[derive(Debug, Clone)]
pub struct Reloader {
    credentials: Vec<Credentials>,
    tls: Option<Arc<Tls>>,
    identity: Option<Arc<Identity>>,
    project: Option<ProjectLookup>,
}

impl Reloader {
    pub(super) fn new(config: &Config) -> Self {
        let credentials =
            config.providers().map(|(_, provider)| provider.credentials.clone()).collect();
        Self {
            credentials,
            tls: config.tls.clone(),
            identity: config.upstream_identity.clone(),
            project: config.huawei_project.clone(),
        }
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
        if let Some(identity) = &self.identity {
            identity.reload();
        }
        if let Some(project) = &self.project {
            project.reload();
        }
    }
}
