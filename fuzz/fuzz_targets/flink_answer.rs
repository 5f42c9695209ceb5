//! Flink's response to each call: a savepoint is complete only with a location and failed only with one
//! line; all tasks of a job run only if those of each vertex do; what was begun has the id that was sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use savepoint_gateway::pb::flink::JobState;
use savepoint_gateway::pb::{Savepoint, SavepointState};
use savepoint_gateway::test_util::FLINK_ID;
use savepoint_gateway::transport::Response;
use savepoint_gateway_fuzz::{PROVIDERS, answer, check_error, check_text, value_of, within_bounds};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let [call, rest @ ..] = data else { return };
    let Some(answer) = answer(rest) else { return };
    // Seeds begin with the letter of a call.
    let failed = match call {
        b's' => match within_bounds(data.len(), || PROVIDERS.flink_savepoint(&answer)) {
            Ok(savepoint) => return check_savepoint(&savepoint, &answer),
            Err(error) => error,
        },
        b'j' => match within_bounds(data.len(), || PROVIDERS.flink_job(&answer)) {
            Ok(job) => {
                assert_eq!(job.job_id, FLINK_ID);
                assert!(is_or_unread(value_of(&answer, "jid"), FLINK_ID));
                assert!(is_or_unread(value_of(&answer, "state"), &job.provider_state));
                if job.all_tasks_running {
                    assert_eq!(job.state(), JobState::Running);
                    value_of(&answer, "vertices").iter().for_each(check_vertices);
                }
                return;
            }
            Err(error) => error,
        },
        b'c' => match within_bounds(data.len(), || PROVIDERS.flink_checkpoints(&answer)) {
            Ok(_) => return,
            Err(error) => error,
        },
        _ => match within_bounds(data.len(), || PROVIDERS.flink_begun(&answer)) {
            Ok(()) => {
                let ids = ["request-id", "jobid"].map(|field| value_of(&answer, field));
                assert!(ids.into_iter().any(|id| is_or_unread(id, FLINK_ID)));
                return;
            }
            Err(error) => error,
        },
    };
    check_error(failed);
});

/// Whether it is this text. What the reader of these targets cannot read is not judged.
fn is_or_unread(value: Option<Value>, text: &str) -> bool {
    value.is_none_or(|value| match value {
        Value::String(value) => text.contains("redacted") || value == text,
        Value::Number(value) => value.to_string() == text,
        _ => false,
    })
}

fn check_vertices(vertices: &Value) {
    let vertices = vertices.as_array().expect("a list");
    assert!(!vertices.is_empty());
    for vertex in vertices {
        let number = |value: &Value| match value {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_f64(),
        };
        let (tasks, running) =
            (number(&vertex["parallelism"]), number(&vertex["tasks"]["RUNNING"]));
        assert!(tasks.is_some_and(|tasks: f64| tasks >= 1.0) && tasks == running, "{vertex}");
    }
}

fn check_savepoint(savepoint: &Savepoint, answer: &Response) {
    assert_eq!((&*savepoint.savepoint_id, &*savepoint.job_id), (FLINK_ID, FLINK_ID));
    let status = savepoint.status.as_ref().expect("a status");
    let has = (!savepoint.savepoint_location.is_empty(), status.failure.is_some());
    match status.state() {
        SavepointState::Completed => assert_eq!(has, (true, false)),
        SavepointState::Failed => assert_eq!(has, (false, true)),
        SavepointState::Started | SavepointState::Unspecified => assert_eq!(has, (false, false)),
    }
    if let Some(said) = value_of(answer, "status") {
        let id = said["id"].as_str();
        let is_complete = id == Some("COMPLETED");
        assert_eq!(
            is_complete,
            matches!(status.state(), SavepointState::Completed | SavepointState::Failed)
        );
        assert_eq!(id == Some("IN_PROGRESS"), status.state() == SavepointState::Started);
    }
    if let Some(operation) = value_of(answer, "operation") {
        assert_eq!(operation["location"].as_str().is_some_and(|text| !text.is_empty()), has.0);
        assert_eq!(operation["failure-cause"].is_object(), has.1);
    }
    if let Some(failure) = &status.failure {
        for text in [&failure.message, &failure.reason] {
            assert!(text.len() <= 1024, "{} bytes", text.len());
            check_text("a failure", text);
        }
    }
}
