use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use savepoint_gateway::options::Address;
use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use savepoint_gateway::pb::{SavepointState, WatchSavepointRequest, WatchSavepointResponse};
use savepoint_gateway::upstream::WatchLimits;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::support::gateway::Wire;
use crate::support::{FakeCloud, Folder, Gateway, LONG, Options, Reply, eventually, watch_request};

pub(super) fn savepoint(state: &str, description: &str) -> Reply {
    Reply::json(
        200,
        &format!(
            r#"{{"requestId":"R-1","success":true,"data":{{"savepointId":"s",
               "description":"{description}","status":{{"state":"{state}"}}}}}}"#
        ),
    )
}

/// A gateway whose watches poll as fast as tests like it.
pub(super) fn quick(cloud: &FakeCloud) -> Options {
    Options::at(cloud).with(|config| {
        config.watch_limits =
            WatchLimits { heartbeat: Duration::from_millis(40), ..WatchLimits::default() };
    })
}

pub(super) fn state(message: &WatchSavepointResponse) -> SavepointState {
    message.savepoint.as_ref().unwrap().status.as_ref().unwrap().state()
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().expect("an ErrorInfo").reason.clone()
}

pub(super) async fn gauge(gateway: &Gateway, name: &str) -> f64 {
    let page = super::operators::admin_get(gateway, "/metrics").await;
    let mut values = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    values.next_back().unwrap_or_else(|| panic!("no {name}:\n{page}")).parse().unwrap()
}

/// Waits until nobody watches and nothing is polled.
pub(super) async fn nothing_is_left(gateway: &Gateway, what: &str) {
    let waiting = async {
        for name in ["savepoint_gateway_watches", "savepoint_gateway_watch_polls"] {
            while gauge(gateway, name).await > 0.0 {
                tokio::task::yield_now().await;
            }
        }
    };
    let left = tokio::time::timeout(LONG, waiting).await;
    assert!(left.is_ok(), "{what}: watches stay\n{}", gateway.log());
}

/// The next message, or the status that ended the stream.
pub(super) async fn next(
    stream: &mut Streaming<WatchSavepointResponse>,
) -> Result<Option<WatchSavepointResponse>, Status> {
    tokio::time::timeout(LONG, stream.message()).await.expect("a message in time")
}

#[tokio::test]
async fn a_watch_tells_each_change_and_ends_with_ok_after_the_last() {
    let cloud = FakeCloud::start(|_, before| match before {
        0..=2 => savepoint("STARTED", ""),
        3 => savepoint("ARCHIVING", ""),
        4 => savepoint("ARCHIVING", "changed"),
        _ => savepoint("COMPLETED", "changed"),
    })
    .await;
    let gateway = Gateway::start(quick(&cloud)).await;
    let mut stream =
        gateway.client().await.watch_savepoint(watch_request()).await.unwrap().into_inner();
    let mut told = Vec::new();
    let mut last_time = None;
    while let Some(message) = next(&mut stream).await.unwrap() {
        let time = message.observe_time.unwrap();
        let time = (time.seconds, time.nanos);
        assert!(last_time < Some(time), "{last_time:?} {time:?}");
        last_time = Some(time);
        assert_eq!(message.request_id, "R-1");
        let savepoint = message.savepoint.clone().unwrap();
        let provider_state = savepoint.status.unwrap().provider_state;
        told.push((provider_state, savepoint.description, state(&message)));
    }
    told.dedup();
    let want = [
        ("STARTED", "", SavepointState::Started),
        ("ARCHIVING", "", SavepointState::Unspecified),
        ("ARCHIVING", "changed", SavepointState::Unspecified),
        ("COMPLETED", "changed", SavepointState::Completed),
    ]
    .map(|(state, description, code)| (state.to_owned(), description.to_owned(), code));
    // Heartbeats may repeat a state, and nothing else.
    assert_eq!(told, want);
    assert_eq!(cloud.count(), 6);
}

#[tokio::test]
async fn many_watches_of_one_savepoint_make_one_poll_at_a_time() {
    let done = Arc::new(AtomicUsize::new(0));
    let cloud = FakeCloud::start({
        let done = Arc::clone(&done);
        move |_, before| match (before, done.load(Ordering::SeqCst)) {
            (0, _) => Reply::Held(Box::new(savepoint("STARTED", ""))),
            (_, 0) => savepoint("STARTED", ""),
            (_, _) => savepoint("FAILED", ""),
        }
    })
    .await;
    let options = quick(&cloud).with(|config| {
        config.workers = 4;
        config.watch_limits.heartbeat = LONG;
    });
    let gateway = Gateway::start(options).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut client = gateway.client().await;
        for _ in 0..125 {
            streams.push(client.watch_savepoint(watch_request()).await.unwrap().into_inner());
        }
    }
    eventually("the first poll begins", || cloud.count() == 1).await;
    assert_eq!(gauge(&gateway, "savepoint_gateway_watches").await, 1000.0);
    assert_eq!(gauge(&gateway, "savepoint_gateway_watch_polls").await, 1.0);
    cloud.release();
    for stream in &mut streams {
        assert_eq!(state(&next(stream).await.unwrap().unwrap()), SavepointState::Started);
    }
    // One for the first, one for all that came while it was under way; another if time has passed.
    assert!(cloud.count() <= 5, "{} polls for 1000 watches", cloud.count());
    done.store(1, Ordering::SeqCst);
    for stream in &mut streams {
        while let Some(message) = next(stream).await.unwrap() {
            if state(&message) == SavepointState::Failed {
                break;
            }
        }
        assert!(next(stream).await.unwrap().is_none());
    }
    drop(streams);
    nothing_is_left(&gateway, "1000 watches").await;
}

#[tokio::test]
async fn a_late_watch_is_told_nothing_that_was_seen_before_it_came() {
    let changes = Arc::new(AtomicUsize::new(0));
    let cloud = FakeCloud::start({
        let changes = Arc::clone(&changes);
        move |_, _| savepoint("STARTED", &changes.load(Ordering::SeqCst).to_string())
    })
    .await;
    let options = quick(&cloud).with(|config| config.watch_limits.heartbeat = LONG);
    let gateway = Gateway::start(options).await;
    let mut client = gateway.client().await;
    let mut early = client.watch_savepoint(watch_request()).await.unwrap().into_inner();
    next(&mut early).await.unwrap();
    for change in 1..50 {
        changes.store(change, Ordering::SeqCst);
        let mut late = client.watch_savepoint(watch_request()).await.unwrap().into_inner();
        let first = next(&mut late).await.unwrap().unwrap();
        assert_eq!(first.savepoint.unwrap().description, change.to_string());
    }
}

#[tokio::test]
async fn what_fails_a_get_fails_a_watch_before_its_first_message() {
    for (reply, code, want) in [
        (
            Reply::json(200, r#"{"success":false,"errorCode":"990301"}"#),
            Code::NotFound,
            "PROVIDER_NOT_FOUND",
        ),
        (
            Reply::json(403, r#"{"Code":"NoPermission"}"#),
            Code::PermissionDenied,
            "PROVIDER_PERMISSION_DENIED",
        ),
        (Reply::json(503, "{}"), Code::Unavailable, "PROVIDER_UNAVAILABLE"),
        (Reply::json(200, "[]"), Code::Internal, "PROVIDER_MALFORMED_RESPONSE"),
    ] {
        let cloud = FakeCloud::answering(reply).await;
        let gateway = Gateway::start(quick(&cloud)).await;
        let mut client = gateway.client().await;
        let mut stream = client.watch_savepoint(watch_request()).await.unwrap().into_inner();
        let status = next(&mut stream).await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (code, want), "{status}");
        let info = status.get_error_details().error_info().unwrap().clone();
        assert_eq!(info.metadata["provider"], "alibaba-flink");
        assert!(!info.metadata.contains_key("outcome"), "{info:?}");
    }
}

#[tokio::test]
async fn an_invalid_watch_names_all_fields_and_polls_nothing() {
    let cloud = FakeCloud::answering(savepoint("STARTED", "")).await;
    let gateway = Gateway::start(quick(&cloud)).await;
    let request = WatchSavepointRequest {
        workspace: "a b".into(),
        namespace: "..".into(),
        savepoint_id: String::new(),
    };
    let status = gateway.client().await.watch_savepoint(request).await.unwrap_err();
    let details = status.get_error_details();
    let fields: BTreeSet<_> =
        details.bad_request().unwrap().field_violations.iter().map(|v| v.field.clone()).collect();
    assert_eq!(fields, ["namespace", "savepoint_id", "workspace"].map(str::to_owned).into());
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(cloud.count(), 0);
}

#[tokio::test]
async fn trouble_after_the_first_message_ends_nothing_unless_it_lasts() {
    let cloud = FakeCloud::start(|_, before| match before {
        0 => savepoint("STARTED", ""),
        1..=3 => Reply::json(503, "{}"),
        4 => Reply::RawReset(Vec::new()),
        5 => savepoint("STARTED", "recovered"),
        _ => Reply::json(403, r#"{"Code":"NoPermission"}"#),
    })
    .await;
    let gateway = Gateway::start(quick(&cloud)).await;
    let mut client = gateway.client().await;
    let mut stream = client.watch_savepoint(watch_request()).await.unwrap().into_inner();
    let mut descriptions = Vec::new();
    let status = loop {
        match next(&mut stream).await {
            Ok(message) => descriptions.push(message.unwrap().savepoint.unwrap().description),
            Err(status) => break status,
        }
    };
    descriptions.dedup();
    assert_eq!(descriptions, ["", "recovered"]);
    assert_eq!(reason(&status), "PROVIDER_PERMISSION_DENIED");
}

#[tokio::test]
async fn polls_that_fail_for_too_long_end_the_watch_with_the_last_failure() {
    let cloud = FakeCloud::start(|_, before| match before {
        0 => savepoint("STARTED", ""),
        _ => Reply::json(503, "{}"),
    })
    .await;
    let options =
        quick(&cloud).with(|config| config.watch_limits.stale_timeout = Duration::from_millis(300));
    let gateway = Gateway::start(options).await;
    let mut client = gateway.client().await;
    let mut stream = client.watch_savepoint(watch_request()).await.unwrap().into_inner();
    let mut times = BTreeSet::new();
    let status = loop {
        match next(&mut stream).await {
            // Heartbeats tell how old the state is.
            Ok(message) => {
                let time = message.unwrap().observe_time.unwrap();
                times.insert((time.seconds, time.nanos));
            }
            Err(status) => break status,
        }
    };
    assert_eq!((times.len(), &*reason(&status)), (1, "PROVIDER_UNAVAILABLE"));
}

#[tokio::test]
async fn a_watch_has_the_callers_deadline_and_else_its_own() {
    let cloud = FakeCloud::answering(savepoint("STARTED", "")).await;
    let short = Duration::from_millis(200);
    for (max_watch, timeout) in [(LONG, Some("200m")), (short, None), (short, Some("1H"))] {
        let options = quick(&cloud).with(|config| {
            config.server.max_watch = max_watch;
            config.server.timeouts.max = Duration::from_millis(10);
        });
        let gateway = Gateway::start(options).await;
        let mut request = Request::new(watch_request());
        if let Some(timeout) = timeout {
            request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        }
        let mut client = gateway.wire_client().await;
        let mut stream = client.watch_savepoint(request).await.unwrap().into_inner();
        let mut messages = 0;
        let status = loop {
            match next(&mut stream).await {
                Ok(message) => messages += usize::from(message.is_some()),
                Err(status) => break status,
            }
        };
        assert_eq!(
            (status.code(), &*reason(&status)),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        );
        assert!(messages > 0);
    }
}

#[tokio::test]
async fn watches_above_the_limit_are_refused_until_one_ends() {
    let cloud = FakeCloud::answering(savepoint("STARTED", "")).await;
    let options = quick(&cloud).with(|config| config.watch_limits.max_watches = 2);
    let gateway = Gateway::start(options).await;
    let mut client = gateway.client().await;
    let one = client.watch_savepoint(watch_request()).await.unwrap();
    let _two = client.watch_savepoint(watch_request()).await.unwrap();
    let status = client.watch_savepoint(watch_request()).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::ResourceExhausted, "GATEWAY_OVERLOADED"));
    drop(one);
    while client.watch_savepoint(watch_request()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_last_to_leave_ends_the_poll_in_flight() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    let gateway = Gateway::start(quick(&cloud)).await;
    let mut client = gateway.client().await;
    let one = client.watch_savepoint(watch_request()).await.unwrap();
    let two = client.watch_savepoint(watch_request()).await.unwrap();
    eventually("the poll begins", || cloud.count() == 1).await;
    drop(one);
    drop(two);
    eventually("the poll ends", || cloud.abandoned() == 1).await;
}

#[tokio::test]
async fn a_drain_and_a_connections_age_end_watches_at_once() {
    for drains in [true, false] {
        let cloud = FakeCloud::answering(savepoint("STARTED", "")).await;
        let options = quick(&cloud).with(|config| {
            config.server.drain_timeout = Duration::from_secs(3600);
            let age = Duration::from_millis(100);
            config.server.max_connection_age = (!drains).then_some(age);
        });
        let mut gateway = Gateway::start(options).await;
        let mut client = gateway.client().await;
        let mut stream = client.watch_savepoint(watch_request()).await.unwrap().into_inner();
        next(&mut stream).await.unwrap().unwrap();
        if drains {
            gateway.shut_down();
        }
        let status = loop {
            match next(&mut stream).await {
                Ok(message) => assert!(message.is_some(), "the watch ended with OK"),
                Err(status) => break status,
            }
        };
        let got = (status.code(), &*reason(&status));
        assert_eq!(got, (Code::Unavailable, "GATEWAY_DRAINING"), "{status}");
        drop((stream, client));
        if drains {
            tokio::time::timeout(LONG, gateway.ended()).await.expect("the gateway ends");
        }
    }
}

#[tokio::test]
async fn a_watch_is_one_log_line_with_its_messages_and_polls() {
    let cloud = FakeCloud::start(|_, before| match before {
        0..=1 => savepoint("STARTED", ""),
        _ => savepoint("COMPLETED", ""),
    })
    .await;
    let options = quick(&cloud).with(|config| config.watch_limits.heartbeat = LONG);
    let gateway = Gateway::start(options).await;
    let mut client = gateway.client().await;
    let mut stream = client.watch_savepoint(watch_request()).await.unwrap().into_inner();
    while next(&mut stream).await.unwrap().is_some() {}
    drop(stream);
    let lines: Vec<serde_json::Value> = gateway
        .log()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["method"] == "WatchSavepoint")
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    assert_eq!(
        (&line["code"], &line["messages"], &line["polls"]),
        (&"OK".into(), &2.into(), &3.into())
    );
    let page = super::operators::admin_get(&gateway, "/metrics").await;
    let handled = r#"grpc_server_handled_total{grpc_type="server_stream",grpc_service="savepoint.v1.SavepointService",grpc_method="WatchSavepoint",grpc_code="OK"} 1"#;
    assert!(page.lines().any(|line| line == handled), "{page}");
}

#[tokio::test]
async fn a_watch_streams_over_a_unix_socket() {
    let cloud = FakeCloud::start(|_, before| match before {
        0 => savepoint("STARTED", ""),
        _ => Reply::Held(Box::new(savepoint("COMPLETED", ""))),
    })
    .await;
    let folder = Folder::new();
    let path = folder.path().join("grpc");
    let listen = Address::Unix(path.clone());
    let gateway = Gateway::start(quick(&cloud).with(|config| config.server.listen = listen)).await;
    let client = async || {
        let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        SavepointServiceClient::new(Wire::over(stream).await.unwrap())
    };
    let (mut stays, mut leaves) = (client().await, client().await);
    let mut stream = stays.watch_savepoint(watch_request()).await.unwrap().into_inner();
    let first = next(&mut stream).await.unwrap().expect("a message");
    assert_eq!(state(&first), SavepointState::Started);
    let left = leaves.watch_savepoint(watch_request()).await.unwrap();
    drop((left, leaves));
    cloud.release();
    while next(&mut stream).await.unwrap().is_some() {}
    nothing_is_left(&gateway, "a Unix socket").await;
}
