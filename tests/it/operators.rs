use std::collections::BTreeMap;

use savepoint_gateway::options::Address;
use savepoint_gateway::pb::GetSavepointRequest;
use savepoint_gateway::pb::health::health_client::HealthClient;
use savepoint_gateway::pb::health::{HealthCheckRequest, HealthListRequest};
use savepoint_gateway::rpc::status::code_names;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::support::{
    FakeCloud, Gateway, LONG, Options, RefusingAddress, Reply, eventually, get_request,
    import_request,
};

/// The whole HTTP answer of the admin address.
pub(super) async fn admin_get(gateway: &Gateway, path: &str) -> String {
    admin_ask(gateway, &format!("GET {path} HTTP/1.1\r\nhost: h\r\n")).await
}

/// The same to a request that begins so.
async fn admin_ask(gateway: &Gateway, head: &str) -> String {
    let mut stream = TcpStream::connect(gateway.admin()).await.unwrap();
    let request = format!("{head}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Waits until the gateway says that it is ready.
pub(super) async fn ready(gateway: &Gateway) {
    let waiting =
        async { while !admin_get(gateway, "/readyz").await.starts_with("HTTP/1.1 200") {} };
    tokio::time::timeout(LONG, waiting).await.unwrap();
}

pub(super) async fn health(gateway: &Gateway) -> HealthClient<Channel> {
    HealthClient::new(gateway.channel().await)
}

pub(super) async fn check(
    client: &mut HealthClient<Channel>,
    service: &str,
) -> Result<&'static str, Code> {
    let request = HealthCheckRequest { service: service.into() };
    let answer = client.check(request).await;
    answer.map(|a| a.into_inner().status().as_str_name()).map_err(|status| status.code())
}

#[tokio::test]
async fn health_answers_for_each_service_name() {
    let gateway = Gateway::start(Options::none()).await;
    let mut client = health(&gateway).await;
    let services = [
        "savepoint.v1.SavepointService",
        "savepoint.dli.v1.DliService",
        "savepoint.flink.v1.FlinkService",
    ];
    let names = ["", "liveness", "readiness"].into_iter().chain(services);
    for name in names.clone() {
        assert_eq!(check(&mut client, name).await, Ok("SERVING"), "{name}");
    }
    assert_eq!(check(&mut client, "unknown").await, Err(Code::NotFound));
    let listed = client.list(HealthListRequest {}).await.unwrap().into_inner().statuses;
    assert_eq!(listed.len(), names.count());
}

#[tokio::test]
async fn a_health_watch_reports_the_drain_and_one_for_an_unknown_name_stays_open() {
    let mut gateway =
        Gateway::start(Options::none().with(|config| config.server.drain_delay = LONG)).await;
    let mut client = health(&gateway).await;
    let watch = |service: &str| HealthCheckRequest { service: service.into() };
    let mut known = client.watch(watch("")).await.unwrap().into_inner();
    let mut unknown = client.watch(watch("unknown")).await.unwrap().into_inner();
    let next = known.message().await.unwrap().unwrap();
    assert_eq!(next.status().as_str_name(), "SERVING");
    let next = unknown.message().await.unwrap().unwrap();
    assert_eq!(next.status().as_str_name(), "SERVICE_UNKNOWN");
    gateway.shut_down();
    let next = known.message().await.unwrap().unwrap();
    assert_eq!(next.status().as_str_name(), "NOT_SERVING");
}

#[tokio::test]
async fn the_healthcheck_works_with_either_port() {
    let gateway = Gateway::start(Options::none()).await;
    for address in [gateway.address(), gateway.admin()] {
        let address: Address = address.parse().unwrap();
        savepoint_gateway::healthcheck::ask(&address, "", LONG).await.unwrap();
    }
    let refusing = RefusingAddress::new();
    let address: Address = refusing.to_string().parse().unwrap();
    savepoint_gateway::healthcheck::ask(&address, "", LONG).await.unwrap_err();
}

#[tokio::test]
async fn the_admin_address_serves_probes_and_metrics() {
    let gateway = Gateway::start(Options::none()).await;
    for (path, start) in [
        ("/livez", "HTTP/1.1 200"),
        ("/readyz", "HTTP/1.1 200"),
        ("/metrics", "HTTP/1.1 200"),
        ("/", "HTTP/1.1 404"),
    ] {
        let answer = admin_get(&gateway, path).await;
        assert!(answer.starts_with(start), "{path}: {answer}");
    }
}

/// Hosts are not compared: scrapers and probes use names of every kind.
#[tokio::test]
async fn the_admin_address_refuses_pages_whatever_they_call_it() {
    let gateway = Gateway::start(Options::none()).await;
    for method in ["GET", "POST", "HEAD", "OPTIONS"] {
        for path in ["/metrics", "/livez", "/readyz", "/grpc.health.v1.Health/Check"] {
            for origin in ["http://evil.example", "http://evil.example:9464", "null", ""] {
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nhost: evil.example\r\norigin: {origin}\r\n\
                     content-type: application/grpc\r\n"
                );
                let answer = admin_ask(&gateway, &head).await;
                assert!(answer.starts_with("HTTP/1.1 403"), "{head}{answer}");
                assert!(!answer.contains("access-control-"), "{answer}");
                assert!(!answer.contains("grpc_server"), "{answer}");
            }
        }
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[tokio::test]
async fn the_metrics_page_has_the_format_that_a_scraper_prefers() {
    let gateway = Gateway::start(Options::none()).await;
    for (accept, want) in [
        (None, TEXT),
        (Some(""), TEXT),
        (Some("*/*"), TEXT),
        (Some("text/html, nonsense"), TEXT),
        (Some("text/plain;version=0.0.4"), TEXT),
        (Some("Text/Plain; Version=\"0.0.4\""), TEXT),
        (Some("text/plain"), TEXT),
        (Some("application/openmetrics-text"), OPEN_METRICS),
        (Some("Application/OpenMetrics-Text ; version=\"1.0.0\""), OPEN_METRICS),
        (Some("application/openmetrics-text;version=0.0.1"), TEXT),
        (Some("application/openmetrics-text;version=2.0.0"), TEXT),
        (Some("application/openmetrics-text;version=1.0.0;q=0,*/*"), TEXT),
        (Some("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.4"), TEXT),
        (Some("text/plain;version=0.0.4;q=0.4,application/openmetrics-text;q=0.5"), OPEN_METRICS),
        (Some("text/plain, application/openmetrics-text"), OPEN_METRICS),
        (Some("application/openmetrics-text;q=0.5, text/plain;version=1.0.0"), OPEN_METRICS),
        // Prometheus 2 and 3.
        (
            Some(
                "application/openmetrics-text;version=1.0.0,\
                 application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ),
            OPEN_METRICS,
        ),
        (
            Some(
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                 encoding=delimited;q=0.6,\
                 application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                 text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            ),
            OPEN_METRICS,
        ),
        (Some("text/plain;version=0.0.4;q=0.6,application/openmetrics-text;q=0.5"), TEXT),
    ] {
        let accepts = accept.map(|accept| format!("accept: {accept}\r\n")).unwrap_or_default();
        let head = format!("GET /metrics HTTP/1.1\r\nhost: h\r\n{accepts}");
        let answer = admin_ask(&gateway, &head).await;
        let (head, page) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-type: {want}\r\n")), "{accept:?}: {head}");
        assert_eq!(page.contains("# EOF"), want == OPEN_METRICS, "{accept:?}");
    }
}

#[tokio::test]
async fn the_metrics_page_is_sorted_and_names_each_metric_once() {
    let gateway = Gateway::start(Options::none()).await;
    for accept in ["text/plain", "application/openmetrics-text"] {
        let head = format!("GET /metrics HTTP/1.1\r\nhost: h\r\naccept: {accept}\r\n");
        let answer = admin_ask(&gateway, &head).await;
        let (_, page) = answer.split_once("\r\n\r\n").unwrap();
        let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let names: Vec<_> = names.map(|(name, _)| name).collect();
        assert!(names.len() > 10 && names.is_sorted_by(|a, b| a < b), "{names:?}");
        let of_handled = page.lines().filter(|line| line.starts_with("grpc_server_handled_total{"));
        assert!(of_handled.is_sorted(), "{page}");
        // In text, every sample has the name of its metric, but for those of histograms.
        let is_text = accept == "text/plain";
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let known = names.contains(&name)
                || ["_bucket", "_sum", "_count"]
                    .iter()
                    .any(|end| name.strip_suffix(end).is_some_and(|name| names.contains(&name)));
            assert!(known || !is_text, "{line}");
        }
        assert_eq!(page.contains("# UNIT"), !is_text);
        assert_eq!(page.contains("savepoint_gateway_build_info gauge"), is_text, "{page}");
    }
}

#[tokio::test]
async fn metrics_agree_with_what_callers_count() {
    let cloud = FakeCloud::start(|request, _| {
        if request.line().starts_with("POST") {
            Reply::json(200, r#"{"is_success":true}"#)
        } else {
            Reply::json(200, r#"{"success":false,"errorCode":"990301"}"#)
        }
    })
    .await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    for _ in 0..5 {
        client.import_savepoint(import_request()).await.unwrap();
    }
    for _ in 0..3 {
        client.get_savepoint(get_request()).await.unwrap_err();
    }
    let text = admin_get(&gateway, "/metrics").await;
    let labels = |method: &str| {
        format!(
            r#"grpc_type="unary",grpc_service="savepoint.v1.SavepointService",grpc_method="{method}""#
        )
    };
    for line in [
        format!("grpc_server_started_total{{{}}} 5", labels("ImportSavepoint")),
        format!(r#"grpc_server_handled_total{{{},grpc_code="OK"}} 5"#, labels("ImportSavepoint")),
        format!(r#"grpc_server_handled_total{{{},grpc_code="NotFound"}} 3"#, labels("GetSavepoint")),
        format!("grpc_server_handling_seconds_count{{{}}} 3", labels("GetSavepoint")),
        r#"http_client_request_duration_seconds_count{provider="huawei-dli",http_request_method="POST",http_response_status_code="200",error_type=""} 5"#.into(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn every_call_is_one_log_line() {
    let cloud = FakeCloud::answering(Reply::json(
        200,
        r#"{"requestId":"R-1","success":false,"errorCode":"990301","errorMessage":"gone"}"#,
    ))
    .await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    gateway.client().await.get_savepoint(get_request()).await.unwrap_err();
    let log = gateway.log();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [call] = &lines[..] else { panic!("one line:\n{log}") };
    for (key, want) in [
        ("message", "call"),
        ("level", "INFO"),
        ("service", "savepoint.v1.SavepointService"),
        ("method", "GetSavepoint"),
        ("code", "NotFound"),
        ("reason", "PROVIDER_NOT_FOUND"),
        ("provider", "alibaba-flink"),
        ("provider_code", "990301"),
        ("provider_request_id", "R-1"),
    ] {
        assert_eq!(call[key], want, "{key}");
    }
    assert_eq!((&call["http_status"], &call["attempts"]), (&200.into(), &1.into()));
    assert!(call["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(call["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
}

/// The number of calls by code, as the metrics have it.
fn handled(text: &str, method: &str) -> BTreeMap<String, u64> {
    let begins = format!(
        r#"grpc_server_handled_total{{grpc_type="unary",grpc_service="savepoint.v1.SavepointService",grpc_method="{method}",grpc_code=""#
    );
    let rows = text.lines().filter_map(|line| line.strip_prefix(&begins)?.split_once("\"} "));
    rows.map(|(code, count)| (code.to_owned(), count.parse().unwrap()))
        .filter(|(_, count)| *count > 0)
        .collect()
}

#[tokio::test]
async fn counts_are_exact_over_a_mix_of_outcomes() {
    const ROUNDS: u64 = 20;
    let cloud = FakeCloud::start(|request, _| match request.path().rsplit('/').next() {
        Some("fine") => Reply::json(200, r#"{"success":true,"data":{"savepointId":"s"}}"#),
        Some("gone") => Reply::json(200, r#"{"success":false,"errorCode":"990301"}"#),
        Some("down") => Reply::json(503, "{}"),
        Some("login") => Reply::text(200, "text/html", "<html>"),
        _ => Reply::Silence,
    })
    .await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let client = gateway.wire_client().await;
    let with_id = |id: &str| GetSavepointRequest { savepoint_id: id.to_owned(), ..get_request() };
    let mut counted = BTreeMap::<String, u64>::new();
    let mut count =
        |code: Code| *counted.entry(code_names(code).pascal.to_owned()).or_default() += 1;
    for round in 0..ROUNDS {
        let mut calls = Vec::new();
        for id in ["fine", "gone", "down", "login", "../bad", "late"] {
            let (mut client, mut request) = (client.clone(), Request::new(with_id(id)));
            if id == "late" {
                request.metadata_mut().insert("grpc-timeout", "50m".parse().unwrap());
            }
            calls.push(tokio::spawn(async move { client.get_savepoint(request).await }));
        }
        for call in calls {
            count(call.await.unwrap().err().map_or(Code::Ok, |status| status.code()));
        }
        let mut leaving = client.clone();
        let request = with_id("left");
        let call = tokio::spawn(async move { leaving.get_savepoint(request).await });
        let left = || cloud.requests().iter().filter(|r| r.path().ends_with("left")).count();
        eventually("the call is at the provider", || left() as u64 > round).await;
        call.abort();
        count(Code::Cancelled);
    }
    assert_eq!(counted["OK"], ROUNDS);
    assert_eq!(counted.values().sum::<u64>(), 7 * ROUNDS);
    let canceled = r#"grpc_server_handled_total{grpc_type="unary",grpc_service="savepoint.v1.SavepointService",grpc_method="GetSavepoint",grpc_code="Canceled"}"#;
    super::rotation::metric_is(&gateway, canceled, |count| count == ROUNDS).await;

    let text = admin_get(&gateway, "/metrics").await;
    assert_eq!(handled(&text, "GetSavepoint"), counted);
    let labels = r#"{grpc_type="unary",grpc_service="savepoint.v1.SavepointService",grpc_method="GetSavepoint"}"#;
    for name in ["grpc_server_started_total", "grpc_server_handling_seconds_count"] {
        let line = format!("{name}{labels} {}", 7 * ROUNDS);
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // And each of them is a log line, cancelled calls included.
    let log = gateway.log();
    let mut lines = BTreeMap::<String, u64>::new();
    for line in log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
        if line["message"] == "call" {
            *lines.entry(line["code"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert_eq!(lines, counted);
}
