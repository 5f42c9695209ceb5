use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair};
use rustls::HandshakeKind;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use savepoint_gateway::clock::{Clock, SystemClock};
use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use savepoint_gateway::tls::{ClientAuth, ClientIdentity, ServerTls, TlsFiles, Trust};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::rotation::{metric, metric_is};
use super::tls::{Authority, Pair, write};
use crate::support::gateway::Wire;
use crate::support::{
    FakeCloud, Folder, Gateway, LONG, Options, Process, Reply, eventually, get_request,
    import_request,
};

const SAVEPOINT: &str = r#"{"success":true,"requestId":"R","data":{"savepointId":"s"}}"#;

const KEY: [(&str, &str); 2] = [
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
];

async fn cloud() -> FakeCloud {
    FakeCloud::answering(Reply::json(200, SAVEPOINT)).await
}

fn server_tls(folder: &Folder, pair: &Pair, ca: Option<&Authority>) -> ServerTls {
    let (cert, key) = write(folder, pair);
    let client_ca = ca.map(|ca| (folder.write("ca.crt", &ca.pem), ClientAuth::Required));
    let tls = ServerTls::load(TlsFiles { cert, key, client_ca, http_1: false }).unwrap();
    tls.with_times(Duration::from_millis(10), Duration::ZERO)
}

/// A caller that keeps its sessions for the next connection.
fn caller(
    believes: &Authority,
    shows: Option<&Pair>,
    version: &'static rustls::SupportedProtocolVersion,
) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(believes.roots());
    let mut config = match shows {
        Some(pair) => {
            let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(pair.key().as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn connect(caller: &TlsConnector, gateway: &Gateway) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    caller.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

/// Makes a call on a new connection, and tells how its session began.
async fn call(caller: &TlsConnector, gateway: &Gateway) -> HandshakeKind {
    let stream = connect(caller, gateway).await;
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    let mut client = SavepointServiceClient::new(Wire::over(stream).await.unwrap());
    client.get_savepoint(get_request()).await.unwrap();
    kind
}

/// A resumed session would be accepted although its certificate has expired or its CA is no longer
/// trusted.
#[tokio::test]
async fn a_caller_with_a_certificate_presents_it_on_every_connection() {
    let (cloud, folder, ca) = (cloud().await, Folder::new(), Authority::new());
    for version in [&TLS12, &TLS13] {
        for (authority, resumed) in [(None, true), (Some(&ca), false)] {
            let tls = Some(Arc::new(server_tls(&folder, &ca.good(), authority)));
            let options = Options::at(&cloud).with(|config| config.server.tls = tls);
            let gateway = Gateway::start(options).await;
            let shown = ca.good();
            let caller = caller(&ca, authority.map(|_| &shown), version);
            let full = |kind| !matches!(kind, HandshakeKind::Resumed);
            assert!(full(call(&caller, &gateway).await));
            assert_eq!(!full(call(&caller, &gateway).await), resumed, "{version:?}");
        }
    }
}

/// A clock that stands just before a time of day until it is told to pass it.
#[derive(Debug)]
struct Before(Timestamp, AtomicBool);

impl Clock for Before {
    fn now(&self) -> Timestamp {
        let left = if self.1.load(Ordering::SeqCst) { 0 } else { 20 };
        self.0 - SignedDuration::from_millis(left)
    }

    fn nonce(&self) -> [u8; 16] {
        SystemClock.nonce()
    }

    fn chance(&self) -> f64 {
        SystemClock.chance()
    }
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_of_its_caller_and_its_calls_do_not() {
    let answer = Reply::json(200, r#"{"is_success":true,"message":"done"}"#);
    let (folder, ca) = (Folder::new(), Authority::new());
    for version in [&TLS12, &TLS13] {
        let cloud = FakeCloud::answering(Reply::Held(Box::new(answer.clone()))).await;
        let tls = Some(Arc::new(server_tls(&folder, &ca.good(), Some(&ca))));
        let mut options = Options::at(&cloud).with(|config| config.server.tls = tls);
        // When the certificates of this authority end.
        let end = "2090-01-01T00:00:00Z".parse().unwrap();
        let clock = Arc::new(Before(end, AtomicBool::new(false)));
        options.clock = clock.clone();
        let gateway = Gateway::start(options).await;
        let shown = ca.good();
        let caller = caller(&ca, Some(&shown), version);
        let wire = Wire::over(connect(&caller, &gateway).await).await.unwrap();
        let mut client = SavepointServiceClient::new(wire.clone());
        let importing =
            tokio::spawn(async move { client.import_savepoint(import_request()).await });
        eventually("the call is at the provider", || cloud.count() == 1).await;
        let mut idle = connect(&caller, &gateway).await;
        metric_is(&gateway, "savepoint_gateway_connections", |open| open == 2).await;

        clock.1.store(true, Ordering::SeqCst);
        let closed = tokio::time::timeout(LONG, idle.read_to_end(&mut Vec::new())).await;
        drop(closed.expect("it is closed"));
        assert!(!importing.is_finished());
        cloud.release();
        assert_eq!(importing.await.unwrap().unwrap().into_inner().message, "done");
        metric_is(&gateway, "savepoint_gateway_connections", |open| open == 0).await;
        drop(wire);
    }
}

/// A CA that the TLS library refuses: a certificate of version 2, which nobody has ever used.
fn unusable_ca(name: &str) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let pem = params.self_signed(&key).unwrap().pem();
    // The version is at a multiple of three bytes.
    let (before, after) = pem.split_once("AwIBAg").unwrap();
    format!("{before}AwIBAQ{after}")
}

const NOT_DER: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const NOT_BASE64: &str = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";

#[test]
fn of_a_file_of_cas_the_usable_ones_are_used_and_one_is_needed() {
    let (folder, ca) = (Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let old = unusable_ca("Old Root");
    for (bundle, problem) in [
        (ca.pem.clone(), None),
        ([&ca.pem[..], &old].concat(), None),
        ([NOT_DER, &ca.pem, NOT_BASE64].concat(), None),
        (["comment\n", &ca.pem, "-----BEGIN CERTIFICATE-----\nAAAA\n"].concat(), None),
        (old.clone(), Some("certificate 1 cannot be used (CN=Old Root): ")),
        ([NOT_DER, &old].concat(), Some("certificate 2 cannot be used (CN=Old Root): ")),
        (NOT_BASE64.to_owned(), Some("certificate 1 cannot be used: ")),
        (String::new(), Some("has no PEM certificate")),
    ] {
        let path = folder.write("bundle.pem", &bundle);
        let client_ca = Some((path, ClientAuth::Required));
        let files = TlsFiles { cert: cert.clone(), key: key.clone(), client_ca, http_1: false };
        let server = ServerTls::load(files).map(drop).map_err(|mut found| found.remove(0).why);
        let upstream = Trust::bundle(bundle.as_bytes()).map(drop).map_err(|found| found.why);
        for result in [server, upstream] {
            match (result, problem) {
                (Ok(()), None) => {}
                (Err(why), Some(problem)) => assert!(why.contains(problem), "{why}"),
                (result, _) => panic!("{result:?} for {bundle}"),
            }
        }
    }
}

/// For callers and for providers alike, at the start and when the file changes.
#[tokio::test]
async fn a_ca_that_cannot_be_used_is_named_in_the_log() {
    let (folder, ca) = (Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let bundle = [&ca.pem[..], &unusable_ca("Old Root")].concat();
    let (callers, providers) =
        (folder.write("callers.pem", &bundle), folder.write("providers.pem", &bundle));
    let args = [
        "--alibaba-endpoint=https://localhost:1".to_owned(),
        format!("--tls-cert={}", cert.display()),
        format!("--tls-key={}", key.display()),
        format!("--tls-client-ca={}", callers.display()),
        format!("--upstream-ca={}", providers.display()),
    ];
    let process = Process::serve(&args, &KEY);
    process.address().await;
    for (option, path) in [("--tls-client-ca", &callers), ("--upstream-ca", &providers)] {
        let said = || process.said();
        let named = |line: &str| {
            line.contains(&format!(r#""option":"{option}""#))
                && line.contains(path.to_str().unwrap())
                && line.contains("certificate 2 cannot be used (CN=Old Root): ")
        };
        eventually(option, || said().lines().any(named)).await;
    }
    folder.write("callers.pem", [&unusable_ca("Older Root"), &ca.pem[..]].concat());
    process.signal("HUP");
    let named = || process.said().contains("certificate 1 cannot be used (CN=Older Root): ");
    eventually("the reloaded file", named).await;
}

/// Of both sides, at the start and when the file changes. Nothing stops: it may be renewed.
#[tokio::test]
async fn a_certificate_that_has_expired_is_told_with_its_option() {
    let (folder, ca) = (Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.issue(2021));
    let fine = Folder::new();
    let (ours, our_key) = write(&fine, &ca.good());
    let args = [
        "--alibaba-endpoint=https://localhost:1".to_owned(),
        format!("--tls-cert={}", cert.display()),
        format!("--tls-key={}", key.display()),
        format!("--upstream-client-cert={}", ours.display()),
        format!("--upstream-client-key={}", our_key.display()),
    ];
    let process = Process::serve(&args, &KEY);
    process.address().await;
    let line = process.line("the certificate has expired").await;
    assert_eq!(line["level"], "WARN");
    assert_eq!((&line["option"], &line["whose"]), (&"--tls-cert".into(), &"server".into()));
    assert_eq!(line["not_after"], "2021-01-01T00:00:00Z");
    assert_eq!(process.said().matches("the certificate has expired").count(), 1);
    write(&fine, &ca.issue(2022));
    process.signal("HUP");
    let told = || process.said().contains(r#""option":"--upstream-client-cert""#);
    eventually("the other certificate", told).await;
}

/// Something that is put in place of a file.
fn replaced(path: &PathBuf, with: &str) {
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_dir(path);
    match with {
        "a FIFO" => {
            let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
        }
        "a folder" => std::fs::create_dir(path).unwrap(),
        "a socket" => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        "a link to itself" => std::os::unix::fs::symlink(path, path).unwrap(),
        "nothing" => {}
        "too much" => {
            let file = std::fs::File::create(path).unwrap();
            // Sparse: it takes no space.
            file.set_len(2 << 30).unwrap();
        }
        device => std::os::unix::fs::symlink(device, path).unwrap(),
    }
}

const WRONG: [&str; 8] = [
    "a FIFO",
    "a folder",
    "a socket",
    "a link to itself",
    "nothing",
    "too much",
    "/dev/zero",
    "/dev/tty",
];

#[tokio::test]
async fn certificate_files_that_are_not_regular_change_nothing_and_are_read_again() {
    let (cloud, folder, ca) = (cloud().await, Folder::new(), Authority::new());
    let first = ca.good();
    let tls = Some(Arc::new(server_tls(&folder, &first, Some(&ca))));
    let own = Folder::new();
    let (cert, key) = write(&own, &first);
    let identity = ClientIdentity::load(&cert, &key).unwrap();
    let identity = identity.with_times(Duration::from_millis(10), Duration::ZERO);
    let options = Options::at(&cloud).with(|config| {
        config.server.tls = tls;
        config.upstream.identity = Some(Arc::new(identity));
    });
    let gateway = Gateway::start(options).await;
    let shown = ca.good();
    let caller = caller(&ca, Some(&shown), &TLS13);
    for (files, metrics, names) in [
        (&folder, "savepoint_gateway_tls_reloads_total", &["tls.crt", "tls.key", "ca.crt"][..]),
        (&own, "savepoint_gateway_upstream_tls_reloads_total", &["tls.crt", "tls.key"]),
    ] {
        let (refused, taken) = [r#"{outcome="failure"}"#, r#"{outcome="success"}"#]
            .map(|l| format!("{metrics}{l}"))
            .into();
        for name in names {
            let path = files.path().join(name);
            let good = std::fs::read_to_string(&path).unwrap();
            for wrong in WRONG {
                let before = metric(&gateway, &refused).await;
                replaced(&path, wrong);
                metric_is(&gateway, &refused, |found| found > before).await;
                call(&caller, &gateway).await;
                let before = metric(&gateway, &taken).await;
                replaced(&path, "nothing");
                std::fs::write(&path, &good).unwrap();
                metric_is(&gateway, &taken, |found| found > before).await;
            }
        }
    }
}

#[test]
fn certificate_files_that_are_not_regular_are_reported_at_the_start() {
    let (folder, ca) = (Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let wrong_file = folder.path().join("wrong");
    for wrong in WRONG {
        replaced(&wrong_file, wrong);
        let files = TlsFiles {
            cert: wrong_file.clone(),
            key: wrong_file.clone(),
            client_ca: Some((wrong_file.clone(), ClientAuth::Required)),
            http_1: false,
        };
        assert_eq!(ServerTls::load(files).unwrap_err().len(), 3, "{wrong}");
        assert_eq!(ClientIdentity::load(&cert, &wrong_file).unwrap_err().len(), 1, "{wrong}");
        assert_eq!(ClientIdentity::load(&wrong_file, &key).unwrap_err().len(), 1, "{wrong}");
    }
}
