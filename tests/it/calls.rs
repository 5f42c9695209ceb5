use savepoint_gateway::clock::FixedClock;
use savepoint_gateway::pb::{
    GetSavepointRequest, ImportSavepointRequest, Savepoint, SavepointFailure, SavepointOrigin,
    SavepointState, SavepointStatus,
};
use savepoint_gateway::providers::huawei::Project;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::support::gateway::ACCESS_KEY_ID;
use crate::support::{
    FakeCloud, Gateway, Options, PROJECT_ID, Recorded, Reply, WORKSPACE, get_request,
    import_request,
};

const IMPORTED: &str = r#"{"is_success":true,"message":"The job is successfully updated."}"#;

/// The answer of the provider's page, with `data` as given.
fn savepoint_answer(data: Value) -> Reply {
    Reply::json(
        200,
        &json!({
            "requestId": "CBC799F0-AB7C-1D30-8A4F-882ED4DD0001", "success": true, "httpCode": 200,
            "errorCode": "\"\"", "errorMessage": "\"\"", "data": data,
        })
        .to_string(),
    )
}

fn documented() -> Value {
    json!({
        "savepointId": "354dde66-a3ae-463e-967a-0b4107fd0001",
        "deploymentId": "1d716b22-6aad-4be2-85c2-50cfc7570001",
        "jobId": "5af678c0-7db0-4650-94c2-d2604f0a0001",
        "namespace": "namespacetest",
        "savepointOrigin": "USER_REQUEST",
        "nativeFormat": true,
        "description": "Job snapshot 1",
        "stopWithDrainEnabled": true,
        "savepointLocation": "https://oss/bucket/flink/sp-3285",
        "status": {
            "state": "COMPLETED",
            "failure": {"message": "create savepoint failed", "reason": "IO Exception", "failedAt": 1_655_006_835},
        },
        "createdAt": 1_659_066_711,
        "modifiedAt": 1_659_069_473,
    })
}

fn timestamp(seconds: i64, nanos: i32) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos })
}

#[tokio::test]
async fn an_import_is_sent_as_the_documented_post() {
    let cloud = FakeCloud::answering(Reply::json(200, IMPORTED)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    gateway.client().await.import_savepoint(import_request()).await.unwrap();

    let sent = cloud.only_request();
    assert_eq!(
        sent.line(),
        format!("POST /v1.0/{PROJECT_ID}/streaming/jobs/137228/import-savepoint HTTP/1.1")
    );
    assert_eq!(
        sent.body,
        br#"{"job_id":137228,"savepoint_path":"obs://bucket-name/dir/savepoint/"}"#
    );
    let mut names = sent.names();
    names.sort();
    assert_eq!(
        names,
        [
            "accept",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "user-agent",
            "x-project-id",
            "x-sdk-date"
        ]
    );
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(sent.header("content-length"), Some(sent.body.len().to_string().as_str()));
    assert_eq!(sent.header("host"), Some(cloud.authority().as_str()));
    assert_eq!(sent.header("x-project-id"), Some(PROJECT_ID));
    let authorization = sent.header("authorization").unwrap();
    let start = format!(
        "SDK-HMAC-SHA256 Access={ACCESS_KEY_ID}, \
         SignedHeaders=content-type;host;x-project-id;x-sdk-date, Signature="
    );
    assert!(authorization.starts_with(&start), "{authorization}");
}

#[tokio::test]
async fn a_get_is_sent_as_the_documented_get() {
    let cloud = FakeCloud::answering(savepoint_answer(documented())).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    gateway.client().await.get_savepoint(get_request()).await.unwrap();

    let sent = cloud.only_request();
    assert_eq!(
        sent.line(),
        "GET /api/v2/namespaces/default-namespace/savepoints/88a8fc49-e090-430a-85d8-3ee8c79c0001 HTTP/1.1"
    );
    assert!(sent.body.is_empty());
    let mut names = sent.names();
    names.sort();
    assert_eq!(
        names,
        [
            "accept",
            "authorization",
            "host",
            "user-agent",
            "workspace",
            "x-acs-action",
            "x-acs-content-sha256",
            "x-acs-date",
            "x-acs-signature-nonce",
            "x-acs-version"
        ]
    );
    assert_eq!(sent.header("workspace"), Some(WORKSPACE));
    assert_eq!(sent.header("x-acs-action"), Some("GetSavepoint"));
    assert_eq!(sent.header("x-acs-version"), Some("2022-07-18"));
    assert_eq!(sent.header("accept"), Some("application/json"));
    assert_eq!(
        sent.header("x-acs-content-sha256"),
        Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    );
    let authorization = sent.header("authorization").unwrap();
    let start = format!(
        "ACS3-HMAC-SHA256 Credential={ACCESS_KEY_ID},SignedHeaders=host;workspace;x-acs-action;\
         x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature="
    );
    assert!(authorization.starts_with(&start), "{authorization}");
}

/// The documented success of either call.
fn both_served(request: &Recorded) -> Reply {
    if request.line().starts_with("POST") {
        Reply::json(200, IMPORTED)
    } else {
        savepoint_answer(documented())
    }
}

#[tokio::test]
async fn the_signature_uses_the_clock_and_the_nonce() {
    let cloud = FakeCloud::start(|request, _| both_served(request)).await;
    let clock = FixedClock {
        now: "2026-01-02T03:04:05Z".parse().unwrap(),
        nonce: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes(),
    };
    let gateway = Gateway::start(Options { clock: Arc::new(clock), ..Options::at(&cloud) }).await;
    let mut client = gateway.client().await;
    client.import_savepoint(import_request()).await.unwrap();
    client.get_savepoint(get_request()).await.unwrap();
    let [import, get] = &cloud.requests()[..] else { panic!("two requests") };
    assert_eq!(import.header("x-sdk-date"), Some("20260102T030405Z"));
    assert_eq!(get.header("x-acs-date"), Some("2026-01-02T03:04:05Z"));
    assert_eq!(get.header("x-acs-signature-nonce"), Some("0123456789abcdef0123456789abcdef"));
}

#[tokio::test]
async fn a_temporary_credential_sends_its_token_signed() {
    let cloud = FakeCloud::start(|request, _| both_served(request)).await;
    let token = "exampleTOKEN/+==".to_owned();
    let options = Options { security_token: Some(token.clone()), ..Options::at(&cloud) };
    let gateway = Gateway::start(options).await;
    let mut client = gateway.client().await;
    client.import_savepoint(import_request()).await.unwrap();
    client.get_savepoint(get_request()).await.unwrap();
    let [import, get] = &cloud.requests()[..] else { panic!("two requests") };
    assert_eq!(import.header("x-security-token"), Some(token.as_str()));
    assert!(import.header("authorization").unwrap().contains(";x-sdk-date;x-security-token,"));
    assert_eq!(get.header("x-acs-security-token"), Some(token.as_str()));
    assert_eq!(get.header("x-acs-accesskey-id"), Some(ACCESS_KEY_ID));
    let signed = get.header("authorization").unwrap();
    assert!(signed.contains(";x-acs-accesskey-id;"), "{signed}");
    assert!(signed.contains(";x-acs-security-token;"), "{signed}");
}

#[tokio::test]
async fn two_gets_never_share_a_nonce_and_do_share_a_connection() {
    let cloud = FakeCloud::answering(savepoint_answer(documented())).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    for _ in 0..20 {
        client.get_savepoint(get_request()).await.unwrap();
    }
    let mut nonces: Vec<_> = cloud
        .requests()
        .iter()
        .map(|request| request.header("x-acs-signature-nonce").unwrap().to_owned())
        .collect();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 20);
}

/// Hostile input 15.
#[tokio::test]
async fn values_arrive_exactly() {
    let cloud = FakeCloud::answering(Reply::json(200, IMPORTED)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    for (job_id, path) in [
        (1, "bucket-name/dir"),
        (i64::MAX, "obs://桶/目录 1/é/😀"),
        (9_007_199_254_740_993, "quotes \" and \\ and ' and %2F and +"),
        (42, &"é".repeat(512)),
    ] {
        let request =
            ImportSavepointRequest { job_id, savepoint_path: path.into(), ..import_request() };
        client.import_savepoint(request).await.unwrap();
        let sent = cloud.requests().pop().unwrap();
        let body = String::from_utf8(sent.body.clone()).unwrap();
        assert!(body.starts_with(&format!("{{\"job_id\":{job_id},")), "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["savepoint_path"], path);
        assert_eq!(body.as_object().unwrap().len(), 2);
        assert!(sent.path().ends_with(&format!("/jobs/{job_id}/import-savepoint")));
    }
}

#[tokio::test]
async fn the_configured_project_and_workspace_serve_requests_that_name_none() {
    let cloud = FakeCloud::start(|request, _| both_served(request)).await;
    let gateway = Gateway::start(Options {
        project: Project::Id("configured-project".into()),
        workspace: Some("configured-workspace".into()),
        ..Options::at(&cloud)
    })
    .await;
    let mut client = gateway.client().await;
    let import = ImportSavepointRequest { project_id: String::new(), ..import_request() };
    client.import_savepoint(import).await.unwrap();
    let get = GetSavepointRequest { workspace: String::new(), ..get_request() };
    client.get_savepoint(get).await.unwrap();
    client.import_savepoint(import_request()).await.unwrap();
    client.get_savepoint(get_request()).await.unwrap();
    let [import, get, named_import, named_get] = &cloud.requests()[..] else {
        panic!("four requests")
    };
    assert!(import.path().starts_with("/v1.0/configured-project/"));
    assert_eq!(import.header("x-project-id"), Some("configured-project"));
    assert_eq!(get.header("workspace"), Some("configured-workspace"));
    assert_eq!(named_import.header("x-project-id"), Some(PROJECT_ID));
    assert_eq!(named_get.header("workspace"), Some(WORKSPACE));
}

/// Hostile input 36.
#[tokio::test]
async fn caller_metadata_never_reaches_a_provider() {
    let cloud = FakeCloud::answering(savepoint_answer(documented())).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut request = tonic::Request::new(get_request());
    for (name, value) in [
        ("authorization", "Bearer evil"),
        ("host", "evil.example"),
        ("x-forwarded-for", "203.0.113.1"),
        ("x-acs-security-token", "evil"),
        ("workspace", "evil"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    gateway.client().await.get_savepoint(request).await.unwrap();
    let sent = cloud.only_request();
    assert!(!sent.head.contains("evil"), "{}", sent.head);
    assert!(!sent.head.contains("203.0.113.1"), "{}", sent.head);
    assert!(!sent.head.contains("traceparent"), "{}", sent.head);
}

#[tokio::test]
async fn every_documented_field_of_an_import_comes_back() {
    for (body, message, id) in [
        (r#"{"is_success":true,"message":"x"}"#, "x", "H-1"),
        (r#"{"is_success":"true","message":""}"#, "", "H-1"),
        (r#"{"is_success":"TRUE"}"#, "", "H-1"),
        (r#"{"is_success":"True","message":null,"request_id":"B-1"}"#, "", "H-1"),
        (r#"{"is_success":true,"message":"作业更新成功","more":{"a":[1]}}"#, "作业更新成功", "H-1"),
        (
            r#"{"is_success":true,"message":"{\"is_success\":\"false\"}"}"#,
            r#"{"is_success":"false"}"#,
            "H-1",
        ),
    ] {
        let reply = Reply::json_with(200, &[("X-Request-Id", "H-1")], body);
        let cloud = FakeCloud::answering(reply).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let response = gateway.client().await.import_savepoint(import_request()).await;
        let response = response.unwrap_or_else(|status| panic!("{body}: {status}")).into_inner();
        assert_eq!(
            (response.message.as_str(), response.request_id.as_str()),
            (message, id),
            "{body}"
        );
    }
    let body = r#"{"is_success":true,"request_id":"B-1"}"#;
    let cloud = FakeCloud::answering(Reply::text(201, "text/plain", body)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let response = gateway.client().await.import_savepoint(import_request()).await.unwrap();
    assert_eq!(response.into_inner().request_id, "B-1");
}

#[tokio::test]
async fn every_documented_field_of_a_savepoint_comes_back() {
    let cloud = FakeCloud::answering(savepoint_answer(documented())).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let response = gateway.client().await.get_savepoint(get_request()).await.unwrap().into_inner();
    assert_eq!(response.request_id, "CBC799F0-AB7C-1D30-8A4F-882ED4DD0001");
    assert_eq!(
        response.savepoint,
        Some(Savepoint {
            savepoint_id: "354dde66-a3ae-463e-967a-0b4107fd0001".into(),
            deployment_id: "1d716b22-6aad-4be2-85c2-50cfc7570001".into(),
            job_id: "5af678c0-7db0-4650-94c2-d2604f0a0001".into(),
            namespace: "namespacetest".into(),
            origin: SavepointOrigin::UserRequest.into(),
            provider_origin: "USER_REQUEST".into(),
            native_format: Some(true),
            description: "Job snapshot 1".into(),
            stop_with_drain_enabled: Some(true),
            savepoint_location: "https://oss/bucket/flink/sp-3285".into(),
            status: Some(SavepointStatus {
                state: SavepointState::Completed.into(),
                provider_state: "COMPLETED".into(),
                failure: Some(SavepointFailure {
                    message: "create savepoint failed".into(),
                    reason: "IO Exception".into(),
                    fail_time: timestamp(1_655_006_835, 0),
                }),
            }),
            create_time: timestamp(1_659_066_711, 0),
            update_time: timestamp(1_659_069_473, 0),
        })
    );
}

/// The savepoint that a get returns for `data` as the provider's answer.
async fn savepoint(data: Value) -> Savepoint {
    let shown = data.to_string();
    let cloud = FakeCloud::answering(savepoint_answer(data)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let response = gateway.client().await.get_savepoint(get_request()).await;
    let response = response.unwrap_or_else(|status| panic!("{shown}: {status}"));
    response.into_inner().savepoint.expect("a savepoint")
}

#[tokio::test]
async fn fields_that_the_provider_omits_are_absent() {
    let got = savepoint(json!({"savepointId": "sp-1", "status": null, "nativeFormat": null})).await;
    assert_eq!(got, Savepoint { savepoint_id: "sp-1".into(), ..Savepoint::default() });
}

/// Hostile input 63.
#[tokio::test]
async fn unknown_states_and_origins_are_kept_as_text() {
    let got = savepoint(json!({
        "savepointId": "sp-1", "savepointOrigin": "COPIED", "status": {"state": "CANCELLING"},
    }))
    .await;
    assert_eq!(got.origin(), SavepointOrigin::Unspecified);
    assert_eq!(got.provider_origin, "COPIED");
    let status = got.status.unwrap();
    assert_eq!(status.state(), SavepointState::Unspecified);
    assert_eq!(status.provider_state, "CANCELLING");
    for (text, want) in [
        ("USER_REQUEST", SavepointOrigin::UserRequest),
        ("STOP_WITH_SAVEPOINT", SavepointOrigin::StopWithSavepoint),
        ("RETAINED_CHECKPOINT", SavepointOrigin::RetainedCheckpoint),
        ("AUTO_TRIGGERED", SavepointOrigin::AutoTriggered),
    ] {
        assert_eq!(savepoint(json!({"savepointOrigin": text})).await.origin(), want, "{text}");
    }
    for (text, want) in [
        ("STARTED", SavepointState::Started),
        ("COMPLETED", SavepointState::Completed),
        ("FAILED", SavepointState::Failed),
    ] {
        let got = savepoint(json!({"status": {"state": text}})).await;
        assert_eq!(got.status.unwrap().state(), want, "{text}");
    }
}

#[tokio::test]
async fn numbers_and_booleans_are_read_from_text_and_text_from_numbers() {
    let got = savepoint(json!({
        "savepointId": 12345, "nativeFormat": "False", "stopWithDrainEnabled": "true",
        "createdAt": "1659066711", "modifiedAt": 1.659_069_473e9,
        "status": {"state": "COMPLETED", "failure": null}, "more": {"of": ["it"]},
    }))
    .await;
    assert_eq!(got.savepoint_id, "12345");
    assert_eq!((got.native_format, got.stop_with_drain_enabled), (Some(false), Some(true)));
    assert_eq!(got.create_time, timestamp(1_659_066_711, 0));
    assert_eq!(got.update_time, timestamp(1_659_069_473, 0));
    let got = savepoint(
        json!({"savepointId": "s", "createdAt": 1_659_066_711_123_i64, "modifiedAt": i64::MAX}),
    )
    .await;
    assert_eq!(got.create_time, timestamp(1_659_066_711, 123_000_000));
    assert_eq!(got.update_time, None);
}

#[tokio::test]
async fn the_request_id_is_read_from_three_places() {
    for (headers, body, want) in [
        (
            &[("x-acs-request-id", "H")][..],
            r#"{"requestId":"B","RequestId":"G","success":true,"data":{"jobId":"j"}}"#,
            "B",
        ),
        (
            &[("x-acs-request-id", "H")],
            r#"{"RequestId":"G","success":true,"data":{"jobId":"j"}}"#,
            "G",
        ),
        (&[("x-acs-request-id", "H")], r#"{"success":"true","data":{"jobId":"j"}}"#, "H"),
        (&[], r#"{"success":true,"data":{"jobId":"j"}}"#, ""),
    ] {
        let cloud = FakeCloud::answering(Reply::json_with(200, headers, body)).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let response = gateway.client().await.get_savepoint(get_request()).await.unwrap();
        assert_eq!(response.into_inner().request_id, want, "{body}");
    }
}
