//! The CAs of providers, of credential services and of a collector.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::Resumption;

use super::ClientIdentity;
use super::pem::{FileProblem, PemFile, When};
use crate::files;
use crate::options::environment;

const CERT_FILE: &str = "SSL_CERT_FILE";
const CERT_DIR: &str = "SSL_CERT_DIR";

#[derive(Debug, Clone)]
pub struct Trust {
    config: Arc<rustls::ClientConfig>,
    unusable: Arc<[FileProblem]>,
}

impl Trust {
    /// The CAs that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, else those of the platform, else
    /// Mozilla's bundled ones, as in an image without a certificate store.
    pub(crate) fn platform() -> Result<Self, FileProblem> {
        let variable = |name| {
            let why = "is not text".to_owned();
            environment(name).map_err(|_| FileProblem { flag: name, why })
        };
        if let (None, None) = (variable(CERT_FILE)?, variable(CERT_DIR)?) {
            let mut roots = RootCertStore::empty();
            let platform = || rustls_native_certs::load_native_certs().certs;
            let found = files::at_start(files::LIMIT, platform).ok_or_else(|| FileProblem {
                flag: CERT_FILE,
                why: "is not set, and the platform's certificates cannot be read: the file system \
                      does not respond"
                    .to_owned(),
            })?;
            roots.add_parsable_certificates(found);
            if roots.is_empty() {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
            return Self::of(roots, Vec::new())
                .map_err(|error| FileProblem { flag: CERT_FILE, why: error.to_string() });
        }
        Self::named(variable(CERT_FILE)?.as_deref(), variable(CERT_DIR)?.as_deref())
    }

    /// The CAs in this file, and in the files of these folders.
    fn named(file: Option<&str>, folders: Option<&str>) -> Result<Self, FileProblem> {
        let mut roots = RootCertStore::empty();
        let mut unusable = Vec::new();
        let file = file.map(|path| (CERT_FILE, PathBuf::from(path)));
        let folders = folders.unwrap_or_default().split(':').filter(|path| !path.is_empty());
        let mut paths: Vec<_> = file.into_iter().collect();
        for folder in folders {
            match listed(Path::new(folder)) {
                Ok(found) => paths.extend(found.into_iter().map(|path| (CERT_DIR, path))),
                Err(why) => unusable.push(FileProblem { flag: CERT_DIR, why }),
            }
        }
        for (variable, path) in paths {
            let file = PemFile::read(variable, &path, When::Start);
            match file.add_roots(&mut roots) {
                Ok(more) => unusable.extend(more),
                // `c_rehash` leaves dangling links, and folders may have other things in them.
                Err(_) if variable == CERT_DIR && !path.is_file() => {}
                Err(problem) => unusable.push(problem),
            }
        }
        if roots.is_empty() {
            return Err(unusable.into_iter().next().unwrap_or_else(|| FileProblem {
                flag: CERT_DIR,
                why: "names no folder with a PEM certificate".to_owned(),
            }));
        }
        Self::of(roots, unusable)
            .map_err(|error| FileProblem { flag: CERT_FILE, why: error.to_string() })
    }

    /// Only the CAs in this PEM file. `flag` names it.
    pub(crate) fn of_file(flag: &'static str, path: &Path) -> Result<Self, FileProblem> {
        let file = PemFile::read(flag, path, When::Start);
        let mut roots = RootCertStore::empty();
        let unusable = file.add_roots(&mut roots)?;
        Self::of(roots, unusable).map_err(|error| file.problem(error))
    }

    /// Only the CAs in this PEM text.
    ///
    /// # Errors
    /// If it has no valid certificate.
    pub fn bundle(pem: &[u8]) -> Result<Self, FileProblem> {
        let file = PemFile::of_text("the bundle", pem);
        let mut roots = RootCertStore::empty();
        let unusable = file.add_roots(&mut roots)?;
        Self::of(roots, unusable).map_err(|error| file.problem(error))
    }

    /// No CAs: enough for endpoints without TLS, and fast.
    pub(crate) fn nothing() -> Result<Self, rustls::Error> {
        Self::of(RootCertStore::empty(), Vec::new())
    }

    fn of(roots: RootCertStore, unusable: Vec<FileProblem>) -> Result<Self, rustls::Error> {
        // Named explicitly, because rustls cannot choose if another crate brings a second provider.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), unusable: unusable.into() })
    }

    /// Certificates that are ignored.
    pub(crate) fn ignored(&self) -> &[FileProblem] {
        &self.unusable
    }

    /// Tells of certificates that are ignored.
    pub(crate) fn warn(&self) {
        FileProblem::warn(&self.unusable);
    }

    pub(crate) fn http_1(&self) -> &Arc<rustls::ClientConfig> {
        &self.config
    }

    pub(crate) fn http_2(&self) -> Arc<rustls::ClientConfig> {
        let mut config = (*self.config).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// The same CAs, with a client certificate for providers that request one.
    #[must_use]
    pub(crate) fn with_identity(self, identity: Arc<ClientIdentity>) -> Self {
        let mut config = (*self.config).clone();
        config.client_auth_cert_resolver = identity;
        // A resumed session would keep the certificate that it started with.
        config.resumption = Resumption::disabled();
        Self { config: Arc::new(config), ..self }
    }
}

/// The paths in a folder, in a stable order.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let path = folder.to_owned();
    let list = move || {
        let entries = std::fs::read_dir(&path)?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        std::io::Result::Ok(paths)
    };
    let found = files::at_start(files::LIMIT, list);
    let found = found.map(|result| result.map_err(files::FileError::from));
    found
        .unwrap_or(Err(files::FileError::Hung))
        .map_err(|why| format!("{}: {why}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn the_files_of_the_platforms_variables_keep_the_rules_of_all_files() {
        let name = format!("savepoint-gateway-trust-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        let certs = folder.join("certs");
        std::fs::create_dir_all(certs.join("folder")).unwrap();
        let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("one.pem", &certificate("one"));
        write("mixed.pem", &(broken.to_owned() + &certificate("two")));
        write("broken.pem", broken);
        write("certs/a.pem", &certificate("three"));
        write("certs/b.pem", broken);
        std::os::unix::fs::symlink("nowhere", certs.join("dangling")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", certs.join("zero")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.join("zero")).unwrap();
        let problems = |file: Option<&str>, folders: Option<&str>| {
            let (file, folders) = (file.map(at), folders.map(at));
            Trust::named(file.as_deref(), folders.as_deref())
                .map(|trust| trust.unusable.iter().map(|found| found.why.clone()).collect())
                .map_err(|problem| problem.why)
        };
        let none: Vec<String> = Vec::new();
        assert_eq!(problems(Some("one.pem"), None), Ok(none));
        for (file, folders, want) in [
            (Some("mixed.pem"), None, &["certificate 1"][..]),
            (None, Some("certs"), &["b.pem"]),
            (Some("broken.pem"), Some("certs"), &["broken.pem", "b.pem"]),
            (Some("one.pem"), Some("elsewhere"), &["elsewhere"]),
        ] {
            let found = problems(file, folders).unwrap();
            assert_eq!(found.len(), want.len(), "{found:?}");
            for (found, want) in found.iter().zip(want) {
                assert!(found.contains(want), "{found:?}");
            }
        }
        for (file, want) in [
            ("broken.pem", "no valid PEM certificate"),
            ("zero", "not a regular file"),
            ("nowhere", "does not exist"),
            ("certs", "not a regular file"),
        ] {
            let problem = problems(Some(file), None).unwrap_err();
            assert!(problem.contains(want), "{problem}");
        }
        assert!(problems(None, Some("certs/folder")).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
