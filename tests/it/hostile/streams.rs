use std::time::Duration;

use prost::Message as _;
use savepoint_gateway::upstream::WatchLimits;
use tonic_types::StatusExt as _;

use super::wire::{
    DATA, END_HEADERS, END_STREAM, Frame, HEADERS, Peer, REFUSED_STREAM, RST_STREAM, WATCH, block,
    call_fields, frame, grpc, prefixed,
};
use crate::operators::admin_get;
use crate::support::{
    FakeCloud, Gateway, LONG, Options, Reply, eventually, get_request, watch_request,
};
use crate::watch::{gauge, next, nothing_is_left, quick, savepoint};

const CANCEL: u32 = 8;

fn opening(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(&call_fields(WATCH)))
}

/// The frames of a whole watch request.
fn watch(stream: u32) -> Vec<u8> {
    let body = prefixed(&watch_request().encode_to_vec());
    [opening(stream), frame(DATA, END_STREAM, stream, &body)].concat()
}

/// A gateway whose watches send no heartbeats in a test.
fn silent(cloud: &FakeCloud) -> Options {
    quick(cloud).with(|config| config.watch_limits.heartbeat = LONG)
}

/// The next frame with a message.
async fn message(peer: &mut Peer) -> Frame {
    loop {
        let frame = peer.next().await.expect("the connection stays");
        if frame.kind == DATA && !frame.payload.is_empty() {
            return frame;
        }
    }
}

/// Waits until a watch has begun.
async fn begun(gateway: &Gateway) {
    let has_begun = |page: String| {
        page.lines().any(|line| {
            line.starts_with("grpc_server_started_total")
                && line.contains("WatchSavepoint")
                && line.ends_with(" 1")
        })
    };
    let waiting = async { while !has_begun(admin_get(gateway, "/metrics").await) {} };
    tokio::time::timeout(LONG, waiting).await.expect("the watch begins");
}

/// How many records of watches there are.
fn records(gateway: &Gateway) -> usize {
    let log = gateway.log();
    let is_record = |line: &&str| line.contains(r#""message":"call""#);
    log.lines().filter(is_record).filter(|line| line.contains("WatchSavepoint")).count()
}

/// Hostile input 87.
#[tokio::test]
async fn a_watcher_that_never_reads_is_closed() {
    let cloud = FakeCloud::answering(savepoint("STARTED", "")).await;
    let gateway = Gateway::start(
        quick(&cloud).with(|config| config.server.peer_timeout = Duration::from_millis(300)),
    )
    .await;
    // A part of a message, and some messages, may be sent.
    for window in [0_u8, 10, 250] {
        let settings = [0, 4, 0, 0, 0, window];
        let mut peer = Peer::with_settings(gateway.address(), &settings).await;
        peer.send(&watch(1)).await.unwrap();
        let frames = peer.rest().await;
        let sent: usize =
            frames.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len()).sum();
        assert_eq!(sent, usize::from(window));
        nothing_is_left(&gateway, &format!("a window of {window}")).await;
    }
    // One that reads is not closed, although it waits longer than that between messages.
    let mut client = gateway.client().await;
    let mut stream = client.watch_savepoint(watch_request()).await.unwrap().into_inner();
    for _ in 0..20 {
        next(&mut stream).await.unwrap().expect("a message");
    }
}

/// Hostile input 88.
#[tokio::test]
async fn one_watch_more_than_a_connection_may_have_is_refused_alone() {
    let cloud = FakeCloud::answering(savepoint("STARTED", "")).await;
    let gateway = Gateway::start(silent(&cloud)).await;
    let mut peer = Peer::connect(gateway.address()).await;
    let watches: Vec<u8> = (0..257).flat_map(|number| watch(2 * number + 1)).collect();
    peer.send(&watches).await.unwrap();
    let (mut told, mut refused) = (0, None);
    while told < 256 || refused.is_none() {
        let frame = peer.next().await.expect("the connection stays");
        match frame.kind {
            DATA => told += 1,
            RST_STREAM => {
                assert_eq!(frame.stream, 2 * 256 + 1);
                // The message of a refused stream is refused, too.
                refused.get_or_insert(frame.code());
            }
            _ => {}
        }
    }
    assert_eq!(refused, Some(REFUSED_STREAM));
    assert_eq!(gauge(&gateway, "savepoint_gateway_watches").await, 256.0);
    assert_eq!(gauge(&gateway, "savepoint_gateway_watch_polls").await, 1.0);
    // One that ends makes room.
    peer.send(&frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes())).await.unwrap();
    peer.send(&watch(2 * 257 + 1)).await.unwrap();
    assert_eq!(message(&mut peer).await.stream, 2 * 257 + 1);
    // Others are served meanwhile.
    gateway.client().await.get_savepoint(get_request()).await.unwrap();
    drop(peer);
    nothing_is_left(&gateway, "256 watches").await;
    eventually("each watch is recorded", || records(&gateway) == 257).await;
}

#[derive(Debug, Clone, Copy)]
enum Leaves {
    Reset,
    Close,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// The request is not complete.
    Asking,
    /// The first poll is unanswered.
    FirstPoll,
    /// The first message waits for room.
    Unread,
    /// Between two polls.
    Told,
    /// A later poll is unanswered.
    LaterPoll,
}

/// Hostile input 89.
#[tokio::test]
async fn a_watch_that_is_left_at_any_stage_leaves_nothing() {
    for (stage, polls, abandoned) in [
        (Stage::Asking, 0, 0),
        (Stage::FirstPoll, 1, 1),
        (Stage::Unread, 1, 0),
        (Stage::Told, 1, 0),
        (Stage::LaterPoll, 2, 1),
    ] {
        for leaves in [Leaves::Reset, Leaves::Close] {
            let what = format!("{stage:?}, {leaves:?}");
            let cloud = FakeCloud::start(move |_, before| match (stage, before) {
                (Stage::FirstPoll, 0) | (Stage::LaterPoll, 1) => Reply::Silence,
                _ => savepoint("STARTED", ""),
            })
            .await;
            let options = match stage {
                Stage::LaterPoll => quick(&cloud),
                Stage::Asking | Stage::FirstPoll | Stage::Unread | Stage::Told => silent(&cloud),
            };
            let gateway = Gateway::start(options).await;
            let window: &[u8] = match stage {
                Stage::Unread => &[0, 4, 0, 0, 0, 0],
                Stage::Asking | Stage::FirstPoll | Stage::Told | Stage::LaterPoll => &[],
            };
            let mut peer = Peer::with_settings(gateway.address(), window).await;
            let request = if matches!(stage, Stage::Asking) { opening(1) } else { watch(1) };
            peer.send(&request).await.unwrap();
            if matches!(stage, Stage::Told | Stage::LaterPoll) {
                message(&mut peer).await;
            }
            begun(&gateway).await;
            eventually(&what, || cloud.count() == polls).await;
            match leaves {
                Leaves::Reset => {
                    let reset = frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
                    peer.send(&reset).await.unwrap();
                }
                Leaves::Close => drop(peer),
            }
            eventually(&what, || records(&gateway) == 1).await;
            nothing_is_left(&gateway, &what).await;
            eventually(&what, || cloud.abandoned() == abandoned).await;
            // The end of a connection is kept back for a second, in case it is the end of a side.
            let more = if matches!(leaves, Leaves::Close) { 2 } else { 0 };
            assert!(cloud.count() <= polls + more, "{what}: {}", cloud.count());
        }
    }
}

fn answer(data: &str) -> Reply {
    Reply::json(200, &format!(r#"{{"requestId":"R","success":true,"data":{data}}}"#))
}

fn named(id: &str, state: &str) -> Reply {
    answer(&format!(r#"{{"savepointId":"{id}","status":{{"state":"{state}"}}}}"#))
}

/// Hostile input 90.
#[tokio::test]
async fn polls_that_contradict_themselves_are_told_as_they_are() {
    const OK: &str = "";
    let complete = || named("s", "COMPLETED");
    let http = |status, body: &str| Reply::json(status, body);
    let with_data = r#"{"success":true,"data":{"savepointId":"s","status":{"state":"COMPLETED"}}}"#;
    let says_no = r#"{"success":false,"errorCode":"X","data":{"savepointId":"s","status":{"state":"COMPLETED"}}}"#;
    let failed = r#"{"savepointId":"s","status":{"state":"COMPLETED","failure":{"message":"m"}}}"#;
    let day = [("retry-after", "86400")];
    let throttled = Reply::json_with(429, &day, r#"{"Code":"Throttling.User"}"#);
    for (polls, told, ends) in [
        // The state decides, not the failure.
        (vec![answer(failed)], &["s COMPLETED"][..], OK),
        (vec![named("s", "FAILED")], &["s FAILED"], OK),
        // After the last state no other is asked for.
        (vec![complete(), named("s", "STARTED")], &["s COMPLETED"], OK),
        // The id that was asked for decides, not the one in the answer.
        (
            vec![named("s-1", "STARTED"), named("s-2", "STARTED"), named("s-1", "COMPLETED")],
            &["s-1 STARTED", "s-2 STARTED", "s-1 COMPLETED"],
            OK,
        ),
        // Only two states end a watch, spelled as they are documented.
        (
            ["ARCHIVING", "completed", "CANCELLED", "", "STARTED", "FAILED"]
                .map(|state| named("s", state))
                .to_vec(),
            &["s ARCHIVING", "s completed", "s CANCELLED", "s ", "s STARTED", "s FAILED"],
            OK,
        ),
        (vec![answer(r#"{"savepointId":"s"}"#), complete()], &["s ", "s COMPLETED"], OK),
        // A state in a failure proves nothing.
        (
            vec![named("s", "STARTED"), http(503, with_data), complete()],
            &["s STARTED", "s COMPLETED"],
            OK,
        ),
        (
            vec![named("s", "STARTED"), http(200, says_no)],
            &["s STARTED"],
            "PROVIDER_REPORTED_FAILURE",
        ),
        (vec![named("s", "STARTED"), http(404, with_data)], &["s STARTED"], "PROVIDER_NOT_FOUND"),
        (vec![named("s", "STARTED"), http(500, with_data)], &["s STARTED"], "PROVIDER_INTERNAL"),
        (vec![named("s", "STARTED"), answer("[]")], &["s STARTED"], "PROVIDER_MALFORMED_RESPONSE"),
        (
            vec![named("s", "STARTED"), answer("null")],
            &["s STARTED"],
            "PROVIDER_MALFORMED_RESPONSE",
        ),
        (vec![http(503, with_data)], &[], "PROVIDER_UNAVAILABLE"),
        // A wait of a day is not kept by a watch that may be stale for less.
        (vec![throttled.clone()], &[], "PROVIDER_THROTTLED"),
        (vec![named("s", "STARTED"), throttled], &["s STARTED"], "PROVIDER_THROTTLED"),
    ] {
        let what = format!("{polls:?}");
        let cloud =
            FakeCloud::start(move |_, before| polls[before.min(polls.len() - 1)].clone()).await;
        let options = Options::at(&cloud).with(|config| {
            config.watch_limits = WatchLimits {
                heartbeat: Duration::from_millis(40),
                stale_timeout: Duration::from_millis(500),
                ..WatchLimits::default()
            };
        });
        let gateway = Gateway::start(options).await;
        let mut client = gateway.client().await;
        let mut stream = client.watch_savepoint(watch_request()).await.unwrap().into_inner();
        let mut found = Vec::new();
        let end = loop {
            match next(&mut stream).await {
                Ok(Some(message)) => {
                    let savepoint = message.savepoint.unwrap();
                    let state = savepoint.status.unwrap_or_default().provider_state;
                    found.push(format!("{} {state}", savepoint.savepoint_id));
                }
                Ok(None) => break String::new(),
                Err(status) => {
                    break status
                        .get_error_details()
                        .error_info()
                        .expect("a reason")
                        .reason
                        .clone();
                }
            }
        };
        // Heartbeats repeat what was told.
        found.dedup();
        assert_eq!(
            (&found[..], &*end),
            (&told.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()[..], ends),
            "{what}"
        );
        nothing_is_left(&gateway, &what).await;
    }
}

/// Hostile input 91.
#[tokio::test]
async fn a_watch_that_is_not_one_valid_message_in_time_polls_nothing() {
    let cloud = FakeCloud::answering(savepoint("STARTED", "")).await;
    let gateway = Gateway::start(silent(&cloud)).await;
    let good = prefixed(&watch_request().encode_to_vec());
    let in_time: &[(&str, &str)] = &[];
    for (what, more, body, code) in [
        ("no message", in_time, vec![], 12),
        ("two messages", in_time, good.repeat(2), 12),
        ("cut short", in_time, good[..good.len() - 1].to_vec(), 13),
        ("no UTF-8", in_time, prefixed(&[0x0a, 1, 0xff]), 13),
        ("too large", in_time, vec![0, 0xff, 0xff, 0xff, 0xff], 8),
        ("no fields", in_time, prefixed(&[]), 3),
        ("too late", &[("grpc-timeout", "1n")], good.clone(), 4),
    ] {
        let answer = grpc(gateway.address(), WATCH, more, body).await;
        assert_eq!(answer.code(), Some(code), "{what}: {answer:?}");
        nothing_is_left(&gateway, what).await;
    }
    assert_eq!(cloud.count(), 0);
}
