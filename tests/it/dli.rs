use savepoint_gateway::pb::dli::dli_service_client::DliServiceClient;
use savepoint_gateway::pb::dli::{
    GetJobRequest, Job, JobState, ResumeJobRequest, StopJobRequest, TriggerSavepointRequest,
};
use savepoint_gateway::rpc::reason::Reason;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{FakeCloud, Gateway, Options, PROJECT_ID, Reply, import_request};

const JOB: i64 = 137_228;
const DELIVERED: &str = r#"[{"is_success":"true","message":"The request for submitting DLI jobs is delivered successfully."}]"#;

fn trigger() -> TriggerSavepointRequest {
    TriggerSavepointRequest {
        project_id: PROJECT_ID.into(),
        job_id: JOB,
        savepoint_path: "obs://bucket-name/dir/savepoint/".into(),
    }
}

fn get() -> GetJobRequest {
    GetJobRequest { project_id: PROJECT_ID.into(), job_id: JOB }
}

fn resume() -> ResumeJobRequest {
    ResumeJobRequest { project_id: PROJECT_ID.into(), job_id: JOB }
}

fn stop(trigger_savepoint: bool) -> StopJobRequest {
    StopJobRequest { project_id: PROJECT_ID.into(), job_id: JOB, trigger_savepoint }
}

async fn client(gateway: &Gateway) -> DliServiceClient<Channel> {
    DliServiceClient::new(gateway.channel().await)
}

/// The code, the reason and the outcome.
fn info(status: &Status) -> (Code, String, Option<String>) {
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    (status.code(), info.reason.clone(), info.metadata.get("outcome").cloned())
}

/// A job as the provider documents it, with these fields changed.
fn detail(changes: &Value) -> Reply {
    let mut job = json!({
        "job_id": JOB, "name": "test", "desc": "", "job_type": "flink_jar_job",
        "queue_name": "queue-1", "status": "job_running", "status_desc": "",
        "has_savepoint": true, "savepoint_path": "obs://bucket-name/dir/savepoint/",
        "create_time": 1_578_466_221_525_i64, "start_time": 1_578_466_222_000_i64,
        "update_time": 1_578_466_223_001_i64, "job_config": {"checkpoint_enabled": true},
    });
    for (name, value) in changes.as_object().unwrap() {
        job[name] = value.clone();
    }
    Reply::json(200, &json!({"is_success": "true", "message": "", "job_detail": job}).to_string())
}

/// As Huawei's Python SDK, huaweicloudsdkdli 3.1.219, sends them, but without blanks.
#[tokio::test]
async fn requests_are_those_that_the_providers_sdk_makes() {
    let cloud = FakeCloud::start(|request, _| match request.path().rsplit('/').next() {
        Some("run" | "stop") => Reply::json(200, DELIVERED),
        Some("savepoint") => Reply::json(200, r#"{"is_success":true,"message":"{}"}"#),
        _ => detail(&json!({})),
    })
    .await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = client(&gateway).await;
    client.trigger_savepoint(trigger()).await.unwrap();
    client.get_job(get()).await.unwrap();
    client.resume_job(resume()).await.unwrap();
    client.stop_job(stop(true)).await.unwrap();
    client.stop_job(stop(false)).await.unwrap();
    let largest = ResumeJobRequest { job_id: i64::MAX, ..resume() };
    client.resume_job(largest).await.unwrap();
    let jobs = format!("/v1.0/{PROJECT_ID}/streaming/jobs");
    let want = [
        (
            format!("POST {jobs}/137228/savepoint"),
            r#"{"action":"TRIGGER","savepoint_path":"obs://bucket-name/dir/savepoint/"}"#,
        ),
        (format!("GET {jobs}/137228"), ""),
        (format!("POST {jobs}/run"), r#"{"resume_savepoint":true,"job_ids":[137228]}"#),
        (format!("POST {jobs}/stop"), r#"{"trigger_savepoint":true,"job_ids":[137228]}"#),
        (format!("POST {jobs}/stop"), r#"{"trigger_savepoint":false,"job_ids":[137228]}"#),
        (
            format!("POST {jobs}/run"),
            r#"{"resume_savepoint":true,"job_ids":[9223372036854775807]}"#,
        ),
    ];
    let requests = cloud.requests();
    assert_eq!(requests.len(), want.len());
    for (sent, (line, body)) in requests.iter().zip(want) {
        assert_eq!(sent.line(), format!("{line} HTTP/1.1"));
        assert_eq!(String::from_utf8_lossy(&sent.body), body);
        assert_eq!(sent.header("content-type"), Some("application/json"));
        assert_eq!(sent.header("x-project-id"), Some(PROJECT_ID));
        assert!(sent.header("authorization").unwrap().starts_with("SDK-HMAC-SHA256 "));
    }
}

#[tokio::test]
async fn job_control_is_off_unless_it_is_enabled() {
    let cloud = FakeCloud::answering(Reply::json(200, DELIVERED)).await;
    let off = Options::at(&cloud).with(|config| config.job_control = false);
    let gateway = Gateway::start(off).await;
    let mut client = client(&gateway).await;
    let row = Reason::MethodDisabled.row();
    let want = (Code::Unimplemented, row.name.to_owned(), Some("not_applied".to_owned()));
    assert_eq!(info(&client.resume_job(resume()).await.unwrap_err()), want);
    assert_eq!(info(&client.stop_job(stop(true)).await.unwrap_err()), want);
    assert_eq!(cloud.count(), 0);
}

#[tokio::test]
async fn one_element_or_one_object_decides_about_the_job() {
    let yes = |message: &str| Ok(message.to_owned());
    let malformed = || Err((Code::Internal, "PROVIDER_MALFORMED_RESPONSE", "unknown"));
    let failed = || Err((Code::FailedPrecondition, "PROVIDER_REPORTED_FAILURE", "not_applied"));
    let not_found = || Err((Code::NotFound, "PROVIDER_NOT_FOUND", "not_applied"));
    for (status, body, want) in [
        (200, r#"[{"is_success":"true","message":"m"}]"#, yes("m")),
        (200, r#" [ {"is_success":true,"message":null} ] "#, yes("")),
        (200, r#"{"is_success":"True","message":"m"}"#, yes("m")),
        (200, r#"[{"is_success":"false","message":"m"}]"#, failed()),
        (200, r#"{"is_success":false,"message":"m"}"#, failed()),
        (200, r#"[{"is_success":"false","error_code":"DLI.16001"}]"#, not_found()),
        (200, "[]", malformed()),
        (200, r#"[{"is_success":"true"},{"is_success":"true"}]"#, malformed()),
        (200, r#"[{"is_success":"false"},{"is_success":"false"}]"#, malformed()),
        (200, r#"[[{"is_success":"true"}]]"#, malformed()),
        (200, r#"[{"is_success":"true"}"#, malformed()),
        (200, r#"[{}]"#, malformed()),
        (200, r#"[{"is_success":"maybe"}]"#, malformed()),
        (200, r#"[{"is_success":"true","is_success":"false"}]"#, malformed()),
        (200, r#"[{"is_success":"true","error_code":"DLI.0999"}]"#, malformed()),
        (200, r#"[{"is_success":"true"}]]"#, malformed()),
        (200, r#"[{"is_success":"true"},]"#, malformed()),
        (200, "[null]", malformed()),
        (200, r#""[{}]""#, malformed()),
        // The status denies what the body says.
        (500, r#"[{"is_success":"true"}]"#, Err((Code::Internal, "PROVIDER_INTERNAL", "unknown"))),
        (400, r#"[{"error_code":"DLI.16001"}]"#, not_found()),
        (200, r#"["true"]"#, malformed()),
        (400, r#"{"error_code":"DLI.16001","error_msg":"m"}"#, not_found()),
        (400, r#"{"error_code":"DLI.13024","error_msg":"m"}"#, failed()),
        (503, "{}", Err((Code::Unavailable, "PROVIDER_UNAVAILABLE", "unknown"))),
    ] {
        let cloud = FakeCloud::answering(Reply::json(status, body)).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let mut client = client(&gateway).await;
        let resumed = client.resume_job(resume()).await.map(|r| r.into_inner().message);
        let stopped = client.stop_job(stop(true)).await.map(|r| r.into_inner().message);
        for got in [resumed, stopped] {
            let got = got.map_err(|status| info(&status));
            let want = want.clone().map_err(|(code, reason, outcome): (_, &str, &str)| {
                (code, reason.to_owned(), Some(outcome.to_owned()))
            });
            assert_eq!(got, want, "{status} {body}");
        }
        assert_eq!(cloud.count(), 2, "never repeated: {body}");
    }
}

#[tokio::test]
async fn a_trigger_tells_what_was_accepted_and_no_more() {
    let nested = |text: &str| json!({"is_success": "true", "message": text}).to_string();
    for inner in [
        r#"{"is_success":"true","message":"api.msg.deal_savepoint_success"}"#,
        r#"{"is_success":"false","message":"api.msg.deal_savepoint_failed"}"#,
        "",
    ] {
        let cloud = FakeCloud::answering(Reply::json(200, &nested(inner))).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let response = client(&gateway).await.trigger_savepoint(trigger()).await.unwrap();
        assert_eq!(response.into_inner().message, inner);
    }
    for (success, want) in
        [("true", None), (r#""True""#, None), ("false", Some(())), (r#""false""#, Some(()))]
    {
        let body = format!(r#"{{"is_success":{success},"message":"m"}}"#);
        let cloud = FakeCloud::answering(Reply::json(200, &body)).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let failed = client(&gateway).await.trigger_savepoint(trigger()).await.err();
        let (code, reason) = (Code::FailedPrecondition, "PROVIDER_REPORTED_FAILURE".to_owned());
        let want = want.map(|()| (code, reason, Some("not_applied".to_owned())));
        assert_eq!(failed.as_ref().map(info), want, "{body}");
        // With the provider's own words.
        if let Some(status) = failed {
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().metadata["providerMessage"], "m");
        }
    }
    // A list is no answer to it.
    for body in [r#"[{"is_success":"true"}]"#, r#"{"message":"m"}"#] {
        let cloud = FakeCloud::answering(Reply::json(200, body)).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let status = client(&gateway).await.trigger_savepoint(trigger()).await.unwrap_err();
        let want = ("PROVIDER_MALFORMED_RESPONSE".to_owned(), Some("unknown".to_owned()));
        let (_, reason, outcome) = info(&status);
        assert_eq!((reason, outcome), want, "{body}");
    }
}

#[tokio::test]
async fn a_job_is_shown_as_the_provider_describes_it() {
    async fn job(changes: Value) -> Job {
        let cloud = FakeCloud::answering(detail(&changes)).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        client(&gateway).await.get_job(get()).await.unwrap().into_inner().job.unwrap()
    }
    let time = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    let shown = job(json!({})).await;
    assert_eq!((shown.job_id, &*shown.name), (JOB, "test"));
    assert_eq!((shown.state(), &*shown.provider_state), (JobState::Running, "job_running"));
    assert_eq!(shown.has_savepoint, Some(true));
    assert_eq!(shown.savepoint_path, "obs://bucket-name/dir/savepoint/");
    assert_eq!(shown.create_time, time(1_578_466_221, 525_000_000));
    assert_eq!(shown.start_time, time(1_578_466_222, 0));
    assert_eq!(shown.update_time, time(1_578_466_223, 1_000_000));
    let draft =
        job(json!({"start_time": null, "has_savepoint": null, "savepoint_path": null})).await;
    let got = (draft.start_time, draft.has_savepoint, &*draft.savepoint_path);
    assert_eq!(got, (None, None, ""));
    for (text, state) in [
        ("job_init", JobState::Init),
        ("job_submitting", JobState::Submitting),
        ("job_submit_fail", JobState::SubmitFail),
        ("job_running", JobState::Running),
        ("job_running_exception", JobState::RunningException),
        ("job_downloading", JobState::Downloading),
        ("job_idle", JobState::Idle),
        ("job_canceling", JobState::Canceling),
        ("job_cancel_success", JobState::CancelSuccess),
        ("job_cancel_fail", JobState::CancelFail),
        ("job_savepointing", JobState::Savepointing),
        ("job_arrearage_stopped", JobState::ArrearageStopped),
        ("job_arrearage_recovering", JobState::ArrearageRecovering),
        ("job_finish", JobState::Finish),
        ("job_new_state", JobState::Unspecified),
    ] {
        let shown = job(json!({"status": text})).await;
        assert_eq!((shown.state(), &*shown.provider_state), (state, text));
    }
}

#[tokio::test]
async fn only_a_described_job_is_a_success_of_get_job() {
    for (status, body, code, reason, requests) in [
        (200, r#"{"is_success":"true"}"#, Code::Internal, "PROVIDER_MALFORMED_RESPONSE", 1),
        (
            200,
            r#"{"is_success":"true","job_detail":{}}"#,
            Code::Internal,
            "PROVIDER_MALFORMED_RESPONSE",
            1,
        ),
        // Of another job, by one in the last digit, or of none that can be read.
        (
            200,
            r#"{"is_success":"true","job_detail":{"job_id":137229,"status":"job_running"}}"#,
            Code::Internal,
            "PROVIDER_MALFORMED_RESPONSE",
            1,
        ),
        (
            200,
            r#"{"is_success":"true","job_detail":{"job_id":"one","status":"job_running"}}"#,
            Code::Internal,
            "PROVIDER_MALFORMED_RESPONSE",
            1,
        ),
        (
            200,
            r#"{"is_success":"true","job_detail":[1]}"#,
            Code::Internal,
            "PROVIDER_MALFORMED_RESPONSE",
            1,
        ),
        (
            200,
            r#"{"is_success":"false","message":"The job does not exist."}"#,
            Code::FailedPrecondition,
            "PROVIDER_REPORTED_FAILURE",
            1,
        ),
        (400, r#"{"error_code":"DLI.16001"}"#, Code::NotFound, "PROVIDER_NOT_FOUND", 1),
        (404, r#"{"error_code":"DLI.0002"}"#, Code::NotFound, "PROVIDER_NOT_FOUND", 1),
        (503, "{}", Code::Unavailable, "PROVIDER_UNAVAILABLE", 3),
    ] {
        let cloud = FakeCloud::answering(Reply::json(status, body)).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let status = client(&gateway).await.get_job(get()).await.unwrap_err();
        assert_eq!(info(&status), (code, reason.to_owned(), None), "{body}");
        assert_eq!(cloud.count(), requests, "{body}");
    }
}

#[tokio::test]
async fn a_job_id_is_exact_in_every_form_that_json_has_for_it() {
    let exact = 9_007_199_254_740_993;
    let body =
        |id: &str| format!(r#"{{"is_success":true,"job_detail":{{{id}"status":"job_running"}}}}"#);
    for (id, known) in [
        (r#""job_id":9007199254740993,"#, true),
        (r#""job_id":"9007199254740993","#, true),
        // Not told: then it is the job that was asked for.
        ("", true),
        (r#""job_id":null,"#, true),
        // What a reader that keeps numbers as floats makes of it.
        (r#""job_id":9007199254740992,"#, false),
        (r#""job_id":9.007199254740992e15,"#, false),
    ] {
        let cloud = FakeCloud::answering(Reply::json(200, &body(id))).await;
        let gateway = Gateway::start(Options::at(&cloud)).await;
        let request = GetJobRequest { job_id: exact, ..get() };
        let job = client(&gateway).await.get_job(request).await.map(|r| r.into_inner().job);
        match job {
            Ok(job) => assert_eq!((job.unwrap().job_id, known), (exact, true), "{id}"),
            Err(status) => assert_eq!((status.code(), known), (Code::Internal, false), "{id}"),
        }
    }
}

#[tokio::test]
async fn long_and_deep_answers_are_read_within_limits() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let long = r#"{\"a\":"#.repeat(80_000);
    let job = format!(
        r#"{{"is_success":"true","job_detail":{{"status":"job_running","job_config":{deep}}}}}"#
    );
    let cloud = FakeCloud::start(move |request, _| match request.path().rsplit('/').next() {
        Some("run") => {
            Reply::json(200, &format!(r#"[{{"is_success":"true","message":"{long}"}}]"#))
        }
        Some("stop") => Reply::json(200, &format!(r#"[{{"is_success":{deep}}}]"#)),
        Some("savepoint") => {
            Reply::json(200, &format!(r#"{{"is_success":false,"message":"{long}"}}"#))
        }
        _ => Reply::json(200, &job),
    })
    .await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = client(&gateway).await;
    // What is not read may be as deep as it likes.
    let job = client.get_job(get()).await.unwrap().into_inner().job.unwrap();
    assert_eq!(job.state(), JobState::Running);
    let resumed = client.resume_job(resume()).await.unwrap().into_inner();
    assert_eq!(resumed.message, r#"{"a":"#.repeat(80_000));
    let stopped = client.stop_job(stop(true)).await.unwrap_err();
    assert_eq!(info(&stopped).1, "PROVIDER_MALFORMED_RESPONSE");
    let triggered = client.trigger_savepoint(trigger()).await.unwrap_err();
    assert_eq!(info(&triggered).1, "PROVIDER_REPORTED_FAILURE");
    assert!(triggered.message().len() <= 1024 && triggered.details().len() < 4096);
}

#[tokio::test]
async fn a_change_in_doubt_is_found_in_the_log() {
    let cloud = FakeCloud::answering(Reply::Raw(vec![])).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = client(&gateway).await;
    let lost = [
        client.trigger_savepoint(trigger()).await.unwrap_err(),
        client.resume_job(resume()).await.unwrap_err(),
        client.stop_job(stop(true)).await.unwrap_err(),
    ];
    for status in &lost {
        let want = ("PROVIDER_CONNECTION_LOST".to_owned(), Some("unknown".to_owned()));
        let (_, reason, outcome) = info(status);
        assert_eq!((reason, outcome), want, "{status}");
        assert!(status.message().contains("may have been"), "{status}");
    }
    assert_eq!(cloud.count(), lost.len(), "never repeated");
    let log = gateway.log();
    for method in ["TriggerSavepoint", "ResumeJob", "StopJob"] {
        let line = log.lines().find(|line| line.contains(&format!(r#""method":"{method}""#)));
        let line: Value = serde_json::from_str(line.expect(&log)).unwrap();
        assert_eq!(line["outcome"], "unknown", "{line}");
        assert_eq!(line["job_id"], "137228", "{line}");
    }
}

#[tokio::test]
async fn invalid_fields_are_named_together_and_nothing_is_sent() {
    let cloud = FakeCloud::answering(Reply::json(200, DELIVERED)).await;
    let gateway = Gateway::start(Options::at(&cloud)).await;
    let mut client = client(&gateway).await;
    let statuses = [
        client
            .trigger_savepoint(TriggerSavepointRequest { job_id: -1, ..Default::default() })
            .await
            .unwrap_err(),
        client.get_job(GetJobRequest::default()).await.unwrap_err(),
        client.resume_job(ResumeJobRequest::default()).await.unwrap_err(),
        client.stop_job(StopJobRequest::default()).await.unwrap_err(),
    ];
    for (index, status) in statuses.iter().enumerate() {
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let fields: Vec<_> = details
            .bad_request()
            .unwrap()
            .field_violations
            .iter()
            .map(|violation| violation.field.clone())
            .collect();
        let want = ["project_id", "job_id", "savepoint_path"];
        assert_eq!(fields, want[..if index == 0 { 3 } else { 2 }], "{index}");
    }
    assert_eq!(cloud.count(), 0);
}

/// The other half of an import, on the simulator, which keeps the jobs' states.
#[tokio::test]
async fn an_imported_savepoint_is_what_the_job_resumes_from() {
    let gateway = super::simulators::both().await;
    let mut savepoints = gateway.gateway.client().await;
    let mut jobs = client(&gateway.gateway).await;
    async fn shown(jobs: &mut DliServiceClient<Channel>) -> Job {
        jobs.get_job(get()).await.unwrap().into_inner().job.unwrap()
    }
    savepoints.import_savepoint(import_request()).await.unwrap();
    let imported = shown(&mut jobs).await;
    assert_eq!(imported.state(), JobState::CancelSuccess);
    assert_eq!(imported.has_savepoint, Some(true));
    assert_eq!(imported.savepoint_path, import_request().savepoint_path);

    jobs.resume_job(resume()).await.unwrap();
    assert_eq!(shown(&mut jobs).await.state(), JobState::Submitting);
    let running = shown(&mut jobs).await;
    assert_eq!(running.state(), JobState::Running);
    let from = format!("started from {}", import_request().savepoint_path);
    assert_eq!(running.state_description, from);
    // A running job takes no import.
    let status = savepoints.import_savepoint(import_request()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);

    jobs.trigger_savepoint(trigger()).await.unwrap();
    assert_eq!(shown(&mut jobs).await.state(), JobState::Savepointing);
    assert_eq!(shown(&mut jobs).await.has_savepoint, Some(true));

    // What is made by stopping is gone after the next start.
    jobs.stop_job(stop(true)).await.unwrap();
    shown(&mut jobs).await;
    let stopped = shown(&mut jobs).await;
    assert_eq!(stopped.state(), JobState::CancelSuccess);
    assert!(stopped.savepoint_path.contains("/jobs/savepoint/"), "{}", stopped.savepoint_path);
    jobs.resume_job(resume()).await.unwrap();
    let resumed = shown(&mut jobs).await;
    assert!(resumed.state_description.starts_with("started from"), "{resumed:?}");
    assert_eq!(resumed.has_savepoint, Some(false));
}
