use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use savepoint_gateway::pb::{ImportSavepointResponse, SavepointState, WatchSavepointResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::hostile::wire::{IMPORT, ask, prefixed};
use crate::support::{
    FakeCloud, Gateway, LONG, Options, Reply, eventually, import_request, watch_request,
};
use crate::watch::{nothing_is_left, quick, savepoint, state};

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

pub(crate) async fn call(gateway: &Gateway, origin: &str) -> (String, Vec<u8>) {
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
    let gateway = Gateway::start(Options::at(&cloud).with(|config| {
        config.server.grpc_web_origins = vec![HeaderValue::from_static(ORIGIN)];
        config.server.grpc_web_headers = vec![HeaderName::from_static("x-request-id")];
    }))
    .await;
    let sent = [
        "content-type",
        "grpc-timeout",
        "x-grpc-web",
        "x-user-agent",
        "baggage",
        "traceparent",
        "tracestate",
        "x-request-id",
    ];
    for (origin, status) in [(ORIGIN, "200"), ("https://other.example", "403")] {
        let head = format!(
            "OPTIONS /savepoint.v1.SavepointService/ImportSavepoint HTTP/1.1\r\norigin: {origin}\r\n\
             access-control-request-method: POST\r\n\
             access-control-request-headers: {}\r\n",
            sent.join(",")
        );
        let (head, _) = exchange(&gateway, &head, b"").await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
        let value = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_default().split(',').map(str::to_owned).collect::<Vec<_>>()
        };
        let is_allowed = status == "200";
        assert_eq!(value("access-control-allow-origin").contains(&origin.to_owned()), is_allowed);
        for name in sent {
            let listed = value("access-control-allow-headers").contains(&name.to_owned());
            assert_eq!(listed, is_allowed, "{name}: {head}");
        }
    }
    assert_eq!(cloud.count(), 0);
}

#[tokio::test]
async fn every_answer_to_an_allowed_page_can_be_read_by_it() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    let gateway = gateway(&cloud).await;
    for (method, path, kind, status) in [
        ("POST", IMPORT, "application/json", 415),
        ("POST", IMPORT, "text/plain", 415),
        ("POST", IMPORT, "nonsense", 415),
        ("GET", IMPORT, "text/plain", 415),
        ("GET", IMPORT, "application/grpc-web", 405),
        ("PUT", IMPORT, "application/grpc-web-text", 405),
        ("POST", IMPORT, "application/grpc-web", 200),
        ("POST", "/unknown/Method", "application/grpc-web+proto", 200),
        ("POST", "/", "application/grpc-web-text", 200),
    ] {
        let head =
            format!("{method} {path} HTTP/1.1\r\norigin: {ORIGIN}\r\ncontent-type: {kind}\r\n");
        let (head, _) = exchange(&gateway, &head, b"").await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{method} {path} {kind}: {head}");
        let headers = [("content-type", kind), ("origin", ORIGIN)];
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = ask(gateway.address(), method, path, &headers, Vec::new()).await;
        assert_eq!(answer.http, status, "{path} {kind}: {answer:?}");
        for (name, want) in [
            ("access-control-allow-origin", ORIGIN),
            ("access-control-expose-headers", "grpc-status,grpc-message,grpc-status-details-bin"),
        ] {
            assert!(head.contains(&format!("{name}: {want}")), "{kind}: {head}");
            let found = answer.headers.get(name).map(|value| value.to_str().unwrap());
            assert!(found.is_some_and(|found| found.starts_with(want)), "{kind}: {answer:?}");
        }
    }
    assert_eq!(cloud.count(), 0);
}

#[tokio::test]
async fn media_types_of_grpc_web_are_read_by_their_grammar() {
    let cloud = FakeCloud::answering(Reply::json(200, r#"{"is_success":true}"#)).await;
    let gateway = gateway(&cloud).await;
    let binary = prefixed(&import_request().encode_to_vec());
    let text = BASE64_STANDARD.encode(&binary).into_bytes();
    let mut count = 0;
    for (kind, body) in [
        ("application/grpc-web", &binary),
        ("application/grpc-web+proto; charset=utf-8", &binary),
        ("Application/gRPC-Web+Proto", &binary),
        ("application/grpc-web ; a=\"b;c\";", &binary),
        ("application/grpc-web-text", &text),
        ("application/grpc-web-text+proto;charset=utf-8", &text),
        ("APPLICATION/GRPC-WEB-TEXT", &text),
    ] {
        let head =
            format!("POST {IMPORT} HTTP/1.1\r\norigin: {ORIGIN}\r\ncontent-type: {kind}\r\n");
        let (head, answer) = exchange(&gateway, &head, body).await;
        assert!(head.starts_with("http/1.1 200"), "{kind}: {head}");
        assert!(head.contains("content-type: application/grpc-web+proto"), "{kind}: {head}");
        assert!(String::from_utf8_lossy(&answer).contains("grpc-status:0"), "{kind}: {answer:?}");
        let headers = [("content-type", kind), ("origin", ORIGIN)];
        let answer = ask(gateway.address(), Method::POST, IMPORT, &headers, body.clone()).await;
        assert_eq!(answer.http, 200, "{kind}: {answer:?}");
        count += 2;
        assert_eq!(cloud.count(), count, "{kind}");
    }
}

#[tokio::test]
async fn an_answer_is_in_base64_if_the_page_accepts_that() {
    let cloud = FakeCloud::answering(Reply::json(200, r#"{"is_success":true}"#)).await;
    let gateway = gateway(&cloud).await;
    let binary = prefixed(&import_request().encode_to_vec());
    let text = BASE64_STANDARD.encode(&binary).into_bytes();
    for (kind, accept, body, is_text) in [
        ("application/grpc-web-text", "application/grpc-web-text", &text, true),
        ("application/grpc-web-text", "Application/gRPC-Web-Text+proto;q=0.5, */*", &text, true),
        ("application/grpc-web-text", "application/grpc-web", &text, false),
        ("application/grpc-web-text", "application/grpc-web-text;q=0", &text, false),
        (
            "application/grpc-web-text",
            "application/grpc-web, application/grpc-web-text",
            &text,
            true,
        ),
        ("application/grpc-web", "application/grpc-web-text", &binary, true),
        ("application/grpc-web", "application/grpc-web, application/grpc-web-text", &binary, false),
        ("application/grpc-web", "*/*", &binary, false),
    ] {
        let head = format!(
            "POST {IMPORT} HTTP/1.1\r\norigin: {ORIGIN}\r\ncontent-type: {kind}\r\naccept: {accept}\r\n"
        );
        let (head, answer) = exchange(&gateway, &head, body).await;
        let want = if is_text { "grpc-web-text+proto" } else { "grpc-web+proto" };
        assert!(
            head.contains(&format!("content-type: application/{want}\r\n")),
            "{accept}: {head}"
        );
        let is_plain = String::from_utf8_lossy(&answer).contains("grpc-status:0");
        assert_eq!(is_plain, !is_text, "{accept}: {answer:?}");
    }
}

/// The pieces of a body that a client encoded one by one.
#[tokio::test]
async fn a_body_in_base64_may_have_padding_in_the_middle() {
    let cloud = FakeCloud::answering(Reply::json(200, r#"{"is_success":true}"#)).await;
    let gateway = gateway(&cloud).await;
    let message = prefixed(&import_request().encode_to_vec());
    for size in 1..8 {
        let pieces: String =
            message.chunks(size).map(|piece| BASE64_STANDARD.encode(piece)).collect();
        let headers = [("content-type", "application/grpc-web-text"), ("origin", ORIGIN)];
        let answer = ask(gateway.address(), Method::POST, IMPORT, &headers, pieces.into()).await;
        assert_eq!((answer.http.as_u16(), answer.code()), (200, None), "{size}: {answer:?}");
        assert_eq!(cloud.count(), size);
    }
    let sent = cloud.requests();
    assert!(sent.iter().all(|request| request.body == sent[0].body), "{sent:?}");
}

#[tokio::test]
async fn a_body_that_is_not_base64_is_a_malformed_message() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    let gateway = gateway(&cloud).await;
    let whole = BASE64_STANDARD.encode(prefixed(&import_request().encode_to_vec()));
    let bodies =
        ["!!!!", &whole[..whole.len() - 1], &whole[..9], "AAAA====", &whole.replace('A', " ")];
    for body in bodies {
        let head = format!(
            "POST {IMPORT} HTTP/1.1\r\norigin: {ORIGIN}\r\ncontent-type: application/grpc-web-text\r\n"
        );
        let (head, _) = exchange(&gateway, &head, body.as_bytes()).await;
        assert!(head.contains("grpc-status: 13"), "{body}: {head}");
        let headers = [("content-type", "application/grpc-web-text"), ("origin", ORIGIN)];
        let answer = ask(gateway.address(), Method::POST, IMPORT, &headers, body.into()).await;
        assert_eq!(answer.code(), Some(Code::Internal as i32), "{body}: {answer:?}");
    }
    assert_eq!(cloud.count(), 0);
    let log = gateway.log();
    let told = log.matches(r#""reason":"MALFORMED_MESSAGE""#).count();
    assert_eq!(told, 2 * bodies.len(), "{log}");
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

/// What base64 stands for, also where padding ends a part of it.
fn decoded(text: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quantum = |four: &[u8]| {
        let padding = four.iter().filter(|byte| **byte == b'=').count();
        let value = four.iter().fold(0_u32, |value, byte| {
            let digit = ALPHABET.iter().position(|known| known == byte).unwrap_or_default();
            value << 6 | digit as u32
        });
        value.to_be_bytes()[1..4 - padding].to_vec()
    };
    text.chunks_exact(4).flat_map(quantum).collect()
}

fn encoded(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let three = |three: &[u8]| {
        let mut padded = [0; 4];
        padded[1..=three.len()].copy_from_slice(three);
        let value = u32::from_be_bytes(padded);
        let digit = |at: usize| match at <= three.len() {
            true => ALPHABET[(value >> (18 - 6 * at)) as usize & 63],
            false => b'=',
        };
        [0, 1, 2, 3].map(digit)
    };
    bytes.chunks(3).flat_map(three).collect()
}

/// How a page asks.
#[derive(Debug, Clone, Copy)]
struct Way {
    http_2: bool,
    text: bool,
}

const WAYS: [Way; 4] = [
    Way { http_2: false, text: false },
    Way { http_2: false, text: true },
    Way { http_2: true, text: false },
    Way { http_2: true, text: true },
];

/// The answer to a watch, read as it comes.
struct Page {
    answer: Response<Incoming>,
    text: bool,
    unread: Vec<u8>,
    // Dropping it closes the connection.
    _connection: tokio_util::task::AbortOnDropHandle<()>,
}

impl Page {
    async fn watch(gateway: &Gateway, Way { http_2, text }: Way) -> Self {
        let message = watch_request().encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let body = [&[0][..], &length, &message].concat();
        let (kind, body) = match text {
            true => ("application/grpc-web-text", encoded(&body)),
            false => ("application/grpc-web+proto", body),
        };
        let path = "/savepoint.v1.SavepointService/WatchSavepoint";
        let uri = if http_2 { format!("http://h{path}") } else { path.to_owned() };
        let request = Request::post(uri)
            .header("host", "h")
            .header("origin", ORIGIN)
            .header("content-type", kind)
            .header("accept", kind)
            .header("x-grpc-web", "1")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let io = TokioIo::new(TcpStream::connect(gateway.address()).await.unwrap());
        let (answering, connection) = if http_2 {
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), io).await.unwrap();
            let connection = tokio::spawn(async move { drop(connection.await) });
            (sender.send_request(request).await, connection)
        } else {
            let (mut sender, connection) = http1::handshake(io).await.unwrap();
            let connection = tokio::spawn(async move { drop(connection.await) });
            (sender.send_request(request).await, connection)
        };
        let answer = answering.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["access-control-allow-origin"], ORIGIN);
        let _connection = tokio_util::task::AbortOnDropHandle::new(connection);
        Self { answer, text, unread: Vec::new(), _connection }
    }

    /// The next frame of gRPC-Web: its flag and its payload; none at the end.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let whole = if self.text { decoded(&self.unread) } else { self.unread.clone() };
            if let [flag, a, b, c, d, rest @ ..] = &whole[..] {
                let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                if let Some(payload) = rest.get(..length) {
                    let used = 5 + length;
                    // Each frame is encoded by itself.
                    let used = if self.text { used.div_ceil(3) * 4 } else { used };
                    self.unread.drain(..used);
                    return Some((*flag, payload.to_vec()));
                }
            }
            let reading = tokio::time::timeout(LONG, self.answer.body_mut().frame());
            let Some(read) = reading.await.expect("a frame in time") else {
                assert!(self.unread.is_empty(), "{:?}", self.unread);
                return None;
            };
            self.unread.extend(read.unwrap().into_data().expect("no HTTP trailers"));
        }
    }

    /// The next message.
    async fn message(&mut self) -> WatchSavepointResponse {
        let (flag, payload) = self.next().await.expect("a message");
        assert_eq!(flag, 0, "{}", String::from_utf8_lossy(&payload));
        WatchSavepointResponse::decode(&payload[..]).unwrap()
    }

    /// The trailers, which end the answer.
    async fn trailers(&mut self) -> String {
        let (flag, payload) = self.next().await.expect("trailers");
        assert_eq!(flag, 0x80);
        assert_eq!(self.next().await, None);
        String::from_utf8(payload).unwrap()
    }
}

fn for_pages(options: Options) -> Options {
    options.with(|config| config.server.grpc_web_origins = vec![HeaderValue::from_static(ORIGIN)])
}

#[tokio::test]
async fn a_page_is_told_each_message_of_a_watch_when_it_comes() {
    for way in WAYS {
        let cloud = FakeCloud::start(|_, before| match before {
            0 => savepoint("STARTED", "é"),
            _ => Reply::Held(Box::new(savepoint("COMPLETED", "é"))),
        })
        .await;
        let gateway = Gateway::start(for_pages(quick(&cloud))).await;
        let mut page = Page::watch(&gateway, way).await;
        // The next poll has no answer yet.
        assert_eq!(state(&page.message().await), SavepointState::Started, "{way:?}");
        // A heartbeat, too.
        assert_eq!(state(&page.message().await), SavepointState::Started, "{way:?}");
        eventually("the next poll", || cloud.count() == 2).await;
        cloud.release();
        while state(&page.message().await) != SavepointState::Completed {}
        let trailers = page.trailers().await;
        assert!(trailers.contains("grpc-status:0"), "{way:?}: {trailers}");
        nothing_is_left(&gateway, &format!("{way:?}")).await;
    }
}

#[tokio::test]
async fn a_page_is_told_why_its_watch_ended() {
    for way in WAYS {
        let not_found = Reply::json(200, r#"{"success":false,"errorCode":"990301"}"#);
        for replies in [vec![not_found.clone()], vec![savepoint("STARTED", ""), not_found]] {
            let messages = replies.len() - 1;
            let cloud =
                FakeCloud::start(move |_, before| replies[before.min(messages)].clone()).await;
            let gateway = Gateway::start(for_pages(quick(&cloud).with(|config| {
                // Polls are quick, and there is no second message.
                config.watch_limits.heartbeat = Duration::from_secs(1);
            })))
            .await;
            let mut page = Page::watch(&gateway, way).await;
            for _ in 0..messages {
                page.message().await;
            }
            let trailers = page.trailers().await;
            assert!(trailers.contains("grpc-status:5"), "{way:?}: {trailers}");
            assert!(trailers.contains("grpc-status-details-bin:"), "{way:?}: {trailers}");
            nothing_is_left(&gateway, &format!("{way:?}")).await;
        }
    }
}

/// Hostile input 92.
#[tokio::test]
async fn a_page_that_leaves_its_watch_leaves_nothing() {
    for way in WAYS {
        for told in [false, true] {
            let cloud = FakeCloud::start(move |_, before| match before {
                0 if told => savepoint("STARTED", ""),
                _ => Reply::Silence,
            })
            .await;
            // Over HTTP/2 the end of the connection tells that it has left. Over HTTP/1.1 that may be
            // the end of its side alone, and only what is sent next tells.
            let options = quick(&cloud).with(|config| {
                if way.http_2 {
                    config.watch_limits.heartbeat = LONG;
                } else {
                    // Of a poll, too.
                    config.server.timeouts.default = Duration::from_millis(300);
                }
            });
            let gateway = Gateway::start(for_pages(options)).await;
            let mut page = Page::watch(&gateway, way).await;
            if told {
                page.message().await;
            }
            drop(page);
            nothing_is_left(&gateway, &format!("{way:?}, {told}")).await;
        }
    }
}
