use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use savepoint_gateway::tls::{ClientAuth, ClientIdentity, ServerTls, TlsFiles, Trust};
use savepoint_gateway::transport::Proxy;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tonic::Code;
use tonic_types::StatusExt;

use super::operators::admin_get;
use super::rotation::{metric, metric_is};
use crate::support::gateway::Wire;
use crate::support::{
    FakeCloud, Folder, Gateway, LONG, Options, Reply, get_request, import_request, watch_request,
};
use crate::watch::{next, nothing_is_left, quick, savepoint};

const SAVEPOINT: &str = r#"{"success":true,"requestId":"R","data":{"savepointId":"s"}}"#;
const FAILED: &str = "savepoint_gateway_tls_handshakes_failed_total";

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) cert: String,
    pub(super) key: String,
}

impl Pair {
    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

pub(super) struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Different names: otherwise only the keys would distinguish the authorities.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(super) fn issue(&self, last_year: i32) -> Pair {
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

    pub(super) fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }
}

pub(super) fn write(folder: &Folder, pair: &Pair) -> (PathBuf, PathBuf) {
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
    let tls = ServerTls::load(TlsFiles { cert, key, client_ca, http_1: false }).unwrap();
    let tls = Some(Arc::new(tls.with_times(Duration::from_millis(10), Duration::ZERO)));
    Gateway::start(Options::at(cloud).with(|config| config.server.tls = tls)).await
}

pub(super) struct Caller<'a> {
    pub(super) believes: &'a Authority,
    pub(super) shows: Option<Pair>,
    pub(super) version: &'static rustls::SupportedProtocolVersion,
}

impl Caller<'_> {
    pub(crate) async fn connect(&self, gateway: &Gateway) -> std::io::Result<TlsStream<TcpStream>> {
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
    pub(super) async fn call(&self, gateway: &Gateway) -> bool {
        let Ok(stream) = self.connect(gateway).await else { return false };
        let Ok(wire) = Wire::over(stream).await else { return false };
        SavepointServiceClient::new(wire).get_savepoint(get_request()).await.is_ok()
    }
}

/// The protocol that a server chooses among these, or why it does not.
pub(super) async fn negotiated(
    believes: &Authority,
    address: &str,
    offered: &[&[u8]],
) -> Result<Option<Vec<u8>>, String> {
    let stream = over_tls(believes, address, offered).await.map_err(|error| error.to_string())?;
    Ok(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
}

async fn over_tls(
    believes: &Authority,
    address: &str,
    offered: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(believes.roots())
        .with_no_client_auth();
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn a_page_calls_over_tls_and_http_1() {
    let (cloud, folder, ca) = (cloud().await, Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let tls = ServerTls::load(TlsFiles { cert, key, client_ca: None, http_1: true }).unwrap();
    let origin = "https://page.example";
    let options = Options::at(&cloud).with(|config| {
        config.server.tls = Some(Arc::new(tls));
        config.server.grpc_web_origins = vec![http::HeaderValue::from_static(origin)];
    });
    let gateway = Gateway::start(options).await;
    let mut stream = over_tls(&ca, gateway.address(), &[b"http/1.1"]).await.unwrap();
    let message = prost::Message::encode_to_vec(&get_request());
    let body = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat();
    let head = format!(
        "POST /savepoint.v1.SavepointService/GetSavepoint HTTP/1.1\r\nhost: h\r\norigin: {origin}\r\n\
         content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("grpc-status:0"), "{answer}");
}

async fn cloud() -> FakeCloud {
    FakeCloud::answering(Reply::json(200, SAVEPOINT)).await
}

/// Hostile input 48.
#[tokio::test]
async fn calls_are_served_over_tls_and_not_in_plaintext() {
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
    let expiry = "savepoint_gateway_tls_certificate_expiry_timestamp_seconds";
    metric_is(&gateway, expiry, |expiry| expiry == 3_786_912_000).await;
}

/// Hostile input 50.
#[tokio::test]
async fn callers_without_a_valid_certificate_are_not_served() {
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
async fn a_watch_streams_over_mutual_tls() {
    let cloud = FakeCloud::start(|_, before| match before {
        0 => savepoint("STARTED", ""),
        _ => Reply::Held(Box::new(savepoint("COMPLETED", ""))),
    })
    .await;
    let (folder, ca) = (Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let client_ca = Some((folder.write("ca.crt", &ca.pem), ClientAuth::Required));
    let tls = ServerTls::load(TlsFiles { cert, key, client_ca, http_1: false }).unwrap();
    let options = quick(&cloud).with(|config| config.server.tls = Some(Arc::new(tls)));
    let gateway = Gateway::start(options).await;
    for version in [&TLS12, &TLS13] {
        let caller = Caller { believes: &ca, shows: Some(ca.good()), version };
        let stream = caller.connect(&gateway).await.unwrap();
        let mut client = SavepointServiceClient::new(Wire::over(stream).await.unwrap());
        let mut stream = client.watch_savepoint(watch_request()).await.unwrap().into_inner();
        next(&mut stream).await.unwrap().expect("a message before the next poll is answered");
        cloud.release();
        while next(&mut stream).await.unwrap().is_some() {}
        nothing_is_left(&gateway, "mutual TLS").await;
    }
    let stranger = Caller { believes: &ca, shows: None, version: &TLS13 };
    assert!(!stranger.call(&gateway).await);
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
    let refused = r#"savepoint_gateway_tls_reloads_total{outcome="failure"}"#;
    metric_is(&gateway, refused, |refused| refused >= 1).await;
    assert!(of_old.call(&gateway).await);
    open.get_savepoint(get_request()).await.unwrap();

    folder.write("tls.key", &pair.key);
    let taken = r#"savepoint_gateway_tls_reloads_total{outcome="success"}"#;
    metric_is(&gateway, taken, |taken| taken == 1).await;
    assert!(of_new.call(&gateway).await);
    assert!(!of_old.call(&gateway).await);
    open.get_savepoint(get_request()).await.unwrap();

    let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let spoil: [&dyn Fn(); 7] = [
        &|| drop(folder.write("tls.crt", "")),
        &|| drop(folder.write("tls.crt", &pair.cert[..pair.cert.len() / 2])),
        &|| drop(folder.write("tls.crt", [0xff, 0xfe, 0x00])),
        &|| drop(folder.write("tls.key", "\u{feff}")),
        &|| drop(folder.write("tls.key", old.good().key)),
        &|| std::fs::remove_file(&cert).unwrap(),
        // Also root cannot read it.
        &|| std::fs::remove_file(&key).and_then(|()| std::fs::create_dir(&key)).unwrap(),
    ];
    for spoil in spoil {
        let before = metric(&gateway, refused).await;
        spoil();
        gateway.reload();
        metric_is(&gateway, refused, |refused| refused > before).await;
        assert!(of_new.call(&gateway).await);
    }
}

#[tokio::test]
async fn the_client_ca_changes_with_its_file() {
    let (cloud, folder) = (cloud().await, Folder::new());
    let (ca, next) = (Authority::new(), Authority::new());
    let auth = ClientAuth::Required;
    let gateway = gateway(&cloud, &folder, &ca.good(), Some((&ca, auth))).await;
    let caller = Caller { believes: &ca, shows: Some(next.good()), version: &TLS13 };
    assert!(!caller.call(&gateway).await);
    folder.write("ca.crt", &next.pem);
    metric_is(&gateway, r#"savepoint_gateway_tls_reloads_total{outcome="success"}"#, |taken| {
        taken == 1
    })
    .await;
    assert!(caller.call(&gateway).await);
    let refused = r#"savepoint_gateway_tls_reloads_total{outcome="failure"}"#;
    for spoiled in ["", "\u{feff}", &next.pem[..next.pem.len() / 2]] {
        let before = metric(&gateway, refused).await;
        folder.write("ca.crt", spoiled);
        metric_is(&gateway, refused, |refused| refused > before).await;
        assert!(caller.call(&gateway).await);
    }
}

#[tokio::test]
async fn a_stalled_handshake_is_closed() {
    let (cloud, folder, ca) = (cloud().await, Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let tls = ServerTls::load(TlsFiles { cert, key, client_ca: None, http_1: false }).unwrap();
    let options = Options::at(&cloud).with(|config| {
        config.server.tls = Some(Arc::new(tls));
        config.server.peer_timeout = Duration::from_millis(20);
    });
    let gateway = Gateway::start(options).await;
    let mut silent = TcpStream::connect(gateway.address()).await.unwrap();
    let end = tokio::time::timeout(LONG, silent.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    metric_is(&gateway, FAILED, |failed| failed == 1).await;
}

#[test]
fn unusable_files_are_reported_by_flag_and_path() {
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
        let problems = ServerTls::load(files).unwrap_err();
        let flags: Vec<_> =
            problems.iter().map(|p| p.flag.strip_prefix("--tls-").unwrap()).collect();
        assert_eq!(flags, want);
        for problem in problems {
            assert!(problem.why.starts_with(folder.path().to_str().unwrap()), "{problem}");
            assert!(!problem.why.contains("BEGIN"), "{problem}");
        }
    }
}

/// A provider over TLS, with a certificate of this authority: the origin, and its task.
pub(super) async fn tls_provider(ca: &Authority) -> (String, tokio::task::JoinHandle<()>) {
    let (origin, serving, _) = requesting_provider(ca, None, &[&TLS12, &TLS13]).await;
    (origin, serving)
}

/// The same, which requests a certificate of another authority, and returns the ones that it got.
async fn requesting_provider(
    ca: &Authority,
    asks_for: Option<&Authority>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (String, tokio::task::JoinHandle<()>, mpsc::UnboundedReceiver<Vec<u8>>) {
    provider_with(ca.good(), asks_for, versions).await
}

/// The same with this certificate.
pub(super) async fn provider_with(
    pair: Pair,
    asks_for: Option<&Authority>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (String, tokio::task::JoinHandle<()>, mpsc::UnboundedReceiver<Vec<u8>>) {
    let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = match asks_for {
        Some(issuer) => {
            let roots = Arc::new(issuer.roots());
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .unwrap()
        }
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![cert], key)
        .unwrap();
    let (shown, certificates) = mpsc::unbounded_channel();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = match acceptor.accept(stream).into_fallible().await {
                Ok(stream) => stream,
                Err((_, mut stream)) => {
                    // A close with the request unread would be a reset, which can overtake
                    // the alert.
                    tokio::spawn(async move {
                        let _ = stream.shutdown().await;
                        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                    });
                    continue;
                }
            };
            if let Some([first, ..]) = stream.get_ref().1.peer_certificates() {
                let _ = shown.send(first.to_vec());
            }
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
    (origin, serving, certificates)
}

/// A gateway to that provider, with this client certificate.
async fn shows(ca: &Authority, origin: &str, identity: Option<ClientIdentity>) -> Gateway {
    let options = Options { alibaba: Some(origin.to_owned()), ..Options::none() };
    Gateway::start(options.with(|config| {
        config.upstream.ca = Some(Trust::bundle(ca.pem.as_bytes()).unwrap());
        config.upstream.identity = identity.map(Arc::new);
    }))
    .await
}

fn der(pair: &Pair) -> Vec<u8> {
    CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap().to_vec()
}

#[tokio::test]
async fn a_provider_that_requests_a_certificate_gets_the_configured_one() {
    let (ca, callers, other) = (Authority::new(), Authority::new(), Authority::new());
    for version in [&TLS12, &TLS13] {
        let (origin, serving, mut shown) =
            requesting_provider(&ca, Some(&callers), &[version]).await;
        let good = callers.good();
        for (name, pair, served) in [
            ("good", Some(&good), true),
            ("none", None, false),
            ("expired", Some(&callers.issue(2021)), false),
            ("of another issuer", Some(&other.good()), false),
        ] {
            let folder = Folder::new();
            let identity = pair.map(|pair| {
                let (cert, key) = write(&folder, pair);
                ClientIdentity::load(cert, key).unwrap()
            });
            let gateway = shows(&ca, &origin, identity).await;
            let result = gateway.client().await.get_savepoint(get_request()).await;
            match (result, served) {
                (Ok(_), true) => assert_eq!(shown.recv().await.unwrap(), der(&good)),
                (Err(status), false) => {
                    let info = status.get_error_details().error_info().unwrap().clone();
                    let want = "PROVIDER_CERTIFICATE_REJECTED";
                    assert_eq!(info.reason, want, "{name} {version:?}: {status:?}");
                    assert!(status.message().contains("client certificate"), "{name}: {status}");
                }
                (result, _) => panic!("{name} {version:?}: {result:?}"),
            }
        }
        serving.abort();
    }
}

#[tokio::test]
async fn the_certificate_for_providers_changes_with_its_files_and_never_for_a_worse_one() {
    let (ca, callers) = (Authority::new(), Authority::new());
    let (origin, serving, mut shown) =
        requesting_provider(&ca, Some(&callers), &[&TLS12, &TLS13]).await;
    let folder = Folder::new();
    let (old, new) = (callers.good(), callers.good());
    let (cert, key) = write(&folder, &old);
    let identity = ClientIdentity::load(&cert, &key)
        .unwrap()
        .with_times(Duration::from_millis(10), Duration::ZERO);
    let gateway = shows(&ca, &origin, Some(identity)).await;
    let mut client = gateway.client().await;
    let mut call = async || {
        client.get_savepoint(get_request()).await.unwrap();
        shown.recv().await.unwrap()
    };
    assert_eq!(call().await, der(&old));
    let refused = r#"savepoint_gateway_upstream_tls_reloads_total{outcome="failure"}"#;
    let spoil: [&dyn Fn(); 6] = [
        &|| drop(folder.write("tls.crt", "")),
        &|| drop(folder.write("tls.crt", &old.cert[..old.cert.len() / 2])),
        &|| drop(folder.write("tls.key", "\u{feff}")),
        &|| drop(folder.write("tls.key", &new.key)),
        &|| drop(folder.write("tls.crt", [0xff, 0x00])),
        // Also root cannot read it.
        &|| std::fs::remove_file(&key).and_then(|()| std::fs::create_dir(&key)).unwrap(),
    ];
    for spoil in spoil {
        let before = metric(&gateway, refused).await;
        spoil();
        metric_is(&gateway, refused, |found| found > before).await;
        assert_eq!(call().await, der(&old));
    }
    std::fs::remove_dir(&key).unwrap();
    folder.write("tls.crt", &new.cert);
    folder.write("tls.key", &new.key);
    gateway.reload();
    let taken = r#"savepoint_gateway_upstream_tls_reloads_total{outcome="success"}"#;
    metric_is(&gateway, taken, |taken| taken >= 1).await;
    assert_eq!(call().await, der(&new));
    let expiry = "savepoint_gateway_upstream_tls_certificate_expiry_timestamp_seconds";
    assert_eq!(metric(&gateway, expiry).await, 3_786_912_000);
    for shown in [gateway.log(), admin_get(&gateway, "/metrics").await] {
        assert!(!shown.contains("PRIVATE KEY"), "{shown}");
    }
    serving.abort();
}

#[test]
fn an_unusable_certificate_for_providers_is_reported_by_flag_and_path_and_not_shown() {
    let (folder, ca) = (Folder::new(), Authority::new());
    let pair = ca.good();
    let (cert, key) = write(&folder, &pair);
    let other_key = folder.write("other.key", ca.good().key);
    let nowhere = folder.path().join("nowhere");
    for (cert, key, want) in [
        (&nowhere, &nowhere, vec!["cert", "key"]),
        (&key, &cert, vec!["cert", "key"]),
        (&cert, &other_key, vec!["key"]),
    ] {
        let problems = ClientIdentity::load(cert, key).unwrap_err();
        let flags: Vec<_> =
            problems.iter().map(|p| p.flag.strip_prefix("--upstream-client-").unwrap()).collect();
        assert_eq!(flags, want);
        assert!(problems.iter().all(|problem| !problem.why.contains("BEGIN")), "{problems:?}");
    }
    let shown = format!("{:?}", ClientIdentity::load(&cert, &key).unwrap());
    let inside = pair.key.lines().nth(1).unwrap();
    assert!(!shown.contains(inside) && !shown.contains("BEGIN"), "{shown}");
}

#[tokio::test]
async fn a_provider_is_trusted_by_the_configured_bundle_only() {
    let (ca, other) = (Authority::new(), Authority::new());
    let (origin, serving) = tls_provider(&ca).await;
    for (bundle, served) in
        [(ca.pem.clone(), true), (other.pem.clone(), false), (other.pem.clone() + &ca.pem, true)]
    {
        let options = Options { alibaba: Some(origin.clone()), ..Options::none() };
        let trust = Trust::bundle(bundle.as_bytes()).unwrap();
        let gateway = Gateway::start(options.with(|config| config.upstream.ca = Some(trust))).await;
        let result = gateway.client().await.get_savepoint(get_request()).await;
        assert_eq!(result.is_ok(), served, "{result:?}");
    }
    for broken in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Trust::bundle(broken.as_bytes()).is_err(), "{broken:?}");
    }
    serving.abort();
}

/// Hostile input 70.
#[tokio::test]
async fn an_untrusted_certificate_is_rejected_without_another_attempt() {
    let (origin, serving) = tls_provider(&Authority::new()).await;
    let gateway = Gateway::start(Options {
        huawei: Some(origin.clone()),
        alibaba: Some(origin),
        ..Options::none()
    })
    .await;
    let mut client = gateway.client().await;
    let import = client.import_savepoint(import_request()).await.unwrap_err();
    let get = client.get_savepoint(get_request()).await.unwrap_err();
    for status in [import, get] {
        assert_eq!(status.code(), Code::Internal, "{status}");
        let info = status.get_error_details().error_info().unwrap().clone();
        assert_eq!(info.reason, "PROVIDER_CERTIFICATE_REJECTED", "{status}");
        assert_eq!(info.metadata["attempts"], "1");
    }
    serving.abort();
}

#[tokio::test]
async fn a_proxy_sees_the_name_of_the_provider_and_nothing_else() {
    let ca = Authority::new();
    let (origin, serving) = tls_provider(&ca).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://user:exampleSecret@{}/", listener.local_addr().unwrap());
    let (sender, mut heads) = tokio::sync::mpsc::unbounded_channel();
    let target = origin.strip_prefix("https://").unwrap().to_owned();
    let proxying = tokio::spawn({
        let target = target.clone();
        async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while stream.read_line(&mut head).await.unwrap() > 2 {}
            sender.send(head).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let mut cloud = TcpStream::connect(target).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut cloud).await;
        }
    });
    let proxy = Proxy::parse(&proxy).unwrap();
    assert!(!format!("{proxy:?}").contains("exampleSecret"));
    let options = Options { alibaba: Some(origin), ..Options::none() };
    let gateway = Gateway::start(options.with(|config| {
        config.upstream.ca = Some(Trust::bundle(ca.pem.as_bytes()).unwrap());
        config.upstream.proxy = Some(proxy);
    }))
    .await;
    gateway.client().await.get_savepoint(get_request()).await.unwrap();
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with(&format!("CONNECT {target} HTTP/1.1\r\n")), "{head}");
    assert!(head.to_lowercase().contains("proxy-authorization: basic "), "{head}");
    assert!(!head.contains("/api/v2"), "{head}");
    proxying.abort();
    serving.abort();
}
