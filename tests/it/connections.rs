use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{FakeCloud, Gateway, LONG, Options, Reply, eventually, import_request};

/// What an HTTP/2 connection begins with, and an empty SETTINGS frame.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const GOAWAY: u8 = 7;

/// The kinds of the frames that come until the connection ends.
async fn frames_to_the_end(mut peer: TcpStream) -> Vec<u8> {
    let mut kinds = Vec::new();
    let mut head = [0; 9];
    while peer.read_exact(&mut head).await.is_ok() {
        kinds.push(head[3]);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        peer.read_exact(&mut vec![0; length as usize]).await.unwrap();
    }
    kinds
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_goaway_and_one_with_a_call_is_kept() {
    let answer = Reply::json(200, r#"{"is_success":true,"message":"done"}"#);
    let cloud = FakeCloud::answering(Reply::Held(Box::new(answer))).await;
    let max_connection_idle = Some(Duration::from_millis(50));
    let gateway = Gateway::start(
        Options::at(&cloud).with(|config| config.server.max_connection_idle = max_connection_idle),
    )
    .await;
    let mut client = gateway.client().await;
    let call = tokio::spawn(async move { client.import_savepoint(import_request()).await });
    eventually("the call is at the provider", || cloud.count() == 1).await;

    // Opened after the call began, and gone before it ends.
    let mut peer = TcpStream::connect(gateway.address()).await.unwrap();
    peer.write_all(HELLO).await.unwrap();
    let kinds = tokio::time::timeout(LONG, frames_to_the_end(peer)).await.expect("it is ended");
    assert!(kinds.contains(&GOAWAY), "{kinds:?}");

    assert!(!call.is_finished());
    cloud.release();
    assert_eq!(call.await.unwrap().unwrap().into_inner().message, "done");
}
