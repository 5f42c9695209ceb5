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
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::{
    FakeCloud, Gateway, LONG, Options, Reply, eventually, get_request, import_request,
};

/// The whole HTTP answer of the admin address.
pub(super) async fn admin_get(gateway: &Gateway, path: &str) -> String {
    let mut stream = TcpStream::connect(gateway.admin()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
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
    for name in ["", "savepoint.v1.SavepointService", "liveness", "readiness"] {
        assert_eq!(check(&mut client, name).await, Ok("SERVING"), "{name}");
    }
    assert_eq!(check(&mut client, "unknown").await, Err(Code::NotFound));
    let listed = client.list(HealthListRequest {}).await.unwrap().into_inner().statuses;
    assert_eq!(listed.len(), 4);
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
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address: Address = free.to_string().parse().unwrap();
    savepoint_gateway::healthcheck::ask(&address, "", LONG).await.unwrap_err();
}

#[tokio::test]
async fn reflection_lists_the_public_services_in_both_versions() {
    let gateway = Gateway::start(Options::none()).await;
    let list = v1::ServerReflectionRequest {
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
        ..Default::default()
    };
    let mut client =
        v1::server_reflection_client::ServerReflectionClient::new(gateway.channel().await);
    let mut answers =
        client.server_reflection_info(tokio_stream::once(list)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        answer.message_response
    else {
        panic!("{answer:?}")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "savepoint.v1.SavepointService"
        ]
    );

    let symbol = v1alpha::ServerReflectionRequest {
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                "savepoint.v1.SavepointService".into(),
            ),
        ),
        ..Default::default()
    };
    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(gateway.channel().await);
    let mut answers =
        client.server_reflection_info(tokio_stream::once(symbol)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(files)) =
        answer.message_response
    else {
        panic!("{answer:?}")
    };
    // The REST bindings are extensions, which some compilers lose: field 72295728 of a
    // method's options, as the wire spells its tag.
    let http = [0x82, 0xd3, 0xe4, 0x93, 0x02];
    let found = files.file_descriptor_proto[0].windows(http.len()).filter(|w| *w == http).count();
    assert_eq!(found, 2);
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
