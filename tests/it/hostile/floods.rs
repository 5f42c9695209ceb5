use std::time::{Duration, Instant};

use prost::Message as _;
use savepoint_gateway::pb::ImportSavepointRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use super::wire::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, GOAWAY, HEADERS,
    IMPORT, PING, PREFACE, Peer, REFUSED_STREAM, RST_STREAM, SETTINGS, block, call_fields, frame,
    prefixed,
};
use crate::support::{FakeCloud, Gateway, LONG, Options, Reply, import_request};

const IMPORTED: &str = r#"{"is_success":true}"#;
/// A short timeout for peers.
const PATIENCE: Duration = Duration::from_millis(300);

async fn gateway(options: impl FnOnce(Options) -> Options) -> (FakeCloud, Gateway) {
    let cloud = FakeCloud::answering(Reply::json(200, IMPORTED)).await;
    let gateway = Gateway::start(options(Options::at(&cloud))).await;
    (cloud, gateway)
}

fn impatient(options: Options) -> Options {
    options.with(|config| config.server.peer_timeout = PATIENCE)
}

/// Whether the connection ended with GOAWAY `ENHANCE_YOUR_CALM`.
fn is_calmed(frames: &[Frame]) -> bool {
    frames.iter().any(|frame| frame.kind == GOAWAY && frame.code() == ENHANCE_YOUR_CALM)
}

async fn serves(gateway: &Gateway) {
    gateway.client().await.import_savepoint(import_request()).await.unwrap();
}

/// A connection that the gateway must end by itself.
async fn is_ended(mut stream: TcpStream, what: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    let Ok(ended) = tokio::time::timeout(LONG, reading).await else { panic!("{what} stays") };
    // A reset is an end, too.
    drop(ended);
    bytes
}

/// Hostile input 38.
#[tokio::test]
async fn a_flood_of_resets_gets_enhance_your_calm() {
    let (cloud, gateway) = gateway(|options| options).await;
    let bystander = gateway.client().await;
    let fields = block(&call_fields(IMPORT));
    let peer = Peer::connect(gateway.address()).await;
    let (_, frames) = peer
        .flood(50_000, |sent| {
            let stream = 2 * sent + 1;
            let open = frame(HEADERS, END_HEADERS, stream, &fields);
            [open, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        })
        .await;
    // The GOAWAY may be lost when the connection is reset right after it.
    assert!(is_calmed(&frames) || frames.is_empty(), "{:?}", frames.last());
    assert_eq!(cloud.count(), 0);
    bystander.clone().import_savepoint(import_request()).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_cancels_all_its_calls_at_once_keeps_its_connection() {
    let (_cloud, gateway) = gateway(|options| options).await;
    let mut peer = Peer::connect(gateway.address()).await;
    let fields = block(&call_fields(IMPORT));
    let mut bytes = Vec::new();
    for stream in 0..200 {
        let stream = 2 * stream + 1;
        bytes.extend(frame(HEADERS, END_HEADERS, stream, &fields));
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let body = prefixed(&import_request().encode_to_vec());
    bytes.extend(frame(HEADERS, END_HEADERS, 401, &fields));
    bytes.extend(frame(DATA, END_STREAM, 401, &body));
    peer.send(&bytes).await.unwrap();
    loop {
        let frame = peer.next().await.expect("the connection stays");
        assert_ne!(frame.kind, GOAWAY, "{frame:?}");
        if frame.kind == HEADERS && frame.stream == 401 {
            break;
        }
    }
}

/// Hostile input 39.
#[tokio::test]
async fn a_flood_of_continuations_gets_enhance_your_calm() {
    let (_cloud, gateway) = gateway(|options| options).await;
    let peer = Peer::connect(gateway.address()).await;
    let (sent, frames) = peer
        .flood(10_000, |sent| {
            if sent == 0 {
                frame(HEADERS, 0, 1, &block(&call_fields(IMPORT)))
            } else {
                frame(CONTINUATION, 0, 1, &block(&[("a", "b")]))
            }
        })
        .await;
    assert!(sent < 10_000 || is_calmed(&frames), "{sent} {:?}", frames.last());
    serves(&gateway).await;
}

/// Hostile input 40.
#[tokio::test]
async fn headers_that_expand_to_megabytes_are_not_kept() {
    let (cloud, gateway) = gateway(|options| options).await;
    let mut peer = Peer::connect(gateway.address()).await;
    let mut fields = block(&call_fields(IMPORT));
    // One field into the table, as large as it may be, and then its index 7,500 times.
    let value = vec![b'x'; 4000];
    fields.extend([0x40, 1, b'a', 0x7f]);
    prost::encoding::encode_varint(value.len() as u64 - 127, &mut fields);
    fields.extend(value);
    fields.extend(vec![0xbe; 7500]);
    let mut ended = None;
    let _ = peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields)).await;
    while let Some(frame) = peer.next().await {
        if matches!(frame.kind, GOAWAY | RST_STREAM | HEADERS) {
            ended = Some(frame);
            break;
        }
    }
    let ended = ended.expect("an answer");
    // Either the stream alone (431) or the connection is given up.
    assert!(ended.kind == HEADERS || ended.code() == ENHANCE_YOUR_CALM, "{ended:?}");
    assert_eq!(cloud.count(), 0);
    serves(&gateway).await;
}

/// Hostile input 41.
#[tokio::test]
async fn a_flood_of_empty_data_ends_the_connection() {
    let (cloud, gateway) = gateway(|options| options).await;
    let mut peer = Peer::connect(gateway.address()).await;
    peer.send(&frame(HEADERS, END_HEADERS, 1, &block(&call_fields(IMPORT)))).await.unwrap();
    let empty = frame(DATA, 0, 1, &[]).repeat(100);
    let (sent, frames) = peer.flood(10_000, |_| empty.clone()).await;
    assert!(sent < 10_000 || is_calmed(&frames), "{sent}");
    assert_eq!(cloud.count(), 0);
    serves(&gateway).await;
}

/// Hostile inputs 42, 43.
#[tokio::test]
async fn a_flood_of_control_frames_ends_the_connection_after_few_answers() {
    let (_cloud, gateway) = gateway(|options| options).await;
    for (what, bytes) in [
        ("PING", frame(PING, 0, 0, &[7; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0x10, 0])),
        ("PRIORITY", frame(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("an unknown frame", frame(0xbb, 0, 0, b"x")),
    ] {
        let peer = Peer::connect(gateway.address()).await;
        let began = Instant::now();
        let bytes = bytes.repeat(100);
        let (sent, frames) = peer.flood(1000, |_| bytes.clone()).await;
        assert!(sent < 1000 || frames.len() < 100_000, "{what}: {sent}");
        let answers = frames.iter().filter(|frame| frame.flags & ACK != 0).count();
        // 1,000 at once, and 100 for each second that it took.
        let most = 1000 + 100 * (began.elapsed().as_secs() as usize + 1);
        assert!(answers <= most, "{what}: {answers} answers");
        serves(&gateway).await;
    }
}

#[tokio::test]
async fn too_many_pings_get_enhance_your_calm() {
    let (_cloud, gateway) = gateway(|options| options).await;
    let mut peer = Peer::connect(gateway.address()).await;
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(100);
    let mut frames = Vec::new();
    // A hundred at a time, each of them answered before the next: the gateway reads them whole, so
    // nothing is unread when it closes the connection, and the system does not reset it.
    'flood: for _ in 0..1000 {
        peer.send(&pings).await.unwrap();
        for _ in 0..100 {
            let Some(frame) = peer.next().await else { break 'flood };
            let is_last = frame.kind == GOAWAY;
            frames.push(frame);
            if is_last {
                break 'flood;
            }
        }
    }
    assert!(is_calmed(&frames), "{:?}", frames.last());
    assert!(frames.last().is_some_and(|last| last.payload.ends_with(b"too_many_pings")));
}

/// Hostile input 44.
#[tokio::test]
async fn connections_without_a_preface_are_closed_and_others_are_served() {
    let (_cloud, gateway) = gateway(impatient).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(gateway.address()).await.unwrap());
    }
    for _ in 0..50 {
        silent.push(TcpStream::connect(gateway.admin()).await.unwrap());
    }
    serves(&gateway).await;
    for stream in silent {
        assert_eq!(is_ended(stream, "a silent connection").await, b"");
    }
    serves(&gateway).await;
}

/// Hostile input 45.
#[tokio::test]
async fn a_connection_that_sends_one_byte_at_a_time_is_closed() {
    let timeouts = savepoint_gateway::rpc::Timeouts { default: PATIENCE, max: PATIENCE };
    let short = |options| impatient(options).with(|config| config.server.timeouts = timeouts);
    let (cloud, gateway) = gateway(short).await;
    let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let headers = frame(HEADERS, END_HEADERS, 1, &block(&call_fields(IMPORT)));
    let endless = frame(HEADERS, 0, 1, &block(&call_fields(IMPORT)));
    let body = frame(DATA, END_STREAM, 1, &prefixed(&import_request().encode_to_vec()));
    let http_1 = b"GET /livez HTTP/1.1\r\nhost: gateway.test".to_vec();
    let cases = [
        ("a part of the preface", PREFACE[..10].to_vec()),
        ("a part of a frame's header", [&opening[..], &headers[..5]].concat()),
        ("a part of the headers", [&opening[..], &headers[..30]].concat()),
        ("headers without an end", [opening.clone(), endless].concat()),
        ("a part of the body", [&opening[..], &headers, &body[..20]].concat()),
    ];
    let grpc = cases.iter().map(|case| (gateway.address(), case));
    let on_admin = ("a part of HTTP/1.1 headers", http_1);
    let admin = cases.iter().chain([&on_admin]).map(|case| (gateway.admin(), case));
    for (address, (what, bytes)) in grpc.chain(admin) {
        let stream = TcpStream::connect(address).await.unwrap();
        let (reader, mut writer) = stream.into_split();
        let bytes = bytes.clone();
        let dripping = tokio::spawn(async move {
            let (first, rest) = bytes.split_at(bytes.len() - 4);
            writer.write_all(first).await.unwrap();
            for byte in rest {
                tokio::time::sleep(PATIENCE / 5).await;
                if writer.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
            writer
        });
        let writer = dripping.await.unwrap();
        is_ended(reader.reunite(writer).unwrap(), what).await;
    }
    // Whole frames that never become a whole message run into the deadline instead.
    let mut peer = Peer::connect(gateway.address()).await;
    peer.send(&headers).await.unwrap();
    peer.send(&frame(DATA, 0, 1, &[0])).await.unwrap();
    let answer = loop {
        let frame = peer.next().await.expect("an answer");
        if frame.kind == HEADERS {
            break frame;
        }
    };
    assert_eq!((answer.stream, answer.flags & END_STREAM), (1, END_STREAM));
    assert_eq!(cloud.count(), 0);
    serves(&gateway).await;
}

/// Hostile input 47.
#[tokio::test]
async fn more_streams_than_allowed_are_refused_one_by_one() {
    let (_cloud, gateway) = gateway(|options| options).await;
    let mut peer = Peer::connect(gateway.address()).await;
    let fields = block(&call_fields(IMPORT));
    for stream in 0..1000 {
        let open = frame(HEADERS, END_HEADERS, 2 * stream + 1, &fields);
        peer.send(&open).await.unwrap();
    }
    let mut refused = 0;
    while refused < 1000 - 256 {
        let frame = peer.next().await.expect("the connection stays");
        if frame.kind == RST_STREAM {
            assert_eq!(frame.code(), REFUSED_STREAM);
            refused += 1;
        }
    }
    // A valid stream among them is still served.
    let body = prefixed(&import_request().encode_to_vec());
    peer.send(&frame(DATA, END_STREAM, 1, &body)).await.unwrap();
    loop {
        let frame = peer.next().await.expect("the connection stays");
        if frame.kind == HEADERS && frame.stream == 1 {
            break;
        }
    }
}

/// Hostile inputs 48, 49.
#[tokio::test]
async fn http_1_gets_an_answer_and_other_protocols_are_closed() {
    let (_cloud, gateway) = gateway(|options| options).await;
    for (what, bytes, start) in [
        ("HTTP/1.1", &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], &b"HTTP/1.1 505"[..]),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00\x00\x00", b""),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", b""),
        ("nothing that is known", &[0; 64], b""),
    ] {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let answer = is_ended(stream, what).await;
        assert!(answer.starts_with(start), "{what}: {answer:?}");
        assert!(!start.is_empty() || answer.len() < 200, "{what}: {answer:?}");
    }
    serves(&gateway).await;
}

/// Hostile input 44.
#[tokio::test]
async fn more_connections_than_allowed_are_closed_at_once() {
    let (_cloud, gateway) =
        gateway(|options| options.with(|config| config.server.max_connections = 3)).await;
    let client = gateway.client().await;
    client.clone().import_savepoint(import_request()).await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..2 {
        kept.push(Peer::connect(gateway.address()).await);
    }
    for _ in 0..10 {
        let stream = TcpStream::connect(gateway.address()).await.unwrap();
        assert_eq!(is_ended(stream, "one too many").await, b"");
    }
    client.clone().import_savepoint(import_request()).await.unwrap();
    drop(kept);
    let status =
        client.clone().import_savepoint(ImportSavepointRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
