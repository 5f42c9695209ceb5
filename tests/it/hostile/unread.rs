use std::time::Duration;

use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wire::{
    DATA, END_HEADERS, END_STREAM, Frame, GET, HEADERS, PREFACE, Peer, SETTINGS, block,
    call_fields, frame, prefixed,
};
use crate::support::{FakeCloud, Gateway, LONG, Options, Reply, get_request};

/// A short timeout for peers.
const PATIENCE: Duration = Duration::from_millis(300);
const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const WINDOW_UPDATE: u8 = 8;

/// A gateway with this patience whose gets have an answer of this size.
async fn gateway(patience: Duration, size: usize) -> (FakeCloud, Gateway) {
    let text = "x".repeat(size);
    let body = format!(r#"{{"success":true,"data":{{"savepointId":"s","description":"{text}"}}}}"#);
    let cloud = FakeCloud::answering(Reply::json(200, &body)).await;
    let gateway = Gateway::start(Options::at(&cloud).with(|config| {
        config.server.peer_timeout = patience;
        config.server.grpc_web_origins = vec![http::HeaderValue::from_static("*")];
    }))
    .await;
    (cloud, gateway)
}

/// INITIAL_WINDOW_SIZE.
fn window(size: u32) -> Vec<u8> {
    [&[0, 4][..], &size.to_be_bytes()].concat()
}

fn grow(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

fn call(path: &'static str, stream: u32, message: &[u8]) -> Vec<u8> {
    let headers = frame(HEADERS, END_HEADERS, stream, &block(&call_fields(path)));
    [headers, frame(DATA, END_STREAM, stream, &prefixed(message))].concat()
}

fn calls(path: &'static str, message: &[u8], count: u32) -> Vec<u8> {
    (0..count).flat_map(|number| call(path, 2 * number + 1, message)).collect()
}

/// Hostile inputs 46, 82.
#[tokio::test]
async fn a_peer_that_never_reads_answers_is_closed_whatever_its_window() {
    let (_cloud, gateway) = gateway(PATIENCE, 100_000).await;
    let get = get_request().encode_to_vec();
    for (what, size, path, message, count) in [
        ("nothing", 0, CHECK, &[][..], 200),
        ("one byte", 1, CHECK, &[], 50),
        ("five bytes", 5, CHECK, &[], 50),
        ("all but the last byte", 6, CHECK, &[], 1),
        ("one byte of a large answer", 1, GET, &get, 1),
        ("an initial window", 65_535, GET, &get, 1),
        ("the window of the connection", 0x7fff_ffff, GET, &get, 1),
        ("a stream", 1, WATCH, &[], 10),
    ] {
        let mut peer = Peer::with_settings(gateway.address(), &window(size)).await;
        peer.send(&calls(path, message, count)).await.unwrap();
        let frames = peer.rest().await;
        let answered = frames.iter().filter(|frame| frame.kind == HEADERS).count();
        assert_eq!(answered, count as usize, "{what}: answered, and not read");
        let is_end = |frame: &Frame| frame.kind <= HEADERS && frame.flags & END_STREAM != 0;
        assert!(!frames.iter().any(is_end), "{what}");
    }
}

/// Hostile input 82.
#[tokio::test]
async fn a_peer_that_reads_byte_by_byte_or_not_one_of_its_answers_is_closed() {
    let (_cloud, gateway) = gateway(PATIENCE, 1000).await;
    let get = get_request().encode_to_vec();
    // A byte again and again, and beside it answers that are read.
    for others in [false, true] {
        let mut peer = Peer::with_settings(gateway.address(), &window(0)).await;
        peer.send(&call(GET, 1, &get)).await.unwrap();
        let mut stream = 1;
        let growing = async {
            loop {
                tokio::time::sleep(PATIENCE / 20).await;
                let mut bytes = grow(1, 1);
                if others {
                    stream += 2;
                    bytes.extend([call(CHECK, stream, &[]), grow(stream, 100)].concat());
                }
                if peer.send(&bytes).await.is_err() {
                    return;
                }
            }
        };
        let ended = tokio::time::timeout(LONG, growing).await;
        assert!(ended.is_ok(), "others: {others}");
        let frames = peer.rest().await;
        let ends =
            frames.iter().filter(|frame| frame.flags & END_STREAM != 0 && frame.kind <= HEADERS);
        assert_eq!(ends.count() > 0, others);
    }
}

/// Hostile input 82.
#[tokio::test]
async fn a_peer_whose_socket_is_not_read_is_closed() {
    let (_cloud, gateway) = gateway(PATIENCE, 900_000).await;
    let get = get_request().encode_to_vec();
    let open = [PREFACE, &frame(SETTINGS, 0, 0, &window(0x7fff_ffff)), &grow(0, 0x7fff_0000)];
    let http_2 = [open.concat(), calls(GET, &get, 50)].concat();
    let body = prefixed(&get);
    let head = format!(
        "POST {GET} HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web+proto\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let web = [head.as_bytes(), &body].concat().repeat(50);
    let metrics = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2000);
    for (what, address, bytes) in [
        ("HTTP/2", gateway.address(), http_2),
        ("gRPC-Web", gateway.address(), web),
        ("metrics", gateway.admin(), metrics),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Not all of it fits if it is not read.
        let _ = tokio::time::timeout(PATIENCE, stream.write_all(&bytes)).await;
        tokio::time::sleep(4 * PATIENCE).await;
        // What was on its way is there, and then the end.
        let mut answers = Vec::new();
        let reading = stream.read_to_end(&mut answers);
        assert!(tokio::time::timeout(LONG, reading).await.is_ok(), "{what} stays");
        assert!(answers.len() < 15_000_000, "{what}: it was written when it was read");
    }
}

/// Hostile input 82.
#[tokio::test]
async fn peers_that_read_slowly_or_have_nothing_to_read_stay() {
    let (_cloud, gateway) = gateway(PATIENCE, 1000).await;
    let mut peer = Peer::with_settings(gateway.address(), &window(0)).await;
    peer.send(&[call(WATCH, 1, &[]), grow(1, 7)].concat()).await.unwrap();
    // The window of the watch is used up, and there is nothing new.
    for number in 1..20 {
        let stream = 2 * number + 1;
        peer.send(&call(CHECK, stream, &[])).await.unwrap();
        tokio::time::sleep(PATIENCE / 4).await;
        peer.send(&grow(stream, 7)).await.unwrap();
        loop {
            let frame = peer.next().await.expect("the connection stays");
            if frame.stream == stream && frame.flags & END_STREAM != 0 {
                break;
            }
        }
    }
    let mut plain = TcpStream::connect(gateway.address()).await.unwrap();
    let open = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &call(WATCH, 1, &[])].concat();
    plain.write_all(&open).await.unwrap();
    let mut bytes = Vec::new();
    let reading = plain.read_to_end(&mut bytes);
    assert!(tokio::time::timeout(4 * PATIENCE, reading).await.is_err(), "a watch is no stall");
}
