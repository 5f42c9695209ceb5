//! The background tasks: refreshes, readiness, and reloads.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Config, Providers, client_options};
use crate::clock::Clock;
use crate::credential::{CredentialMetrics, SourceClient};
use crate::providers::LookupContext;
use crate::rpc::Error;
use crate::server::{Shared, Stage};
use crate::service::OPERATIONS;
use crate::telemetry::providers_of;
use crate::tls::Trust;
use crate::transport::{ClientOptions, Pool};

/// Starts the tasks that refresh credentials, certificates and lookups. They end with the set.
pub(super) fn start(config: &Config, shared: &Shared, trust: &Trust) -> Result<JoinSet<()>, Error> {
    let mut tasks = JoinSet::new();
    let clock = || Arc::clone(&shared.clock);
    if let Some(tls) = &config.server.tls {
        tasks.spawn(Arc::clone(tls).run(shared.tls_metrics.server.clone(), clock()));
    }
    if let Some(policy) = &config.server.policy {
        tasks.spawn(Arc::clone(&policy.file).run(shared.policy_metrics.clone(), clock()));
    }
    if let Some(identity) = &config.upstream.identity {
        tasks.spawn(Arc::clone(identity).run(shared.tls_metrics.upstream.clone(), clock()));
    }
    let remote = client_options(config, trust, 1);
    let local = ClientOptions { proxy: None, ..remote.clone() };
    let client = SourceClient::new(Pool::new(&remote), Pool::new(&local));
    // Clusters of one provider have the same credentials.
    let of_provider = |provider| config.providers.each().find(|setup| setup.provider == provider);
    let setups: Vec<_> = providers_of(OPERATIONS).into_iter().filter_map(of_provider).collect();
    let providers = setups.iter().map(|setup| setup.provider);
    let metrics = CredentialMetrics::register(shared.telemetry.metrics(), providers);
    for (setup, metrics) in setups.into_iter().zip(metrics) {
        let credentials = setup.credentials.clone();
        tasks.spawn(credentials.clone().run(setup.provider, client.clone(), clock(), metrics));
        for lookup in &setup.lookups {
            let with = LookupContext {
                credentials: credentials.clone(),
                client: client.clone(),
                clock: clock(),
                telemetry: shared.telemetry.clone(),
            };
            tasks.spawn(Arc::clone(lookup).run(with));
        }
    }
    Ok(tasks)
}

/// Sets the stage as credentials are obtained and expire.
///
/// At the start every configured provider must have a credential, so that a rollout with a wrong
/// one stops. Later the failure of one provider must not affect callers of the others.
pub(super) async fn follow_readiness(providers: &Providers, shared: &Shared) {
    for setup in providers.each() {
        setup.credentials.ready().await;
        for lookup in &setup.lookups {
            // Successful or not: requests that name a project can be served.
            lookup.attempted().await;
        }
    }
    loop {
        shared.health.set(Stage::Serving);
        all_expired(providers, &*shared.clock).await;
        shared.health.set(Stage::Expired);
        tracing::warn!("all credentials have expired");
        one_usable(providers, &shared.clock).await;
        tracing::info!("a credential is valid again");
    }
}

async fn all_expired(providers: &Providers, clock: &dyn Clock) {
    if providers.each().next().is_none() {
        return std::future::pending().await;
    }
    loop {
        for setup in providers.each() {
            setup.credentials.expired(clock).await;
        }
        // Another credential may be valid by now.
        if !providers.each().any(|setup| setup.credentials.is_usable(clock)) {
            return;
        }
    }
}

async fn one_usable(providers: &Providers, clock: &Arc<dyn Clock>) {
    let mut waiting = JoinSet::new();
    for setup in providers.each() {
        let (credentials, clock) = (setup.credentials.clone(), Arc::clone(clock));
        waiting.spawn(async move { credentials.usable(&*clock).await });
    }
    waiting.join_next().await;
}

/// Lists what is missing to serve every call, one line each.
pub(super) fn missing(providers: &Providers, clock: &dyn Clock) -> Vec<String> {
    let mut lines = Vec::new();
    for setup in providers.each() {
        let provider = setup.provider;
        if !setup.credentials.is_usable(clock) {
            let why = setup.credentials.last_error().map(|why| format!(": {why}"));
            lines.push(format!("{provider}: no credential{}", why.unwrap_or_default()));
        }
        for missing in setup.lookups.iter().filter_map(|lookup| lookup.missing()) {
            lines.push(format!("{provider}: {missing}"));
        }
    }
    lines
}

/// Reloads the credentials and certificates of a gateway.
#[derive(Debug, Clone)]
pub struct Reloader(Config);

impl Reloader {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.clone())
    }

    /// Starts a reload. Values that cannot be read stay unchanged, which is logged.
    pub fn reload(&self) {
        tracing::info!("reloading credentials and certificates");
        for setup in self.0.providers.each() {
            // Lookups follow the credential.
            setup.credentials.reload();
        }
        if let Some(tls) = &self.0.server.tls {
            tls.reload();
        }
        if let Some(policy) = &self.0.server.policy {
            policy.file.reload();
        }
        if let Some(identity) = &self.0.upstream.identity {
            identity.reload();
        }
    }
}
