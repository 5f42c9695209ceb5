use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use savepoint_gateway::clock::{Clock, SystemClock};
use savepoint_gateway::credential::{Credential, Credentials};
use savepoint_gateway::gateway::Providers;
use savepoint_gateway::options::Endpoint;
use savepoint_gateway::pb::flink::flink_service_client::FlinkServiceClient;
use savepoint_gateway::pb::flink::resume_job_request::Restore;
use savepoint_gateway::pb::flink::{
    ClaimMode, GetJobRequest, GetSavepointRequest, JobState, ResumeJobRequest, SavepointFormat,
    StopWithSavepointRequest, TriggerSavepointRequest, WatchSavepointRequest,
};
use savepoint_gateway::pb::{Savepoint, SavepointState};
use savepoint_gateway::providers::flink;
use savepoint_gateway::simulator::{Api, Simulator};
use savepoint_gateway::upstream::WatchLimits;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{FLINK_JOB, FakeCloud, Gateway, Options, Recorded, Reply, Rpc};

const TRIGGER_ID: &str = "1fa30a76aa614c61b53d5db614fe7629";

fn trigger() -> TriggerSavepointRequest {
    TriggerSavepointRequest { job_id: FLINK_JOB.into(), ..Default::default() }
}

fn stop() -> StopWithSavepointRequest {
    StopWithSavepointRequest { job_id: FLINK_JOB.into(), ..Default::default() }
}

fn get(trigger_id: &str) -> GetSavepointRequest {
    GetSavepointRequest {
        job_id: FLINK_JOB.into(),
        trigger_id: trigger_id.into(),
        ..Default::default()
    }
}

fn job(job_id: &str) -> GetJobRequest {
    GetJobRequest { job_id: job_id.into(), ..Default::default() }
}

fn resume(path: &str) -> ResumeJobRequest {
    ResumeJobRequest {
        jar_id: "bd774061-be13-4a9a-853c-6a0da92788e4_counter.jar".into(),
        restore: Some(Restore::SavepointPath(path.into())),
        ..Default::default()
    }
}

async fn client(gateway: &Gateway) -> FlinkServiceClient<Channel> {
    FlinkServiceClient::new(gateway.channel().await)
}

/// The code, the reason and the outcome.
fn info(status: &Status) -> (Code, String, Option<String>) {
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    (status.code(), info.reason.clone(), info.metadata.get("outcome").cloned())
}

fn body(request: &Recorded) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

/// A cluster that accepts everything with the id that it was sent.
fn accept(request: &Recorded) -> Reply {
    let body = body(request);
    match &body["triggerId"].as_str() {
        Some(id) => Reply::json(202, &json!({"request-id": id}).to_string()),
        None => Reply::json(200, &json!({"jobid": body["jobId"]}).to_string()),
    }
}

fn at(cloud: &FakeCloud) -> Options {
    Options { flink: Some(cloud.endpoint()), ..Options::none() }
}

/// One simulated cluster with its own time.
struct Simulated {
    gateway: Gateway,
    time: Arc<Shifted>,
    _simulator: Simulator,
}

#[derive(Debug, Default)]
struct Shifted(AtomicI64);

impl Clock for Shifted {
    fn now(&self) -> Timestamp {
        SystemClock.now() + Duration::from_secs(self.0.load(Ordering::Relaxed).unsigned_abs())
    }

    fn nonce(&self) -> [u8; 16] {
        SystemClock.nonce()
    }

    fn chance(&self) -> f64 {
        SystemClock.chance()
    }
}

async fn simulated() -> Simulated {
    let time = Arc::new(Shifted::default());
    let simulator = Simulator::start(Api::Flink, time.clone()).await.unwrap();
    let options = Options::none().with(|config| {
        config.providers = Providers::from(simulator.flink_setup("local").unwrap());
        config.watch_limits =
            WatchLimits { heartbeat: Duration::from_millis(20), ..WatchLimits::default() };
    });
    Simulated { gateway: Gateway::start(options).await, time, _simulator: simulator }
}

async fn ended(client: &mut FlinkServiceClient<Channel>, trigger_id: &str) -> Savepoint {
    loop {
        let got = client.get_savepoint(get(trigger_id)).await.unwrap().into_inner();
        let savepoint = got.savepoint.unwrap();
        if savepoint.status.as_ref().unwrap().state() != SavepointState::Started {
            return savepoint;
        }
    }
}

fn state(savepoint: &Savepoint) -> SavepointState {
    savepoint.status.as_ref().unwrap().state()
}

#[tokio::test]
async fn requests_are_those_that_clusters_understand() {
    let cloud = FakeCloud::start(|request, _| accept(request)).await;
    let gateway = Gateway::start(at(&cloud)).await;
    let mut client = client(&gateway).await;
    let full = TriggerSavepointRequest {
        cluster: "fake".into(),
        job_id: FLINK_JOB.to_uppercase(),
        target_directory: "file:///data/sp".into(),
        format: SavepointFormat::Native.into(),
        ..Default::default()
    };
    client.trigger_savepoint(full).await.unwrap();
    client.trigger_savepoint(trigger()).await.unwrap();
    let full = StopWithSavepointRequest {
        target_directory: "file:///data/sp".into(),
        format: SavepointFormat::Canonical.into(),
        drain: true,
        ..stop()
    };
    client.stop_with_savepoint(full).await.unwrap();
    let full = ResumeJobRequest {
        jar_id: "a jar#..jar".into(),
        allow_non_restored_state: true,
        claim_mode: ClaimMode::Claim.into(),
        entry_class: "com.example.Job".into(),
        program_args: vec!["--name".into(), "a b".into()],
        parallelism: 2,
        ..resume("file:/data/sp/savepoint-1")
    };
    client.resume_job(full).await.unwrap();
    let empty = ResumeJobRequest { restore: Some(Restore::WithoutState(true)), ..resume("") };
    client.resume_job(empty).await.unwrap();
    let ids = |request: &Recorded| {
        let body = body(request);
        let id = [&body["triggerId"], &body["jobId"]].into_iter().find_map(Value::as_str).unwrap();
        (
            id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            id.to_owned(),
        )
    };
    let jobs = format!("POST /jobs/{FLINK_JOB}");
    let jar = "POST /jars/bd774061-be13-4a9a-853c-6a0da92788e4_counter.jar/run";
    let want = [
        (
            format!("{jobs}/savepoints"),
            r#"{"target-directory":"file:///data/sp","formatType":"NATIVE","triggerId":"ID"}"#,
        ),
        (format!("{jobs}/savepoints"), r#"{"triggerId":"ID"}"#),
        (
            format!("{jobs}/stop"),
            r#"{"targetDirectory":"file:///data/sp","drain":true,"formatType":"CANONICAL","triggerId":"ID"}"#,
        ),
        (
            "POST /jars/a%20jar%23..jar/run".to_owned(),
            r#"{"jobId":"ID","savepointPath":"file:/data/sp/savepoint-1","allowNonRestoredState":true,"claimMode":"CLAIM","entryClass":"com.example.Job","programArgsList":["--name","a b"],"parallelism":2}"#,
        ),
        (jar.to_owned(), r#"{"jobId":"ID"}"#),
    ];
    let requests = cloud.requests();
    assert_eq!(requests.len(), want.len());
    for (sent, (line, body)) in requests.iter().zip(want) {
        let (is_id, id) = ids(sent);
        assert!(is_id, "{id}");
        assert_eq!(sent.line(), format!("{line} HTTP/1.1"));
        assert_eq!(String::from_utf8_lossy(&sent.body).replace(&id, "ID"), body);
        assert_eq!(sent.header("content-type"), Some("application/json"));
        assert_eq!(sent.header("authorization"), None);
    }
}

#[tokio::test]
async fn invalid_fields_are_named_and_nothing_is_sent() {
    let cloud = FakeCloud::start(|request, _| accept(request)).await;
    let gateway = Gateway::start(at(&cloud)).await;
    let mut client = client(&gateway).await;
    let fields = |status: Status| -> Vec<String> {
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        let details = status.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        violations.iter().map(|violation| violation.field.clone()).collect()
    };
    for job_id in ["", "x", "../../x", &"g".repeat(32), &"0".repeat(33), "0/../0"] {
        let trigger = TriggerSavepointRequest { job_id: job_id.into(), ..trigger() };
        assert_eq!(fields(client.trigger_savepoint(trigger).await.unwrap_err()), ["job_id"]);
    }
    let all = TriggerSavepointRequest {
        cluster: "other".into(),
        job_id: String::new(),
        target_directory: "a\nb".into(),
        format: 9,
        idempotency_key: "with space".into(),
    };
    let want = ["cluster", "job_id", "target_directory", "idempotency_key", "format"];
    assert_eq!(fields(client.trigger_savepoint(all).await.unwrap_err()), want);
    assert_eq!(fields(client.get_savepoint(get("")).await.unwrap_err()), ["trigger_id"]);
    let nothing = ResumeJobRequest { restore: None, ..resume("") };
    assert_eq!(fields(client.resume_job(nothing).await.unwrap_err()), ["restore"]);
    let unsure = ResumeJobRequest {
        restore: Some(Restore::WithoutState(false)),
        claim_mode: ClaimMode::Claim.into(),
        ..resume("")
    };
    let want = ["without_state", "claim_mode"];
    assert_eq!(fields(client.resume_job(unsure).await.unwrap_err()), want);
    // With the last ones Flink would run another jar, or take an upload.
    let jar_ids = ["", ".", "..", "a/b", "a\\b", "a\0b", "a%2fb", "%2e%2e", "a+b", "upload?b"];
    for jar_id in jar_ids {
        let resume = ResumeJobRequest { jar_id: jar_id.into(), ..resume("s") };
        assert_eq!(fields(client.resume_job(resume).await.unwrap_err()), ["jar_id"], "{jar_id:?}");
    }
    assert_eq!(cloud.count(), 0);
}

#[tokio::test]
async fn a_change_keeps_its_id_over_attempts_and_with_a_key_over_calls() {
    let lost = [
        Reply::json(503, "{}"),
        Reply::json(502, "{}"),
        Reply::Raw(vec![]),
        Reply::RawReset(vec![]),
    ];
    for (rpc, lost) in
        lost.into_iter().flat_map(|lost| Rpc::CHANGES_OF_FLINK.map(|rpc| (rpc, lost.clone())))
    {
        let first = lost.clone();
        let cloud = FakeCloud::start(move |request, before| match before {
            0 | 1 => first.clone(),
            _ => accept(request),
        })
        .await;
        let gateway = Gateway::start(at(&cloud)).await;
        let result = rpc.call(&gateway).await;
        assert!(result.is_ok(), "{rpc:?} {lost:?}: {result:?}");
        let mut bodies: Vec<_> = cloud.requests().into_iter().map(|request| request.body).collect();
        assert_eq!(bodies.len(), 3, "{rpc:?} {lost:?}");
        bodies.dedup();
        assert_eq!(bodies.len(), 1, "{rpc:?} {lost:?}");
        rpc.call(&gateway).await.unwrap();
        assert_ne!(cloud.requests()[3].body, bodies[0], "{rpc:?}: without a key each call is new");
    }
    let cloud = FakeCloud::start(|request, _| accept(request)).await;
    let gateway = Gateway::start(at(&cloud)).await;
    let mut client = client(&gateway).await;
    let key = "upgrade-42".to_owned();
    let trigger = TriggerSavepointRequest { idempotency_key: key.clone(), ..trigger() };
    let first = client.trigger_savepoint(trigger.clone()).await.unwrap().into_inner();
    // An empty name is that of the only cluster, and capitals are the same job.
    let same = TriggerSavepointRequest {
        cluster: "fake".into(),
        job_id: FLINK_JOB.to_uppercase(),
        ..trigger.clone()
    };
    assert_eq!(client.trigger_savepoint(same).await.unwrap().into_inner(), first);
    let other = TriggerSavepointRequest { target_directory: "s3://b/".into(), ..trigger };
    assert_ne!(client.trigger_savepoint(other).await.unwrap().into_inner(), first);
    let stop = StopWithSavepointRequest { idempotency_key: key, ..stop() };
    let stopped = client.stop_with_savepoint(stop).await.unwrap().into_inner();
    assert_ne!(stopped.trigger_id, first.trigger_id);
}

/// Among them those of a Flink before 1.15, which ignores the id that it is sent.
#[tokio::test]
async fn only_the_id_that_was_sent_proves_that_a_change_was_accepted() {
    for answer in [
        json!({"request-id": TRIGGER_ID, "jobid": TRIGGER_ID}),
        json!({"request-id": TRIGGER_ID}),
        json!({"jobid": TRIGGER_ID}),
        json!({"request-id": null}),
        json!({"request-id": {"a": 1}}),
        json!({}),
        json!([]),
        json!({"errors": ["a.b.C: no"]}),
    ] {
        for rpc in Rpc::CHANGES_OF_FLINK {
            let cloud = FakeCloud::answering(Reply::json(202, &answer.to_string())).await;
            let gateway = Gateway::start(at(&cloud)).await;
            let status = rpc.call(&gateway).await.unwrap_err();
            let (code, reason, outcome) = info(&status);
            assert_eq!(code, Code::Internal, "{answer}: {status}");
            assert_eq!(reason, "PROVIDER_MALFORMED_RESPONSE");
            assert_eq!(outcome.as_deref(), Some("unknown"));
            assert_eq!(cloud.count(), 1);
        }
    }
}

/// A stack trace with marks where nothing may be told.
fn trace(first: &str, cause: &str) -> String {
    let at = "\n\tat org.apache.HIDDEN.run(HIDDEN.java:42)".repeat(700);
    format!("{first}{at}\nCaused by: a.b.HiddenException: HIDDEN{at}\nCaused by: {cause}{at}")
}

#[tokio::test]
async fn a_status_and_its_operation_decide_and_never_more_than_a_first_line_is_told() {
    let checkpoint = "java.util.concurrent.CompletionException: \
                      org.apache.flink.runtime.checkpoint.CheckpointException: An Exception \
                      occurred while triggering the checkpoint. IO-problem detected.";
    let cause = |line: &str| {
        json!({"failure-cause": {
            "class": "java.util.concurrent.CompletionException",
            "stack-trace": trace(line, "java.io.IOException: HIDDEN"),
            "serialized-throwable": "HIDDEN".repeat(5000),
        }})
    };
    let both = {
        let mut both = cause(checkpoint);
        both["location"] = json!("file:/x");
        both
    };
    let started = Ok((SavepointState::Started, ""));
    let completed = Ok((SavepointState::Completed, ""));
    let unknown = Ok((SavepointState::Unspecified, ""));
    let failed = |reason: &'static str| Ok((SavepointState::Failed, reason));
    let malformed = Err("PROVIDER_MALFORMED_RESPONSE");
    for (id, operation, want) in [
        ("IN_PROGRESS", json!(null), started),
        ("IN_PROGRESS", json!({}), started),
        ("COMPLETED", json!({"location": "file:/x"}), completed),
        (
            "COMPLETED",
            cause(checkpoint),
            failed("org.apache.flink.runtime.checkpoint.CheckpointException"),
        ),
        ("COMPLETED", cause("no class here"), failed("java.util.concurrent.CompletionException")),
        ("COMPLETED", cause(&format!("a.b.C: {}", "x".repeat(5000))), failed("a.b.C")),
        (
            "COMPLETED",
            cause(
                "a.b.C: org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job",
            ),
            Err("PROVIDER_NOT_FOUND"),
        ),
        ("PAUSED", json!(null), unknown),
        ("COMPLETED", json!(null), malformed),
        ("COMPLETED", json!({}), malformed),
        ("COMPLETED", json!({"location": ""}), malformed),
        ("COMPLETED", json!({"location": ["file:/x"]}), malformed),
        ("COMPLETED", json!({"location": 5}), malformed),
        ("COMPLETED", json!({"location": "file:/x", "failure-cause": "no"}), malformed),
        ("COMPLETED", both, malformed),
        ("IN_PROGRESS", json!({"location": "file:/x"}), malformed),
        ("IN_PROGRESS", cause(checkpoint), malformed),
        ("PAUSED", json!({"location": "file:/x"}), malformed),
        ("", json!(null), malformed),
    ] {
        let answer = json!({"status": {"id": id}, "operation": operation}).to_string();
        let cloud = FakeCloud::answering(Reply::json(200, &answer)).await;
        let gateway = Gateway::start(at(&cloud)).await;
        let mut client = client(&gateway).await;
        let shown = &answer[..answer.len().min(200)];
        let got = client.get_savepoint(get(TRIGGER_ID)).await;
        let watch = WatchSavepointRequest {
            job_id: FLINK_JOB.into(),
            trigger_id: TRIGGER_ID.into(),
            ..Default::default()
        };
        // Both are read alike.
        let first = match client.watch_savepoint(watch).await {
            Ok(stream) => stream.into_inner().message().await,
            Err(status) => Err(status),
        };
        let first = first.map(|message| message.unwrap().savepoint.unwrap());
        match (want, got, first) {
            (Ok((want, reason)), Ok(got), Ok(first)) => {
                let got = got.into_inner().savepoint.unwrap();
                assert_eq!(got, first, "{shown}");
                assert_eq!(state(&got), want, "{shown}");
                assert_eq!((&*got.savepoint_id, &*got.job_id), (TRIGGER_ID, FLINK_JOB));
                let status = got.status.unwrap();
                assert_eq!(status.provider_state, id);
                let failure = status.failure.unwrap_or_default();
                assert_eq!(failure.reason, reason, "{shown}");
                assert!(failure.message.len() <= 1024, "{shown}");
                assert_eq!(failure.message.is_empty(), reason.is_empty());
                assert!(!format!("{failure:?}").contains("HIDDEN"), "{failure:?}");
            }
            (Err(want), Err(got), Err(first)) => {
                assert_eq!(info(&got).1, want, "{shown}");
                assert_eq!(info(&first).1, want, "{shown}");
                assert!(!format!("{got:?}{first:?}").contains("HIDDEN"), "{got:?}");
                assert!(!String::from_utf8_lossy(got.details()).contains("HIDDEN"));
            }
            (want, got, first) => panic!("{shown}: {want:?}, {got:?}, {first:?}"),
        }
        assert!(!gateway.log().contains("HIDDEN"));
    }
}

#[tokio::test]
async fn errors_are_told_by_their_first_line_and_classified() {
    let rest = "org.apache.flink.runtime.rest.handler.RestHandlerException";
    let first = |text: &str| json!({"errors": [trace(text, "java.io.IOException: HIDDEN")]});
    let started = |cause: &str| json!({"errors": [trace(&format!("{rest}: Could not execute application."), cause)]});
    let server = |text: &str| {
        let trace = trace(text, "java.io.IOException: HIDDEN");
        json!({"errors": ["Internal server error.", format!("<Exception on server side:\n{trace}")]})
    };
    let missing = "java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory 's' on file system 'file'.";
    for (status, body, want, text) in [
        (
            404,
            first("org.apache.flink.runtime.rest.NotFoundException: Job x not found"),
            "PROVIDER_NOT_FOUND",
            "Job x not found",
        ),
        (
            400,
            first(&format!(
                "{rest}: Config key [execution.checkpointing.savepoint-dir] is not set."
            )),
            "PROVIDER_REJECTED_ARGUMENT",
            "is not set.",
        ),
        (
            400,
            started(missing),
            "PROVIDER_REJECTED_ARGUMENT",
            "Could not execute application: Cannot find checkpoint or savepoint",
        ),
        (
            500,
            server(&format!("a.b.C: {rest}: Jar file /u/x.jar does not exist")),
            "PROVIDER_NOT_FOUND",
            "Jar file /u/x.jar does not exist",
        ),
        (
            500,
            server(
                "a.b.C: org.apache.flink.client.program.ProgramInvocationException: The program's entry point class 'X' was not found",
            ),
            "PROVIDER_REJECTED_ARGUMENT",
            "entry point class 'X'",
        ),
        (
            500,
            server(
                "org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job",
            ),
            "PROVIDER_NOT_FOUND",
            "Could not find Flink job",
        ),
        (500, server("a.b.C: boom"), "PROVIDER_INTERNAL", "boom"),
        (
            500,
            json!({"errors": ["Internal server error."]}),
            "PROVIDER_INTERNAL",
            "Internal server error.",
        ),
        (
            503,
            first(&format!(
                "{rest}: Service temporarily unavailable due to an ongoing leader election"
            )),
            "PROVIDER_UNAVAILABLE",
            "leader election",
        ),
        (
            404,
            json!({"errors": ["Not found: /jobs/x"]}),
            "PROVIDER_ENDPOINT_MISCONFIGURED",
            "Not found",
        ),
        (
            404,
            json!({"errors": ["Unable to load requested file /jobs/x."]}),
            "PROVIDER_ENDPOINT_MISCONFIGURED",
            "Unable to load",
        ),
        (400, json!({"errors": []}), "PROVIDER_REJECTED_ARGUMENT", ""),
        (400, json!({"errors": [{"a": "HIDDEN"}]}), "PROVIDER_REJECTED_ARGUMENT", ""),
        (400, json!({"errors": "HIDDEN"}), "PROVIDER_REJECTED_ARGUMENT", ""),
        (400, json!([trace("a.b.C: HIDDEN", "HIDDEN")]), "PROVIDER_REJECTED_ARGUMENT", ""),
    ] {
        let cloud = FakeCloud::answering(Reply::json(status, &body.to_string())).await;
        let gateway = Gateway::start(at(&cloud)).await;
        let status = Rpc::FlinkResume.call(&gateway).await.unwrap_err();
        assert_eq!(info(&status).1, want, "{status}");
        assert!(status.message().contains(text), "{status}");
        assert!(status.message().len() <= 1024);
        assert!(!format!("{status:?}").contains("HIDDEN"), "{status:?}");
        assert!(!String::from_utf8_lossy(status.details()).contains("HIDDEN"));
        assert!(!gateway.log().contains("HIDDEN"));
    }
    // A body that is cut off shows nothing of the trace that it holds.
    let body = first("a.b.C: text").to_string();
    let cut = format!("HTTP/1.1 500 x\r\ncontent-length: 99999\r\n\r\n{}", &body[..500]);
    let cloud = FakeCloud::answering(Reply::Raw(cut.into_bytes())).await;
    let gateway = Gateway::start(at(&cloud)).await;
    let status = Rpc::FlinkGet.call(&gateway).await.unwrap_err();
    assert!(!format!("{status:?}{}", gateway.log()).contains("HIDDEN"), "{status:?}");
}

#[tokio::test]
async fn a_forgotten_trigger_id_is_not_found_with_a_hint() {
    let Simulated { gateway, time, .. } = &simulated().await;
    let mut client = client(gateway).await;
    let status = client.get_savepoint(get(TRIGGER_ID)).await.unwrap_err();
    assert_eq!(info(&status), (Code::NotFound, "PROVIDER_NOT_FOUND".to_owned(), None));
    assert!(status.message().contains("may exist all the same"), "{status}");

    let key = TriggerSavepointRequest { idempotency_key: "k".into(), ..trigger() };
    let begun = client.trigger_savepoint(key.clone()).await.unwrap().into_inner().trigger_id;
    let first = ended(&mut client, &begun).await;
    assert_eq!(state(&first), SavepointState::Completed);
    // The same key: no second savepoint.
    assert_eq!(client.trigger_savepoint(key.clone()).await.unwrap().into_inner().trigger_id, begun);
    assert_eq!(ended(&mut client, &begun).await, first);
    time.0.store(5 * 60 + 1, Ordering::Relaxed);
    assert_eq!(client.get_savepoint(get(&begun)).await.unwrap_err().code(), Code::NotFound);
    let latest = client.get_job(job(FLINK_JOB)).await.unwrap().into_inner().job.unwrap();
    assert_eq!(latest.latest_savepoint.unwrap().location, first.savepoint_location);
    client.trigger_savepoint(key).await.unwrap();
    assert_ne!(ended(&mut client, &begun).await.savepoint_location, first.savepoint_location);
}

#[tokio::test]
async fn a_job_is_stopped_with_a_savepoint_and_resumed_from_it() {
    let Simulated { gateway, .. } = &simulated().await;
    let mut client = client(gateway).await;
    let before = client.get_job(job(FLINK_JOB)).await.unwrap().into_inner().job.unwrap();
    assert_eq!((before.state(), before.all_tasks_running), (JobState::Running, true));
    assert_eq!((before.end_time, before.restored_from), (None, None));
    let made = client.trigger_savepoint(trigger()).await.unwrap().into_inner().trigger_id;
    ended(&mut client, &made).await;
    // With the id of that savepoint Flink would stop nothing.
    let stopped = client.stop_with_savepoint(stop()).await.unwrap().into_inner().trigger_id;
    assert_ne!(stopped, made);
    let watch = WatchSavepointRequest {
        job_id: FLINK_JOB.into(),
        trigger_id: stopped.clone(),
        ..Default::default()
    };
    let mut stream = client.watch_savepoint(watch).await.unwrap().into_inner();
    let mut states = Vec::new();
    let mut location = String::new();
    while let Some(message) = stream.message().await.unwrap() {
        assert!(message.observe_time.is_some());
        let savepoint = message.savepoint.unwrap();
        states.push(state(&savepoint));
        location = savepoint.savepoint_location;
    }
    states.dedup();
    assert_eq!(states, [SavepointState::Started, SavepointState::Completed]);
    let after = client.get_job(job(FLINK_JOB)).await.unwrap().into_inner().job.unwrap();
    assert_eq!((after.state(), after.all_tasks_running), (JobState::Finished, false));
    assert!(after.end_time.is_some());
    // It has ended, so a savepoint of it is one of no job.
    let late = client.trigger_savepoint(trigger()).await.unwrap().into_inner().trigger_id;
    let status = loop {
        if let Err(status) = client.get_savepoint(get(&late)).await {
            break status;
        }
    };
    assert_eq!(info(&status).1, "PROVIDER_NOT_FOUND", "{status}");

    let request = ResumeJobRequest { idempotency_key: "k".into(), ..resume(&location) };
    let resumed = client.resume_job(request.clone()).await.unwrap().into_inner();
    assert!(!resumed.already_submitted);
    let again = client.resume_job(request).await.unwrap().into_inner();
    assert_eq!((&again.job_id, again.already_submitted), (&resumed.job_id, true));
    let running = client.get_job(job(&resumed.job_id)).await.unwrap().into_inner().job.unwrap();
    let restored = running.restored_from.unwrap();
    assert_eq!((&restored.location, restored.is_savepoint), (&location, true));
    let status = client.resume_job(resume("file:/nosuch")).await.unwrap_err();
    assert!(status.message().contains("Cannot find checkpoint or savepoint"), "{status}");
}

#[tokio::test]
async fn a_savepoint_that_fails_is_failed_and_the_job_goes_on() {
    let Simulated { gateway, .. } = &simulated().await;
    let mut client = client(gateway).await;
    let stop = StopWithSavepointRequest { target_directory: "file:///proc/x".into(), ..stop() };
    let stopped = client.stop_with_savepoint(stop).await.unwrap().into_inner().trigger_id;
    let savepoint = ended(&mut client, &stopped).await;
    assert_eq!(state(&savepoint), SavepointState::Failed);
    let failure = savepoint.status.unwrap().failure.unwrap();
    assert!(failure.message.ends_with("IO-problem detected."), "{failure:?}");
    let after = client.get_job(job(FLINK_JOB)).await.unwrap().into_inner().job.unwrap();
    assert_eq!(after.state(), JobState::Running);
}

#[tokio::test]
async fn a_job_is_read_only_from_an_answer_about_it() {
    let vertex = |parallelism: u8, running: u8| {
        let tasks = json!({"SCHEDULED": parallelism - running, "RUNNING": running});
        json!({"parallelism": parallelism, "status": "RUNNING", "tasks": tasks})
    };
    let good = json!({
        "jid": FLINK_JOB, "name": "counter", "state": "RUNNING", "start-time": 1_795_647_166_833_i64,
        "end-time": -1, "vertices": [vertex(1, 1), vertex(12, 12)],
    });
    let with = |name: &str, value: Value| {
        let mut job = good.clone();
        job[name] = value;
        job
    };
    let latest = json!({"latest": {"savepoint": null, "restored": null}});
    let (running, partly) = (Ok((JobState::Running, true)), Ok((JobState::Running, false)));
    let malformed = Err("PROVIDER_MALFORMED_RESPONSE");
    for (details, checkpoints, want) in [
        (good.clone(), latest.clone(), running),
        // Flink calls this vertex RUNNING, too.
        (with("vertices", json!([vertex(1, 1), vertex(12, 8)])), latest.clone(), partly),
        (with("vertices", json!([{"status": "RUNNING"}])), latest.clone(), partly),
        (with("vertices", json!([{"parallelism": 0, "tasks": {}}])), latest.clone(), partly),
        (with("vertices", json!([])), latest.clone(), partly),
        (with("vertices", json!(null)), latest.clone(), partly),
        (with("state", json!("RESTARTING")), latest.clone(), Ok((JobState::Restarting, false))),
        (with("state", json!("NEW")), latest.clone(), Ok((JobState::Unspecified, false))),
        (with("state", json!("")), latest.clone(), malformed),
        (with("jid", json!(TRIGGER_ID)), latest.clone(), malformed),
        (with("vertices", json!("RUNNING")), latest.clone(), malformed),
        (with("errors", json!(["a.b.C: x"])), latest.clone(), malformed),
        (json!([good.clone()]), latest.clone(), malformed),
        (good.clone(), json!({}), malformed),
        (good.clone(), json!({"latest": []}), malformed),
    ] {
        let cloud = FakeCloud::start({
            let (details, checkpoints) = (details.to_string(), checkpoints.to_string());
            move |request, _| match request.path().ends_with("/checkpoints") {
                true => Reply::json(200, &checkpoints),
                false => Reply::json(200, &details),
            }
        })
        .await;
        let gateway = Gateway::start(at(&cloud)).await;
        let got = client(&gateway).await.get_job(job(FLINK_JOB)).await;
        let got = got.map(|response| {
            let job = response.into_inner().job.unwrap();
            (job.state(), job.all_tasks_running)
        });
        let got = got.map_err(|status| info(&status).1);
        assert_eq!(got, want.map_err(str::to_owned), "{details} {checkpoints}");
    }
}

#[tokio::test]
async fn a_batch_job_has_no_checkpoints_and_is_there() {
    let rest = "org.apache.flink.runtime.rest";
    let batch = format!("{rest}.handler.RestHandlerException: Checkpointing has not been enabled.");
    let gone = format!("{rest}.NotFoundException: Job {FLINK_JOB} not found");
    for (checkpoints, want) in [(batch, None), (gone, Some("PROVIDER_NOT_FOUND"))] {
        let cloud =
            FakeCloud::start(move |request, _| match request.path().ends_with("/checkpoints") {
                true => {
                    Reply::json(404, &json!({"errors": [trace(&checkpoints, "x")]}).to_string())
                }
                false => {
                    Reply::json(200, &json!({"jid": FLINK_JOB, "state": "RUNNING"}).to_string())
                }
            })
            .await;
        let gateway = Gateway::start(at(&cloud)).await;
        let got = client(&gateway).await.get_job(job(FLINK_JOB)).await;
        assert_eq!(got.as_ref().err().map(|status| info(status).1).as_deref(), want);
        if let Ok(got) = got {
            let job = got.into_inner().job.unwrap();
            let from = (job.restored_from, job.latest_savepoint);
            assert_eq!((job.provider_state.as_str(), from), ("RUNNING", (None, None)));
        }
    }
}

#[tokio::test]
async fn clusters_are_told_apart_and_none_affects_another() {
    let full = FakeCloud::answering(Reply::Silence).await;
    let free = FakeCloud::start(|request, _| accept(request)).await;
    let endpoint = |cloud: &FakeCloud| Endpoint::parse(&cloud.endpoint(), true).unwrap();
    let clusters = [("full".to_owned(), endpoint(&full)), ("free".to_owned(), endpoint(&free))];
    let none = Credentials::fixed(Credential::none());
    let options = Options::none().with(|config| {
        config.providers = flink::Setup::new(clusters, &none).into();
        config.max_in_flight = 1;
    });
    let gateway = Arc::new(Gateway::start(options).await);
    let mut client = client(&gateway).await;
    let of = |cluster: &str| TriggerSavepointRequest { cluster: cluster.into(), ..trigger() };
    for cluster in ["", "FREE", "fre"] {
        let status = client.trigger_savepoint(of(cluster)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{cluster:?}");
        assert!(!status.message().contains("full"), "{status}");
    }
    let mut waiting = client.clone();
    let held = of("full");
    let waiting = tokio::spawn(async move { waiting.trigger_savepoint(held).await });
    crate::support::eventually("the cluster is full", || full.count() == 1).await;
    let status = client.trigger_savepoint(of("full")).await.unwrap_err();
    assert_eq!(info(&status).1, "GATEWAY_OVERLOADED");
    client.trigger_savepoint(of("free")).await.unwrap();
    waiting.abort();
}

#[tokio::test]
async fn an_authorization_goes_along_and_is_never_shown() {
    let basic = "Basic dXNlcjpwYXNzd29yZDAxMjM0NTY3ODk=";
    for (value, secrets) in [
        (basic, vec!["dXNlcjpwYXNzd29yZDAxMjM0NTY3ODk=", "password0123456789"]),
        ("Bearer exampleToken0123456789", vec!["exampleToken0123456789"]),
    ] {
        let text = format!("a.b.C: {} {value}", secrets.join(" "));
        let answer = json!({"errors": [text]}).to_string();
        let cloud = FakeCloud::answering(Reply::json(401, &answer)).await;
        let options = Options { flink_authorization: Some(value.into()), ..at(&cloud) };
        let gateway = Gateway::start(options).await;
        for rpc in Rpc::OF_FLINK {
            let status = rpc.call(&gateway).await.unwrap_err();
            assert_eq!(info(&status).1, "PROVIDER_CREDENTIALS_REJECTED", "{status}");
            let shown = format!("{status:?} {:?} {}", status.get_error_details(), gateway.log());
            for secret in &secrets {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
        }
        for request in cloud.requests() {
            assert_eq!(request.header("authorization"), Some(value));
        }
    }
}
