//! The first lines of the log: what the gateway is about to do, and with what.

use super::Config;
use crate::tls::ClientAuth;

impl Config {
    /// Logs the configuration in use, without any secret.
    pub fn log_start(&self) {
        let server = &self.server;
        let tls = match server.tls.as_ref().map(|tls| tls.client_auth()) {
            None => "off",
            Some(None) => "on",
            Some(Some(ClientAuth::Optional)) => "on, certificates of callers optional",
            Some(Some(ClientAuth::Required)) => "on, certificates of callers required",
        };
        let policy = match &server.policy {
            None => "off: everyone who reaches the port may call",
            Some(policy) if policy.dry_run => "dry run",
            Some(_) => "on",
        };
        let traces = self.traces.export.as_ref().map(|export| &export.endpoint);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            workers = self.workers,
            max_in_flight = self.max_in_flight,
            default_timeout = ?server.timeouts.default,
            max_timeout = ?server.timeouts.max,
            drain_timeout = ?server.drain_timeout,
            drain_delay = ?server.drain_delay,
            tls,
            policy,
            job_control = self.job_control,
            reflection = server.reflection,
            grpc_web = !server.grpc_web_origins.is_empty(),
            // Only its host: the rest may have a key.
            traces = traces.map_or("off", |uri| uri.host().unwrap_or("on")),
            proxy = self.upstream.proxy.is_some(),
            own_ca = self.upstream.ca.is_some(),
            client_certificate = self.upstream.identity.is_some(),
            "starting"
        );
        for setup in self.providers.each() {
            tracing::info!(
                provider = %setup.provider,
                cluster = setup.cluster.as_deref(),
                endpoint = setup.endpoint.origin(),
                credentials = setup.credentials.source_name(),
                default = setup.default.as_deref(),
                "provider configured"
            );
        }
    }
}
