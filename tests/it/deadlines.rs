use std::sync::Arc;
use std::time::Duration;

use savepoint_gateway::rpc::Timeouts;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::support::{
    FakeCloud, Gateway, LONG, Options, Reply, Rpc, eventually, get_request, import_request,
};

const SHORT: Duration = Duration::from_millis(200);

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().expect("an ErrorInfo").reason.clone()
}

fn outcome(status: &Status) -> Option<String> {
    status.get_error_details().error_info()?.metadata.get("outcome").cloned()
}

/// A request whose timeout only the server sees: the client would otherwise end the call
/// itself, and the status of the server would not be seen.
fn with_wire_timeout<T>(message: T, timeout: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    request
}

#[tokio::test]
async fn a_passed_deadline_is_deadline_exceeded_with_the_outcome() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let wire = gateway.wire().await;
    for (calls, rpc) in (1..).zip(Rpc::ALL) {
        let status = rpc.call_within(Some("200m"), &wire).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{rpc:?}: {status}");
        assert_eq!(reason(&status), "DEADLINE_EXCEEDED");
        let changes = rpc.changes_something();
        assert_eq!(outcome(&status).as_deref(), changes.then_some("unknown"), "{rpc:?}");
        let pushback = status.metadata().get("grpc-retry-pushback-ms");
        assert_eq!(pushback.map(|value| value.to_str().unwrap()), changes.then_some("-1"));
        assert_eq!(cloud.count(), calls, "{rpc:?}");
    }
    eventually("all connections are freed", || cloud.abandoned() == Rpc::ALL.len()).await;
}

#[tokio::test]
async fn an_expired_deadline_sends_nothing() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let wire = gateway.wire().await;
    for timeout in ["0m", "1n"] {
        for rpc in Rpc::ALL {
            let status = rpc.call_within(Some(timeout), &wire).await.unwrap_err();
            assert_eq!(status.code(), Code::DeadlineExceeded, "{rpc:?}: {status}");
            let changes = rpc.changes_something();
            assert_eq!(outcome(&status).as_deref(), changes.then_some("not_applied"), "{rpc:?}");
        }
    }
    assert_eq!(cloud.count(), 0);
}

#[tokio::test]
async fn the_default_applies_without_a_timeout_and_the_cap_to_every_other() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    for (timeouts, header) in [
        (Timeouts { default: SHORT, max: LONG }, None),
        (Timeouts { default: SHORT, max: LONG }, Some("nonsense")),
        (Timeouts { default: LONG, max: SHORT }, Some("99999999H")),
    ] {
        let gateway =
            Gateway::start(Options::at(&cloud).with(|config| config.server.timeouts = timeouts))
                .await;
        let request = match header {
            Some(header) => with_wire_timeout(get_request(), header),
            None => Request::new(get_request()),
        };
        let status = gateway.wire_client().await.get_savepoint(request).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{header:?}: {status}");
    }
}

#[tokio::test]
async fn a_deadline_that_passes_between_attempts_is_not_applied() {
    // The wait fits into the deadline when it begins, and the second attempt never answers.
    let cloud = FakeCloud::start(|_, before| match before {
        0 => Reply::json(429, "{}"),
        _ => Reply::Silence,
    })
    .await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let request = with_wire_timeout(import_request(), "300m");
    let status = gateway.wire_client().await.import_savepoint(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    // The second attempt was sent, so nobody knows.
    assert_eq!(outcome(&status).as_deref(), Some("unknown"));
    assert_eq!(cloud.count(), 2);
}

#[tokio::test]
async fn a_cancelled_read_frees_the_connection_at_once() {
    for rpc in [Rpc::Get, Rpc::List, Rpc::Watch, Rpc::GetJob] {
        let cloud = FakeCloud::answering(Reply::Silence).await;
        let gateway = Arc::new(Gateway::start(Options::at(&cloud)).await);
        let call = tokio::spawn({
            let gateway = Arc::clone(&gateway);
            async move { rpc.call(&gateway).await }
        });
        eventually("the call is at the provider", || cloud.count() == 1).await;
        call.abort();
        eventually("the connection is freed", || cloud.abandoned() == 1).await;
        eventually("the call is logged", || gateway.log().contains(r#""code":"Canceled""#)).await;
    }
}

#[tokio::test]
async fn a_sent_change_continues_when_its_caller_cancels() {
    let body = r#"{"is_success":true,"success":true,"data":{"savepointId":"s"}}"#;
    for rpc in Rpc::CHANGES {
        let cloud = FakeCloud::answering(Reply::Held(Box::new(Reply::json(200, body)))).await;
        let gateway = Arc::new(Gateway::start(Options::at(&cloud)).await);
        let call = tokio::spawn({
            let gateway = Arc::clone(&gateway);
            async move { rpc.call(&gateway).await }
        });
        eventually("the call is at the provider", || cloud.count() == 1).await;
        call.abort();
        eventually("the caller is known to be gone", || {
            gateway.log().contains(r#""code":"Canceled""#)
        })
        .await;
        cloud.release();
        let metrics = format!(
            r#"http_client_request_duration_seconds_count{{provider="{}",http_request_method="POST",http_response_status_code="200",error_type=""}} 1"#,
            rpc.provider()
        );
        let mut text = String::new();
        for _ in 0..10_000 {
            text = super::operators::admin_get(&gateway, "/metrics").await;
            if text.contains(&metrics) {
                break;
            }
        }
        assert!(text.contains(&metrics), "the answer was never read:\n{text}");
        assert_eq!((cloud.count(), cloud.abandoned()), (1, 0), "{rpc:?}");
    }
}
