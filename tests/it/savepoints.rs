use std::collections::BTreeSet;

use savepoint_gateway::pb::{
    CreateSavepointRequest, ListSavepointsRequest, ListSavepointsResponse, SavepointState,
};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    DEPLOYMENT, FakeCloud, Gateway, Options, Recorded, Reply, WORKSPACE, create_request,
    list_request,
};

const JOB: &str = "5af678c0-7db0-4650-94c2-d2604f0a0001";

const STARTED: &str = r#"{"requestId":"CBC799F0-AB7C-1D30-8A4F-882ED4DD0001","success":true,"httpCode":200,"errorCode":"","errorMessage":"","data":{"savepointId":"88a8fc49-e090-430a-85d8-3ee8c79c0001","status":{"state":"STARTED","failure":null},"createdAt":1659066711}}"#;

fn page(data: &Value, total: &Value) -> Reply {
    let body = json!({"requestId": "R-1", "success": true, "data": data, "totalSize": total});
    Reply::json(200, &body.to_string())
}

/// So many savepoints.
fn savepoints(count: usize) -> Value {
    (0..count).map(|index| json!({"savepointId": format!("s-{index}")})).collect()
}

fn info(status: &Status) -> (Code, String, Option<String>) {
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    (status.code(), info.reason.clone(), info.metadata.get("outcome").cloned())
}

fn fields(status: &Status) -> BTreeSet<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let details = status.get_error_details();
    details.bad_request().unwrap().field_violations.iter().map(|v| v.field.clone()).collect()
}

/// The requests that Alibaba's Python SDK, alibabacloud-ververica20220718 1.14.0, makes.
#[tokio::test]
async fn a_creation_is_the_request_that_the_providers_sdk_makes() {
    let cloud = FakeCloud::answering(Reply::json(200, STARTED)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    for (description, native_format, body) in [
        ("", None, r#"{"deploymentId":"58718c99-3b29-4c5e-93bb-c9fc4ec60001"}"#),
        (
            "before the upgrade",
            Some(true),
            r#"{"deploymentId":"58718c99-3b29-4c5e-93bb-c9fc4ec60001","description":"before the upgrade","nativeFormat":true}"#,
        ),
        (
            "",
            Some(false),
            r#"{"deploymentId":"58718c99-3b29-4c5e-93bb-c9fc4ec60001","nativeFormat":false}"#,
        ),
        (
            "第一个 \"q\" \\ \n é 😀",
            None,
            r#"{"deploymentId":"58718c99-3b29-4c5e-93bb-c9fc4ec60001","description":"第一个 \"q\" \\ \n é 😀"}"#,
        ),
    ] {
        let request = CreateSavepointRequest {
            description: description.into(),
            native_format,
            ..create_request()
        };
        let response = client.create_savepoint(request).await.unwrap().into_inner();
        let sent = cloud.requests().pop().unwrap();
        assert_eq!(sent.line(), "POST /api/v2/namespaces/default-namespace/savepoints HTTP/1.1");
        assert_eq!(String::from_utf8(sent.body.clone()).unwrap(), body);
        assert_eq!(sent.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(sent.header("workspace"), Some(WORKSPACE));
        assert_eq!(sent.header("x-acs-action"), Some("CreateSavepoint"));
        assert_eq!(sent.header("x-acs-version"), Some("2022-07-18"));
        let signed = sent.header("authorization").unwrap();
        assert!(
            signed.contains("SignedHeaders=content-type;host;workspace;x-acs-action;"),
            "{signed}"
        );
        let savepoint = response.savepoint.unwrap();
        assert_eq!(savepoint.savepoint_id, "88a8fc49-e090-430a-85d8-3ee8c79c0001");
        assert_eq!(savepoint.status.unwrap().state(), SavepointState::Started);
        assert_eq!(response.request_id, "CBC799F0-AB7C-1D30-8A4F-882ED4DD0001");
    }
}

#[tokio::test]
async fn a_creation_is_repeated_only_if_the_provider_did_not_act() {
    let throttled = r#"{"RequestId":"R-1","Code":"Throttling.User","Message":"slower"}"#;
    for (reply, requests, want) in [
        (
            Reply::json(400, throttled),
            3,
            (Code::ResourceExhausted, "PROVIDER_THROTTLED", "not_applied"),
        ),
        (Reply::json(503, "{}"), 1, (Code::Unavailable, "PROVIDER_UNAVAILABLE", "unknown")),
        (
            Reply::RawReset(Vec::new()),
            1,
            (Code::Unavailable, "PROVIDER_CONNECTION_LOST", "unknown"),
        ),
        (
            Reply::json(200, r#"{"success":true,"data":null}"#),
            1,
            (Code::Internal, "PROVIDER_MALFORMED_RESPONSE", "unknown"),
        ),
        (
            Reply::json(200, r#"{"success":false,"errorCode":"990301"}"#),
            1,
            (Code::NotFound, "PROVIDER_NOT_FOUND", "not_applied"),
        ),
    ] {
        let cloud = FakeCloud::answering(reply.clone()).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let status = gateway.client().await.create_savepoint(create_request()).await.unwrap_err();
        let (code, reason, outcome) = info(&status);
        assert_eq!(
            (code, &*reason, outcome.as_deref()),
            (want.0, want.1, Some(want.2)),
            "{reply:?}"
        );
        assert_eq!(cloud.count(), requests, "{reply:?}");
    }
}

#[tokio::test]
async fn a_list_asks_for_the_page_that_its_token_names() {
    let cloud = FakeCloud::start(|request: &Recorded, _| {
        let last = request.path().contains("pageIndex=3");
        page(&savepoints(if last { 1 } else { 10 }), &json!(21))
    })
    .await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    let mut request = ListSavepointsRequest {
        deployment_id: DEPLOYMENT.into(),
        job_id: JOB.into(),
        page_size: 10,
        ..list_request()
    };
    let mut listed = Vec::new();
    loop {
        let response = client.list_savepoints(request.clone()).await.unwrap().into_inner();
        assert_eq!((response.total_size, &*response.request_id), (21, "R-1"));
        listed.push(response.savepoints.len());
        if response.next_page_token.is_empty() {
            break;
        }
        request.page_token = response.next_page_token;
        // With a token the size may be left out.
        request.page_size = 0;
    }
    assert_eq!(listed, [10, 10, 1]);
    let paths: Vec<_> = cloud.requests().iter().map(|sent| sent.path().to_owned()).collect();
    for (index, path) in (1..).zip(&paths) {
        let want = format!(
            "/api/v2/namespaces/default-namespace/savepoints?deploymentId={DEPLOYMENT}&jobId={JOB}&pageIndex={index}&pageSize=10"
        );
        assert_eq!(*path, want);
    }
    let sent = cloud.requests().pop().unwrap();
    assert_eq!(sent.header("x-acs-action"), Some("ListSavepoints"));
    assert_eq!((sent.header("content-type"), &*sent.body), (None, &b""[..]));
}

#[tokio::test]
async fn empty_filters_are_not_sent_and_the_default_size_is_50() {
    let cloud = FakeCloud::answering(page(&savepoints(0), &json!(0))).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let response = gateway.client().await.list_savepoints(list_request()).await.unwrap();
    let want = ListSavepointsResponse { request_id: "R-1".into(), ..Default::default() };
    assert_eq!(response.into_inner(), want);
    let path = "/api/v2/namespaces/default-namespace/savepoints?pageIndex=1&pageSize=50";
    assert_eq!(cloud.only_request().path(), path);
}

#[tokio::test]
async fn a_list_ends_whatever_total_the_provider_reports() {
    for (count, total, has_next, shown) in [
        (10, json!(21), true, 21),
        (10, json!("21"), true, 21),
        (10, json!(10), false, 10),
        (3, json!(11), true, 11),
        (0, json!(1000), false, 1000),
        (10, Value::Null, true, 0),
        (9, Value::Null, false, 0),
        (10, json!(-5), false, 0),
        (10, json!(9_223_372_036_854_775_807_i64), true, i32::MAX),
        (10, json!({}), true, 0),
    ] {
        let cloud = FakeCloud::answering(page(&savepoints(count), &total)).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let request = ListSavepointsRequest { page_size: 10, ..list_request() };
        let response = gateway.client().await.list_savepoints(request).await.unwrap().into_inner();
        let got = (response.savepoints.len(), !response.next_page_token.is_empty());
        assert_eq!((got, response.total_size), ((count, has_next), shown), "{total}");
    }
}

#[tokio::test]
async fn only_a_list_of_savepoints_proves_success() {
    for data in [Value::Null, json!({}), json!([null]), json!([[]]), json!([{}]), json!("x")] {
        let cloud = FakeCloud::answering(page(&data, &json!(1))).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let status = gateway.client().await.list_savepoints(list_request()).await.unwrap_err();
        let (code, reason, outcome) = info(&status);
        assert_eq!((code, &*reason), (Code::Internal, "PROVIDER_MALFORMED_RESPONSE"), "{data}");
        assert_eq!(outcome, None, "{data}");
    }
}

#[tokio::test]
async fn invalid_fields_are_named_together_and_nothing_is_sent() {
    let cloud = FakeCloud::answering(page(&savepoints(10), &json!(30))).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    let token = {
        let request = ListSavepointsRequest { page_size: 10, ..list_request() };
        client.list_savepoints(request).await.unwrap().into_inner().next_page_token
    };
    let with_token = ListSavepointsRequest { page_token: token, page_size: 10, ..list_request() };
    for (request, want) in [
        (
            ListSavepointsRequest {
                workspace: "a b".into(),
                namespace: "..".into(),
                deployment_id: "a/b".into(),
                job_id: "a?b".into(),
                page_size: 101,
                page_token: "next".into(),
            },
            &["deployment_id", "job_id", "namespace", "page_size", "page_token", "workspace"][..],
        ),
        (ListSavepointsRequest { page_size: -1, ..list_request() }, &["page_size"]),
        (ListSavepointsRequest { page_size: i32::MAX, ..list_request() }, &["page_size"]),
        (ListSavepointsRequest { page_size: 11, ..with_token.clone() }, &["page_token"]),
        (ListSavepointsRequest { job_id: "j".into(), ..with_token.clone() }, &["page_token"]),
        (ListSavepointsRequest { workspace: "other".into(), ..with_token }, &["page_token"]),
    ] {
        let status = client.list_savepoints(request.clone()).await.unwrap_err();
        let want: BTreeSet<_> = want.iter().map(|field| (*field).to_owned()).collect();
        assert_eq!(fields(&status), want, "{request:?}");
    }
    let create = CreateSavepointRequest {
        workspace: String::new(),
        namespace: "a\nb".into(),
        deployment_id: String::new(),
        description: "x".repeat(1025),
        native_format: None,
    };
    let status = client.create_savepoint(create).await.unwrap_err();
    let want = ["deployment_id", "description", "namespace", "workspace"];
    assert_eq!(fields(&status), want.map(str::to_owned).into());
    let longest = CreateSavepointRequest { description: "x".repeat(1024), ..create_request() };
    assert_eq!(client.create_savepoint(longest).await.unwrap_err().code(), Code::Internal);
    assert_eq!(cloud.count(), 2);
}
