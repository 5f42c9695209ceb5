use http::{HeaderValue, Method};
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wire::{GET, IMPORT, ask, prefixed};
use crate::support::{FakeCloud, Gateway, Options, Reply, import_request};

const ALLOWED: &str = "https://app.example";

/// What pages of others send, also those whose name leads to the gateway.
const REFUSED: [&[&str]; 14] = [
    &["http://evil.example"],
    &["https://evil.example"],
    &["https://evil.example:50051"],
    &["http://app.example"],
    &["https://app.example:443"],
    &["https://app.example:8443"],
    &["https://app.example/"],
    &["https://app.example.evil.example"],
    &["https://APP.example"],
    &["null"],
    &[""],
    &["*"],
    &["https://app.example https://evil.example"],
    &["https://app.example", "https://evil.example"],
];

const KINDS: [&str; 6] = [
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc",
    "application/grpc+proto",
    "application/json",
    "text/plain",
];

async fn gateway(origins: &[&'static str]) -> (FakeCloud, Gateway) {
    let cloud = FakeCloud::answering(Reply::json(200, r#"{"is_success":true}"#)).await;
    let origins = origins.iter().map(|origin| HeaderValue::from_static(origin)).collect();
    let options = Options::at(&cloud).with(|config| config.server.grpc_web_origins = origins);
    let gateway = Gateway::start(options).await;
    (cloud, gateway)
}

/// The head of the answer over HTTP/1.1.
async fn ask_http_1(
    gateway: &Gateway,
    method: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let mut head = format!("{method} {IMPORT} HTTP/1.1\r\nhost: evil.example\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).to_lowercase()
}

#[tokio::test]
async fn a_page_of_an_origin_that_is_not_listed_is_refused_before_anything_else() {
    let (cloud, gateway) = gateway(&[ALLOWED, "http://localhost:8080"]).await;
    let body = prefixed(&import_request().encode_to_vec());
    for origins in REFUSED {
        for method in [Method::POST, Method::OPTIONS, Method::GET] {
            for kind in KINDS {
                let mut headers = vec![
                    ("content-type", kind),
                    ("access-control-request-method", "POST"),
                    ("sec-fetch-site", "same-origin"),
                ];
                headers.extend(origins.iter().map(|origin| ("origin", *origin)));
                let what = format!("{method} {kind} {origins:?}");
                let head = ask_http_1(&gateway, method.as_str(), &headers, &body).await;
                assert!(head.starts_with("http/1.1 403"), "{what}: {head}");
                assert!(!head.contains("access-control-allow"), "{what}: {head}");
                let address = gateway.address();
                let answer = ask(address, method.clone(), IMPORT, &headers, body.clone()).await;
                assert_eq!(answer.http, 403, "{what}: {answer:?}");
                assert!(!answer.headers.contains_key("access-control-allow-origin"), "{what}");
            }
        }
    }
    for path in [GET, "/unknown/Method", "/grpc.health.v1.Health/Check", "/"] {
        let headers = [("content-type", "application/grpc"), ("origin", "http://evil.example")];
        let answer = ask(gateway.address(), Method::POST, path, &headers, Vec::new()).await;
        assert_eq!(answer.http, 403, "{path}: {answer:?}");
    }
    assert_eq!(cloud.count(), 0);
    // Nothing of them is a call.
    assert!(!gateway.log().contains(r#""message":"call""#), "{}", gateway.log());
}

#[tokio::test]
async fn a_large_request_of_another_page_gets_its_refusal() {
    let (cloud, gateway) = gateway(&[ALLOWED]).await;
    let headers = [("content-type", "application/grpc-web"), ("origin", "http://evil.example")];
    let head = ask_http_1(&gateway, "POST", &headers, &vec![0; 900_000]).await;
    assert!(head.starts_with("http/1.1 403"), "{head}");
    assert_eq!(cloud.count(), 0);
}

#[tokio::test]
async fn callers_without_an_origin_and_pages_that_are_listed_are_served() {
    let (cloud, gateway) = gateway(&[ALLOWED, "http://localhost:8080"]).await;
    let body = prefixed(&import_request().encode_to_vec());
    for (count, origin) in [None, Some(ALLOWED), Some("http://localhost:8080")].iter().enumerate() {
        for kind in ["application/grpc-web", "application/grpc"] {
            let mut headers = vec![("content-type", kind)];
            headers.extend(origin.map(|origin| ("origin", origin)));
            let answer = ask(gateway.address(), Method::POST, IMPORT, &headers, body.clone()).await;
            assert_eq!(answer.http, 200, "{kind} {origin:?}: {answer:?}");
            let allowed = answer.headers.get("access-control-allow-origin");
            assert_eq!(allowed.map(|value| value.to_str().unwrap()), *origin, "{kind}");
        }
        assert_eq!(cloud.count(), 2 * (count + 1));
    }
}

#[tokio::test]
async fn all_pages_are_served_if_all_are_allowed() {
    let (cloud, gateway) = gateway(&["*"]).await;
    let body = prefixed(&import_request().encode_to_vec());
    let origins = ["http://evil.example", "null", ALLOWED];
    for origin in origins {
        let headers = [("content-type", "application/grpc-web"), ("origin", origin)];
        let answer = ask(gateway.address(), Method::POST, IMPORT, &headers, body.clone()).await;
        assert_eq!(answer.http, 200, "{origin}: {answer:?}");
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
    }
    assert_eq!(cloud.count(), origins.len());
}
