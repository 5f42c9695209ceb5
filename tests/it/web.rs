use http::HeaderValue;
use prost::Message as _;
use savepoint_gateway::pb::ImportSavepointResponse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{FakeCloud, Gateway, Options, Reply, import_request};

const ORIGIN: &str = "https://page.example";

/// One HTTP/1.1 exchange; the head as text and the body as it is.
async fn exchange(gateway: &Gateway, head: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let head =
        format!("{head}host: h\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    (head, answer[end + 4..].to_vec())
}

async fn call(gateway: &Gateway, origin: &str) -> (String, Vec<u8>) {
    let message = import_request().encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0][..], &length, &message].concat();
    let head = format!(
        "POST /savepoint.v1.SavepointService/ImportSavepoint HTTP/1.1\r\norigin: {origin}\r\n\
         content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\n"
    );
    exchange(gateway, &head, &body).await
}

async fn gateway(cloud: &FakeCloud) -> Gateway {
    let grpc_web_origins = vec![HeaderValue::from_static(ORIGIN)];
    Gateway::start(
        Options::at(cloud).with(|config| config.server.grpc_web_origins = grpc_web_origins),
    )
    .await
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_calls_over_http_1() {
    let cloud =
        FakeCloud::answering(Reply::json(200, r#"{"is_success":true,"message":"x"}"#)).await;
    let gateway = gateway(&cloud).await;
    let (head, body) = call(&gateway, ORIGIN).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains(&format!("access-control-allow-origin: {ORIGIN}")), "{head}");
    assert!(head.contains("access-control-expose-headers: grpc-status"), "{head}");
    let message = ImportSavepointResponse { message: "x".into(), ..Default::default() };
    let message = message.encode_to_vec();
    let found = body.windows(message.len()).any(|window| window == message);
    assert!(found, "{body:?}");
    assert!(String::from_utf8_lossy(&body).contains("grpc-status:0"), "{body:?}");
    // gRPC over HTTP/2 is served on the same port.
    gateway.client().await.import_savepoint(import_request()).await.unwrap();
}

#[tokio::test]
async fn a_preflight_allows_what_clients_send_and_only_to_those_origins() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    let gateway = gateway(&cloud).await;
    for (origin, allowed) in [(ORIGIN, true), ("https://other.example", false)] {
        let head = format!(
            "OPTIONS /savepoint.v1.SavepointService/ImportSavepoint HTTP/1.1\r\norigin: {origin}\r\n\
             access-control-request-method: POST\r\n\
             access-control-request-headers: content-type,grpc-timeout,x-grpc-web,x-user-agent\r\n"
        );
        let (head, _) = exchange(&gateway, &head, b"").await;
        assert_eq!(head.contains("access-control-allow-origin"), allowed, "{origin}: {head}");
        let traced = ["traceparent", "tracestate"];
        let sent = ["content-type", "grpc-timeout", "x-grpc-web", "x-user-agent"];
        for name in sent.into_iter().chain(traced) {
            assert!(head.contains(name), "{name}: {head}");
        }
    }
    assert_eq!(cloud.count(), 0);
}

#[tokio::test]
async fn a_connection_outlives_a_request_that_is_refused_before_its_end() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    let gateway = gateway(&cloud).await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let body = vec![7; 500_000];
    for (kind, status) in [("text/plain", "415"), ("application/grpc-web+proto", "200")] {
        let head = format!(
            "POST /savepoint.v1.SavepointService/ImportSavepoint HTTP/1.1\r\nhost: h\r\n\
             content-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let writing = async {
            writer.write_all(head.as_bytes()).await.unwrap();
            writer.write_all(&body).await.unwrap();
        };
        let reading = async {
            let mut answer = Vec::new();
            while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
                assert_ne!(reader.read_buf(&mut answer).await.unwrap(), 0, "{kind}: closed");
            }
            String::from_utf8_lossy(&answer).to_lowercase()
        };
        let ((), head) = tokio::join!(writing, reading);
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
        assert!(!head.contains("connection: close"), "{head}");
    }
    assert_eq!(cloud.count(), 0);
}

#[tokio::test]
async fn grpc_web_is_off_by_default() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let (head, _) = call(&gateway, ORIGIN).await;
    assert!(head.starts_with("http/1.1 505"), "{head}");
    assert_eq!(cloud.count(), 0);
}
