use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use savepoint_gateway::pb::SavepointState;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{FakeCloud, Gateway, Options, Reply, Rpc, get_request, import_request};

const IMPORTED: &str = r#"{"is_success":true}"#;

fn reason(status: &tonic::Status) -> String {
    status.get_error_details().error_info().expect("an ErrorInfo").reason.clone()
}

async fn get(reply: Reply) -> Result<savepoint_gateway::pb::GetSavepointResponse, tonic::Status> {
    let cloud = FakeCloud::answering(reply).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let result = gateway.client().await.get_savepoint(get_request()).await;
    result.map(tonic::Response::into_inner)
}

/// Hostile inputs 52, 53.
#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let elsewhere = FakeCloud::answering(Reply::json(200, IMPORTED)).await;
    for status in [301, 302, 303, 307, 308] {
        let target = format!("{}/stolen", elsewhere.endpoint());
        let reply = Reply::json_with(status, &[("location", &target)], "");
        let cloud = FakeCloud::answering(reply).await;
        let gateway = Gateway::start(Options {
            security_token: Some("exampleToken".into()),
            ..Options::at(&cloud)
        })
        .await;
        for rpc in Rpc::ALL {
            let error = rpc.call(&gateway).await.unwrap_err();
            assert_eq!(reason(&error), "PROVIDER_REDIRECT_REFUSED", "{rpc:?} {status}");
            assert!(!error.message().contains("stolen"), "{error}");
        }
        assert_eq!(cloud.count(), Rpc::ALL.len());
    }
    assert_eq!(elsewhere.count(), 0);
}

/// Hostile input 54.
#[tokio::test]
async fn an_endless_answer_is_given_up_at_the_cap() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let written = Arc::new(AtomicUsize::new(0));
    let serving = tokio::spawn({
        let written = Arc::clone(&written);
        async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let chunk = [&b"4000\r\n"[..], &[b' '; 0x4000], b"\r\n"].concat();
            // Ends when the gateway closes the connection.
            while stream.write_all(&chunk).await.is_ok() {
                written.fetch_add(chunk.len(), Ordering::Relaxed);
            }
        }
    });
    let gateway = Gateway::start(Options { alibaba: Some(endpoint), ..Options::none() }).await;
    let error = gateway.client().await.get_savepoint(get_request()).await.unwrap_err();
    assert_eq!(reason(&error), "PROVIDER_RESPONSE_TOO_LARGE");
    serving.await.unwrap();
    // The cap, and what the kernel had buffered by then.
    assert!(written.load(Ordering::Relaxed) < 32 * 1024 * 1024);
}

/// Hostile input 55.
#[tokio::test]
async fn compression_is_neither_requested_nor_decoded() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b' '; 64 * 1024 * 1024]).unwrap();
    let bomb = encoder.finish().unwrap();
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("content-encoding", "gzip".to_owned()),
    ];
    let cloud = FakeCloud::answering(Reply::Http(200, headers, bomb)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    for rpc in Rpc::ALL {
        let error = rpc.call(&gateway).await.unwrap_err();
        assert_eq!(reason(&error), "PROVIDER_MALFORMED_RESPONSE", "{rpc:?}");
    }
    let requests = cloud.requests();
    assert_eq!(requests.len(), Rpc::ALL.len());
    assert!(requests.iter().all(|request| request.header("accept-encoding").is_none()));
}

/// Hostile input 60.
#[tokio::test]
async fn a_time_is_right_or_absent_and_never_wrong() {
    for (text, want) in [
        ("1659066711", Some(1_659_066_711)),
        ("\"1659066711\"", Some(1_659_066_711)),
        ("1659066711.0", Some(1_659_066_711)),
        ("1e3", Some(1000)),
        ("1.0", Some(1)),
        ("0", Some(0)),
        ("null", None),
        ("9223372036854775808", None),
        ("18446744073709551616", None),
        ("1e400", None),
        ("\"soon\"", None),
        ("\"\"", None),
    ] {
        let body = format!(r#"{{"success":true,"data":{{"savepointId":"s","createdAt":{text}}}}}"#);
        match get(Reply::json(200, &body)).await {
            Ok(got) => {
                let got = got.savepoint.unwrap().create_time.map(|time| time.seconds);
                assert_eq!(got, want, "{text}");
            }
            // An invalid or unreadable JSON number may make the whole answer malformed instead.
            Err(error) => {
                assert_eq!(want, None, "{text}: {error}");
                assert_eq!(reason(&error), "PROVIDER_MALFORMED_RESPONSE", "{text}");
            }
        }
    }
    let error = get(Reply::json(200, r#"{"success":true,"data":{"createdAt":NaN}}"#)).await;
    assert_eq!(reason(&error.unwrap_err()), "PROVIDER_MALFORMED_RESPONSE");
}

/// Hostile inputs 61, 67.
#[tokio::test]
async fn invalid_unicode_is_malformed_and_control_characters_are_removed_from_messages() {
    let lone = r#"{"success":true,"data":{"savepointId":"\ud800"}}"#;
    assert_eq!(
        reason(&get(Reply::json(200, lone)).await.unwrap_err()),
        "PROVIDER_MALFORMED_RESPONSE"
    );
    let invalid = b"{\"success\":true,\"data\":{\"savepointId\":\"\xff\"}}".to_vec();
    let error = get(Reply::Http(200, vec![], invalid)).await.unwrap_err();
    assert_eq!(reason(&error), "PROVIDER_MALFORMED_RESPONSE");
    let loud = "\u{0}\u{1b}[31mred\u{1b}[0m\r\ngrpc-status: 0\u{202e}<script>".to_owned();
    for text in [loud.clone(), loud + &"x".repeat(900_000)] {
        let body = json!({"success": false, "errorCode": "1", "errorMessage": text}).to_string();
        let error = get(Reply::json(200, &body)).await.unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
        let info = error.get_error_details().error_info().unwrap().clone();
        let reported = info.metadata["providerMessage"].as_str();
        for text in [error.message(), reported] {
            assert!(text.len() <= 1024, "{}", text.len());
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        assert!(error.details().len() < 4096);
    }
}

/// Hostile input 62.
#[tokio::test]
async fn deep_nesting_does_not_overflow_the_stack() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let body = format!(r#"{{"success":true,"unknown":{deep},"data":{{"savepointId":"s"}}}}"#);
        match get(Reply::json(200, &body)).await {
            Ok(got) => assert_eq!(got.savepoint.unwrap().savepoint_id, "s"),
            Err(error) => assert_eq!(reason(&error), "PROVIDER_MALFORMED_RESPONSE"),
        }
    }
}

/// Answers that prove nothing, whatever was asked: none is a success, and none is asked for twice.
///
/// Hostile inputs 58, 61, 62.
#[tokio::test]
async fn what_is_no_readable_object_is_malformed_for_every_rpc() {
    let deep = |open: &str, close: &str| {
        let nested = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        format!(r#"{{"unknown":{nested}}}"#).into_bytes()
    };
    for body in [
        deep("[", "]"),
        deep(r#"{"a":"#, "}"),
        b"{\"unknown\":\"\xff\"}".to_vec(),
        br#"{"unknown":"\ud800"}"#.to_vec(),
        b"{},".to_vec(),
        b"null".to_vec(),
        b"[[]]".to_vec(),
        b"".to_vec(),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let cloud = FakeCloud::answering(Reply::Http(200, vec![], body)).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        for rpc in Rpc::ALL {
            let error = rpc.call(&gateway).await.unwrap_err();
            let outcome = rpc.changes_something().then(|| "unknown".to_owned());
            let info = error.get_error_details().error_info().expect("an ErrorInfo").clone();
            assert_eq!(info.reason, "PROVIDER_MALFORMED_RESPONSE", "{rpc:?} {shown}");
            assert_eq!(info.metadata.get("outcome"), outcome.as_ref(), "{rpc:?} {shown}");
        }
        assert_eq!(cloud.count(), Rpc::ALL.len(), "{shown}");
    }
}

/// Hostile input 65.
#[tokio::test]
async fn the_state_decides_and_failure_only_explains() {
    for (status, want, failure) in [
        (
            json!({"state": "COMPLETED", "failure": {"reason": "r"}}),
            SavepointState::Completed,
            true,
        ),
        (json!({"state": "FAILED"}), SavepointState::Failed, false),
        (json!({"state": "FAILED", "failure": null}), SavepointState::Failed, false),
        (json!({"state": "ARCHIVING"}), SavepointState::Unspecified, false),
    ] {
        let body = json!({"success": true, "data": {"savepointId": "s", "status": status}});
        let got = get(Reply::json(200, &body.to_string())).await.unwrap();
        let got = got.savepoint.unwrap().status.unwrap();
        assert_eq!(got.state(), want, "{status}");
        assert_eq!(got.provider_state, status["state"].as_str().unwrap());
        assert_eq!(got.failure.is_some(), failure, "{status}");
    }
}

/// Hostile input 66.
#[tokio::test]
async fn without_a_meaningful_code_the_http_status_decides() {
    for code in [r#""""#, r#""\"\"""#, "null"] {
        let body = format!(r#"{{"success":false,"httpCode":200,"errorCode":{code}}}"#);
        let error = get(Reply::json(403, &body)).await.unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied, "{code}: {error}");
        let body = format!(
            r#"{{"success":true,"httpCode":200,"errorCode":{code},"data":{{"savepointId":"s"}}}}"#
        );
        get(Reply::json(200, &body)).await.unwrap();
    }
}

/// Hostile input 68.
#[tokio::test]
async fn endless_interim_answers_do_not_hold_a_call() {
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(500);
    let last = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{IMPORTED}", IMPORTED.len());
    let cloud = FakeCloud::answering(Reply::Raw([&interim[..], last.as_bytes()].concat())).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let result = gateway.client().await.import_savepoint(import_request()).await;
    if let Err(error) = result {
        assert_eq!(error.code(), Code::Internal, "{error}");
    }
    assert_eq!(cloud.count(), 1);
}

/// Hostile input 69.
#[tokio::test]
async fn an_import_whose_answer_breaks_off_is_unknown_and_sent_once() {
    for reply in [
        Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"is_su".to_vec()),
        Reply::RawReset(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"is_su".to_vec()),
        Reply::Raw(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"is_\r\n".to_vec(),
        ),
    ] {
        let shown = format!("{reply:?}");
        let cloud = FakeCloud::answering(reply).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let error = gateway.client().await.import_savepoint(import_request()).await.unwrap_err();
        let info = error.get_error_details().error_info().unwrap().clone();
        assert_eq!(info.metadata["outcome"], "unknown", "{shown}");
        let pushback = error.metadata().get("grpc-retry-pushback-ms").unwrap();
        assert_eq!(pushback, "-1", "{shown}");
        assert_eq!(cloud.count(), 1, "{shown}");
    }
}

/// A success of an import with this many headers besides those that are needed.
fn with_headers(count: usize, value: &str) -> Reply {
    let headers: String = (0..count).map(|i| format!("x-{i}: {value}\r\n")).collect();
    let length = IMPORTED.len();
    Reply::Raw(
        format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\n\r\n{IMPORTED}")
            .into_bytes(),
    )
}

#[tokio::test]
async fn headers_are_limited_by_their_size_and_not_by_their_number() {
    for (count, value, fits) in [
        (120, "1", true),
        (1600, "1", true),
        (60, &*"v".repeat(1000), true),
        (1, &"v".repeat(65_000), true),
        (2100, "1", false),
        (70, &"v".repeat(1000), false),
        (1, &"v".repeat(66_000), false),
    ] {
        let cloud = FakeCloud::answering(with_headers(count, value)).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let result = gateway.client().await.import_savepoint(import_request()).await;
        match result {
            Ok(_) => assert!(fits, "{count} of {}", value.len()),
            Err(error) => {
                assert!(!fits, "{count} of {}: {error}", value.len());
                assert_eq!(reason(&error), "PROVIDER_RESPONSE_TOO_LARGE");
            }
        }
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_cost_a_header_only_themselves() {
    let head = b"HTTP/1.1 200 OK\r\nx-request-id: R-\xe9\xff1\r\ndate: \xff\r\n".to_vec();
    let body = format!("content-length: {}\r\n\r\n{IMPORTED}", IMPORTED.len());
    let cloud = FakeCloud::answering(Reply::Raw([&head[..], body.as_bytes()].concat())).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let got = gateway.client().await.import_savepoint(import_request()).await.unwrap();
    assert_eq!(got.into_inner().request_id, "R-1");

    let head = b"HTTP/1.1 403 X\r\nx-acs-request-id: \xe9R-2\r\nretry-after: \xff7\r\n".to_vec();
    let reply = Reply::Raw([&head[..], b"content-length: 2\r\n\r\n{}"].concat());
    let error = get(reply).await.unwrap_err();
    let details = error.get_error_details();
    assert_eq!(details.request_info().unwrap().request_id, "R-2");
    assert!(details.retry_info().is_none());
}
