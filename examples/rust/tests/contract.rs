//! The gateway at `SAVEPOINT_GATEWAY_ADDRESS` must stand before examples/fake_provider.py, whose head
//! lists the ids used here, and end each watch after two seconds. `SAVEPOINT_DEMO_ADDRESS` is that of
//! `savepoint-gateway demo`. The one at `SAVEPOINT_RESTARTING_ADDRESS` is like the first without that
//! limit, and drained and started again every two seconds. A test whose gateway is missing is skipped.

use std::time::{Duration, Instant};

use savepoint_gateway_example::pb::{
    CreateSavepointRequest, GetSavepointRequest, ImportSavepointRequest, ListSavepointsRequest,
    Savepoint, SavepointOrigin, SavepointState, WatchSavepointRequest,
};
use savepoint_gateway_example::{
    Client, DEADLINE, WatchError, connect, create_savepoint, details_of, get_savepoint,
    import_savepoint, list_savepoints, tls_from_environment, watch_savepoint,
};
use tonic::{Code, Status};
use tonic_types::ErrorInfo;

const GATEWAY: &str = "SAVEPOINT_GATEWAY_ADDRESS";
const DEMO: &str = "SAVEPOINT_DEMO_ADDRESS";
const RESTARTING: &str = "SAVEPOINT_RESTARTING_ADDRESS";

const SAVEPOINT_PATH: &str = "obs://bucket-name/dir/savepoint/";
const LONG: Duration = Duration::from_secs(20);

/// The client of one of the gateways.
macro_rules! client {
    ($variable:expr) => {
        match std::env::var($variable) {
            Ok(address) => connect(&address, tls_from_environment().unwrap()).unwrap(),
            Err(_) => return eprintln!("skipped: {} is not set: no gateway to call", $variable),
        }
    };
}

fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", fastrand::u64(..))
}

async fn import(client: &Client, job_id: i64, path: &str) -> Result<String, Status> {
    let request =
        ImportSavepointRequest { job_id, savepoint_path: path.into(), ..Default::default() };
    import_savepoint(client, request).await.map(|response| response.message)
}

fn get_request(id: &str) -> GetSavepointRequest {
    GetSavepointRequest {
        namespace: "default-namespace".into(),
        savepoint_id: id.into(),
        ..Default::default()
    }
}

async fn get(client: &Client, id: &str) -> Result<Savepoint, Status> {
    let response = get_savepoint(client, get_request(id), DEADLINE).await?;
    Ok(response.savepoint.unwrap())
}

async fn create(client: &Client, deployment_id: &str) -> Result<Savepoint, Status> {
    let request = CreateSavepointRequest {
        namespace: "default-namespace".into(),
        deployment_id: deployment_id.into(),
        ..Default::default()
    };
    create_savepoint(client, request).await.map(|response| response.savepoint.unwrap())
}

async fn watch(client: &Client, id: &str, limit: Duration) -> Result<Savepoint, WatchError> {
    let request = WatchSavepointRequest {
        namespace: "default-namespace".into(),
        savepoint_id: id.into(),
        ..Default::default()
    };
    watch_savepoint(client, request, limit).await
}

/// The savepoints of a deployment, read on pages of one.
async fn list(client: &Client, deployment_id: &str) -> Vec<Savepoint> {
    let request = ListSavepointsRequest {
        namespace: "default-namespace".into(),
        deployment_id: deployment_id.into(),
        page_size: 1,
        ..Default::default()
    };
    list_savepoints(client, request).await.unwrap()
}

fn error_info(failure: &Status, code: Code) -> ErrorInfo {
    assert_eq!(failure.code(), code, "{failure}");
    let info = details_of(failure).error_info().cloned().unwrap();
    assert_eq!(info.domain, "savepoint-gateway");
    info
}

#[tokio::test]
async fn documented_answers_arrive_whole() {
    let client = client!(GATEWAY);
    let request = ImportSavepointRequest {
        job_id: 137_228,
        savepoint_path: SAVEPOINT_PATH.into(),
        ..Default::default()
    };
    let imported = import_savepoint(&client, request).await.unwrap();
    assert_eq!(imported.message, "The job is successfully updated.");
    assert_eq!(imported.request_id, "fake-huawei-request");

    let savepoint = get(&client, "88a8fc49-e090-430a-85d8-3ee8c79c0001").await.unwrap();
    assert_eq!(savepoint.status.as_ref().unwrap().state(), SavepointState::Completed);
    assert_eq!(savepoint.origin(), SavepointOrigin::UserRequest);
    assert_eq!(savepoint.create_time.unwrap().seconds, 1_659_066_711);
    assert_eq!(savepoint.update_time.unwrap().seconds, 1_659_066_712);
    assert_eq!(savepoint.native_format, Some(true));
}

#[tokio::test]
async fn int64_beyond_2_to_the_53_is_exact() {
    let client = client!(GATEWAY);
    for job_id in [9_007_199_254_740_993, i64::MAX] {
        let message = import(&client, job_id, SAVEPOINT_PATH).await.unwrap();
        assert_eq!(message, format!("path {job_id}, body {job_id}"));
    }
}

#[tokio::test]
async fn unicode_arrives_intact_both_ways() {
    let message = import(&client!(GATEWAY), 300, "obs://桶/保存点 é/").await.unwrap();
    assert_eq!(message, "已导入 obs://桶/保存点 é/ ✓");
}

#[tokio::test]
async fn unknown_enum_text_is_unspecified_and_kept() {
    let savepoint = get(&client!(GATEWAY), "unknown-enums").await.unwrap();
    let status = savepoint.status.as_ref().unwrap();
    assert_eq!(status.state(), SavepointState::Unspecified);
    assert_eq!(status.provider_state, "HALF_DONE");
    assert_eq!(savepoint.origin(), SavepointOrigin::Unspecified);
    assert_eq!(savepoint.provider_origin, "COSMIC_RAY");
}

#[tokio::test]
async fn absent_optionals_are_absent() {
    let client = client!(GATEWAY);
    for id in ["sparse", "nulls"] {
        let savepoint = get(&client, id).await.unwrap();
        assert_eq!(savepoint, Savepoint { savepoint_id: id.into(), ..Default::default() });
    }
}

#[tokio::test]
async fn false_is_not_absent() {
    let savepoint = get(&client!(GATEWAY), "false-optionals").await.unwrap();
    assert_eq!(savepoint.native_format, Some(false));
    assert_eq!(savepoint.stop_with_drain_enabled, Some(false));
}

#[tokio::test]
async fn milliseconds_become_timestamps() {
    let savepoint = get(&client!(GATEWAY), "milliseconds").await.unwrap();
    assert_eq!(savepoint.create_time.unwrap().to_string(), "2024-03-28T17:30:09.620Z");
    assert_eq!(savepoint.update_time.unwrap().to_string(), "2024-03-28T17:30:10.001Z");
}

#[tokio::test]
async fn a_failed_savepoint_is_an_answer() {
    let status = get(&client!(GATEWAY), "failed").await.unwrap().status.unwrap();
    assert_eq!(status.state(), SavepointState::Failed);
    let failure = status.failure.unwrap();
    assert_eq!(failure.message, "保存点失败 – żółć 💥");
    assert_eq!(failure.reason, "IO Exception");
    assert_eq!(failure.fail_time.unwrap().seconds, 1_660_000_000);
}

#[tokio::test]
async fn every_bad_field_is_named() {
    let request = ImportSavepointRequest::default();
    let failure = import_savepoint(&client!(GATEWAY), request).await.unwrap_err();
    let details = details_of(&failure);
    let violations = &details.bad_request().unwrap().field_violations;
    let mut fields: Vec<_> = violations.iter().map(|violation| &*violation.field).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["job_id", "savepoint_path"]);
    let info = error_info(&failure, Code::InvalidArgument);
    assert_eq!(info.metadata["outcome"], "not_applied");
    assert_eq!(info.reason, "INVALID_REQUEST");
}

#[tokio::test]
async fn not_found_carries_the_providers_words() {
    let failure = get(&client!(GATEWAY), "no-such-savepoint").await.unwrap_err();
    let info = error_info(&failure, Code::NotFound);
    assert_eq!(info.reason, "PROVIDER_NOT_FOUND");
    assert_eq!(info.metadata["providerCode"], "990301");
    let details = details_of(&failure);
    assert_eq!(details.request_info().unwrap().request_id, "FAKE-ALIBABA-REQUEST");
}

#[tokio::test]
async fn a_reported_failure_keeps_its_unicode_message() {
    let failure = import(&client!(GATEWAY), 400, SAVEPOINT_PATH).await.unwrap_err();
    let info = error_info(&failure, Code::FailedPrecondition);
    assert_eq!(info.reason, "PROVIDER_REPORTED_FAILURE");
    assert_eq!(info.metadata["providerMessage"], "作业正在运行 – läuft noch 🚫");
}

#[tokio::test]
async fn a_known_wait_arrives_as_retry_info() {
    let client = client!(GATEWAY);
    let imported = import(&client, 429, SAVEPOINT_PATH).await.unwrap_err();
    let got = get(&client, "throttled").await.unwrap_err();
    for failure in [imported, got] {
        let info = error_info(&failure, Code::ResourceExhausted);
        assert_eq!(info.reason, "PROVIDER_THROTTLED");
        let delay = details_of(&failure).retry_info().unwrap().retry_delay;
        assert_eq!(delay, Some(Duration::from_secs(3600)));
    }
}

#[tokio::test]
async fn get_savepoint_is_retried_when_unavailable() {
    // The gateway alone makes at most three attempts; the fourth is the client's.
    let savepoint = get(&client!(GATEWAY), &unique("flaky-3")).await.unwrap();
    assert_eq!(savepoint.description, "answered at call 4");
}

#[tokio::test]
async fn import_savepoint_is_never_retried() {
    let job_id = fastrand::i64(503_000_000..504_000_000);
    let failure = import(&client!(GATEWAY), job_id, SAVEPOINT_PATH).await.unwrap_err();
    let info = error_info(&failure, Code::Unavailable);
    assert_eq!(info.metadata["outcome"], "unknown");
    assert_eq!(info.metadata["providerMessage"], format!("call 1 of job {job_id}"));
}

#[tokio::test]
async fn the_deadline_ends_a_slow_call() {
    let client = client!(GATEWAY);
    let began = Instant::now();
    let request = get_request("slow");
    let failure = get_savepoint(&client, request, Duration::from_millis(500)).await.unwrap_err();
    assert_eq!(failure.code(), Code::DeadlineExceeded, "{failure}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_unavailable() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let client = connect(&address, None).unwrap();
    let failure = get(&client, "any").await.unwrap_err();
    assert_eq!(failure.code(), Code::Unavailable, "{failure}");
    assert!(failure.message().contains("refused"), "{failure}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_unavailable() {
    // Accepts, reads something, and hangs up, always.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.readable().await;
        }
    });
    let client = connect(&address, None).unwrap();
    let failure = import(&client, 137_228, SAVEPOINT_PATH).await.unwrap_err();
    assert_eq!(failure.code(), Code::Unavailable, "{failure}");
}

#[tokio::test]
async fn a_savepoint_is_created_watched_and_listed() {
    let client = client!(DEMO);
    let deployment_id = unique("deployment");
    let created = create(&client, &deployment_id).await.unwrap();
    assert_eq!(created.status.unwrap().state(), SavepointState::Started);
    let complete = watch(&client, &created.savepoint_id, LONG).await.unwrap();
    assert_eq!(complete.status.as_ref().unwrap().state(), SavepointState::Completed);
    assert_eq!(complete.deployment_id, deployment_id);
    assert_eq!(list(&client, &deployment_id).await, [complete]);
}

#[tokio::test]
async fn a_savepoint_that_fails_is_an_error() {
    let client = client!(DEMO);
    let created = create(&client, "simulate-failed-savepoint").await.unwrap();
    let error = watch(&client, &created.savepoint_id, LONG).await.unwrap_err();
    let WatchError::SavepointFailed(savepoint) = &error else { panic!("{error}") };
    assert_eq!(savepoint.status.as_ref().unwrap().state(), SavepointState::Failed);
    let id = &created.savepoint_id;
    assert_eq!(error.to_string(), format!("savepoint {id} is FAILED: create savepoint failed"));
}

#[tokio::test]
async fn a_watch_of_an_unknown_savepoint_ends_at_once() {
    let error = watch(&client!(DEMO), "simulate-not-found", LONG).await.unwrap_err();
    let WatchError::Call(failure) = error else { panic!("{error}") };
    assert_eq!(error_info(&failure, Code::NotFound).reason, "PROVIDER_NOT_FOUND");
}

#[tokio::test]
async fn all_pages_are_listed() {
    let client = client!(DEMO);
    let deployment_id = unique("deployment");
    let mut created = Vec::new();
    for _ in 0..3 {
        created.push(create(&client, &deployment_id).await.unwrap().savepoint_id);
    }
    let listed = list(&client, &deployment_id).await;
    let listed: Vec<_> = listed.into_iter().map(|savepoint| savepoint.savepoint_id).collect();
    assert_eq!(listed, created);
}

#[tokio::test]
async fn create_savepoint_is_never_retried_and_a_list_tells_its_outcome() {
    let client = client!(GATEWAY);
    let deployment_id = unique("unavailable");
    let failure = create(&client, &deployment_id).await.unwrap_err();
    let info = error_info(&failure, Code::Unavailable);
    assert_eq!(info.metadata["outcome"], "unknown");
    assert_eq!(list(&client, &deployment_id).await.len(), 1);
}

#[tokio::test]
async fn a_watch_goes_on_when_unavailable() {
    // The gateway alone makes at most three attempts; the others are the loop's.
    let complete = watch(&client!(GATEWAY), &unique("flaky-4"), LONG).await.unwrap();
    assert_eq!(complete.description, "answered at call 5");
}

#[tokio::test]
async fn a_watch_goes_on_after_the_gateways_limit() {
    watch(&client!(GATEWAY), &unique("started-5"), LONG).await.unwrap();
}

#[tokio::test]
async fn a_watch_goes_on_after_a_restart() {
    // One watch alone would take half a minute for as many calls.
    watch(&client!(RESTARTING), &unique("started-7"), LONG).await.unwrap();
}

#[tokio::test]
async fn the_callers_limit_ends_a_watch() {
    // Beyond the gateway's limit, so that it is watched again before.
    let client = client!(GATEWAY);
    let began = Instant::now();
    let limit = Duration::from_secs(3);
    let error = watch(&client, "started-1000000-limit", limit).await.unwrap_err();
    let WatchError::Call(failure) = error else { panic!("{error}") };
    assert_eq!(failure.code(), Code::DeadlineExceeded, "{failure}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
