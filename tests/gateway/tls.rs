use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use savepoint_gateway::server::{ClientAuth, Tls, TlsFiles};
use savepoint_gateway::upstream::{Proxy, Trust};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

use super::rotation::{metric, metric_is};
use crate::support::gateway::Wire;
use crate::support::{FakeCloud, Folder, Gateway, LONG, Options, Reply, get_request};

const SAVEPOINT: &str = r#"{"success":true,"requestId":"R","data":{"savepointId":"s"}}"#;
const FAILED: &str = "tls_handshakes_failed_total";

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) cert: String,
    pub(super) key: String,
}

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, last_year: i32) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }

    pub(super) fn good(&self) -> Pair {
        self.issue(2090)
    }

    fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }
}

fn write(folder: &Folder, pair: &Pair) -> (PathBuf, PathBuf) {
    (folder.write("tls.crt", &pair.cert), folder.write("tls.key", &pair.key))
}

/// A gateway behind TLS that reads its files often.
async fn gateway(
    cloud: &FakeCloud,
    folder: &Folder,
    pair: &Pair,
    client_ca: Option<(&Authority, ClientAuth)>,
) -> Gateway {
    let (cert, key) = write(folder, pair);
    let client_ca = client_ca.map(|(ca, auth)| (folder.write("ca.crt", &ca.pem), auth));
    let tls = Tls::load(TlsFiles { cert, key, client_ca, http_1: false }).unwrap();
    let tls = Some(Arc::new(tls.with_poll(Duration::from_millis(10))));
    Gateway::start(Options { tls, ..Options::at(cloud) }).await
}

struct Caller<'a> {
    believes: &'a Authority,
    shows: Option<Pair>,
    version: &'static rustls::SupportedProtocolVersion,
}

impl Caller<'_> {
    async fn connect(&self, gateway: &Gateway) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(self.believes.roots());
        let mut config = match &self.shows {
            Some(pair) => {
                let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(gateway.address()).await?;
        let name = ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Whether a call comes through. With TLS 1.3 a caller learns after its handshake that
    /// its certificate was refused.
    async fn call(&self, gateway: &Gateway) -> bool {
        let Ok(stream) = self.connect(gateway).await else { return false };
        let Ok(wire) = Wire::over(stream).await else { return false };
        SavepointServiceClient::new(wire).get_savepoint(get_request()).await.is_ok()
    }
}

async fn cloud() -> FakeCloud {
    FakeCloud::answering(Reply::json(200, SAVEPOINT)).await
}

#[tokio::test]
async fn calls_come_over_tls_and_not_beside_it() {
    let (cloud, folder, ca) = (cloud().await, Folder::new(), Authority::new());
    let gateway = gateway(&cloud, &folder, &ca.good(), None).await;
    for version in [&TLS12, &TLS13] {
        let caller = Caller { believes: &ca, shows: None, version };
        let stream = caller.connect(&gateway).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        assert!(caller.call(&gateway).await);
    }
    let plain = TcpStream::connect(gateway.address()).await.unwrap();
    let mut client = SavepointServiceClient::new(Wire::over(plain).await.unwrap());
    client.get_savepoint(get_request()).await.unwrap_err();
    metric_is(&gateway, FAILED, |failed| failed == 1).await;
    let expiry = "tls_certificate_expiry_timestamp_seconds";
    metric_is(&gateway, expiry, |expiry| expiry == 3_786_912_000).await;
}

#[tokio::test]
async fn callers_show_a_good_certificate_or_are_not_served() {
    let (cloud, folder) = (cloud().await, Folder::new());
    let (ca, other) = (Authority::new(), Authority::new());
    let certificates = [
        ("good", Some(ca.good())),
        ("none", None),
        ("expired", Some(ca.issue(2021))),
        ("of another issuer", Some(other.good())),
    ];
    for (auth, served) in [
        (ClientAuth::Required, [true, false, false, false]),
        (ClientAuth::Optional, [true, true, false, false]),
    ] {
        let gateway = gateway(&cloud, &folder, &ca.good(), Some((&ca, auth))).await;
        for version in [&TLS12, &TLS13] {
            for ((name, shows), served) in certificates.iter().zip(served) {
                let caller = Caller { believes: &ca, shows: shows.clone(), version };
                assert_eq!(caller.call(&gateway).await, served, "{auth:?} {name} {version:?}");
            }
        }
        let failed = 2 * served.iter().filter(|served| !**served).count() as u64;
        metric_is(&gateway, FAILED, |found| found == failed).await;
    }
}

#[tokio::test]
async fn a_certificate_changes_while_calls_flow() {
    let (cloud, folder) = (cloud().await, Folder::new());
    let (old, new) = (Authority::new(), Authority::new());
    let gateway = gateway(&cloud, &folder, &old.good(), None).await;
    let of_old = Caller { believes: &old, shows: None, version: &TLS13 };
    let of_new = Caller { believes: &new, shows: None, version: &TLS13 };
    let wire = Wire::over(of_old.connect(&gateway).await.unwrap()).await.unwrap();
    let mut open = SavepointServiceClient::new(wire);

    // The certificate comes first, and its key does not fit yet.
    let pair = new.good();
    folder.write("tls.crt", &pair.cert);
    let refused = r#"tls_reloads_total{outcome="failure"}"#;
    metric_is(&gateway, refused, |refused| refused >= 1).await;
    assert!(of_old.call(&gateway).await);
    open.get_savepoint(get_request()).await.unwrap();

    folder.write("tls.key", &pair.key);
    let taken = r#"tls_reloads_total{outcome="success"}"#;
    metric_is(&gateway, taken, |taken| taken == 1).await;
    assert!(of_new.call(&gateway).await);
    assert!(!of_old.call(&gateway).await);
    open.get_savepoint(get_request()).await.unwrap();

    for spoiled in ["", "-----BEGIN CERTIFICATE-----\nhalf"] {
        let before = metric(&gateway, refused).await;
        folder.write("tls.crt", spoiled);
        gateway.reload();
        metric_is(&gateway, refused, |refused| refused > before).await;
        assert!(of_new.call(&gateway).await);
    }
}

#[tokio::test]
async fn whom_to_believe_changes_with_its_file() {
    let (cloud, folder) = (cloud().await, Folder::new());
    let (ca, next) = (Authority::new(), Authority::new());
    let auth = ClientAuth::Required;
    let gateway = gateway(&cloud, &folder, &ca.good(), Some((&ca, auth))).await;
    let caller = Caller { believes: &ca, shows: Some(next.good()), version: &TLS13 };
    assert!(!caller.call(&gateway).await);
    folder.write("ca.crt", &next.pem);
    metric_is(&gateway, r#"tls_reloads_total{outcome="success"}"#, |taken| taken == 1).await;
    assert!(caller.call(&gateway).await);
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_ended() {
    let (cloud, folder, ca) = (cloud().await, Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let tls = Tls::load(TlsFiles { cert, key, client_ca: None, http_1: false }).unwrap();
    let options = Options {
        tls: Some(Arc::new(tls)),
        handshake_timeout: Duration::from_millis(20),
        ..Options::at(&cloud)
    };
    let gateway = Gateway::start(options).await;
    let mut silent = TcpStream::connect(gateway.address()).await.unwrap();
    let end = tokio::time::timeout(LONG, silent.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    metric_is(&gateway, FAILED, |failed| failed == 1).await;
}

#[test]
fn files_that_do_not_fit_are_told_by_flag_and_path() {
    let (folder, ca) = (Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let other_key = folder.write("other.key", ca.good().key);
    let nowhere = folder.path().join("nowhere");
    let required = |path: &PathBuf| Some((path.clone(), ClientAuth::Required));
    for (cert, key, client_ca, want) in [
        (&nowhere, &nowhere, required(&nowhere), vec!["cert", "key", "client-ca"]),
        (&key, &cert, None, vec!["cert", "key"]),
        (&cert, &key, required(&key), vec!["client-ca"]),
        (&cert, &other_key, None, vec!["key"]),
    ] {
        let files = TlsFiles { cert: cert.clone(), key: key.clone(), client_ca, http_1: false };
        let problems = Tls::load(files).unwrap_err();
        let flags: Vec<_> =
            problems.iter().map(|p| p.flag.strip_prefix("--tls-").unwrap()).collect();
        assert_eq!(flags, want);
        for problem in problems {
            assert!(problem.why.starts_with(folder.path().to_str().unwrap()), "{problem}");
            assert!(!problem.why.contains("BEGIN"), "{problem}");
        }
    }
}

/// A cloud behind TLS, with a certificate of this authority: the origin, and its task.
async fn tls_cloud(ca: &Authority) -> (String, tokio::task::JoinHandle<()>) {
    let pair = ca.good();
    let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {
                line.clear();
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", SAVEPOINT.len());
            let _ = stream.write_all(format!("{head}{SAVEPOINT}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (origin, serving)
}

#[tokio::test]
async fn a_cloud_is_believed_by_the_configured_bundle_only() {
    let (ca, other) = (Authority::new(), Authority::new());
    let (origin, serving) = tls_cloud(&ca).await;
    for (bundle, served) in
        [(ca.pem.clone(), true), (other.pem.clone(), false), (other.pem.clone() + &ca.pem, true)]
    {
        let gateway = Gateway::start(Options {
            alibaba: Some(origin.clone()),
            upstream_ca: Some(Trust::bundle(bundle.as_bytes()).unwrap()),
            ..Options::none()
        })
        .await;
        let result = gateway.client().await.get_savepoint(get_request()).await;
        assert_eq!(result.is_ok(), served, "{result:?}");
    }
    for broken in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Trust::bundle(broken.as_bytes()).is_err(), "{broken:?}");
    }
    serving.abort();
}

#[tokio::test]
async fn a_proxy_sees_the_name_of_the_cloud_and_nothing_else() {
    let ca = Authority::new();
    let (origin, serving) = tls_cloud(&ca).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://user:exampleSecret@{}/", listener.local_addr().unwrap());
    let (told, mut heads) = tokio::sync::mpsc::unbounded_channel();
    let target = origin.strip_prefix("https://").unwrap().to_owned();
    let proxying = tokio::spawn({
        let target = target.clone();
        async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while stream.read_line(&mut head).await.unwrap() > 2 {}
            told.send(head).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let mut cloud = TcpStream::connect(target).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut cloud).await;
        }
    });
    let proxy = Proxy::parse(&proxy).unwrap();
    assert!(!format!("{proxy:?}").contains("exampleSecret"));
    let gateway = Gateway::start(Options {
        alibaba: Some(origin),
        upstream_ca: Some(Trust::bundle(ca.pem.as_bytes()).unwrap()),
        upstream_proxy: Some(proxy),
        ..Options::none()
    })
    .await;
    gateway.client().await.get_savepoint(get_request()).await.unwrap();
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")), "{head}");
    assert!(head.to_lowercase().contains("proxy-authorization: basic "), "{head}");
    assert!(!head.contains("/api/v2"), "{head}");
    proxying.abort();
    serving.abort();
}
