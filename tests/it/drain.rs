use std::time::{Duration, Instant};

use savepoint_gateway::pb::health::{HealthCheckRequest, HealthCheckResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_reflection::pb::v1::ServerReflectionResponse;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_types::StatusExt;

use crate::hostile::wire::{
    DATA, END_HEADERS, END_STREAM, HEADERS, IMPORT, Peer, block, call_fields, frame, prefixed,
};
use crate::support::{
    FakeCloud, Gateway, LONG, Options, Reply, eventually, get_request, import_request,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

async fn ends(gateway: Gateway) {
    tokio::time::timeout(LONG, gateway.ended()).await.expect("the gateway ends");
}

async fn drain_began(gateway: &Gateway) {
    let waiting = async {
        while !super::operators::admin_get(gateway, "/readyz").await.starts_with("HTTP/1.1 503") {}
    };
    tokio::time::timeout(LONG, waiting).await.expect("the drain begins");
}

#[tokio::test]
async fn an_idle_gateway_stops_at_once() {
    let mut gateway = Gateway::start(Options::none()).await;
    let _client = gateway.client().await;
    gateway.shut_down();
    ends(gateway).await;
}

#[tokio::test]
async fn calls_in_flight_complete_during_the_drain() {
    let answer = Reply::json(200, r#"{"is_success":true,"message":"done"}"#);
    let cloud = FakeCloud::answering(Reply::Held(Box::new(answer))).await;
    let mut gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    let call = tokio::spawn(async move { client.import_savepoint(import_request()).await });
    eventually("the call is at the provider", || cloud.count() == 1).await;
    gateway.shut_down();
    drain_began(&gateway).await;
    cloud.release();
    assert_eq!(call.await.unwrap().unwrap().into_inner().message, "done");
    ends(gateway).await;
}

#[tokio::test]
async fn silent_and_unresponsive_peers_do_not_delay_the_drain() {
    let mut gateway =
        Gateway::start(Options::none().with(|config| config.server.drain_timeout = LONG)).await;
    let mut silent = TcpStream::connect(gateway.address()).await.unwrap();
    let mut deaf = TcpStream::connect(gateway.address()).await.unwrap();
    deaf.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    // The server's own SETTINGS: the connection stands. From here on no PING is answered.
    deaf.read_exact(&mut [0; 9]).await.unwrap();
    let began = Instant::now();
    gateway.shut_down();
    ends(gateway).await;
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn calls_that_outlast_the_drain_timeout_end_with_gateway_draining() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    let drain_timeout = Duration::from_secs(2);
    let mut gateway = Gateway::start(
        Options::at(&cloud).with(|config| config.server.drain_timeout = drain_timeout),
    )
    .await;
    let mut client = gateway.client().await;
    let import = tokio::spawn({
        let mut client = client.clone();
        async move { client.import_savepoint(import_request()).await }
    });
    let get = tokio::spawn(async move { client.get_savepoint(get_request()).await });
    eventually("both calls are at the provider", || cloud.count() == 2).await;
    gateway.shut_down();
    ends(gateway).await;
    let import = import.await.unwrap().unwrap_err();
    let get = get.await.unwrap().unwrap_err();
    for (status, outcome) in [(import, Some("unknown")), (get, None)] {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        let info = status.get_error_details().error_info().unwrap().clone();
        assert_eq!(info.reason, "GATEWAY_DRAINING");
        assert_eq!(info.metadata.get("outcome").map(String::as_str), outcome);
    }
}

#[tokio::test]
async fn during_the_drain_delay_calls_are_served_and_readiness_fails() {
    let cloud = FakeCloud::answering(Reply::json(200, r#"{"is_success":true}"#)).await;
    // Longer than the test may take: it is cut short by dropping the gateway.
    let drain_delay = Duration::from_secs(600);
    let mut gateway =
        Gateway::start(Options::at(&cloud).with(|config| config.server.drain_delay = drain_delay))
            .await;
    let mut health = super::operators::health(&gateway).await;
    gateway.shut_down();
    drain_began(&gateway).await;
    assert_eq!(super::operators::check(&mut health, "").await, Ok("NOT_SERVING"));
    assert_eq!(super::operators::check(&mut health, "liveness").await, Ok("SERVING"));
    // New connections are served, too.
    gateway.client().await.import_savepoint(import_request()).await.unwrap();
    let ready = super::operators::admin_get(&gateway, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
}

#[tokio::test]
async fn a_connection_of_maximum_age_is_closed_without_a_failed_call() {
    let cloud = FakeCloud::answering(Reply::json(200, r#"{"is_success":true}"#)).await;
    let max_connection_age = Some(Duration::from_millis(50));
    let gateway = Gateway::start(
        Options::at(&cloud).with(|config| config.server.max_connection_age = max_connection_age),
    )
    .await;
    let mut client = gateway.client().await;
    let began = Instant::now();
    let mut answered = 0;
    // Ten times the age of a connection: the client must have changed it several times.
    while began.elapsed() < Duration::from_millis(500) {
        match client.import_savepoint(import_request()).await {
            Ok(_) => answered += 1,
            // tonic's client may hand a call to a connection that is just going away. Then the
            // call never left it, which is its own error and not an answer.
            Err(status) => assert!(std::error::Error::source(&status).is_some(), "{status}"),
        }
    }
    assert!(answered > 0);
    let metrics = super::operators::admin_get(&gateway, "/metrics").await;
    let handled: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("grpc_server_handled_total") && !line.ends_with(" 0"))
        .collect();
    let want = format!("grpc_code=\"OK\"}} {answered}");
    assert!(matches!(handled[..], [only] if only.ends_with(&want)), "{want}: {handled:?}");
}

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

/// The messages of a stream, and the reason of its end.
async fn rest<T>(mut stream: tonic::Streaming<T>) -> (Vec<T>, String) {
    let mut messages = Vec::new();
    loop {
        match tokio::time::timeout(LONG, stream.message()).await.expect("the stream ends") {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, String::new()),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                let details = status.get_error_details();
                return (messages, details.error_info().unwrap().reason.clone());
            }
        }
    }
}

async fn watch(gateway: &Gateway) -> tonic::Streaming<HealthCheckResponse> {
    let mut client = super::operators::health(gateway).await;
    client.watch(HealthCheckRequest::default()).await.unwrap().into_inner()
}

/// A reflection stream whose caller asks nothing and never ends its side.
async fn reflection(gateway: &Gateway) -> tonic::Streaming<ServerReflectionResponse> {
    let mut client = ServerReflectionClient::new(gateway.channel().await);
    client.server_reflection_info(tokio_stream::pending()).await.unwrap().into_inner()
}

/// Hostile input 83.
#[tokio::test]
async fn no_stream_holds_a_drain() {
    let mut gateway = Gateway::start(Options::none().with(|config| {
        config.server.drain_timeout = NEVER;
        config.server.grpc_web_origins = vec![http::HeaderValue::from_static("*")];
    }))
    .await;
    let mut watched = watch(&gateway).await;
    let first = watched.message().await.unwrap().unwrap();
    assert_eq!(first.status().as_str_name(), "SERVING");
    let reflected = reflection(&gateway).await;
    let mut web = TcpStream::connect(gateway.address()).await.unwrap();
    let request = "POST /grpc.health.v1.Health/Watch HTTP/1.1\r\nhost: x\r\n\
                   content-type: application/grpc-web+proto\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0";
    web.write_all(request.as_bytes()).await.unwrap();
    web.read_exact(&mut [0; 64]).await.unwrap();

    gateway.shut_down();
    let (messages, reason) = rest(watched).await;
    let statuses: Vec<_> = messages.iter().map(|message| message.status().as_str_name()).collect();
    assert_eq!((&statuses[..], &reason[..]), (&["NOT_SERVING"][..], "GATEWAY_DRAINING"));
    assert_eq!(rest(reflected).await.1, "GATEWAY_DRAINING");
    let mut rest = Vec::new();
    web.read_to_end(&mut rest).await.unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("grpc-status:14"), "{rest}");
    ends(gateway).await;
}

/// Hostile input 83.
#[tokio::test]
async fn no_unread_stream_and_no_unfinished_request_holds_a_drain() {
    let mut gateway = Gateway::start(Options::none().with(|config| {
        config.server.drain_timeout = NEVER;
        config.server.peer_timeout = NEVER;
    }))
    .await;
    // A window of 0 that never grows.
    let mut unread = Peer::with_settings(gateway.address(), &[0, 4, 0, 0, 0, 0]).await;
    let headers = |path| frame(HEADERS, END_HEADERS, 1, &block(&call_fields(path)));
    let empty = frame(DATA, END_STREAM, 1, &prefixed(&[]));
    unread.send(&[headers("/grpc.health.v1.Health/Watch"), empty].concat()).await.unwrap();
    while unread.next().await.unwrap().kind != HEADERS {}
    let mut unfinished = Peer::connect(gateway.address()).await;
    unfinished.send(&[headers(IMPORT), frame(DATA, 0, 1, &[0])].concat()).await.unwrap();
    let started = r#"grpc_server_started_total{grpc_type="unary",grpc_service="savepoint.v1.SavepointService",grpc_method="ImportSavepoint"} 1"#;
    let begun = async {
        while !super::operators::admin_get(&gateway, "/metrics").await.contains(started) {}
    };
    tokio::time::timeout(LONG, begun).await.expect("the call begins");

    gateway.shut_down();
    let frames = unfinished.rest().await;
    let answer = frames.iter().find(|frame| frame.kind == HEADERS).expect("a status");
    assert_eq!((answer.stream, answer.flags & END_STREAM), (1, END_STREAM));
    ends(gateway).await;
}

/// Hostile input 83.
#[tokio::test]
async fn a_connection_of_maximum_age_ends_its_streams() {
    let max_connection_age = Some(Duration::from_millis(50));
    let gateway = Gateway::start(
        Options::none().with(|config| config.server.max_connection_age = max_connection_age),
    )
    .await;
    let (messages, reason) = rest(watch(&gateway).await).await;
    assert_eq!((messages.len(), &reason[..]), (1, "GATEWAY_DRAINING"));
    assert_eq!(rest(reflection(&gateway).await).await.1, "GATEWAY_DRAINING");
}
