use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use prost::Message as _;
use tonic::Code;

use super::wire::{END_HEADERS, END_STREAM};
use super::wire::{
    GET, GOAWAY, HEADERS, IMPORT, PROTOCOL_ERROR, Peer, RST_STREAM, ask, block, call_fields, frame,
    grpc, prefixed,
};
use crate::support::{FakeCloud, Gateway, Options, Reply, get_request, import_request};

const IMPORTED: &str = r#"{"is_success":true}"#;

async fn gateway() -> (FakeCloud, Gateway) {
    let cloud = FakeCloud::answering(Reply::json(200, IMPORTED)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    (cloud, gateway)
}

/// A length-delimited field.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut field);
    field.extend(bytes);
    field
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut message = prefixed(bytes);
    message[0] = 1;
    message
}

#[tokio::test]
async fn a_compressed_message_is_a_message() {
    let (cloud, gateway) = gateway().await;
    let body = compressed(&gzip(&import_request().encode_to_vec()));
    let answer = grpc(gateway.address(), IMPORT, &[("grpc-encoding", "gzip")], body).await;
    assert_eq!(answer.code(), Some(Code::Ok as i32), "{}", answer.message());
    let sent = cloud.only_request();
    assert!(String::from_utf8_lossy(&sent.body).contains(&import_request().savepoint_path));
}

#[tokio::test]
async fn unknown_services_and_methods_are_unimplemented() {
    let (cloud, gateway) = gateway().await;
    let body = prefixed(&import_request().encode_to_vec());
    for path in ["/savepoint.v1.SavepointService/Other", "/other.v1.Service/ImportSavepoint", "/"] {
        let answer = grpc(gateway.address(), path, &[], body.clone()).await;
        assert_eq!(answer.http, 200, "{path}");
        assert_eq!(answer.code(), Some(Code::Unimplemented as i32), "{path}");
        assert!(!answer.message().is_empty(), "{path}");
    }
    assert_eq!(cloud.count(), 0);
}

/// Hostile inputs 18-24, 26, 27.
#[tokio::test]
async fn an_invalid_message_is_refused_without_an_echo_and_without_a_request() {
    let (cloud, gateway) = gateway().await;
    let good = import_request().encode_to_vec();
    let announced = [&[0, 0xff, 0xff, 0xff, 0xff][..], &good].concat();
    let flagged = |flag| {
        let mut bytes = prefixed(&good);
        bytes[0] = flag;
        bytes
    };
    let groups = |count: usize| [0x9b, 0x06].repeat(count);
    let bomb = compressed(&gzip(&vec![0; 32 * 1024 * 1024]));
    assert!(bomb.len() < 64 * 1024, "{}", bomb.len());
    let gzip_encoding = &[("grpc-encoding", "gzip")][..];
    let internal = Code::Internal;
    for (what, more, body, code) in [
        ("invalid UTF-8", &[][..], prefixed(&field(3, b"obs://\xff\xfeMARK")), internal),
        (
            "3 MB of unknown fields",
            &[],
            prefixed(&[good.clone(), field(15, &vec![0; 3_000_000])].concat()),
            Code::ResourceExhausted,
        ),
        ("nested groups", &[], prefixed(&groups(5000)), internal),
        ("an endless varint", &[], prefixed(&[&[0x10][..], &[0xff; 12]].concat()), internal),
        ("a prefix of 4 GiB", &[], announced, Code::ResourceExhausted),
        ("a gzip bomb", gzip_encoding, bomb, Code::ResourceExhausted),
        ("gzip garbage", gzip_encoding, compressed(b"garbage MARK"), internal),
        ("flag 2", &[], flagged(2), internal),
        ("flag 1 without an encoding", &[], flagged(1), internal),
        ("no message", &[], vec![], Code::Unimplemented),
        ("two messages", &[], [prefixed(&good), prefixed(&good)].concat(), Code::Unimplemented),
        ("a part of a prefix", &[], vec![0, 0], internal),
        ("a part of a message", &[], prefixed(&good)[..20].to_vec(), internal),
    ] {
        let answer = grpc(gateway.address(), IMPORT, more, body).await;
        assert_eq!(answer.code(), Some(code as i32), "{what}: {answer:?}");
        assert!(!answer.message().contains("MARK"), "{what}: {answer:?}");
        assert!(answer.message().len() <= 1024, "{what}");
    }
    assert_eq!(cloud.count(), 0);
    // The same, well formed and compressed, is served.
    let body = compressed(&gzip(&good));
    let answer = grpc(gateway.address(), IMPORT, gzip_encoding, body).await;
    assert_eq!(answer.code(), Some(0), "{answer:?}");
}

/// Hostile input 25.
#[tokio::test]
async fn an_unknown_encoding_is_refused_with_the_list_of_known_ones() {
    let (cloud, gateway) = gateway().await;
    let body = compressed(&import_request().encode_to_vec());
    let answer = grpc(gateway.address(), IMPORT, &[("grpc-encoding", "br")], body).await;
    assert_eq!(answer.code(), Some(Code::Unimplemented as i32), "{answer:?}");
    let known = answer.headers.get("grpc-accept-encoding").unwrap().to_str().unwrap();
    assert!(known.contains("gzip") && known.contains("identity"), "{known}");
    assert_eq!(cloud.count(), 0);
}

#[tokio::test]
async fn the_media_type_is_read_by_its_grammar() {
    let (cloud, gateway) = gateway().await;
    let body = prefixed(&import_request().encode_to_vec());
    let kinds = [
        "application/grpc",
        "Application/gRPC",
        "APPLICATION/GRPC+PROTO",
        "application/grpc+proto; charset=utf-8",
        "application/grpc ;a=\"b;c\" ;",
        "application/grpc;",
    ];
    for kind in kinds {
        let headers = [("content-type", kind)];
        let answer = ask(gateway.address(), Method::POST, IMPORT, &headers, body.clone()).await;
        assert_eq!((answer.http.as_u16(), answer.code()), (200, Some(0)), "{kind}: {answer:?}");
    }
    assert_eq!(cloud.count(), kinds.len());
}

/// Hostile inputs 28-30.
#[tokio::test]
async fn requests_that_are_not_grpc_get_an_http_answer() {
    let (cloud, gateway) = gateway().await;
    let body = prefixed(&import_request().encode_to_vec());
    for kind in [
        None,
        Some("text/plain"),
        Some("application/json"),
        Some("application/grpc-web"),
        Some("application/grpc+json"),
        Some("application/grpcx"),
        Some("application/grpc; charset"),
        Some("application/grpc, application/grpc"),
        Some("application /grpc"),
    ] {
        let headers: Vec<_> = kind.map(|kind| ("content-type", kind)).into_iter().collect();
        let answer = ask(gateway.address(), Method::POST, IMPORT, &headers, body.clone()).await;
        assert_eq!(answer.http, 415, "{kind:?}: {answer:?}");
    }
    let twice = [("content-type", "application/grpc"), ("content-type", "application/grpc")];
    let answer = ask(gateway.address(), Method::POST, IMPORT, &twice, body.clone()).await;
    assert_eq!(answer.http, 415, "{answer:?}");
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let headers = [("content-type", "application/grpc")];
        let answer = ask(gateway.address(), method.clone(), IMPORT, &headers, body.clone()).await;
        assert_eq!(answer.http, 405, "{method}: {answer:?}");
    }
    assert_eq!(cloud.count(), 0);
    // The specification requires `te: trailers`; the gateway does not need it.
    let headers = [("content-type", "application/grpc+proto")];
    let answer = ask(gateway.address(), Method::POST, IMPORT, &headers, body).await;
    assert_eq!(answer.code(), Some(0), "{answer:?}");
}

/// Hostile inputs 31, 32.
#[tokio::test]
async fn an_unreadable_timeout_is_ignored_and_an_expired_one_sends_nothing() {
    let (cloud, gateway) = gateway().await;
    let body = prefixed(&import_request().encode_to_vec());
    for timeout in ["abc", "-5S", "1.5S", " 5S", "123456789S", "5", "S", "5X", "+5S"] {
        let more = [("grpc-timeout", timeout)];
        let answer = grpc(gateway.address(), IMPORT, &more, body.clone()).await;
        assert_eq!(answer.code(), Some(0), "{timeout:?}: {answer:?}");
    }
    let served = cloud.count();
    for timeout in ["0m", "1n", "0S", "1u"] {
        let more = [("grpc-timeout", timeout)];
        let answer = grpc(gateway.address(), IMPORT, &more, body.clone()).await;
        let want = Code::DeadlineExceeded as i32;
        assert_eq!(answer.code(), Some(want), "{timeout:?}: {answer:?}");
    }
    assert_eq!(cloud.count(), served);
}

/// Hostile inputs 33, 36, 37.
#[tokio::test]
async fn too_much_metadata_gets_a_status_and_odd_metadata_is_harmless() {
    let (cloud, gateway) = gateway().await;
    let body = prefixed(&import_request().encode_to_vec());
    for bytes in [17_000, 40_000] {
        let large = "x".repeat(bytes);
        let answer = grpc(gateway.address(), IMPORT, &[("x-large", &large)], body.clone()).await;
        assert_eq!(answer.http, 200);
        let want = Code::ResourceExhausted as i32;
        assert_eq!(answer.code(), Some(want), "{bytes}: {answer:?}");
    }
    assert_eq!(cloud.count(), 0);
    // Far too much is refused by the HTTP/2 library, and only that call fails.
    let many: Vec<_> = (0..10).map(|i| (format!("x-{i}"), "x".repeat(9000))).collect();
    let many: Vec<_> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let answer = grpc(gateway.address(), IMPORT, &many, body.clone()).await;
    assert_eq!(answer.http, 431, "{answer:?}");
    assert_eq!(cloud.count(), 0);
    for more in [
        ("grpc-status", "0"),
        ("grpc-foo", "bar"),
        ("x-evil-bin", "%%% not base64 %%%"),
        ("x-empty", ""),
        ("authorization", "Bearer evil"),
    ] {
        let answer = grpc(gateway.address(), IMPORT, &[more], body.clone()).await;
        assert_eq!(answer.code(), Some(0), "{more:?}: {answer:?}");
        let sent = cloud.requests().pop().unwrap();
        assert!(!sent.head.contains("evil") && !sent.head.contains("grpc-"), "{}", sent.head);
    }
}

/// Hostile inputs 34, 35.
#[tokio::test]
async fn malformed_headers_affect_only_their_own_stream_or_connection() {
    let (cloud, gateway) = gateway().await;
    let mut bystander = gateway.client().await;
    let without = |name: &str| -> Vec<(&str, &str)> {
        call_fields(IMPORT).into_iter().filter(|(found, _)| *found != name).collect()
    };
    let with = |name: &'static str, value: &'static str| -> Vec<(&str, &str)> {
        [call_fields(IMPORT), vec![(name, value)]].concat()
    };
    let at = |authority: &'static str| -> Vec<(&str, &str)> {
        [vec![(":authority", authority)], without(":authority")].concat()
    };
    for (what, fields) in [
        // As some clients send it for a Unix socket: `docs/reliability.md`, known issues.
        ("a path as authority", at("/run/g.sock")),
        ("a path as authority, encoded", at("run%2Fg.sock")),
        ("an uppercase name", with("X-Upper", "1")),
        ("a name with CR", with("x\r", "1")),
        ("a value with CR LF", with("x-a", "1\r\nx-b: 2")),
        ("a value with NUL", with("x-a", "1\0")),
        ("an empty name", with("", "1")),
        ("a pseudo-header behind a header", with(":path", "/")),
        ("an unknown pseudo-header", with(":evil", "1")),
        ("connection", with("connection", "close")),
        ("transfer-encoding", with("transfer-encoding", "chunked")),
        ("te: gzip", with("te", "gzip")),
        ("no method", without(":method")),
        ("no path", without(":path")),
    ] {
        let mut peer = Peer::connect(gateway.address()).await;
        let headers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields));
        peer.send(&headers).await.unwrap();
        let end = loop {
            let Some(frame) = peer.next().await else { break None };
            if matches!(frame.kind, GOAWAY | RST_STREAM) {
                break Some(frame.code());
            }
            assert_ne!(frame.kind, HEADERS, "{what} is answered: {frame:?}");
        };
        assert_eq!(end, Some(PROTOCOL_ERROR), "{what}");
        bystander.import_savepoint(import_request()).await.unwrap();
    }
    assert_eq!(cloud.count(), 14, "the bystander's calls alone");
}

#[tokio::test]
async fn paths_that_are_almost_right_are_unknown_methods() {
    let (cloud, gateway) = gateway().await;
    let body = prefixed(&get_request().encode_to_vec());
    for path in [
        "/savepoint.v1.SavepointService/getsavepoint",
        "/savepoint.v1.SavepointService/GetSavepoint/",
        "//savepoint.v1.SavepointService/GetSavepoint",
        "/savepoint.v1.SavepointService/%47etSavepoint",
        "/savepoint.v2.SavepointService/GetSavepoint",
        "/",
    ] {
        let answer = grpc(gateway.address(), path, &[], body.clone()).await;
        assert_eq!(answer.code(), Some(Code::Unimplemented as i32), "{path}: {answer:?}");
    }
    assert_eq!(cloud.count(), 0);
    let answer = grpc(gateway.address(), GET, &[], body).await;
    assert_eq!(cloud.count(), 1, "{answer:?}");
}
