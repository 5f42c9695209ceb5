use std::time::Duration;

use savepoint_gateway::rpc::reason::Outcome;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{FakeCloud, Gateway, Options, Reply, get_request, import_request};

const NOT_APPLIED: Outcome = Outcome::NotApplied;
const UNKNOWN: Outcome = Outcome::Unknown;

/// What both calls must say to an answer, and how often they may ask.
struct Row {
    reply: Reply,
    code: Code,
    reason: &'static str,
    outcome: Outcome,
    imports: usize,
    gets: usize,
    /// Details that must be there.
    about: &'static [(&'static str, &'static str)],
}

fn row(reply: Reply, code: Code, reason: &'static str, outcome: Outcome) -> Row {
    Row { reply, code, reason, outcome, imports: 1, gets: 1, about: &[] }
}

fn huawei(status: u16, code: &str) -> Reply {
    let body = format!(r#"{{"error_code":"{code}","error_msg":"told"}}"#);
    Reply::json_with(status, &[("X-Request-Id", "R-1")], &body)
}

fn alibaba(status: u16, code: &str) -> Reply {
    Reply::json(
        status,
        &format!(r#"{{"RequestId":"R-1","HostId":"h","Code":"{code}","Message":"told"}}"#),
    )
}

fn business(code: &str) -> Reply {
    let body = format!(
        r#"{{"requestId":"R-1","success":false,"httpCode":200,"errorCode":"{code}","errorMessage":"told"}}"#
    );
    Reply::json(200, &body)
}

async fn import(reply: Reply) -> (Status, usize) {
    let cloud = FakeCloud::answering(reply).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let result = gateway.client().await.import_savepoint(import_request()).await;
    (result.expect_err("an error"), cloud.count())
}

async fn get(reply: Reply) -> (Status, usize) {
    let cloud = FakeCloud::answering(reply).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let result = gateway.client().await.get_savepoint(get_request()).await;
    (result.expect_err("an error"), cloud.count())
}

fn check(status: &Status, row: &Row, provider: &str, outcome: Option<Outcome>, what: &str) {
    assert_eq!(status.code(), row.code, "{what}: {status}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("{what}: no ErrorInfo"));
    assert_eq!(info.reason, row.reason, "{what}: {status}");
    assert_eq!(info.domain, "savepoint-gateway", "{what}");
    assert_eq!(info.metadata["provider"], provider, "{what}");
    let got = info.metadata.get("outcome").map(String::as_str);
    assert_eq!(got, outcome.map(Outcome::as_str), "{what}: {status}");
    let pushback = status.metadata().get("grpc-retry-pushback-ms").map(|v| v.to_str().unwrap());
    assert_eq!(pushback, (outcome == Some(UNKNOWN)).then_some("-1"), "{what}");
    for (key, value) in row.about {
        assert_eq!(info.metadata.get(*key).map(String::as_str), Some(*value), "{what}: {key}");
    }
    if info.metadata.contains_key("providerRequestId") {
        assert_eq!(
            details.request_info().expect(what).request_id,
            info.metadata["providerRequestId"]
        );
    }
    assert!(details.bad_request().is_none(), "{what}");
    assert!(!status.message().is_empty(), "{what}");
}

async fn check_import(row: &Row) {
    let what = format!("import, {:?}", row.reply);
    let (status, requests) = import(row.reply.clone()).await;
    check(&status, row, "huawei-dli", Some(row.outcome), &what);
    assert_eq!(requests, row.imports, "{what}");
}

async fn check_get(row: &Row) {
    let what = format!("get, {:?}", row.reply);
    let (status, requests) = get(row.reply.clone()).await;
    check(&status, row, "alibaba-flink", None, &what);
    assert_eq!(requests, row.gets, "{what}");
}

/// Throttling did not act, so both calls are repeated.
fn throttled(reply: Reply) -> Row {
    Row {
        imports: 3,
        gets: 3,
        ..row(reply, Code::ResourceExhausted, "PROVIDER_THROTTLED", NOT_APPLIED)
    }
}

/// Hostile input 77.
#[tokio::test]
async fn huaweis_own_codes_decide_first() {
    use Code as C;
    const ABOUT: &[(&str, &str)] = &[("providerMessage", "told"), ("providerRequestId", "R-1")];
    for mut row in [
        row(huawei(400, "DLI.0001"), C::InvalidArgument, "PROVIDER_REJECTED_ARGUMENT", NOT_APPLIED),
        row(huawei(400, "DLI.0018"), C::InvalidArgument, "PROVIDER_REJECTED_ARGUMENT", NOT_APPLIED),
        row(huawei(400, "DLI.0002"), C::NotFound, "PROVIDER_NOT_FOUND", NOT_APPLIED),
        row(huawei(400, "DLI.12004"), C::NotFound, "PROVIDER_NOT_FOUND", NOT_APPLIED),
        row(huawei(404, "DLI.0023"), C::NotFound, "PROVIDER_NOT_FOUND", NOT_APPLIED),
        row(huawei(400, "DLI.0006"), C::AlreadyExists, "PROVIDER_ALREADY_EXISTS", NOT_APPLIED),
        row(
            huawei(400, "DLI.0007"),
            C::FailedPrecondition,
            "PROVIDER_REPORTED_FAILURE",
            NOT_APPLIED,
        ),
        row(
            huawei(400, "DLI.0012"),
            C::FailedPrecondition,
            "PROVIDER_REPORTED_FAILURE",
            NOT_APPLIED,
        ),
        row(
            huawei(400, "DLI.13024"),
            C::FailedPrecondition,
            "PROVIDER_REPORTED_FAILURE",
            NOT_APPLIED,
        ),
        throttled(huawei(400, "DLI.0009")),
        row(huawei(400, "DLI.1028"), C::ResourceExhausted, "PROVIDER_QUOTA_EXCEEDED", NOT_APPLIED),
        throttled(huawei(429, "APIG.0308")),
        throttled(huawei(429, "APIGW.0308")),
        row(
            huawei(400, "DLI.0003"),
            C::PermissionDenied,
            "PROVIDER_PERMISSION_DENIED",
            NOT_APPLIED,
        ),
        row(
            huawei(400, "DLI.0011"),
            C::PermissionDenied,
            "PROVIDER_PERMISSION_DENIED",
            NOT_APPLIED,
        ),
        row(
            huawei(400, "DLI.0016"),
            C::PermissionDenied,
            "PROVIDER_PERMISSION_DENIED",
            NOT_APPLIED,
        ),
        row(
            huawei(401, "DLI.0013"),
            C::Unauthenticated,
            "PROVIDER_CREDENTIALS_REJECTED",
            NOT_APPLIED,
        ),
        row(
            huawei(401, "DLI.0014"),
            C::Unauthenticated,
            "PROVIDER_CREDENTIALS_REJECTED",
            NOT_APPLIED,
        ),
        row(
            huawei(400, "DLI.0015"),
            C::Unauthenticated,
            "PROVIDER_CREDENTIALS_REJECTED",
            NOT_APPLIED,
        ),
        row(
            huawei(401, "APIG.0301"),
            C::Unauthenticated,
            "PROVIDER_CREDENTIALS_REJECTED",
            NOT_APPLIED,
        ),
        row(
            huawei(401, "APIC.0303"),
            C::Unauthenticated,
            "PROVIDER_CREDENTIALS_REJECTED",
            NOT_APPLIED,
        ),
        row(
            huawei(401, "APIGW.0307"),
            C::Unauthenticated,
            "PROVIDER_CREDENTIALS_REJECTED",
            NOT_APPLIED,
        ),
        row(huawei(400, "DLI.0019"), C::DeadlineExceeded, "PROVIDER_TIMEOUT", UNKNOWN),
        row(huawei(400, "DLI.0999"), C::Internal, "PROVIDER_INTERNAL", UNKNOWN),
        row(huawei(404, "APIG.0101"), C::Internal, "PROVIDER_ENDPOINT_MISCONFIGURED", NOT_APPLIED),
        row(huawei(404, "APIGW.0103"), C::Internal, "PROVIDER_ENDPOINT_MISCONFIGURED", NOT_APPLIED),
        row(huawei(200, "DLI.0001"), C::InvalidArgument, "PROVIDER_REJECTED_ARGUMENT", NOT_APPLIED),
        row(huawei(400, "DLI.4711"), C::InvalidArgument, "PROVIDER_REJECTED_ARGUMENT", NOT_APPLIED),
        row(
            huawei(403, "APIGW.0302"),
            C::PermissionDenied,
            "PROVIDER_PERMISSION_DENIED",
            NOT_APPLIED,
        ),
    ] {
        row.about = ABOUT;
        check_import(&row).await;
    }
}

/// Hostile input 77.
#[tokio::test]
async fn alibabas_own_codes_decide_first() {
    use Code as C;
    const ABOUT: &[(&str, &str)] = &[("providerMessage", "told"), ("providerRequestId", "R-1")];
    let unavailable =
        |reply| Row { gets: 3, ..row(reply, C::Unavailable, "PROVIDER_UNAVAILABLE", UNKNOWN) };
    for mut row in [
        row(
            alibaba(400, "MissingWorkspace"),
            C::InvalidArgument,
            "PROVIDER_REJECTED_ARGUMENT",
            NOT_APPLIED,
        ),
        row(
            alibaba(400, "InvalidParameter"),
            C::InvalidArgument,
            "PROVIDER_REJECTED_ARGUMENT",
            NOT_APPLIED,
        ),
        row(business("990301"), C::NotFound, "PROVIDER_NOT_FOUND", NOT_APPLIED),
        row(business("990302"), C::FailedPrecondition, "PROVIDER_REPORTED_FAILURE", NOT_APPLIED),
        row(
            business("InternalError"),
            C::FailedPrecondition,
            "PROVIDER_REPORTED_FAILURE",
            NOT_APPLIED,
        ),
        row(business(""), C::FailedPrecondition, "PROVIDER_REPORTED_FAILURE", NOT_APPLIED),
        row(business("Forbidden"), C::PermissionDenied, "PROVIDER_PERMISSION_DENIED", NOT_APPLIED),
        throttled(alibaba(400, "Throttling")),
        throttled(alibaba(400, "Throttling.User")),
        throttled(alibaba(503, "Throttling.Api")),
        throttled(alibaba(400, "Rejected.Throttling")),
        throttled(business("Throttling.User")),
        row(
            alibaba(403, "Forbidden.RAM"),
            C::PermissionDenied,
            "PROVIDER_PERMISSION_DENIED",
            NOT_APPLIED,
        ),
        row(
            alibaba(403, "NoPermission"),
            C::PermissionDenied,
            "PROVIDER_PERMISSION_DENIED",
            NOT_APPLIED,
        ),
        row(
            alibaba(404, "InvalidAccessKeyId.NotFound"),
            C::Unauthenticated,
            "PROVIDER_CREDENTIALS_REJECTED",
            NOT_APPLIED,
        ),
        row(
            alibaba(400, "SignatureDoesNotMatch"),
            C::Unauthenticated,
            "PROVIDER_CREDENTIALS_REJECTED",
            NOT_APPLIED,
        ),
        row(
            alibaba(400, "IncompleteSignature"),
            C::Unauthenticated,
            "PROVIDER_CREDENTIALS_REJECTED",
            NOT_APPLIED,
        ),
        row(
            alibaba(400, "InvalidSecurityToken.Expired"),
            C::Unauthenticated,
            "PROVIDER_CREDENTIALS_REJECTED",
            NOT_APPLIED,
        ),
        row(
            alibaba(400, "InvalidTimeStamp.Expired"),
            C::Unauthenticated,
            "CLOCK_SKEW",
            NOT_APPLIED,
        ),
        row(alibaba(400, "IllegalTimestamp"), C::Unauthenticated, "CLOCK_SKEW", NOT_APPLIED),
        row(
            alibaba(404, "InvalidApi.NotFound"),
            C::Internal,
            "PROVIDER_ENDPOINT_MISCONFIGURED",
            NOT_APPLIED,
        ),
        row(
            alibaba(404, "InvalidProduct.NotFound"),
            C::Internal,
            "PROVIDER_ENDPOINT_MISCONFIGURED",
            NOT_APPLIED,
        ),
        row(
            alibaba(403, "InvalidAction"),
            C::Internal,
            "PROVIDER_ENDPOINT_MISCONFIGURED",
            NOT_APPLIED,
        ),
        row(
            alibaba(400, "NoSuchVersion"),
            C::Internal,
            "PROVIDER_ENDPOINT_MISCONFIGURED",
            NOT_APPLIED,
        ),
        row(
            alibaba(404, "InvalidProtocol.NeedSsl"),
            C::Internal,
            "PROVIDER_ENDPOINT_MISCONFIGURED",
            NOT_APPLIED,
        ),
        row(alibaba(500, "InternalError"), C::Internal, "PROVIDER_INTERNAL", UNKNOWN),
        unavailable(alibaba(503, "ServiceUnavailable")),
        unavailable(alibaba(400, "SignatureNonceUsed")),
    ] {
        row.about = ABOUT;
        check_get(&row).await;
    }
}

/// The rows that do not depend on who answers.
fn rows_for_both() -> Vec<Row> {
    use Code as C;
    let other = |status| Reply::json(status, r#"{"code":"Other","message":"told"}"#);
    let html = |status| Reply::text(status, "text/html", "<html>told</html>");
    let empty = |status| Reply::text(status, "text/plain", "");
    let ok = |body: &str| Reply::json(200, body);
    let malformed = |reply| row(reply, C::Internal, "PROVIDER_MALFORMED_RESPONSE", UNKNOWN);
    let mut rows = vec![
        row(other(400), C::InvalidArgument, "PROVIDER_REJECTED_ARGUMENT", NOT_APPLIED),
        row(html(400), C::InvalidArgument, "PROVIDER_REJECTED_ARGUMENT", NOT_APPLIED),
        row(other(401), C::Unauthenticated, "PROVIDER_CREDENTIALS_REJECTED", NOT_APPLIED),
        row(
            Reply::json(401, r#"{"message":"signature expired"}"#),
            C::Unauthenticated,
            "CLOCK_SKEW",
            NOT_APPLIED,
        ),
        row(other(403), C::PermissionDenied, "PROVIDER_PERMISSION_DENIED", NOT_APPLIED),
        row(other(404), C::NotFound, "PROVIDER_NOT_FOUND", NOT_APPLIED),
        row(html(404), C::Internal, "PROVIDER_ENDPOINT_MISCONFIGURED", NOT_APPLIED),
        row(empty(404), C::Internal, "PROVIDER_ENDPOINT_MISCONFIGURED", NOT_APPLIED),
        row(other(408), C::Unavailable, "PROVIDER_TIMEOUT", UNKNOWN),
        row(other(409), C::Aborted, "PROVIDER_CONFLICT", NOT_APPLIED),
        row(other(410), C::FailedPrecondition, "PROVIDER_REPORTED_FAILURE", NOT_APPLIED),
        row(other(412), C::FailedPrecondition, "PROVIDER_REPORTED_FAILURE", NOT_APPLIED),
        row(other(422), C::InvalidArgument, "PROVIDER_REJECTED_ARGUMENT", NOT_APPLIED),
        throttled(other(429)),
        row(other(500), C::Internal, "PROVIDER_INTERNAL", UNKNOWN),
        row(empty(500), C::Internal, "PROVIDER_INTERNAL", UNKNOWN),
        row(Reply::json(500, "null"), C::Internal, "PROVIDER_INTERNAL", UNKNOWN),
        row(other(501), C::Unimplemented, "PROVIDER_UNIMPLEMENTED", NOT_APPLIED),
        row(html(504), C::DeadlineExceeded, "PROVIDER_TIMEOUT", UNKNOWN),
        row(other(507), C::Internal, "PROVIDER_INTERNAL", UNKNOWN),
        malformed(other(600)),
        malformed(Reply::Http(204, vec![], vec![])),
        malformed(empty(200)),
        malformed(html(200)),
        malformed(ok("  \n")),
        malformed(ok("null")),
        malformed(ok("[]")),
        malformed(ok("\"hi\"")),
        malformed(ok("{}")),
        malformed(ok(r#"{"message":"no word of success"}"#)),
        malformed(ok(r#"{"is_success":null,"success":null}"#)),
        malformed(ok(r#"{"is_success":1,"success":1,"data":{"jobId":"j"}}"#)),
        malformed(ok(r#"{"is_success":true,"success":true,"is_success":false,"success":false,"data":{"jobId":"j"}}"#)),
        malformed(ok(r#"{"is_success":true,"success":true,"data":{"jobId":"j"},}"#)),
        malformed(ok("\u{feff}{\"is_success\":true,\"success\":true,\"data\":{\"jobId\":\"j\"}}")),
        malformed(ok(r#"{"is_success": true, "success": tr"#)),
        malformed(Reply::Http(200, vec![], b"{\"is_success\":true,\"success\":true,\"unknown\":\"\xff\",\"data\":{\"jobId\":\"j\"}}".to_vec())),
        malformed(Reply::Http(200, vec![], b"{\"is_success\":true,\"success\":true,\"message\":\"\xff\",\"data\":{\"jobId\":\"\xff\"}}".to_vec())),
        Row {
            gets: 3,
            ..malformed(Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{\"is_success\": true".to_vec()))
        },
        malformed(Reply::Raw(b"not HTTP at all\r\n\r\n".to_vec())),
        malformed(Reply::Raw(
            b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\ntransfer-encoding: chunked\r\n\r\n13\r\n{\"is_success\":true}\r\n0\r\n\r\n".to_vec(),
        )),
        malformed(Reply::Raw(
            b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\ncontent-length: 20\r\n\r\n{\"is_success\":true}".to_vec(),
        )),
        row(
            ok(&" ".repeat(1024 * 1024 + 1)),
            C::Internal,
            "PROVIDER_RESPONSE_TOO_LARGE",
            UNKNOWN,
        ),
        row(
            Reply::Raw([b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b' '; 1024 * 1024 + 1]].concat()),
            C::Internal,
            "PROVIDER_RESPONSE_TOO_LARGE",
            UNKNOWN,
        ),
        row(
            Reply::Raw([&b"HTTP/1.1 200 OK\r\nx-big: "[..], &[b'x'; 600_000], b"\r\n\r\n"].concat()),
            C::Internal,
            "PROVIDER_RESPONSE_TOO_LARGE",
            UNKNOWN,
        ),
        row(
            Reply::json_with(200, &[("x-big", &"x".repeat(70_000))], r#"{"is_success":true}"#),
            C::Internal,
            "PROVIDER_RESPONSE_TOO_LARGE",
            UNKNOWN,
        ),
    ];
    for status in [405, 406, 411, 413, 414, 415, 431, 494] {
        rows.push(row(other(status), C::Internal, "GATEWAY_REQUEST_REJECTED", NOT_APPLIED));
    }
    for status in [301, 302, 304, 307, 308] {
        let reply = Reply::json_with(status, &[("location", "http://127.0.0.1:1/x")], "");
        rows.push(row(reply, C::Internal, "PROVIDER_REDIRECT_REFUSED", UNKNOWN));
    }
    for reply in [other(502), html(502), other(503), empty(503)] {
        rows.push(Row { gets: 3, ..row(reply, C::Unavailable, "PROVIDER_UNAVAILABLE", UNKNOWN) });
    }
    for reply in [
        Reply::Raw(vec![]),
        Reply::RawReset(vec![]),
        Reply::RawReset(
            b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{\"is_success\": true".to_vec(),
        ),
    ] {
        let lost = row(reply, C::Unavailable, "PROVIDER_CONNECTION_LOST", UNKNOWN);
        rows.push(Row { gets: 3, ..lost });
    }
    rows
}

/// Hostile inputs 56, 58, 59, 68.
#[tokio::test]
async fn imports_tell_every_other_answer_truthfully() {
    for row in rows_for_both() {
        check_import(&row).await;
    }
}

/// Hostile inputs 56, 58, 59, 68.
#[tokio::test]
async fn gets_tell_every_other_answer_truthfully() {
    for row in rows_for_both() {
        check_get(&row).await;
    }
}

/// Hostile inputs 56, 57.
#[tokio::test]
async fn a_reported_failure_is_a_failure_however_it_is_spelled() {
    for body in [
        r#"{"is_success":false,"message":"told"}"#,
        r#"{"is_success":"false","message":"told"}"#,
        r#"{"is_success":"FALSE","message":"told"}"#,
    ] {
        let failed = row(
            Reply::json(200, body),
            Code::FailedPrecondition,
            "PROVIDER_REPORTED_FAILURE",
            NOT_APPLIED,
        );
        check_import(&Row {
            about: &[("providerMessage", "told"), ("httpStatus", "200")],
            ..failed
        })
        .await;
    }
    for data in ["null", "\"oops\"", "[]", "[{}]", "{}", "{\"unknown\":1}"] {
        let body = format!(r#"{{"requestId":"R-1","success":true,"data":{data}}}"#);
        let malformed =
            row(Reply::json(200, &body), Code::Internal, "PROVIDER_MALFORMED_RESPONSE", UNKNOWN);
        check_get(&Row { about: &[("providerRequestId", "R-1")], ..malformed }).await;
    }
    for broken in [
        r#""status":"COMPLETED""#,
        r#""status":[]"#,
        r#""status":{"failure":[]}"#,
        r#""nativeFormat":7"#,
        r#""jobId":{}"#,
    ] {
        let body = format!(r#"{{"success":true,"data":{{"savepointId":"s",{broken}}}}}"#);
        check_get(&row(
            Reply::json(200, &body),
            Code::Internal,
            "PROVIDER_MALFORMED_RESPONSE",
            UNKNOWN,
        ))
        .await;
    }
}

#[tokio::test]
async fn a_wait_that_the_provider_asks_for_is_passed_on() {
    for (headers, want) in [
        (&[("x-acs-retry-after", "99000")][..], Some(Duration::from_secs(99))),
        (&[("retry-after", "77")], Some(Duration::from_secs(77))),
        (&[("retry-after", "soon")], None),
        (&[], None),
    ] {
        let reply = Reply::json_with(429, headers, r#"{"Code":"Throttling.User"}"#);
        for (status, requests) in [import(reply.clone()).await, get(reply).await] {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            let details = status.get_error_details();
            let got = details.retry_info().and_then(|info| info.retry_delay);
            assert_eq!(got, want, "{headers:?}");
            // A wait beyond the deadline is not waited for.
            assert_eq!(requests, if want.is_some() { 1 } else { 3 }, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn what_helps_to_mend_a_refusal_is_kept() {
    let reply = Reply::json(
        403,
        r#"{"Code":"NoPermission","Message":"m","AccessDeniedDetail":{"AuthAction":"stream:GetSavepoint","NoPermissionType":"ImplicitDeny"}}"#,
    );
    let denied = row(reply, Code::PermissionDenied, "PROVIDER_PERMISSION_DENIED", NOT_APPLIED);
    let about = &[("authAction", "stream:GetSavepoint"), ("noPermissionType", "ImplicitDeny")];
    check_get(&Row { about, ..denied }).await;
    let reply = Reply::json(
        403,
        r#"{"error_code":"DLI.0016","error_msg":"m","encoded_authorization_message":"E"}"#,
    );
    let denied = row(reply, Code::PermissionDenied, "PROVIDER_PERMISSION_DENIED", NOT_APPLIED);
    check_import(&Row { about: &[("encodedAuthorizationMessage", "E")], ..denied }).await;
}

/// Hostile input 73.
#[tokio::test]
async fn a_provider_that_cannot_be_reached_was_not_called() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for endpoint in [endpoint.as_str(), "http://no-such-host.localhost:1"] {
        let gateway = Gateway::start(Options {
            huawei: Some(endpoint.to_owned()),
            alibaba: Some(endpoint.to_owned()),
            ..Options::none()
        })
        .await;
        let mut client = gateway.client().await;
        let import = client.import_savepoint(import_request()).await.unwrap_err();
        let get = client.get_savepoint(get_request()).await.unwrap_err();
        for (status, outcome) in [(import, Some("not_applied")), (get, None)] {
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            let info = status.get_error_details().error_info().unwrap().clone();
            assert_eq!(info.reason, "PROVIDER_CONNECT_FAILED");
            assert_eq!(info.metadata.get("outcome").map(String::as_str), outcome);
            assert_eq!(info.metadata["attempts"], "3");
            assert!(!status.message().contains("http"), "{status}");
        }
    }
}

/// Hostile input 70.
#[tokio::test]
async fn a_certificate_that_cannot_be_trusted_is_no_connection_trouble() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der());
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // The client refuses the handshake, which is the point.
            let _ = acceptor.accept(stream).await;
        }
    });
    let endpoint = format!("https://localhost:{port}");
    let gateway = Gateway::start(Options {
        huawei: Some(endpoint.clone()),
        alibaba: Some(endpoint),
        ..Options::none()
    })
    .await;
    let mut client = gateway.client().await;
    let import = client.import_savepoint(import_request()).await.unwrap_err();
    let get = client.get_savepoint(get_request()).await.unwrap_err();
    for status in [import, get] {
        assert_eq!(status.code(), Code::Internal, "{status}");
        let info = status.get_error_details().error_info().unwrap().clone();
        assert_eq!(info.reason, "PROVIDER_CERTIFICATE_REJECTED", "{status}");
        assert_eq!(info.metadata["attempts"], "1");
    }
    serving.abort();
}
