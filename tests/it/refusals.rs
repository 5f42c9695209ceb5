use savepoint_gateway::pb::{GetSavepointRequest, ImportSavepointRequest};
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{FakeCloud, Gateway, Options, Reply, get_request, import_request};

fn bad_fields(status: &tonic::Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().expect("an ErrorInfo").reason, "INVALID_REQUEST");
    let bad = details.bad_request().expect("a BadRequest");
    assert!(bad.field_violations.iter().all(|v| !v.description.is_empty()));
    bad.field_violations.iter().map(|violation| violation.field.clone()).collect()
}

#[tokio::test]
async fn bad_fields_are_named_all_at_once_and_nothing_is_sent() {
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

    let long = |n: usize| "a".repeat(n);
    for (request, field) in [
        (ImportSavepointRequest { project_id: "a/b".into(), ..import_request() }, "project_id"),
        (ImportSavepointRequest { project_id: long(65), ..import_request() }, "project_id"),
        (ImportSavepointRequest { job_id: 0, ..import_request() }, "job_id"),
        (ImportSavepointRequest { job_id: -1, ..import_request() }, "job_id"),
        (ImportSavepointRequest { job_id: i64::MIN, ..import_request() }, "job_id"),
        (
            ImportSavepointRequest { savepoint_path: "a\nb".into(), ..import_request() },
            "savepoint_path",
        ),
        (
            ImportSavepointRequest { savepoint_path: "a\0".into(), ..import_request() },
            "savepoint_path",
        ),
        (
            ImportSavepointRequest { savepoint_path: long(1025), ..import_request() },
            "savepoint_path",
        ),
    ] {
        let status = client.import_savepoint(request.clone()).await.unwrap_err();
        assert_eq!(bad_fields(&status), [field], "{request:?}");
    }
    for text in
        ["..", ".", "../../x", "a/b", "a%2Fb", "a?b", "a\r\nb", " ", "é", &long(129), "//h/x"]
    {
        for (request, field) in [
            (GetSavepointRequest { workspace: text.into(), ..get_request() }, "workspace"),
            (GetSavepointRequest { namespace: text.into(), ..get_request() }, "namespace"),
            (GetSavepointRequest { savepoint_id: text.into(), ..get_request() }, "savepoint_id"),
        ] {
            let status = client.get_savepoint(request.clone()).await.unwrap_err();
            assert_eq!(bad_fields(&status), [field], "{request:?}");
        }
    }
    assert_eq!(cloud.count(), 0);
}

#[tokio::test]
async fn a_provider_that_is_not_configured_is_unimplemented() {
    let gateway = Gateway::start(Options::none()).await;
    let mut client = gateway.client().await;
    for status in [
        client.import_savepoint(import_request()).await.unwrap_err(),
        client.get_savepoint(get_request()).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::Unimplemented, "{status}");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "PROVIDER_NOT_CONFIGURED");
    }
}

#[tokio::test]
async fn more_calls_than_may_be_in_flight_are_refused_and_the_other_provider_is_not_affected() {
    let cloud = FakeCloud::start(|request, _| {
        let import = Reply::json(200, r#"{"is_success":true}"#);
        if request.line().starts_with("POST") { import } else { Reply::Held(Box::new(import)) }
    })
    .await;
    let gateway = Gateway::start(Options::at(&cloud).with(|config| config.max_in_flight = 2)).await;
    let mut client = gateway.client().await;
    let held: Vec<_> = (0..2)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.get_savepoint(get_request()).await })
        })
        .collect();
    crate::support::eventually("both calls are at the provider", || cloud.count() == 2).await;

    let status = client.get_savepoint(get_request()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "GATEWAY_OVERLOADED");
    assert_eq!(cloud.count(), 2);
    client.import_savepoint(import_request()).await.unwrap();

    cloud.release();
    for call in held {
        // The held answer is not a savepoint; what matters is that it came.
        assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Internal);
    }
}
