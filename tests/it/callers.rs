//! Who called is known by the certificate or the user, and is told.

use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use savepoint_gateway::otlp::Protocol;
use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use savepoint_gateway::telemetry::LevelFilter;
use savepoint_gateway::tls::{ClientAuth, ServerTls, TlsFiles};
use serde_json::Value;
use tokio::net::UnixStream;

use super::tls::{Authority, Caller, Pair, write};
use crate::support::collector::{Collector, Shown as _};
use crate::support::gateway::Wire;
use crate::support::{
    FakeCloud, Folder, Gateway, Options, Process, Reply, get_request, import_request,
};

const SAVEPOINT: &str = r#"{"success":true,"requestId":"R","data":{"savepointId":"s"}}"#;
const IMPORTED: &str = r#"{"is_success":true,"message":"ok"}"#;

impl Authority {
    /// A certificate of a client with these names.
    pub(crate) fn client(&self, names: Vec<SanType>, common_name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

/// The lines of calls.
pub(crate) fn calls(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == "call").collect()
}

#[tokio::test]
async fn the_log_line_names_the_caller_by_its_certificate() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let (folder, ca) = (Folder::new(), Authority::new());
    let (cert, key) = write(&folder, &ca.good());
    let client_ca = Some((folder.write("ca.crt", &ca.pem), ClientAuth::Optional));
    let tls = ServerTls::load(TlsFiles { cert, key, client_ca, http_1: false }).unwrap();
    let tls = Some(Arc::new(tls));
    let collector = Collector::start().await;
    let options = Options::at(&cloud).with(|config| {
        config.server.tls = tls;
        config.traces = collector.traces(Protocol::Grpc);
    });
    let gateway = Gateway::start(options).await;
    let id = "spiffe://prod.example/ns/flink/sa/jobs";
    let mut wants = Vec::new();
    for (shows, want) in [
        (Some(ca.client(vec![dns("a.example"), uri(id)], "a")), id),
        (Some(ca.client(vec![dns("a.example"), dns("b.example")], "a")), "dns:a.example"),
        (Some(ca.client(vec![], "jobs of a")), "cn:jobs of a"),
        (Some(ca.client(vec![uri(id), uri("spiffe://prod.example/b")], "a")), "anonymous"),
        (Some(ca.client(vec![uri("spiffe://prod.example/a/../b")], "a")), "anonymous"),
        (Some(ca.client(vec![], "a\r\nb")), "anonymous"),
        (None, "anonymous"),
    ] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let caller = Caller { believes: &ca, shows: shows.clone(), version };
            assert!(caller.call(&gateway).await, "{want}");
            wants.push(want);
        }
    }
    let log = gateway.log();
    let found: Vec<_> =
        calls(&log).iter().map(|line| line["caller"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found, wants, "{log}");

    // A span of the call and one of its request to the provider.
    let spans = collector.wait_for(2 * wants.len()).await;
    let mut in_spans: Vec<_> =
        spans.iter().filter_map(|span| span.attributes().remove("enduser.id")).collect();
    in_spans.sort();
    wants.retain(|want| *want != "anonymous");
    wants.sort_unstable();
    assert_eq!(in_spans, wants);

    let page = super::operators::admin_get(&gateway, "/metrics").await;
    assert!(!page.contains("prod.example") && !page.contains("a.example"), "{page}");
}

#[tokio::test]
async fn the_log_line_names_the_user_of_a_socket() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let folder = Folder::new();
    let (grpc, admin) = (folder.path().join("grpc.sock"), folder.path().join("admin.sock"));
    let args = [
        format!("--alibaba-endpoint={}", cloud.endpoint()),
        format!("--listen=unix:{}", grpc.display()),
        format!("--admin-listen=unix:{}", admin.display()),
    ];
    let process = Process::serve(
        &args,
        &[
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
        ],
    );
    process.address().await;
    let wire = Wire::over(UnixStream::connect(&grpc).await.unwrap()).await.unwrap();
    SavepointServiceClient::new(wire).get_savepoint(get_request()).await.unwrap();
    process.signal("TERM");
    let (_, said) = process.ended().await;
    let lines = calls(&said);
    let [line] = &lines[..] else { panic!("one call:\n{said}") };
    assert_eq!(line["caller"], format!("uid:{}", rustix::process::getuid().as_raw()));
}

#[tokio::test]
async fn calls_that_change_something_are_logged_at_every_level_but_off() {
    let cloud = FakeCloud::start(|request, _| {
        Reply::json(200, if request.path().contains("import") { IMPORTED } else { SAVEPOINT })
    })
    .await;
    for (log_level, want) in [
        (LevelFilter::OFF, &[][..]),
        (LevelFilter::ERROR, &["ImportSavepoint"]),
        (LevelFilter::WARN, &["ImportSavepoint"]),
        (LevelFilter::INFO, &["ImportSavepoint", "GetSavepoint"]),
    ] {
        let gateway = Gateway::start(Options { log_level, ..Options::at(&cloud) }).await;
        let mut client = gateway.client().await;
        client.import_savepoint(import_request()).await.unwrap();
        client.get_savepoint(get_request()).await.unwrap();
        let lines = calls(&gateway.log());
        let found: Vec<_> = lines.iter().map(|line| line["method"].as_str().unwrap()).collect();
        assert_eq!(found, want, "{log_level}");
        assert!(lines.iter().all(|line| line["caller"] == "anonymous"), "{lines:?}");
    }
}
