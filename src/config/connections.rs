//! What secures connections: TLS for callers; trust, certificate and proxy towards clouds.

use std::sync::Arc;

use super::check::{Check, given_secret, given_text};
use super::options::{TlsOptions, UpstreamOptions};
use crate::server::{Address, ClientAuth, Tls, TlsFiles};
use crate::upstream::{Identity, Proxy, Trust};

impl TlsOptions {
    pub(super) fn config(
        &self,
        check: &mut Check<'_>,
        listen: &Address,
        http_1: bool,
    ) -> Option<Arc<Tls>> {
        let (cert, key) = (given_text(&self.tls_cert), given_text(&self.tls_key));
        let client_ca = given_text(&self.tls_client_ca);
        let auth = match self.tls_client_auth.as_str() {
            "required" | "" => ClientAuth::Required,
            "optional" => ClientAuth::Optional,
            other => {
                let why = format!("{other:?} is neither required nor optional");
                check.wrong("--tls-client-auth", &why);
                ClientAuth::Required
            }
        };
        let (cert, key) = match (cert, key) {
            (Some(cert), Some(key)) => (cert, key),
            (Some(_), None) => {
                check.wrong("--tls-key", "is missing, while --tls-cert is set");
                return None;
            }
            (None, Some(_)) => {
                check.wrong("--tls-cert", "is missing, while --tls-key is set");
                return None;
            }
            (None, None) => {
                if client_ca.is_some() {
                    check.wrong("--tls-client-ca", "needs --tls-cert and --tls-key");
                }
                return None;
            }
        };
        if matches!(listen, Address::Unix(_)) {
            check.wrong("--tls-cert", "is for host:port, and --listen is a Unix socket");
        }
        let files = TlsFiles {
            cert: cert.into(),
            key: key.into(),
            client_ca: client_ca.map(|path| (path.into(), auth)),
            http_1,
        };
        match Tls::load(files) {
            Ok(tls) => Some(Arc::new(tls)),
            Err(problems) => {
                for problem in problems {
                    check.wrong(problem.flag, &problem.why);
                }
                None
            }
        }
    }
}

impl UpstreamOptions {
    pub(super) fn trust(&self, check: &mut Check<'_>) -> Option<Trust> {
        let path = given_text(&self.upstream_ca)?;
        let trust = std::fs::read(path)
            .map_err(|error| error.kind().to_string())
            .and_then(|pem| Trust::bundle(&pem).map_err(|error| error.to_string()));
        match trust {
            Ok(trust) => Some(trust),
            Err(why) => {
                check.wrong("--upstream-ca", &format!("{path}: {why}"));
                None
            }
        }
    }

    pub(super) fn identity(&self, check: &mut Check<'_>) -> Option<Arc<Identity>> {
        const CERT: &str = "--upstream-client-cert";
        const KEY: &str = "--upstream-client-key";
        let cert = given_text(&self.upstream_client_cert);
        let key = given_text(&self.upstream_client_key);
        match (cert, key) {
            (None, None) => None,
            (Some(_), None) => {
                check.wrong(KEY, &format!("is missing, while {CERT} is set"));
                None
            }
            (None, Some(_)) => {
                check.wrong(CERT, &format!("is missing, while {KEY} is set"));
                None
            }
            (Some(cert), Some(key)) => match Identity::load(cert, key) {
                Ok(identity) => Some(Arc::new(identity)),
                Err(problems) => {
                    for problem in problems {
                        check.wrong(problem.flag, &problem.why);
                    }
                    None
                }
            },
        }
    }

    pub(super) fn proxy(&self, check: &mut Check<'_>) -> Option<Proxy> {
        let proxy = Proxy::parse(given_secret(&self.upstream_proxy)?);
        if proxy.is_none() {
            // Not repeated: it may hold a password.
            check.wrong("--upstream-proxy", "is not a URL such as http://proxy.example:3128");
        }
        proxy
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HUAWEI, config};

    #[test]
    fn options_of_connections_are_checked_before_the_start() {
        let h = "--huawei-region=cn-north-4";
        for (args, want) in [
            (vec!["--tls-cert=/nowhere/c"], "--tls-key (SAVEPOINT_GATEWAY_TLS_KEY): is missing"),
            (vec!["--tls-key=/nowhere/k"], "--tls-cert (SAVEPOINT_GATEWAY_TLS_CERT): is missing"),
            (vec!["--tls-client-ca=/nowhere/c"], "needs --tls-cert and --tls-key"),
            (vec!["--tls-client-auth=maybe"], "\"maybe\" is neither required nor optional"),
            (vec!["--tls-cert=/nowhere/c", "--tls-key=/nowhere/k"], "/nowhere/c: cannot be read"),
            (vec!["--tls-cert=/nowhere/c", "--tls-key=/nowhere/k"], "/nowhere/k: cannot be read"),
            (
                vec!["--tls-cert=/nowhere/c", "--tls-key=/nowhere/k", "--listen=unix:/x"],
                "--listen is a Unix socket",
            ),
            (vec!["--socket-mode=rw"], "\"rw\" is not a mode"),
            (vec!["--socket-mode=1777"], "\"1777\" is not a mode"),
            (vec!["--upstream-ca=/nowhere/ca"], "/nowhere/ca: entity not found"),
            (vec!["--upstream-proxy=socks5://u:exampleSecret@h:1"], "--upstream-proxy (SAVE"),
            (vec!["--upstream-proxy=http://u:exampleSecret@h:1/path"], "--upstream-proxy (SAVE"),
        ] {
            let args = [vec![h], args].concat();
            let error = config(&args, &HUAWEI).unwrap_err();
            assert!(error.contains(want), "{want}\n{error}");
            assert!(!error.contains("exampleSecret"), "{error}");
        }
        let args = [h, "--socket-mode=0660", "--upstream-proxy=http://u:exampleSecret@h:1"];
        let (config, _) = config(&args, &HUAWEI).unwrap();
        assert_eq!(config.socket_mode, Some(0o660));
        assert!(!format!("{config:?}").contains("exampleSecret"));
    }
}
