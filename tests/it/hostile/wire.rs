use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::LONG;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const IMPORT: &str = "/savepoint.v1.SavepointService/ImportSavepoint";
pub(crate) const WATCH: &str = "/savepoint.v1.SavepointService/WatchSavepoint";
pub(crate) const GET: &str = "/savepoint.v1.SavepointService/GetSavepoint";

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literal fields: never indexed, never compressed.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0x10);
        for text in [name, value] {
            assert!(text.len() < 127);
            bytes.push(text.len() as u8);
            bytes.extend(text.bytes());
        }
    }
    bytes
}

/// The fields that a good call has.
pub(crate) fn call_fields(path: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "gateway.test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
}

/// A message with its prefix.
pub(crate) fn prefixed(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend(message);
    bytes
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a GOAWAY or RST_STREAM.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A peer that sends the given bytes and reads every frame.
pub(crate) struct Peer {
    writer: OwnedWriteHalf,
    frames: UnboundedReceiver<Frame>,
}

impl Peer {
    /// A connection that has exchanged SETTINGS.
    pub(crate) async fn connect(address: &str) -> Self {
        Self::with_settings(address, &[]).await
    }

    pub(crate) async fn with_settings(address: &str, settings: &[u8]) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut reader, writer) = stream.into_split();
        let (sender, frames) = unbounded_channel();
        tokio::spawn(async move {
            loop {
                let mut head = [0; 9];
                if reader.read_exact(&mut head).await.is_err() {
                    return;
                }
                let [a, b, c, kind, flags, stream @ ..] = head;
                let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
                if reader.read_exact(&mut payload).await.is_err() {
                    return;
                }
                let stream = u32::from_be_bytes(stream);
                let _ = sender.send(Frame { kind, flags, stream, payload });
            }
        });
        let mut peer = Self { writer, frames };
        peer.send(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).await.unwrap();
        let first = peer.next().await.expect("SETTINGS");
        assert_eq!((first.kind, first.flags), (SETTINGS, 0));
        // MAX_CONCURRENT_STREAMS is in the first SETTINGS.
        let limit = first.payload.chunks(6).find(|setting| setting[..2] == [0, 3]).unwrap();
        // Of the gRPC port, and of the admin port.
        assert!([256_u32, 4].map(u32::to_be_bytes).contains(limit[2..].try_into().unwrap()));
        peer.send(&frame(SETTINGS, ACK, 0, &[])).await.unwrap();
        peer
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        tokio::time::timeout(LONG, self.writer.write_all(bytes)).await.expect("room to write")
    }

    /// The next frame; none when the connection is closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        tokio::time::timeout(LONG, self.frames.recv()).await.expect("a frame or the end")
    }

    /// Every frame up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// Sends the same bytes again and again until the connection ends; how often it took them
    /// and what came back. A connection that takes all of them fails the test.
    pub(crate) async fn flood(
        mut self,
        most: u32,
        mut bytes: impl FnMut(u32) -> Vec<u8>,
    ) -> (u32, Vec<Frame>) {
        for sent in 0..most {
            if self.send(&bytes(sent)).await.is_err() {
                return (sent, self.rest().await);
            }
            if sent % 100 == 0 {
                // The runtime is shared with the gateway.
                tokio::task::yield_now().await;
            }
        }
        let rest = tokio::time::timeout(Duration::from_secs(20), self.rest()).await;
        (most, rest.expect("the connection is ended"))
    }
}

/// What came back from one call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    /// `grpc-status`, wherever it is.
    pub(crate) fn code(&self) -> Option<i32> {
        let value = self.trailers.get("grpc-status").or(self.headers.get("grpc-status"))?;
        value.to_str().unwrap().parse().ok()
    }

    /// `grpc-message`, wherever it is.
    pub(crate) fn message(&self) -> String {
        let value = self.trailers.get("grpc-message").or(self.headers.get("grpc-message"));
        value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }
}

/// One request of any form, well framed.
pub(crate) async fn ask(
    address: &str,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(format!("http://gateway.test{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let response = tokio::time::timeout(LONG, sender.send_request(request)).await.unwrap().unwrap();
    let (head, body) = response.into_parts();
    let collected = tokio::time::timeout(LONG, body.collect()).await.unwrap().unwrap();
    Answer {
        http: head.status,
        headers: head.headers,
        trailers: collected.trailers().cloned().unwrap_or_default(),
    }
}

/// One gRPC call with this body.
pub(crate) async fn grpc(
    address: &str,
    path: &str,
    more: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    let mut headers = vec![("content-type", "application/grpc"), ("te", "trailers")];
    headers.extend(more);
    ask(address, Method::POST, path, &headers, body).await
}
