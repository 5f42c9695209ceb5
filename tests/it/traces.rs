use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::gateway::simulated;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use savepoint_gateway::clock::SystemClock;
use savepoint_gateway::otlp::{ExportConfig, Protocol, TraceConfig};
use savepoint_gateway::providers::alibaba::GET_SAVEPOINT;
use savepoint_gateway::providers::huawei::IMPORT_SAVEPOINT;
use savepoint_gateway::simulator::Api;
use savepoint_gateway::simulator::Simulator;
use savepoint_gateway::telemetry::Sampler;
use savepoint_gateway::tls::Trust;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tonic::{Code, Request, Status};

use super::rotation::{metric, metric_is};
use super::tls::Authority;
use crate::support::collector::{Collector, Shown, Span, traces_to};
use crate::support::gateway::{ACCESS_KEY_ID, ACCESS_KEY_SECRET};
use crate::support::{
    FakeCloud, Gateway, LONG, Options, PROJECT_ID, RefusingAddress, Reply, WORKSPACE, eventually,
    get_request, import_request,
};

const SAVEPOINT: &str = r#"{"success":true,"requestId":"R-1","data":{"savepointId":"s"}}"#;
const IMPORTED: &str = r#"{"is_success":true,"message":"","request_id":"R-2"}"#;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

const QUEUED: &str = r#"otel_sdk_processor_span_processed_total{error_type=""}"#;
const QUEUE_FULL: &str = r#"otel_sdk_processor_span_processed_total{error_type="queue_full"}"#;
const EXPORTED: &str = r#"otel_sdk_exporter_span_exported_total{error_type=""}"#;

fn lost(why: &str) -> String {
    format!(r#"otel_sdk_exporter_span_exported_total{{error_type="{why}"}}"#)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A call within a trace that its caller began.
fn traced<T>(message: T, flags: &str) -> Request<T> {
    let mut request = Request::new(message);
    let parent = format!("00-{TRACE}-{PARENT}-{flags}");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request.metadata_mut().insert("tracestate", "vendor=opaque".parse().unwrap());
    request
}

async fn start(cloud: &FakeCloud, traces: TraceConfig) -> Gateway {
    Gateway::start(Options::at(cloud).with(|config| config.traces = traces)).await
}

/// The usual configuration with this change.
fn with(mut traces: TraceConfig, change: impl FnOnce(&mut ExportConfig)) -> TraceConfig {
    change(traces.export.as_mut().unwrap());
    traces
}

/// The one span of the call and those of its exchanges in the order of their beginnings, after
/// a check that they belong to one trace.
fn family(spans: Vec<Span>) -> (Span, Vec<Span>) {
    let (mut servers, mut clients): (Vec<_>, Vec<_>) =
        spans.into_iter().partition(Shown::is_server);
    assert_eq!(servers.len(), 1);
    let server = servers.remove(0);
    clients.sort_by_key(|span| span.start_time_unix_nano);
    for client in &clients {
        assert_eq!(client.trace_id, server.trace_id);
        assert_eq!(client.parent_span_id, server.span_id);
        assert_ne!(client.span_id, server.span_id);
        assert!(client.start_time_unix_nano >= server.start_time_unix_nano);
        assert!(client.end_time_unix_nano >= client.start_time_unix_nano);
        assert!(client.end_time_unix_nano <= server.end_time_unix_nano);
    }
    (server, clients)
}

/// Whether a path is one that a template describes.
fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(path).all(|(t, p)| *t == p || (t.starts_with('{') && !p.is_empty()))
}

fn pairs(attributes: &[(&str, &str)]) -> BTreeMap<String, String> {
    attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_call_is_a_span_with_a_child_span_for_its_exchange() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let cloud_port = cloud.authority().rsplit_once(':').unwrap().1.to_owned();
    for (protocol, gzip) in [
        (Protocol::Grpc, false),
        (Protocol::Grpc, true),
        (Protocol::Http, false),
        (Protocol::Http, true),
    ] {
        let collector = Collector::start().await;
        let traces = with(collector.traces(protocol), |export| {
            export.gzip = gzip;
            export.headers.insert("api-key", "example".parse().unwrap());
        });
        let gateway = start(&cloud, traces).await;
        gateway.client().await.get_savepoint(traced(get_request(), "01")).await.unwrap();
        let (server, clients) = family(collector.wait_for(2).await);
        let [client] = &clients[..] else { panic!("{clients:?}") };

        assert_eq!(server.name, "savepoint.v1.SavepointService/GetSavepoint");
        assert_eq!(hex(&server.trace_id), TRACE);
        assert_eq!(hex(&server.parent_span_id), PARENT);
        assert_eq!((&*server.trace_state, server.flags), ("vendor=opaque", 0x301));
        let mut attributes = Shown::attributes(&server);
        attributes.remove("client.port").unwrap();
        let (_, port) = gateway.address().rsplit_once(':').unwrap();
        let want = [
            ("rpc.system.name", "grpc"),
            ("rpc.method", "savepoint.v1.SavepointService/GetSavepoint"),
            ("rpc.status_code", "OK"),
            ("server.address", "127.0.0.1"),
            ("server.port", port),
            ("client.address", "127.0.0.1"),
        ];
        assert_eq!(attributes, pairs(&want));

        assert_eq!(client.name, "GET /api/v2/namespaces/{namespace}/savepoints/{savepointId}");
        assert_eq!((&*client.trace_state, client.flags), ("vendor=opaque", 0x101));
        let want = [
            ("http.request.method", "GET"),
            ("url.template", "/api/v2/namespaces/{namespace}/savepoints/{savepointId}"),
            ("server.address", "127.0.0.1"),
            ("server.port", &cloud_port),
            ("http.response.status_code", "200"),
        ];
        assert_eq!(Shown::attributes(client), pairs(&want));
        assert!(!server.is_error() && !client.is_error());

        assert_eq!(collector.resource(), pairs(&[("service.name", "under-test")]));
        let headers = collector.headers();
        assert_eq!(headers["api-key"], "example");
        let agent = headers["user-agent"].to_str().unwrap();
        assert!(agent.starts_with("savepoint-gateway/"), "{agent}");
        metric_is(&gateway, EXPORTED, |count| count == 2).await;
    }
}

#[tokio::test]
async fn each_attempt_is_a_span_of_its_own() {
    let cloud = FakeCloud::start(|_, before| match before {
        0 => Reply::json(503, "{}"),
        1 => Reply::RawReset(Vec::new()),
        _ => Reply::json(200, SAVEPOINT),
    })
    .await;
    let collector = Collector::start().await;
    let gateway = start(&cloud, collector.traces(Protocol::Grpc)).await;
    gateway.client().await.get_savepoint(get_request()).await.unwrap();
    let (server, clients) = family(collector.wait_for(4).await);
    assert_eq!(server.value("rpc.status_code"), "OK");
    assert!(!server.is_error());
    let ends: Vec<_> = clients
        .iter()
        .map(|client| {
            (
                client.value("http.response.status_code"),
                client.value("error.type"),
                client.value("http.request.resend_count"),
                client.is_error(),
            )
        })
        .collect();
    let row = |status: &str, error: &str, resent: &str, is_error| {
        (status.to_owned(), error.to_owned(), resent.to_owned(), is_error)
    };
    assert_eq!(
        ends,
        [
            row("503", "503", "", true),
            row("", "PROVIDER_CONNECTION_LOST", "1", true),
            row("200", "", "2", false),
        ]
    );
}

#[tokio::test]
async fn a_server_failure_sets_the_error_status_of_the_span_and_a_caller_failure_does_not() {
    let cloud = FakeCloud::start(|request, _| match request.path() {
        path if path.starts_with("/v1.0/") => Reply::json(500, "{}"),
        _ => Reply::json(200, r#"{"success":false,"errorCode":"990301"}"#),
    })
    .await;
    let collector = Collector::start().await;
    let gateway = start(&cloud, collector.traces(Protocol::Http)).await;
    let mut client = gateway.client().await;

    client.get_savepoint(get_request()).await.unwrap_err();
    let (server, clients) = family(collector.wait_for(2).await);
    assert_eq!(server.value("rpc.status_code"), "NOT_FOUND");
    assert_eq!((server.value("error.type"), server.is_error()), (String::new(), false));
    // The HTTP exchange itself succeeded.
    assert!(!clients[0].is_error());

    client.import_savepoint(import_request()).await.unwrap_err();
    let (server, clients) = family(collector.wait_for(4).await.split_off(2));
    assert_eq!(server.name, "savepoint.v1.SavepointService/ImportSavepoint");
    assert_eq!(server.value("rpc.status_code"), "INTERNAL");
    assert_eq!((server.value("error.type"), server.is_error()), ("INTERNAL".into(), true));
    assert_eq!(server.status.unwrap().message, "PROVIDER_INTERNAL");
    assert_eq!(clients[0].value("http.request.method"), "POST");
    assert_eq!((clients[0].value("error.type"), clients[0].is_error()), ("500".into(), true));

    // A request that is refused before any exchange has no child span.
    let nothing = savepoint_gateway::pb::GetSavepointRequest::default();
    client.get_savepoint(nothing).await.unwrap_err();
    let (server, clients) = family(collector.wait_for(5).await.split_off(4));
    assert_eq!(server.value("rpc.status_code"), "INVALID_ARGUMENT");
    assert!(clients.is_empty() && !server.is_error());

    let paths: Vec<_> = cloud.requests().iter().map(|r| r.path().to_owned()).collect();
    assert!(fits(GET_SAVEPOINT.rest[0].url_template, &paths[0]), "{paths:?}");
    assert!(fits(IMPORT_SAVEPOINT.rest[0].url_template, &paths[1]), "{paths:?}");
}

#[tokio::test]
async fn the_span_of_an_unreachable_provider_names_the_reason() {
    let refusing = RefusingAddress::new();
    let collector = Collector::start().await;
    let options = Options { alibaba: Some(refusing.endpoint()), ..Options::none() };
    let traces = collector.traces(Protocol::Grpc);
    let gateway = Gateway::start(options.with(|config| config.traces = traces)).await;
    gateway.client().await.get_savepoint(get_request()).await.unwrap_err();
    let (server, clients) = family(collector.wait_for(4).await);
    assert_eq!((server.value("error.type"), server.is_error()), ("UNAVAILABLE".into(), true));
    for client in clients {
        assert_eq!(client.value("error.type"), "PROVIDER_CONNECT_FAILED");
        assert!(client.is_error());
    }
}

#[tokio::test]
async fn spans_end_when_the_caller_cancels_and_when_the_deadline_passes() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    let collector = Collector::start().await;
    let gateway = start(&cloud, collector.traces(Protocol::Grpc)).await;
    let mut client = gateway.client().await;
    let call = tokio::spawn(async move { client.get_savepoint(get_request()).await });
    eventually("the call is at the provider", || cloud.count() == 1).await;
    call.abort();
    let (server, clients) = family(collector.wait_for(2).await);
    assert_eq!((server.value("rpc.status_code"), server.is_error()), ("CANCELLED".into(), false));
    assert_eq!(clients[0].value("error.type"), "CANCELLED");

    let mut request = Request::new(get_request());
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    gateway.wire_client().await.get_savepoint(request).await.unwrap_err();
    let (server, clients) = family(collector.wait_for(4).await.split_off(2));
    assert_eq!(server.value("rpc.status_code"), "DEADLINE_EXCEEDED");
    assert!(server.is_error());
    assert_eq!(clients[0].value("error.type"), "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn an_import_whose_caller_cancelled_keeps_the_span_of_its_exchange() {
    let reply = Reply::Held(Box::new(Reply::json(200, IMPORTED)));
    let cloud = FakeCloud::answering(reply).await;
    let collector = Collector::start().await;
    let gateway = start(&cloud, collector.traces(Protocol::Grpc)).await;
    let mut client = gateway.client().await;
    let call = tokio::spawn(async move { client.import_savepoint(import_request()).await });
    eventually("the call is at the provider", || cloud.count() == 1).await;
    call.abort();
    let server = collector.wait_for(1).await.remove(0);
    assert_eq!(server.value("rpc.status_code"), "CANCELLED");
    cloud.release();
    let client = collector.wait_for(2).await.remove(1);
    assert_eq!(client.parent_span_id, server.span_id);
    assert_eq!(client.value("http.response.status_code"), "200");
}

#[tokio::test]
async fn no_id_and_no_secret_is_in_a_span() {
    let cloud = FakeCloud::start(|request, _| match request.path() {
        path if path.starts_with("/v1.0/") => Reply::json(200, IMPORTED),
        _ => Reply::json(200, SAVEPOINT),
    })
    .await;
    let collector = Collector::start().await;
    let gateway = start(&cloud, collector.traces(Protocol::Http)).await;
    let mut client = gateway.client().await;
    let mut request = Request::new(get_request());
    request.metadata_mut().insert("x-private", "metadata-value".parse().unwrap());
    client.get_savepoint(request).await.unwrap();
    client.import_savepoint(import_request()).await.unwrap();
    collector.wait_for(4).await;
    let bytes = collector.bytes();
    let (get, import) = (get_request(), import_request());
    let job_id = import.job_id.to_string();
    for secret in [
        &*get.namespace,
        &get.savepoint_id,
        &import.savepoint_path,
        &job_id,
        PROJECT_ID,
        WORKSPACE,
        ACCESS_KEY_ID,
        ACCESS_KEY_SECRET,
        "metadata-value",
        "R-1",
        "R-2",
        "Signature",
    ] {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}

#[tokio::test]
async fn a_malformed_parent_begins_a_new_trace() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let collector = Collector::start().await;
    let gateway = start(&cloud, collector.traces(Protocol::Grpc)).await;
    let mut client = gateway.client().await;
    let zeros = "0".repeat(32);
    let mut count = 0;
    for parent in ["nonsense".to_owned(), format!("00-{zeros}-{PARENT}-01")] {
        let mut request = Request::new(get_request());
        request.metadata_mut().insert("traceparent", parent.parse().unwrap());
        client.get_savepoint(request).await.unwrap();
        count += 2;
        let (server, _) = family(collector.wait_for(count).await.split_off(count - 2));
        assert!(server.parent_span_id.is_empty());
        assert_ne!(hex(&server.trace_id), zeros);
        assert_eq!((server.trace_state.as_str(), server.flags), ("", 0x103));
    }
}

#[tokio::test]
async fn unsampled_spans_are_not_exported() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let collector = Collector::start().await;
    for (parent_based, ratio, flags, spans) in [
        (true, 1.0, Some("00"), 0),
        (true, 0.0, Some("01"), 2),
        (true, 0.0, None, 0),
        (false, 1.0, Some("00"), 2),
        (false, 0.0, Some("01"), 0),
        (false, 1.0, None, 2),
    ] {
        let traces = with(collector.traces(Protocol::Grpc), |export| {
            export.sampler = Sampler { parent_based, ratio };
        });
        let gateway = start(&cloud, traces).await;
        let request = match flags {
            Some(flags) => traced(get_request(), flags),
            None => Request::new(get_request()),
        };
        gateway.client().await.get_savepoint(request).await.unwrap();
        assert_eq!(metric(&gateway, QUEUED).await, spans, "{parent_based} {ratio} {flags:?}");
    }
}

fn last_call(gateway: &Gateway) -> serde_json::Value {
    let log = gateway.log();
    let mut lines =
        log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.rfind(|line| line["message"] == "call").unwrap()
}

#[tokio::test]
async fn log_lines_name_the_trace() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    // Without any export, the caller's.
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    for flags in ["01", "00"] {
        client.get_savepoint(traced(get_request(), flags)).await.unwrap();
        let line = last_call(&gateway);
        assert_eq!((&line["trace_id"], &line["span_id"]), (&TRACE.into(), &PARENT.into()));
    }
    client.get_savepoint(get_request()).await.unwrap();
    assert_eq!(last_call(&gateway).get("trace_id"), None);

    let traces = TraceConfig { accept: false, ..TraceConfig::default() };
    let gateway = start(&cloud, traces).await;
    gateway.client().await.get_savepoint(traced(get_request(), "01")).await.unwrap();
    assert_eq!(last_call(&gateway).get("trace_id"), None);

    // With it, the span of the call.
    let collector = Collector::start().await;
    let gateway = start(&cloud, collector.traces(Protocol::Grpc)).await;
    gateway.client().await.get_savepoint(traced(get_request(), "01")).await.unwrap();
    let (server, _) = family(collector.wait_for(2).await);
    let line = last_call(&gateway);
    assert_eq!(line["trace_id"], TRACE);
    assert_eq!(line["span_id"], hex(&server.span_id));
}

#[tokio::test]
async fn trace_context_reaches_providers_only_when_enabled() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let collector = Collector::start().await;
    let sent = |index: usize| cloud.requests()[index].clone();

    let gateway = start(&cloud, collector.traces(Protocol::Grpc)).await;
    gateway.client().await.get_savepoint(traced(get_request(), "01")).await.unwrap();
    assert_eq!(sent(0).values("traceparent").len() + sent(0).values("tracestate").len(), 0);

    let traces = TraceConfig { forward: true, ..collector.traces(Protocol::Grpc) };
    let gateway = start(&cloud, traces).await;
    gateway.client().await.get_savepoint(traced(get_request(), "01")).await.unwrap();
    let (_, clients) = family(collector.wait_for(4).await.split_off(2));
    let want = format!("00-{TRACE}-{}-01", hex(&clients[0].span_id));
    assert_eq!(sent(1).header("traceparent"), Some(&*want));
    assert_eq!(sent(1).header("tracestate"), Some("vendor=opaque"));
    let signed = sent(1).header("authorization").unwrap().to_owned();
    assert!(signed.contains("SignedHeaders=") && !signed.contains("trace"), "{signed}");

    // Without an export, as the caller has it; and nothing where the caller has none.
    let traces = TraceConfig { forward: true, ..TraceConfig::default() };
    let gateway = start(&cloud, traces).await;
    let mut client = gateway.client().await;
    client.get_savepoint(traced(get_request(), "00")).await.unwrap();
    let want = format!("00-{TRACE}-{PARENT}-00");
    assert_eq!(sent(2).header("traceparent"), Some(&*want));
    client.get_savepoint(get_request()).await.unwrap();
    assert_eq!(sent(3).header("traceparent"), None);
}

#[tokio::test]
async fn a_forwarded_trace_keeps_signatures_valid() {
    let clock = Arc::new(SystemClock);
    let huawei = Simulator::start(Api::Huawei, clock.clone()).await.unwrap();
    let alibaba = Simulator::start(Api::Alibaba, clock).await.unwrap();
    let gateway = Gateway::start(Options::none().with(|config| {
        config.providers = simulated(&huawei, &alibaba);
        config.traces = TraceConfig { forward: true, ..TraceConfig::default() };
    }))
    .await;
    let mut client = gateway.client().await;
    client.import_savepoint(traced(import_request(), "01")).await.unwrap();
    client.get_savepoint(traced(get_request(), "01")).await.unwrap();
}

/// A collector that accepts connections and never answers.
async fn black_hole() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut sink = [0; 4096];
                while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    address
}

#[tokio::test]
async fn an_unreachable_collector_costs_only_spans_and_bounded_memory() {
    const CALLS: u64 = 100;
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    for protocol in [Protocol::Grpc, Protocol::Http] {
        // With so long a timeout the first batch is never given up, and the queue stays full.
        let traces = with(traces_to(&black_hole().await, protocol), |export| {
            (export.max_queue, export.max_batch) = (8, 4);
            export.timeout = 10 * LONG;
        });
        let gateway = start(&cloud, traces).await;
        let mut client = gateway.client().await;
        for _ in 0..CALLS {
            client.get_savepoint(get_request()).await.unwrap();
        }
        let (queued, dropped) =
            (metric(&gateway, QUEUED).await, metric(&gateway, QUEUE_FULL).await);
        assert!((8..=8 + 4).contains(&queued), "{protocol:?}: {queued}");
        assert_eq!(queued + dropped, 2 * CALLS, "{protocol:?}");
    }
}

#[tokio::test]
async fn every_span_that_does_not_arrive_is_counted_with_its_reason() {
    const CALLS: u64 = 20;
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let refusing = RefusingAddress::new();
    for (address, why) in [(black_hole().await, "timeout"), (refusing.to_string(), "unavailable")] {
        for protocol in [Protocol::Grpc, Protocol::Http] {
            let traces = with(traces_to(&address, protocol), |export| {
                (export.max_queue, export.max_batch) = (8, 4);
                export.timeout = Duration::from_millis(100);
            });
            let gateway = start(&cloud, traces).await;
            let mut client = gateway.client().await;
            for _ in 0..CALLS {
                client.get_savepoint(get_request()).await.unwrap();
            }
            let (queued, dropped) =
                (metric(&gateway, QUEUED).await, metric(&gateway, QUEUE_FULL).await);
            assert_eq!(queued + dropped, 2 * CALLS, "{why} {protocol:?}");
            metric_is(&gateway, &lost(why), |count| count == queued).await;
            assert_eq!(metric(&gateway, EXPORTED).await, 0);
            let log = gateway.log();
            let reported = log.lines().filter(|line| line.contains("span export failed")).count();
            assert!(reported <= 1, "{log}");
        }
    }
}

#[tokio::test]
async fn refused_spans_are_counted_and_postponed_ones_are_sent_again() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let collector = Collector::answering(|before| match before {
            0 => Err(Status::new(Code::InvalidArgument, "no")),
            1 => Ok(ExportTraceServiceResponse {
                partial_success: Some(ExportTracePartialSuccess {
                    rejected_spans: 1,
                    error_message: "one is enough".into(),
                }),
            }),
            2 => Err(Status::new(Code::Unavailable, "later")),
            _ => Ok(ExportTraceServiceResponse::default()),
        })
        .await;
        let traces = with(collector.traces(protocol), |export| export.max_batch = 2);
        let traces = with(traces, |export| export.delay = LONG);
        let gateway = start(&cloud, traces).await;
        let mut client = gateway.client().await;
        for (batches, exported, rejected) in [(1, 0, 2), (2, 1, 3), (4, 3, 3)] {
            client.get_savepoint(get_request()).await.unwrap();
            metric_is(&gateway, EXPORTED, |count| count == exported).await;
            metric_is(&gateway, &lost("rejected"), |count| count == rejected).await;
            assert_eq!(collector.batches(), batches, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn the_last_spans_are_exported_before_the_process_ends() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let collector = Collector::start().await;
        let traces = with(collector.traces(protocol), |export| {
            export.delay = LONG;
            export.max_batch = 3;
        });
        let mut gateway = start(&cloud, traces).await;
        let mut client = gateway.client().await;
        for _ in 0..4 {
            client.get_savepoint(get_request()).await.unwrap();
        }
        gateway.shut_down();
        gateway.ended().await;
        collector.wait_for(8).await;
    }
}

#[tokio::test]
async fn a_silent_collector_does_not_delay_the_shutdown() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let traces = with(traces_to(&black_hole().await, Protocol::Grpc), |export| {
        export.timeout = 10 * LONG;
    });
    let options = Options::at(&cloud).with(|config| {
        config.traces = traces;
        config.server.drain_timeout = 10 * LONG;
    });
    let mut gateway = Gateway::start(options).await;
    gateway.client().await.get_savepoint(get_request()).await.unwrap();
    gateway.shut_down();
    // Long before the drain timeout.
    assert!(tokio::time::timeout(LONG, gateway.ended()).await.is_ok());
}

#[tokio::test]
async fn a_collector_over_tls_must_have_a_trusted_certificate() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let (good, other) = (Authority::new(), Authority::new());
    let pair = good.good();
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let collector =
            Collector::over(Some(config), |_| Ok(ExportTraceServiceResponse::default())).await;
        for (authority, taken) in [(&good, true), (&other, false)] {
            let path = if protocol == Protocol::Grpc { "/" } else { "/v1/traces" };
            let traces = with(collector.traces(protocol), |export| {
                let url = format!("https://localhost:{}{path}", collector.port());
                export.endpoint = url.parse().unwrap();
                export.trust = Some(Trust::bundle(authority.pem.as_bytes()).unwrap());
                export.timeout = Duration::from_secs(if taken { 30 } else { 1 });
            });
            let gateway = start(&cloud, traces).await;
            gateway.client().await.get_savepoint(get_request()).await.unwrap();
            if taken {
                metric_is(&gateway, EXPORTED, |count| count == 2).await;
            } else {
                metric_is(&gateway, &lost("unavailable"), |count| count == 2).await;
            }
        }
        assert_eq!(collector.spans().len(), 2);
    }
}
