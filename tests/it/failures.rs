use std::time::Duration;

use savepoint_gateway::rpc::reason::Outcome;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{FakeCloud, Gateway, Options, RefusingAddress, Reply, Rpc};

const NOT_APPLIED: Outcome = Outcome::NotApplied;
const UNKNOWN: Outcome = Outcome::Unknown;

/// The gRPC code, the reason and the outcome that a failure must have on the wire.
type Want = (Code, &'static str, Outcome);

const REJECTED_ARGUMENT: Want = (Code::InvalidArgument, "PROVIDER_REJECTED_ARGUMENT", NOT_APPLIED);
const NOT_FOUND: Want = (Code::NotFound, "PROVIDER_NOT_FOUND", NOT_APPLIED);
const ALREADY_EXISTS: Want = (Code::AlreadyExists, "PROVIDER_ALREADY_EXISTS", NOT_APPLIED);
const REPORTED: Want = (Code::FailedPrecondition, "PROVIDER_REPORTED_FAILURE", NOT_APPLIED);
const THROTTLED: Want = (Code::ResourceExhausted, "PROVIDER_THROTTLED", NOT_APPLIED);
const QUOTA: Want = (Code::ResourceExhausted, "PROVIDER_QUOTA_EXCEEDED", NOT_APPLIED);
const DENIED: Want = (Code::PermissionDenied, "PROVIDER_PERMISSION_DENIED", NOT_APPLIED);
const REJECTED_KEY: Want = (Code::Unauthenticated, "PROVIDER_CREDENTIALS_REJECTED", NOT_APPLIED);
const CLOCK_SKEW: Want = (Code::Unauthenticated, "CLOCK_SKEW", NOT_APPLIED);
const TIMEOUT: Want = (Code::DeadlineExceeded, "PROVIDER_TIMEOUT", UNKNOWN);
const REQUEST_TIMEOUT: Want = (Code::Unavailable, "PROVIDER_TIMEOUT", UNKNOWN);
const INTERNAL: Want = (Code::Internal, "PROVIDER_INTERNAL", UNKNOWN);
const ENDPOINT: Want = (Code::Internal, "PROVIDER_ENDPOINT_MISCONFIGURED", NOT_APPLIED);
const REQUEST_REJECTED: Want = (Code::Internal, "GATEWAY_REQUEST_REJECTED", NOT_APPLIED);
const CONFLICT: Want = (Code::Aborted, "PROVIDER_CONFLICT", NOT_APPLIED);
const UNIMPLEMENTED: Want = (Code::Unimplemented, "PROVIDER_UNIMPLEMENTED", NOT_APPLIED);
const UNAVAILABLE: Want = (Code::Unavailable, "PROVIDER_UNAVAILABLE", UNKNOWN);
const REDIRECT: Want = (Code::Internal, "PROVIDER_REDIRECT_REFUSED", UNKNOWN);
const MALFORMED: Want = (Code::Internal, "PROVIDER_MALFORMED_RESPONSE", UNKNOWN);
const TOO_LARGE: Want = (Code::Internal, "PROVIDER_RESPONSE_TOO_LARGE", UNKNOWN);
const LOST: Want = (Code::Unavailable, "PROVIDER_CONNECTION_LOST", UNKNOWN);

const CODE: &str = "providerCode";
const MESSAGE: &str = "providerMessage";
const REQUEST_ID: &str = "providerRequestId";

/// A provider's answer, what a call that gets it must end with, and how often it may be sent.
struct Row {
    reply: Reply,
    want: Want,
    /// Requests of a call that changes something.
    changes: usize,
    /// Requests of a call that may be repeated.
    reads: usize,
    /// Details that must be there, or must not.
    about: Vec<(&'static str, Option<&'static str>)>,
}

fn row(reply: Reply, want: Want) -> Row {
    Row { reply, want, changes: 1, reads: 1, about: vec![] }
}

/// The provider did not act, so that every call is repeated.
fn throttled(reply: Reply) -> Row {
    Row { changes: 3, reads: 3, ..row(reply, THROTTLED) }
}

/// The provider may have acted, so that only idempotent calls are repeated.
fn read_repeated(reply: Reply, want: Want) -> Row {
    Row { reads: 3, ..row(reply, want) }
}

/// The same, but the response does not prove that nothing was done.
fn in_doubt(row: Row) -> Row {
    let (code, reason, _) = row.want;
    Row { want: (code, reason, UNKNOWN), ..row }
}

impl Row {
    fn about(mut self, key: &'static str, value: impl Into<Option<&'static str>>) -> Self {
        self.about.push((key, value.into()));
        self
    }
}

fn huawei(status: u16, code: &str) -> Reply {
    let body = format!(r#"{{"error_code":"{code}","error_msg":"words"}}"#);
    Reply::json_with(status, &[("X-Request-Id", "R-1")], &body)
}

fn alibaba(status: u16, code: &str) -> Reply {
    let body = format!(r#"{{"RequestId":"R-1","HostId":"h","Code":"{code}","Message":"words"}}"#);
    Reply::json(status, &body)
}

fn business(code: &str) -> Reply {
    let body = format!(
        r#"{{"requestId":"R-1","success":false,"httpCode":200,"errorCode":"{code}","errorMessage":"words"}}"#
    );
    Reply::json(200, &body)
}

/// The status of a call that fails.
async fn call(rpc: Rpc, options: Options) -> Status {
    rpc.call(&Gateway::start(options).await).await.expect_err("an error")
}

async fn check(rpc: Rpc, row: Row) {
    let what = format!("{rpc:?}, {:?}", row.reply);
    let cloud = FakeCloud::answering(row.reply).await;
    let status = call(rpc, Options::at(&cloud)).await;
    let (code, reason, outcome) = row.want;
    let changes = rpc.changes_something();
    let outcome = changes.then_some(outcome);
    let requests = if changes { row.changes } else { row.reads };
    assert_eq!(cloud.count(), requests, "{what}");
    assert_eq!(status.code(), code, "{what}: {status}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("{what}: no ErrorInfo"));
    assert_eq!(info.reason, reason, "{what}: {status}");
    assert_eq!(info.domain, "savepoint-gateway", "{what}");
    assert_eq!(info.metadata["provider"], rpc.provider(), "{what}");
    let got = info.metadata.get("outcome").map(String::as_str);
    assert_eq!(got, outcome.map(Outcome::as_str), "{what}: {status}");
    let pushback = status.metadata().get("grpc-retry-pushback-ms").map(|v| v.to_str().unwrap());
    assert_eq!(pushback, (outcome == Some(UNKNOWN)).then_some("-1"), "{what}");
    for (key, value) in row.about {
        assert_eq!(info.metadata.get(key).map(String::as_str), value, "{what}: {key}");
    }
    let request_id = details.request_info().map(|info| &info.request_id);
    assert_eq!(request_id, info.metadata.get(REQUEST_ID), "{what}");
    assert!(details.bad_request().is_none(), "{what}");
    assert!(!status.message().is_empty(), "{what}");
}

/// Every place where a provider's code and text are found. The code is not one that decides.
fn places_of_codes_and_messages() -> Vec<Row> {
    let body = |body: &str| row(Reply::json(400, body), REJECTED_ARGUMENT);
    let mut rows: Vec<Row> = [
        r#"{"error_code":"X.1","error_msg":"words"}"#,
        r#"{"error_code":"X.1","error_message":"words"}"#,
        r#"{"errorCode":"X.1","errorMsg":"words"}"#,
        r#"{"errorCode":"X.1","errorMessage":"words"}"#,
        r#"{"Code":"X.1","Message":"words"}"#,
        r#"{"code":"X.1","message":"words"}"#,
        r#"{"error":{"code":"X.1","message":"words"}}"#,
    ]
    .into_iter()
    .map(|text| body(text).about(CODE, "X.1").about(MESSAGE, "words"))
    .collect();
    for field in ["message", "msg", "error_msg", "errorMsg", "errorMessage", "Message"] {
        rows.push(body(&format!(r#"{{"{field}":"words"}}"#)).about(MESSAGE, "words"));
    }
    let number = body(r#"{"error_code":1001,"error_msg":"words"}"#).about(CODE, "1001");
    rows.push(number.about(MESSAGE, "words"));
    let text = |kind, text| row(Reply::text(400, kind, text), REJECTED_ARGUMENT);
    rows.push(text("text/plain", "words").about(MESSAGE, "words"));
    rows.push(text("text/html", "<html>words</html>").about(MESSAGE, None));
    rows
}

/// Every class of HTTP status, with a code that does not decide, as a gateway's page, and empty.
fn statuses() -> Vec<Row> {
    let other = |status| Reply::json(status, r#"{"code":"Other","message":"words"}"#);
    let html = |status| Reply::text(status, "text/html", "<html>words</html>");
    let empty = |status| Reply::text(status, "text/plain", "");
    let redirect = |status| Reply::json_with(status, &[("location", "http://127.0.0.1:1/x")], "");
    vec![
        row(Reply::Http(204, vec![], vec![]), MALFORMED),
        row(redirect(302), REDIRECT),
        row(redirect(304), REDIRECT),
        row(redirect(307), REDIRECT),
        row(other(400), REJECTED_ARGUMENT),
        row(other(401), REJECTED_KEY),
        row(Reply::json(401, r#"{"message":"signature expired"}"#), CLOCK_SKEW),
        row(other(403), DENIED),
        row(other(404), NOT_FOUND),
        row(html(404), ENDPOINT),
        row(empty(404), ENDPOINT),
        row(other(408), REQUEST_TIMEOUT),
        row(other(409), CONFLICT),
        row(other(410), REPORTED),
        row(other(415), REQUEST_REJECTED),
        throttled(other(429)),
        row(other(500), INTERNAL),
        row(empty(500), INTERNAL),
        row(Reply::json(500, "null"), INTERNAL),
        row(other(501), UNIMPLEMENTED),
        read_repeated(other(502), UNAVAILABLE),
        read_repeated(html(502), UNAVAILABLE),
        read_repeated(empty(503), UNAVAILABLE),
        row(html(504), TIMEOUT),
        row(other(600), MALFORMED),
    ]
}

/// Answers of status 200 that do not prove a success, and connections that end too early.
fn broken_answers() -> Vec<Row> {
    let raw = |bytes: &[u8]| Reply::Raw(bytes.to_vec());
    let json = ("content-type", "application/json".to_owned());
    let mut rows: Vec<Row> = [
        &b""[..],
        b"  \n",
        b"null",
        b"[]",
        b"\"hi\"",
        b"{}",
        br#"{"message":"no word of success"}"#,
        br#"{"is_success":null,"success":null}"#,
        br#"{"is_success":1,"success":1,"data":{"jobId":"j"}}"#,
        br#"{"is_success":true,"success":true,"is_success":false,"success":false,"data":{"jobId":"j"}}"#,
        br#"{"is_success":true,"success":true,"data":{"jobId":"j"},}"#,
        b"\xef\xbb\xbf{\"is_success\":true,\"success\":true,\"data\":{\"jobId\":\"j\"}}",
        br#"{"is_success": true, "success": tr"#,
        // Contradictions: a success with an error, and a failure that is not read as one.
        br#"{"is_success":true,"success":true,"message":{"a":1},"error_code":"DLI.0009","errorCode":"Throttling"}"#,
        br#"{"is_success":true,"success":true,"error_code":"DLI.0009","data":{"jobId":"j"}}"#,
        br#"{"is_success":true,"success":true,"errorCode":"Throttling","data":{"jobId":"j"}}"#,
        br#"{"is_success":true,"success":true,"code":"Throttling","data":{"jobId":"j"}}"#,
        br#"{"is_success":true,"success":true,"error":{"code":"DLI.0009"},"data":{"jobId":"j"}}"#,
        br#"{"is_success":true,"success":false,"error_code":"DLI.0009","data":{"jobId":"j"}}"#,
        br#"{"is_success":false,"success":true,"error_code":"DLI.0009","data":{"jobId":"j"}}"#,
        br#"{"is_success":"yes","success":"yes","error_code":"DLI.0009","Code":"Throttling"}"#,
        br#"{"is_success":[false],"success":[false],"error_code":"DLI.0009","Code":"Throttling"}"#,
        br#"{"is_success":false,"success":false,"error_code":"DLI.0009","Code":"Throttling"} {}"#,
        br#"{"is_success":false,"success":false,"error_code":"DLI.0009","error_code":"DLI.0001"}"#,
        br#"[{"is_success":false,"success":false,"error_code":"DLI.0009","Code":"Throttling"}]"#,
        br#"{"data":{"is_success":false,"success":false},"error_code":"DLI.0009","Code":"Throttling"}"#,
        br#"{"error_code":"DLI.0009","Code":"Throttling.User"}"#,
        b"{\0\"\0i\0s\0",
        b"\x1f\x8b\x08\x00\x00",
        b"{\"is_success\":true,\"success\":true,\"unknown\":\"\xff\",\"data\":{\"jobId\":\"j\"}}",
        b"{\"is_success\":true,\"success\":true,\"message\":\"\xff\",\"data\":{\"jobId\":\"\xff\"}}",
    ]
    .into_iter()
    .map(|body| row(Reply::Http(200, vec![json.clone()], body.to_vec()), MALFORMED))
    .collect();
    let failed =
        br#"{"is_success":false,"success":false,"error_code":"DLI.0009","Code":"Throttling"}"#;
    let cut_off = |status: u16, body: &[u8]| {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 400\r\n\r\n");
        Reply::Raw([head.as_bytes(), body].concat())
    };
    let cut_short = b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{\"is_success\": true";
    let spaces = " ".repeat(1024 * 1024 + 1);
    let header = [("x-big", &*"x".repeat(70_000))];
    let big_header = [&b"HTTP/1.1 200 OK\r\nx-big: "[..], &[b'x'; 600_000], b"\r\n\r\n"].concat();
    let chunked_with_length = b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\ntransfer-encoding: chunked\r\n\r\n13\r\n{\"is_success\":true}\r\n0\r\n\r\n";
    let two_lengths =
        b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\ncontent-length: 20\r\n\r\n{\"is_success\":true}";
    rows.extend([
        row(Reply::text(200, "text/html", "<html>words</html>"), MALFORMED),
        row(raw(b"not HTTP at all\r\n\r\n"), MALFORMED),
        row(raw(chunked_with_length), MALFORMED),
        row(raw(two_lengths), MALFORMED),
        read_repeated(raw(cut_short), MALFORMED),
        // What was not read whole proves nothing, whatever its beginning says.
        read_repeated(cut_off(200, failed), MALFORMED),
        in_doubt(read_repeated(cut_off(429, failed), THROTTLED)),
        read_repeated(cut_off(503, failed), UNAVAILABLE),
        row(cut_off(500, failed), INTERNAL),
        in_doubt(row(cut_off(400, failed), REJECTED_ARGUMENT)),
        in_doubt(row(cut_off(403, b""), DENIED)),
        // A status that its body contradicts.
        in_doubt(read_repeated(says_success(429), THROTTLED)),
        read_repeated(says_success(503), UNAVAILABLE),
        in_doubt(row(says_success(400), REJECTED_ARGUMENT)),
        in_doubt(row(says_success(403), DENIED)),
        in_doubt(row(Reply::json(400, r#"{"is_success":1,"success":1}"#), REJECTED_ARGUMENT)),
        // A final interim response, and a redirect that says more than it may.
        row(
            raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
            MALFORMED,
        ),
        row(Reply::Http(302, vec![], failed.to_vec()), REDIRECT),
        // A proxy that no longer waited.
        in_doubt(row(Reply::json(499, "{}"), REPORTED)),
        row(raw(b"HTTP/1.1 200 OK\r\nx-a: 1\r\n 2\r\ncontent-length: 0\r\n\r\n"), MALFORMED),
        row(Reply::json(200, &spaces), TOO_LARGE),
        row(raw(format!("HTTP/1.1 200 OK\r\n\r\n{spaces}").as_bytes()), TOO_LARGE),
        row(raw(&big_header), TOO_LARGE),
        row(Reply::json_with(200, &header, r#"{"is_success":true}"#), TOO_LARGE),
        read_repeated(raw(b""), LOST),
        read_repeated(Reply::RawReset(vec![]), LOST),
        read_repeated(Reply::RawReset(cut_short.to_vec()), LOST),
    ]);
    rows
}

/// A failure that says success.
fn says_success(status: u16) -> Reply {
    let body = r#"{"is_success":true,"success":true,"error_code":"DLI.0009","Code":"Throttling","data":{"jobId":"j"}}"#;
    Reply::json(status, body)
}

/// The answers that do not depend on the provider.
fn rows_of_any_provider() -> Vec<Row> {
    places_of_codes_and_messages().into_iter().chain(statuses()).chain(broken_answers()).collect()
}

/// Hostile inputs 56-59, 68, 77.
#[tokio::test]
async fn each_shape_of_answer_to_an_import_has_its_reason() {
    check_huawei(Rpc::Import).await;
}

#[tokio::test]
async fn each_shape_of_answer_about_a_job_has_its_reason() {
    for rpc in Rpc::OF_HUAWEI.into_iter().filter(|rpc| *rpc != Rpc::Import) {
        check_huawei(rpc).await;
    }
}

async fn check_huawei(rpc: Rpc) {
    // These two are answered with a list, as tests/it/dli.rs tries.
    let has_lists = matches!(rpc, Rpc::Resume | Rpc::Stop);
    let is_list =
        |row: &Row| matches!(&row.reply, Reply::Http(_, _, body) if body.starts_with(b"["));
    for row in rows_of_any_provider().into_iter().filter(|row| !has_lists || !is_list(row)) {
        check(rpc, row).await;
    }
    for row in [
        row(huawei(200, "DLI.0001"), MALFORMED),
        row(huawei(400, "DLI.4711"), REJECTED_ARGUMENT),
        row(huawei(400, "DLI.12004"), NOT_FOUND),
        row(huawei(400, "DLI.0006"), ALREADY_EXISTS),
        row(huawei(400, "DLI.0007"), REPORTED),
        throttled(huawei(400, "DLI.0009")),
        row(huawei(400, "DLI.1028"), QUOTA),
        row(huawei(400, "DLI.0019"), TIMEOUT),
        row(huawei(400, "DLI.0999"), INTERNAL),
        row(huawei(404, "APIG.0101"), ENDPOINT),
        row(huawei(401, "APIGW.0307"), REJECTED_KEY),
    ] {
        check(rpc, row.about(REQUEST_ID, "R-1").about(MESSAGE, "words")).await;
    }
    let twice = |status, first, last| {
        Reply::json(
            status,
            &format!(r#"{{"is_success":false,"error_code":"{first}","code":"{last}"}}"#),
        )
    };
    for row in [
        row(twice(200, "DLI.0009", "DLI.0999"), MALFORMED),
        in_doubt(read_repeated(twice(429, "DLI.0009", "DLI.0999"), THROTTLED)),
        in_doubt(row(twice(400, "DLI.0999", "DLI.0009"), REJECTED_ARGUMENT)),
        throttled(twice(500, "DLI.0009", "APIG.0308")),
        throttled(twice(200, "DLI.0009", "APIG.0308")),
    ] {
        check(rpc, row).await;
    }
    let id = |headers: &[_], body| row(Reply::json_with(400, headers, body), REJECTED_ARGUMENT);
    for row in [
        id(&[("X-Request-Id", "R-1")], r#"{"request_id":"R-2"}"#).about(REQUEST_ID, "R-1"),
        id(&[], r#"{"request_id":"R-2"}"#).about(REQUEST_ID, "R-2"),
    ] {
        check(rpc, row).await;
    }
    for spelled in ["false", "\"false\"", "\"FALSE\""] {
        let body = format!(r#"{{"is_success":{spelled},"message":"words"}}"#);
        let failed = row(Reply::json(200, &body), REPORTED).about(MESSAGE, "words");
        check(rpc, failed.about("httpStatus", "200")).await;
    }
}

/// Each shape of answer to an RPC of Alibaba Cloud.
async fn check_alibaba(rpc: Rpc) {
    for row in rows_of_any_provider() {
        check(rpc, row).await;
    }
    for row in [
        row(alibaba(400, "InvalidParameter"), REJECTED_ARGUMENT),
        throttled(alibaba(503, "Throttling.Api")),
        throttled(business("Throttling.User")),
        row(business("990301"), NOT_FOUND),
        row(business("990302"), REPORTED),
        row(business(""), REPORTED),
        row(business("Forbidden"), DENIED),
        row(alibaba(404, "InvalidAccessKeyId.NotFound"), REJECTED_KEY),
        row(alibaba(400, "InvalidTimeStamp.Expired"), CLOCK_SKEW),
        row(alibaba(404, "InvalidApi.NotFound"), ENDPOINT),
        row(alibaba(500, "InternalError"), INTERNAL),
        read_repeated(alibaba(400, "SignatureNonceUsed"), UNAVAILABLE),
    ] {
        check(rpc, row.about(REQUEST_ID, "R-1").about(MESSAGE, "words")).await;
    }
    let id = |headers: &[_], body| row(Reply::json_with(400, headers, body), REJECTED_ARGUMENT);
    for row in [
        id(&[("x-acs-request-id", "R-1")], r#"{"requestId":"R-2"}"#).about(REQUEST_ID, "R-2"),
        id(&[("x-acs-request-id", "R-1")], r#"{"RequestId":"R-2"}"#).about(REQUEST_ID, "R-2"),
        id(&[("x-acs-request-id", "R-1")], "{}").about(REQUEST_ID, "R-1"),
    ] {
        check(rpc, row).await;
    }
    let not_data: &[_] = if rpc == Rpc::List {
        &["null", "\"oops\"", "{}", "[{}]", "[null]", "[[]]", "{\"savepointId\":\"s\"}"]
    } else {
        &["null", "\"oops\"", "[]", "[{}]", "{}", "{\"unknown\":1}"]
    };
    for data in not_data {
        let body = format!(r#"{{"requestId":"R-1","success":true,"data":{data}}}"#);
        check(rpc, row(Reply::json(200, &body), MALFORMED).about(REQUEST_ID, "R-1")).await;
    }
    for broken in [
        r#""status":"COMPLETED""#,
        r#""status":[]"#,
        r#""status":{"failure":[]}"#,
        r#""nativeFormat":7"#,
        r#""jobId":{}"#,
    ] {
        let data = rpc.data(&format!(r#"{{"savepointId":"s",{broken}}}"#));
        let body = format!(r#"{{"success":true,"data":{data}}}"#);
        check(rpc, row(Reply::json(200, &body), MALFORMED)).await;
    }
}

/// Hostile inputs 56-59, 68, 77.
#[tokio::test]
async fn each_shape_of_answer_to_a_get_has_its_reason() {
    check_alibaba(Rpc::Get).await;
}

/// Hostile inputs 56-59, 68, 77.
#[tokio::test]
async fn each_shape_of_answer_to_a_creation_has_its_reason() {
    check_alibaba(Rpc::Create).await;
}

/// Hostile inputs 56-59, 68, 77.
#[tokio::test]
async fn each_shape_of_answer_to_a_list_has_its_reason() {
    check_alibaba(Rpc::List).await;
}

/// Hostile inputs 56-59, 68, 77.
#[tokio::test]
async fn each_shape_of_answer_to_a_watch_has_its_reason() {
    check_alibaba(Rpc::Watch).await;
}

#[tokio::test]
async fn the_providers_retry_delay_is_passed_on() {
    for (headers, want) in [
        (&[("x-acs-retry-after", "99000")][..], Some(Duration::from_secs(99))),
        (&[("retry-after", "77")], Some(Duration::from_secs(77))),
        (&[("retry-after", "soon")], None),
        (&[], None),
    ] {
        let reply = Reply::json_with(429, headers, r#"{"Code":"Throttling.User"}"#);
        for rpc in Rpc::ALL {
            let cloud = FakeCloud::answering(reply.clone()).await;
            let status = call(rpc, Options::at(&cloud)).await;
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            let details = status.get_error_details();
            let got = details.retry_info().and_then(|info| info.retry_delay);
            assert_eq!(got, want, "{rpc:?} {headers:?}");
            // A delay beyond the deadline is not waited for.
            let requests = if want.is_some() { 1 } else { 3 };
            assert_eq!(cloud.count(), requests, "{rpc:?} {headers:?}");
        }
    }
}

#[tokio::test]
async fn the_details_of_a_denied_permission_are_passed_on() {
    let reply = Reply::json(
        403,
        r#"{"Code":"NoPermission","Message":"m","AccessDeniedDetail":{"AuthAction":"stream:GetSavepoint","NoPermissionType":"ImplicitDeny"}}"#,
    );
    for rpc in [Rpc::Get, Rpc::Create, Rpc::List, Rpc::Watch] {
        let denied = row(reply.clone(), DENIED).about("authAction", "stream:GetSavepoint");
        check(rpc, denied.about("noPermissionType", "ImplicitDeny")).await;
    }
    let reply = Reply::json(
        403,
        r#"{"error_code":"DLI.0016","error_msg":"m","encoded_authorization_message":"E"}"#,
    );
    for rpc in Rpc::OF_HUAWEI {
        let denied = row(reply.clone(), DENIED);
        check(rpc, denied.about("encodedAuthorizationMessage", "E")).await;
    }
}

/// Hostile input 73.
#[tokio::test]
async fn an_unreachable_provider_is_connect_failed_and_not_applied() {
    let refusing = RefusingAddress::new();
    for endpoint in [&*refusing.endpoint(), "http://no-such-host.localhost:1"] {
        for rpc in Rpc::ALL {
            let outcome = rpc.changes_something().then_some("not_applied");
            let at = Some(endpoint.to_owned());
            let options =
                Options { huawei: at.clone(), alibaba: at.clone(), flink: at, ..Options::none() };
            let status = call(rpc, options).await;
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            let info = status.get_error_details().error_info().unwrap().clone();
            assert_eq!(info.reason, "PROVIDER_CONNECT_FAILED");
            assert_eq!(info.metadata.get("outcome").map(String::as_str), outcome);
            assert_eq!(info.metadata["attempts"], "3");
            assert!(!status.message().contains("http"), "{status}");
        }
    }
}
