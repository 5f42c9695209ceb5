//! The simulator of Apache Flink answers as a cluster does: `flink_answers.json` has the statuses,
//! shapes and first lines of a cluster of version 2.3.0 that was asked the same.
//!
//! A shape has the type of each member: a text, 0 for a number, true for a boolean.

use std::collections::BTreeMap;
use std::sync::Arc;

use savepoint_gateway::clock::SystemClock;
use savepoint_gateway::simulator::{Api, Simulator};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const JOB: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";
const OTHER: &str = "0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d";
const TRIGGER: &str = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
const STOP: &str = "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c";
const UNWRITABLE: &str = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
const UNKNOWN: &str = "0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e";
const JAR: &str = "/jars/bd774061-be13-4a9a-853c-6a0da92788e4_counter.jar/run";

struct Answer {
    status: u16,
    body: Value,
}

async fn ask(simulator: &Simulator, call: &str, body: &str) -> Answer {
    let mut stream = tokio::net::TcpStream::connect(simulator.address()).await.unwrap();
    let length = body.len();
    let head = format!(
        "{call} HTTP/1.1\r\nhost: flink\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, body: serde_json::from_str(body).unwrap() }
}

fn first_line(trace: &str) -> &str {
    let trace = trace.strip_prefix("<Exception on server side:\n").unwrap_or(trace);
    trace.lines().next().unwrap_or_default().trim()
}

fn last_cause(trace: &str) -> Option<&str> {
    trace.rsplit_once("\nCaused by: ").and_then(|(_, cause)| cause.lines().next())
}

/// Whether a cluster has all that this has, with the same types.
fn fits(simulated: &Value, real: &Value) -> bool {
    match (simulated, real) {
        (Value::Object(simulated), Value::Object(real)) => simulated
            .iter()
            .all(|(name, value)| real.get(name).is_some_and(|real| fits(value, real))),
        (Value::Array(simulated), Value::Array(real)) => {
            simulated.iter().all(|value| real.first().is_none_or(|real| fits(value, real)))
        }
        // What has not happened is null.
        (Value::Null, Value::Null | Value::Object(_))
        | (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_)) => true,
        _ => false,
    }
}

fn compare(name: &str, got: &Answer, real: &Value) {
    let body = &got.body;
    assert_eq!(Value::from(got.status), real["status"], "{name}: {body}");
    let Some(errors) = real["errors"].as_array() else {
        assert!(fits(body, &real["shape"]), "{name}: {body}\n{}", real["shape"]);
        let trace = body["operation"]["failure-cause"]["stack-trace"].as_str();
        assert_eq!(trace.map(first_line), real["failure"].as_str(), "{name}");
        return;
    };
    let got = body["errors"].as_array().unwrap();
    assert_eq!(got.len(), errors.len(), "{name}: {body}");
    for (got, real) in got.iter().zip(errors) {
        let trace = got.as_str().unwrap();
        let said = first_line(trace).replace("/uploads/", "DIR/");
        assert_eq!(said, real[0].as_str().unwrap(), "{name}");
        if let Some(cause) = real[1].as_str() {
            assert_eq!(last_cause(trace), Some(cause), "{name}");
        }
    }
}

#[tokio::test]
async fn the_simulator_answers_as_a_cluster_does() {
    let real: Vec<Value> = serde_json::from_str(include_str!("flink_answers.json")).unwrap();
    let mut real: BTreeMap<_, _> =
        real.iter().map(|answer| (answer["name"].as_str().unwrap(), answer)).collect();
    let simulator = Simulator::start(Api::Flink, Arc::new(SystemClock)).await.unwrap();
    let of_job = |rest: &str| format!("GET /jobs/{JOB}{rest}");
    let savepoint = |id: &str| of_job(&format!("/savepoints/{id}"));
    let begin = |what: &str| format!("POST /jobs/{JOB}/{what}");
    let target = "file:///savepoints";
    let trigger = json!({"target-directory": target, "triggerId": TRIGGER});
    let unwritable = json!({"target-directory": "file:///proc/nosuch", "triggerId": UNWRITABLE});
    let stop = json!({"targetDirectory": target, "drain": false, "triggerId": STOP});
    let run = |id: &str, path: &str| json!({"jobId": id, "savepointPath": path}).to_string();
    let none = String::new;
    let from = format!("{target}/savepoint-0a0a0a-5d6d4399c97d");
    let again = run(OTHER, &from);
    let jar = format!("POST {JAR}");
    let asked = [
        ("overview", "GET /overview".to_owned(), none()),
        ("run", jar.clone(), json!({"jobId": JOB}).to_string()),
        ("job", of_job(""), none()),
        ("checkpoints before", of_job("/checkpoints"), none()),
        ("trigger", begin("savepoints"), trigger.to_string()),
        ("savepoint in progress", savepoint(TRIGGER), none()),
        ("savepoint completed", savepoint(TRIGGER), none()),
        ("trigger again", begin("savepoints"), trigger.to_string()),
        ("unknown trigger id", savepoint(UNKNOWN), none()),
        ("trigger id of another job", format!("GET /jobs/{OTHER}/savepoints/{TRIGGER}"), none()),
        ("bad trigger id", savepoint("xyz"), none()),
        ("bad job id", "GET /jobs/abc".to_owned(), none()),
        ("bad format", begin("savepoints"), json!({"formatType": "FANCY"}).to_string()),
        ("bad body", begin("stop"), "{not json".to_owned()),
        ("trigger unwritable", begin("savepoints"), unwritable.to_string()),
        ("savepoint unwritable", savepoint(UNWRITABLE), none()),
        ("stop", begin("stop"), stop.to_string()),
        ("stopped", savepoint(STOP), none()),
        ("job finished", of_job(""), none()),
        ("checkpoints after", of_job("/checkpoints"), none()),
        ("run from savepoint", jar.clone(), again.clone()),
        ("checkpoints resumed", format!("GET /jobs/{OTHER}/checkpoints"), none()),
        ("run again", jar.clone(), again),
        ("run missing savepoint", jar.clone(), run(UNKNOWN, "file:///nosuch/sp")),
        ("run unknown jar", "POST /jars/nosuch.jar/run".to_owned(), "{}".to_owned()),
        ("run bad claim mode", jar, json!({"claimMode": "EAT"}).to_string()),
        ("not a path", "GET /nosuch".to_owned(), none()),
        ("not a call", begin("nosuch"), none()),
    ];
    for (name, call, body) in asked {
        let mut got = ask(&simulator, &call, &body).await;
        let ends = matches!(name, "savepoint completed" | "savepoint unwritable" | "stopped");
        while ends && got.body["status"]["id"] == "IN_PROGRESS" {
            got = ask(&simulator, &call, &body).await;
        }
        compare(name, &got, real.remove(name).expect(name));
    }
    assert!(real.is_empty(), "not asked: {real:?}");
}
