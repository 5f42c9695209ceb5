use std::time::{Duration, Instant};

use prost::Message as _;
use savepoint_gateway::healthcheck;
use savepoint_gateway::options::Address;
use savepoint_gateway::pb::health::HealthCheckRequest;
use savepoint_gateway::pb::health::health_client::HealthClient;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::wire::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, IMPORT, PING, PREFACE, Peer, SETTINGS, block,
    call_fields, frame, prefixed,
};
use crate::support::{FakeCloud, Folder, Gateway, LONG, Options, Reply, import_request};

/// A short timeout for peers.
const PATIENCE: Duration = Duration::from_millis(300);
const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

async fn connect(address: &str) -> Box<dyn Io> {
    match address.strip_prefix("unix:") {
        Some(path) => Box::new(UnixStream::connect(path).await.unwrap()),
        None => Box::new(TcpStream::connect(address).await.unwrap()),
    }
}

fn open() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

fn call(path: &'static str, message: &[u8]) -> Vec<u8> {
    let headers = frame(HEADERS, END_HEADERS, 1, &block(&call_fields(path)));
    [headers, frame(DATA, END_STREAM, 1, &prefixed(message))].concat()
}

/// What strangers leave behind, and whether it is answered.
fn strangers() -> Vec<(&'static str, Vec<u8>, bool)> {
    let headers = frame(HEADERS, END_HEADERS, 1, &block(&call_fields(CHECK)));
    let import = frame(HEADERS, END_HEADERS, 1, &block(&call_fields(IMPORT)));
    let ping = frame(PING, 0, 0, &[7; 8]);
    let post = "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nhost: x\r\n\
                content-type: application/grpc\r\ncontent-length: 100\r\n\r\n\0";
    vec![
        ("nothing", vec![], false),
        ("a part of a preface", PREFACE[..10].to_vec(), false),
        ("HTTP/2 without a call", open(), true),
        ("HTTP/2 with a PING", [open(), ping].concat(), true),
        ("a call without a message", [open(), headers].concat(), true),
        ("a call of another service", [open(), import].concat(), true),
        ("a call that is answered", [open(), call(CHECK, &[])].concat(), true),
        ("a health watch", [open(), call(WATCH, &[])].concat(), true),
        ("a part of HTTP/1.1 headers", b"GET /livez HTTP/1.1\r\nho".to_vec(), false),
        ("an HTTP/1.1 body without an end", post.as_bytes().to_vec(), false),
        ("an answered HTTP/1.1 request", b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), true),
    ]
}

/// A probe of each kind, on connections of their own.
async fn probes_are_answered(address: &str, what: &str) {
    let probing = async {
        let mut http = connect(address).await;
        let request = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        http.write_all(request).await.unwrap();
        let mut answer = String::new();
        http.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{what}: {answer}");
        let address: Address = address.parse().unwrap();
        healthcheck::ask(&address, "", LONG).await.unwrap();
    };
    let answered = tokio::time::timeout(LONG, probing).await;
    assert!(answered.is_ok(), "{what}: no answer");
}

/// Longer than any test: only what makes room at once can help.
const NEVER: Duration = Duration::from_secs(3600);

/// Hostile input 79.
#[tokio::test]
async fn a_probe_gets_in_whatever_strangers_hold_on_the_admin_port() {
    let folder = Folder::new();
    let unix = format!("unix:{}", folder.path().join("admin.sock").display());
    let tcp = Options::none().with(|config| config.server.peer_timeout = NEVER);
    let on_unix = tcp.clone().with(|config| config.server.admin_listen = unix.parse().unwrap());
    for options in [tcp, on_unix] {
        let gateway = Gateway::start(options).await;
        for (what, bytes, is_answered) in strangers() {
            let mut held = Vec::new();
            // More than there are places.
            for _ in 0..100 {
                let mut stream = connect(gateway.admin()).await;
                stream.write_all(&bytes).await.unwrap();
                if is_answered {
                    stream.read_exact(&mut [0]).await.unwrap();
                }
                held.push(stream);
            }
            for _ in 0..3 {
                probes_are_answered(gateway.admin(), what).await;
            }
        }
    }
}

/// Hostile input 79.
#[tokio::test]
async fn a_watch_on_the_admin_port_outlasts_a_crowd_of_idle_strangers() {
    let options = Options::none().with(|config| config.server.peer_timeout = NEVER);
    let mut gateway = Gateway::start(options).await;
    let admin = tonic::transport::Endpoint::new(format!("http://{}", gateway.admin())).unwrap();
    let mut client = HealthClient::new(admin.connect().await.unwrap());
    let watched = HealthCheckRequest::default();
    let mut watch = client.watch(watched).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status().as_str_name(), "SERVING");
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(connect(gateway.admin()).await);
    }
    probes_are_answered(gateway.admin(), "a crowd").await;
    gateway.shut_down();
    let next = watch.message().await.unwrap().unwrap();
    assert_eq!(next.status().as_str_name(), "NOT_SERVING");
}

/// Whether the gateway ends this connection, which goes on sending these bytes.
async fn is_ended(mut stream: Box<dyn Io>, again: &[u8], within: Duration) -> bool {
    let reading = async {
        let mut buffer = [0; 1024];
        loop {
            let step = tokio::time::timeout(PATIENCE / 5, stream.read(&mut buffer)).await;
            match step {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => {}
                Err(_) if stream.write_all(again).await.is_err() => return,
                Err(_) => {}
            }
        }
    };
    tokio::time::timeout(within, reading).await.is_ok()
}

/// Hostile input 80.
#[tokio::test]
async fn connections_without_a_first_call_are_ended_on_both_ports() {
    let options = Options::none().with(|config| config.server.peer_timeout = PATIENCE);
    let gateway = Gateway::start(options).await;
    let ping = frame(PING, 0, 0, &[7; 8]);
    for address in [gateway.address(), gateway.admin()] {
        let mut waiting = Vec::new();
        for (what, bytes, again) in [
            ("nothing", vec![], vec![]),
            ("a part of a preface", PREFACE[..10].to_vec(), vec![]),
            ("HTTP/2 without a call", open(), vec![]),
            ("HTTP/2 with PINGs only", open(), ping.clone()),
        ] {
            let mut stream = connect(address).await;
            stream.write_all(&bytes).await.unwrap();
            waiting.push(async move {
                assert!(is_ended(stream, &again, LONG).await, "{what} stays");
            });
        }
        futures_util::future::join_all(waiting).await;
    }
}

/// Hostile input 80.
#[tokio::test]
async fn connections_without_a_call_give_way_only_where_places_are_scarce() {
    let gateway = async |most| {
        Gateway::start(Options::none().with(|config| {
            config.server.peer_timeout = PATIENCE;
            config.server.max_connections = most;
        }))
        .await
    };
    let used = async |gateway: &Gateway| {
        let mut stream = connect(gateway.address()).await;
        stream.write_all(&[open(), call(CHECK, &[])].concat()).await.unwrap();
        stream.read_exact(&mut [0; 30]).await.unwrap();
        stream
    };
    let spacious = gateway(100).await;
    let stays = used(&spacious).await;
    let crowded = gateway(8).await;
    let mut strangers = Vec::new();
    for _ in 0..8 {
        strangers.push(used(&crowded).await);
    }
    let getting_in = async {
        let address: Address = crowded.address().parse().unwrap();
        while healthcheck::ask(&address, "", LONG).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, getting_in).await.expect("a caller gets in");
    assert!(!is_ended(stays, &[], 4 * PATIENCE).await, "it was not in the way");
}

/// The end of an answer: trailers of the first stream.
const END: [u8; 6] = [HEADERS, END_HEADERS | END_STREAM, 0, 0, 0, 1];

/// Hostile input 81.
#[tokio::test]
async fn a_request_is_answered_though_its_peer_has_ended_its_side() {
    let cloud = FakeCloud::answering(Reply::json(200, r#"{"is_success":true}"#)).await;
    let gateway = Gateway::start(Options::at(&cloud).with(|config| {
        config.server.grpc_web_origins = vec![http::HeaderValue::from_static("*")];
    }))
    .await;
    let message = prefixed(&import_request().encode_to_vec());
    let web = format!(
        "POST {IMPORT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web+proto\r\n\
         content-length: {}\r\n\r\n",
        message.len()
    );
    let http_2 = [open(), call(IMPORT, &import_request().encode_to_vec())].concat();
    let head = |path: &str| {
        let accept = "accept: application/openmetrics-text";
        format!("GET {path} HTTP/1.1\r\nhost: x\r\n{accept}\r\n\r\n").into_bytes()
    };
    let (grpc, admin) = (gateway.address(), gateway.admin());
    for (what, address, bytes, answer) in [
        ("gRPC-Web", grpc, [web.into_bytes(), message].concat(), &b"grpc-status:0"[..]),
        ("HTTP/2", grpc, http_2, &END),
        ("/livez", admin, head("/livez"), b"ok\n"),
        ("/metrics", admin, head("/metrics"), b"# EOF"),
        ("health", admin, [open(), call(CHECK, &[])].concat(), &END),
    ] {
        for number in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answered = Vec::new();
            let reading = stream.read_to_end(&mut answered);
            tokio::time::timeout(LONG, reading).await.expect("it ends").unwrap();
            let found = answered.windows(answer.len()).any(|window| window == answer);
            assert!(found, "{what}, {number}: {:?}", String::from_utf8_lossy(&answered));
        }
    }
    let metrics = super::super::operators::admin_get(&gateway, "/metrics").await;
    let counted =
        |line: &&str| line.starts_with("grpc_server_handled_total") && line.ends_with("} 40");
    assert_eq!(metrics.lines().filter(counted).count(), 1, "{metrics}");
}

/// Hostile input 81.
#[tokio::test]
async fn a_refusal_reaches_a_peer_that_has_ended_its_side() {
    let gateway = Gateway::start(Options::none()).await;
    let request = [&b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9000\r\n\r\n"[..], &[7; 9000]];
    for _ in 0..20 {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(&request.concat()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 505"), "{answer}");
    }
}

/// Hostile input 80.
#[tokio::test]
async fn a_connection_without_a_call_gets_goaway() {
    let options = Options::none().with(|config| config.server.peer_timeout = PATIENCE);
    let gateway = Gateway::start(options).await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(&open()).await.unwrap();
    let (began, mut bytes) = (Instant::now(), Vec::new());
    let ended = tokio::time::timeout(LONG, stream.read_to_end(&mut bytes)).await;
    assert!(ended.is_ok() && began.elapsed() >= PATIENCE, "{:?}", began.elapsed());
    let goaway = bytes.windows(4).any(|window| window == [0, 0, 8, GOAWAY]);
    assert!(goaway, "{bytes:?}");
}

/// Hostile input 81.
#[tokio::test]
async fn a_stream_over_http_1_ends_when_its_peer_has_gone() {
    let gateway = Gateway::start(Options::none().with(|config| {
        config.server.grpc_web_origins = vec![http::HeaderValue::from_static("*")];
    }))
    .await;
    for (what, address, kind) in [
        ("gRPC-Web", gateway.address(), "application/grpc-web+proto"),
        ("the admin port", gateway.admin(), "application/grpc"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST {WATCH} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: 5\r\n\r\n\
             \0\0\0\0\0"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        assert!(tokio::time::timeout(LONG, reading).await.is_ok(), "{what}: it stays");
        assert!(answer.windows(2).any(|window| window == [8, 1]), "{what}: SERVING first");
    }
    assert!(gateway.log().contains(r#""code":"Canceled""#), "{}", gateway.log());
}

/// Hostile input 83.
#[tokio::test]
async fn a_stream_whose_request_does_not_arrive_is_ended() {
    let options = Options::none().with(|config| config.server.peer_timeout = PATIENCE);
    let gateway = Gateway::start(options).await;
    let mut peer = Peer::connect(gateway.address()).await;
    let headers = frame(HEADERS, END_HEADERS, 1, &block(&call_fields(WATCH)));
    peer.send(&[headers, frame(DATA, 0, 1, &[0])].concat()).await.unwrap();
    loop {
        let frame = peer.next().await.expect("the connection stays");
        if frame.kind == HEADERS {
            assert_eq!((frame.stream, frame.flags & END_STREAM), (1, END_STREAM));
            break;
        }
    }
    let log = gateway.log();
    assert!(log.contains(r#""code":"DeadlineExceeded""#), "{log}");
}
