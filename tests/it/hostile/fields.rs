use savepoint_gateway::pb::{
    CreateSavepointRequest, GetSavepointRequest, ImportSavepointRequest, ListSavepointsRequest,
    WatchSavepointRequest,
};
use serde_json::Value;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{
    FakeCloud, Gateway, Options, Reply, create_request, get_request, import_request, list_request,
    watch_request,
};

const IMPORTED: &str = r#"{"is_success":true}"#;

fn bad_fields(status: &tonic::Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().expect("an ErrorInfo").reason, "INVALID_REQUEST");
    let bad = details.bad_request().expect("a BadRequest");
    assert!(bad.field_violations.iter().all(|violation| !violation.description.is_empty()));
    bad.field_violations.iter().map(|violation| violation.field.clone()).collect()
}

/// Hostile input 8.
#[tokio::test]
async fn all_bad_fields_are_named_at_once_and_nothing_is_sent() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    let status = client.import_savepoint(ImportSavepointRequest::default()).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["project_id", "job_id", "savepoint_path"]);
    let info = status.get_error_details().error_info().unwrap().clone();
    assert_eq!(info.metadata["outcome"], "not_applied");
    assert_eq!(info.metadata["provider"], "huawei-dli");
    let status = client.get_savepoint(GetSavepointRequest::default()).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["workspace", "namespace", "savepoint_id"]);
    let status = client.watch_savepoint(WatchSavepointRequest::default()).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["workspace", "namespace", "savepoint_id"]);
    let status = client.list_savepoints(ListSavepointsRequest::default()).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["workspace", "namespace"]);
    let status = client.create_savepoint(CreateSavepointRequest::default()).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["workspace", "namespace", "deployment_id"]);
    let info = status.get_error_details().error_info().unwrap().clone();
    assert_eq!(info.metadata["outcome"], "not_applied");
    assert_eq!(info.metadata["provider"], "alibaba-flink");
    assert_eq!(cloud.count(), 0);
}

/// Hostile inputs 1-12.
#[tokio::test]
async fn an_id_that_could_address_another_resource_is_refused_and_its_field_is_named() {
    let cloud = FakeCloud::answering(Reply::Silence).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    let [long, longer, longest] = [129, 10_000, 12_000].map(|length| "a".repeat(length));
    for text in [
        // Traversal, in the clear and encoded.
        "../../x",
        "..",
        ".",
        "%2e%2e",
        "%2F",
        "a%2Fb",
        "a/b",
        "a\\..\\b",
        // The other parts of a URL.
        "a?b",
        "a?b#c",
        ";",
        "ns;x=1",
        "@evil.example",
        "//h/x",
        "//evil.example/x",
        "http://169.254.169.254/",
        "a:b",
        "a,b",
        // What ends a line or a text.
        "a\rb",
        "a\nb",
        "a\r\nb",
        "a\r\nx-evil: 1",
        "a\tb",
        "a\0b",
        // Blank.
        " ",
        "\u{a0}",
        "a ",
        // What looks like something else.
        "é",
        "ｎｓ",
        "nѕ",
        "a\u{202e}b",
        "a\u{200b}b",
        "\u{feff}a",
        // Too long.
        &long,
        &longer,
        &longest,
    ] {
        for (request, field) in [
            (GetSavepointRequest { workspace: text.into(), ..get_request() }, "workspace"),
            (GetSavepointRequest { namespace: text.into(), ..get_request() }, "namespace"),
            (GetSavepointRequest { savepoint_id: text.into(), ..get_request() }, "savepoint_id"),
        ] {
            let status = client.get_savepoint(request).await.unwrap_err();
            assert_eq!(bad_fields(&status), [field], "{text:.40?}");
        }
        for (request, field) in [
            (WatchSavepointRequest { workspace: text.into(), ..watch_request() }, "workspace"),
            (WatchSavepointRequest { namespace: text.into(), ..watch_request() }, "namespace"),
            (
                WatchSavepointRequest { savepoint_id: text.into(), ..watch_request() },
                "savepoint_id",
            ),
        ] {
            let status = client.watch_savepoint(request).await.unwrap_err();
            assert_eq!(bad_fields(&status), [field], "{text:.40?}");
        }
        for (request, field) in [
            (ListSavepointsRequest { workspace: text.into(), ..list_request() }, "workspace"),
            (ListSavepointsRequest { namespace: text.into(), ..list_request() }, "namespace"),
            (
                ListSavepointsRequest { deployment_id: text.into(), ..list_request() },
                "deployment_id",
            ),
            (ListSavepointsRequest { job_id: text.into(), ..list_request() }, "job_id"),
            (ListSavepointsRequest { page_token: text.into(), ..list_request() }, "page_token"),
        ] {
            let status = client.list_savepoints(request).await.unwrap_err();
            assert_eq!(bad_fields(&status), [field], "{text:.40?}");
        }
        for (request, field) in [
            (CreateSavepointRequest { workspace: text.into(), ..create_request() }, "workspace"),
            (CreateSavepointRequest { namespace: text.into(), ..create_request() }, "namespace"),
            (
                CreateSavepointRequest { deployment_id: text.into(), ..create_request() },
                "deployment_id",
            ),
        ] {
            let status = client.create_savepoint(request).await.unwrap_err();
            assert_eq!(bad_fields(&status), [field], "{text:.40?}");
        }
        let request = ImportSavepointRequest { project_id: text.into(), ..import_request() };
        let status = client.import_savepoint(request).await.unwrap_err();
        assert_eq!(bad_fields(&status), ["project_id"], "{text:.40?}");
    }
    let request = ImportSavepointRequest { project_id: "a".repeat(65), ..import_request() };
    let status = client.import_savepoint(request).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["project_id"]);
    assert_eq!(cloud.count(), 0);
    // A megabyte is over the limit for messages and is not even read.
    let request = GetSavepointRequest { namespace: "a".repeat(1_000_000), ..get_request() };
    let status = client.get_savepoint(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(cloud.count(), 0);
}

/// Hostile inputs 14, 15.
#[tokio::test]
async fn a_job_id_is_positive_and_exact_to_the_last_digit() {
    let cloud = FakeCloud::answering(Reply::json(200, IMPORTED)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    // The last is what 9223372036854775808 becomes on the wire.
    for job_id in [0, -1, i64::MIN] {
        let request = ImportSavepointRequest { job_id, ..import_request() };
        let status = client.import_savepoint(request).await.unwrap_err();
        assert_eq!(bad_fields(&status), ["job_id"], "{job_id}");
    }
    assert_eq!(cloud.count(), 0);
    for job_id in [1, 9_007_199_254_740_993, i64::MAX] {
        let request = ImportSavepointRequest { job_id, ..import_request() };
        client.import_savepoint(request).await.unwrap();
        let sent = cloud.requests().pop().unwrap();
        assert!(sent.path().ends_with(&format!("/jobs/{job_id}/import-savepoint")));
        let body = String::from_utf8(sent.body).unwrap();
        assert!(body.starts_with(&format!("{{\"job_id\":{job_id},")), "{body}");
    }
}

/// Hostile inputs 16, 17.
#[tokio::test]
async fn a_path_is_forwarded_byte_for_byte_or_refused() {
    let cloud = FakeCloud::answering(Reply::json(200, IMPORTED)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = gateway.client().await;
    for path in [
        "obs://bucket/dir",
        "obs://bucket/dir/",
        "bucket/dir",
        "oss://bucket/dir",
        "file:///etc/passwd",
        "../x",
        "a//b",
        "quote\" and backslash\\ and \u{202e} and </script>",
        " ",
        "\",\"job_id\":1,\"x\":\"",
    ] {
        let request = ImportSavepointRequest { savepoint_path: path.into(), ..import_request() };
        client.import_savepoint(request).await.unwrap();
        let body: Value = serde_json::from_slice(&cloud.requests().pop().unwrap().body).unwrap();
        assert_eq!(body["savepoint_path"], path);
        assert_eq!(body["job_id"], 137_228);
        assert_eq!(body.as_object().unwrap().len(), 2, "{path}");
    }
    let count = cloud.count();
    for path in ["", "a\0", "a\0b", "a\nb", "a\u{1b}[31m", "a\u{7f}", "a\u{85}", &"a".repeat(1025)]
    {
        let request = ImportSavepointRequest { savepoint_path: path.into(), ..import_request() };
        let status = client.import_savepoint(request).await.unwrap_err();
        assert_eq!(bad_fields(&status), ["savepoint_path"], "{path:.40?}");
    }
    assert_eq!(cloud.count(), count);
}
