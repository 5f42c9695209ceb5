//! A cluster of Apache Flink, simulated: answers as recorded from versions 2.3.0 and 1.20.5.
//!
//! Every job id is that of a running job until it is stopped.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::recent::Recent;
use super::scenario::Answer::{Own, Same};
use super::scenario::{Scenario, Specific};
use super::{Reply, State};
use crate::clock::random;
use crate::signing::percent_decode;
use crate::text::hex;

/// How long an ended savepoint is known by its trigger id: `rest.async.store-duration`.
const STORE_SECONDS: i64 = 5 * 60;

/// A savepoint has ended at its third reading.
const READINGS: u32 = 3;

/// The jobs and savepoints of the cluster.
#[derive(Debug, Default)]
pub(super) struct Cluster(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    jobs: Recent<String, Job>,
    /// By job and trigger id.
    savepoints: Recent<(String, String), Savepoint>,
}

#[derive(Debug, Clone)]
struct Job {
    state: &'static str,
    started: i64,
    ended: i64,
    restored_from: Option<String>,
    latest_savepoint: Option<String>,
}

impl Job {
    fn running(now: Timestamp) -> Self {
        let started = now.as_millisecond();
        Self { state: "RUNNING", started, ended: -1, restored_from: None, latest_savepoint: None }
    }
}

#[derive(Debug, Clone)]
struct Savepoint {
    directory: String,
    stops_job: bool,
    readings: u32,
    /// Once it has ended: when, and its location or the first line of the trace.
    ended: Option<(Timestamp, Result<String, String>)>,
}

#[derive(Debug, Deserialize)]
struct Begin {
    #[serde(rename = "target-directory", alias = "targetDirectory")]
    directory: Option<String>,
    #[serde(rename = "formatType")]
    format: Option<String>,
    #[serde(rename = "triggerId")]
    trigger_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    job_id: Option<String>,
    savepoint_path: Option<String>,
    claim_mode: Option<String>,
}

pub(super) fn answer(state: &State, request: &Request<Bytes>) -> Reply {
    let path = percent_decode(request.uri().path()).into_owned();
    let parts: Vec<_> = path.split('/').skip(1).collect();
    let scenario = match parts[..] {
        ["jobs", job, ..] => job.trim_start_matches('0').parse().ok().and_then(Scenario::of_job),
        ["jars", jar, ..] => Scenario::of_id(jar),
        _ => None,
    };
    let failure = scenario.and_then(|scenario| failure(scenario, state.count(scenario.name)));
    if let Some(failure) = failure {
        return failure;
    }
    let (cluster, now) = (&state.cluster, state.clock.now());
    let fails = scenario.is_some_and(Scenario::fails_savepoint);
    let body = request.body();
    match (request.method(), &parts[..]) {
        (&Method::GET, ["overview"]) => Reply::json(
            200,
            json!({
                "taskmanagers": 1, "slots-total": 4, "slots-available": 3, "jobs-running": 1,
                "jobs-finished": 0, "jobs-cancelled": 0, "jobs-failed": 0,
                "flink-version": "2.3.0", "flink-commit": "simulated",
            }),
        ),
        (_, ["jobs", job, ..]) if !is_id(job) => parameter_error("jobid", job),
        (&Method::POST, ["jobs", job, "savepoints"]) => cluster.begin(job, body, false, fails, now),
        (&Method::POST, ["jobs", job, "stop"]) => cluster.begin(job, body, true, fails, now),
        (&Method::GET, ["jobs", _, "savepoints", id]) if !is_id(id) => {
            parameter_error("triggerid", id)
        }
        (&Method::GET, ["jobs", job, "savepoints", id]) => cluster.savepoint(job, id, now),
        (&Method::GET, ["jobs", job]) => cluster.job(job, now),
        (&Method::GET, ["jobs", job, "checkpoints"]) => cluster.checkpoints(job, now),
        (&Method::POST, ["jars", jar, "run"]) => cluster.run(jar, body, now),
        (&Method::GET, _) => {
            Reply::json(404, json!({"errors": [format!("Unable to load requested file {path}.")]}))
        }
        _ => Reply::json(404, json!({"errors": [format!("Not found: {path}")]})),
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// An id as Flink writes it.
fn small(id: &str) -> String {
    id.to_ascii_lowercase()
}

impl Cluster {
    fn with<T>(&self, now: Timestamp, work: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_remembered = |savepoint: &Savepoint| {
            let ended = savepoint.ended.as_ref().map(|(ended, _)| *ended);
            ended.is_none_or(|ended| now.duration_since(ended).as_secs() < STORE_SECONDS)
        };
        known.savepoints.retain(is_remembered);
        work(&mut known)
    }

    fn begin(
        &self,
        job: &str,
        body: &Bytes,
        stops_job: bool,
        fails: bool,
        now: Timestamp,
    ) -> Reply {
        let name =
            if stops_job { "StopWithSavepointRequestBody" } else { "SavepointTriggerRequestBody" };
        let body = if body.is_empty() { b"{}" } else { &body[..] };
        let Ok(Begin { directory, format, trigger_id }) = serde_json::from_slice(body) else {
            return format_error(name);
        };
        let is_format = format.is_none_or(|text| matches!(&*text, "CANONICAL" | "NATIVE"));
        if !is_format || trigger_id.as_ref().is_some_and(|id| !is_id(id)) {
            return format_error(name);
        }
        let id = trigger_id.map_or_else(|| hex(&random::<16>()), |id| small(&id));
        let directory = directory.unwrap_or_else(|| "file:///savepoints".to_owned());
        let directory = if fails { "file:///proc".to_owned() } else { directory };
        self.with(now, |known| {
            let begun = Savepoint { directory, stops_job, readings: 0, ended: None };
            // A known id begins nothing, whatever it is asked for.
            known.savepoints.get_or_add((small(job), id.clone()), || begun);
        });
        Reply::json(202, json!({"request-id": id}))
    }

    fn savepoint(&self, job: &str, id: &str, now: Timestamp) -> Reply {
        let (job, id) = (small(job), small(id));
        self.with(now, |known| {
            let Some(savepoint) = known.savepoints.get_mut(&(job.clone(), id.clone())) else {
                let text =
                    format!("There is no savepoint operation with triggerId={id} for job {job}.");
                return rest_error(404, "RestHandlerException", &text);
            };
            savepoint.readings += 1;
            if savepoint.readings >= READINGS && savepoint.ended.is_none() {
                let known = known.jobs.get_or_add(job.clone(), || Job::running(now));
                savepoint.ended = Some((now, end(savepoint, &job, known, now)));
            }
            Reply::json(
                200,
                match &savepoint.ended {
                    None => json!({"status": {"id": "IN_PROGRESS"}, "operation": null}),
                    Some((_, Ok(location))) => {
                        json!({"status": {"id": "COMPLETED"}, "operation": {"location": location}})
                    }
                    Some((_, Err(line))) => json!({
                        "status": {"id": "COMPLETED"},
                        "operation": {"failure-cause": {
                            "class": COMPLETION,
                            "stack-trace": trace(&format!("{COMPLETION}: {line}"), &[line]),
                            "serialized-throwable": "rO0ABXNyACpqYXZhLnV0aWwuY29uY3VycmVudC5",
                        }},
                    }),
                },
            )
        })
    }

    fn job(&self, id: &str, now: Timestamp) -> Reply {
        let id = small(id);
        let job =
            self.with(now, |known| known.jobs.get_or_add(id.clone(), || Job::running(now)).clone());
        let vertex = |name: &str| {
            let status = if job.state == "RUNNING" { "RUNNING" } else { "FINISHED" };
            json!({"name": name, "parallelism": 1, "status": status, "tasks": {status: 1}})
        };
        Reply::json(
            200,
            json!({
                "jid": id, "name": "counter", "isStoppable": false, "state": job.state,
                "job-type": "STREAMING", "start-time": job.started, "end-time": job.ended,
                "duration": now.as_millisecond() - job.started, "now": now.as_millisecond(),
                "vertices": [vertex("Source: Sequence Source -> Map"), vertex("KeyedProcess -> Sink: Writer")],
            }),
        )
    }

    fn checkpoints(&self, id: &str, now: Timestamp) -> Reply {
        let job = self.with(now, |known| known.jobs.get(&small(id)).cloned());
        let job = job.unwrap_or_else(|| Job::running(now));
        let time = now.as_millisecond();
        let restored = job.restored_from.as_ref().map(|location| {
            json!({"id": 16, "restore_timestamp": job.started, "is_savepoint": true, "external_path": location})
        });
        let savepoint = job.latest_savepoint.as_ref().map(|location| {
            json!({
                "className": "completed", "id": 17, "status": "COMPLETED", "is_savepoint": true,
                "savepointFormat": "CANONICAL", "trigger_timestamp": time, "latest_ack_timestamp": time,
                "state_size": 4290, "external_path": location, "discarded": false,
            })
        });
        Reply::json(
            200,
            json!({
                "counts": {
                    "restored": i32::from(restored.is_some()), "total": 1, "in_progress": 0,
                    "completed": i32::from(savepoint.is_some()), "failed": 0,
                },
                "latest": {"completed": null, "savepoint": savepoint, "failed": null, "restored": restored},
                "history": [],
            }),
        )
    }

    fn run(&self, jar: &str, body: &Bytes, now: Timestamp) -> Reply {
        if jar.starts_with("nosuch") {
            let text = format!("Jar file /uploads/{jar} does not exist");
            return server_error(&format!("{COMPLETION}: {REST}RestHandlerException: {text}"));
        }
        let body = if body.is_empty() { b"{}" } else { &body[..] };
        let Ok(Run { job_id, savepoint_path, claim_mode }) = serde_json::from_slice(body) else {
            return format_error("JarRunRequestBody");
        };
        let is_mode =
            claim_mode.is_none_or(|mode| matches!(&*mode, "NO_CLAIM" | "CLAIM" | "LEGACY"));
        if !is_mode || job_id.as_ref().is_some_and(|id| !is_id(id)) {
            return format_error("JarRunRequestBody");
        }
        let id = job_id.map_or_else(|| hex(&random::<16>()), |id| small(&id));
        self.with(now, |known| {
            if known.jobs.get(&id).is_some() {
                return start_error(
                    "org.apache.flink.runtime.client.DuplicateApplicationSubmissionException: \
                     Application has already been submitted.",
                );
            }
            let mut job = Job::running(now);
            if let Some(path) = savepoint_path.as_ref().filter(|path| path.contains("nosuch")) {
                // The job is there all the same.
                (job.state, job.ended) = ("FAILED", now.as_millisecond());
                known.jobs.get_or_add(id, || job);
                return start_error(&format!(
                    "java.io.FileNotFoundException: Cannot find checkpoint or savepoint \
                     file/directory '{path}' on file system 'file'."
                ));
            }
            job.restored_from = savepoint_path;
            known.jobs.get_or_add(id.clone(), || job);
            Reply::json(200, json!({"jobid": id, "applicationId": id}))
        })
    }
}

/// How a savepoint ends: its location, or the first line of the trace.
fn end(savepoint: &Savepoint, id: &str, job: &mut Job, now: Timestamp) -> Result<String, String> {
    if job.ended >= 0 {
        return Err(format!(
            "org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job ({id})"
        ));
    }
    if savepoint.directory.starts_with("file:///proc") {
        return Err(
            "org.apache.flink.runtime.checkpoint.CheckpointException: An Exception occurred \
                    while triggering the checkpoint. IO-problem detected."
                .to_owned(),
        );
    }
    let directory = savepoint.directory.trim_end_matches('/');
    let location = format!("{directory}/savepoint-{}-{}", &id[..6], hex(&random::<6>()));
    job.latest_savepoint = Some(location.clone());
    if savepoint.stops_job {
        (job.state, job.ended) = ("FINISHED", now.as_millisecond());
    }
    Ok(location)
}

const COMPLETION: &str = "java.util.concurrent.CompletionException";
const REST: &str = "org.apache.flink.runtime.rest.handler.";

/// A stack trace: a first line, and what must never be told.
fn trace(first: &str, causes: &[&str]) -> String {
    let at = "\n\tat org.apache.flink.runtime.Simulated.run(Simulated.java:42)".repeat(20);
    let causes = causes.iter().map(|cause| format!("\nCaused by: {cause}{at}"));
    std::iter::once(format!("{first}{at}")).chain(causes).collect()
}

fn rest_error(status: u16, class: &str, text: &str) -> Reply {
    Reply::json(status, json!({"errors": [trace(&format!("{REST}{class}: {text}"), &[])]}))
}

fn format_error(body: &str) -> Reply {
    let text = format!("Request did not match expected format {body}.");
    rest_error(400, "RestHandlerException", &text)
}

fn parameter_error(name: &str, value: &str) -> Reply {
    let text = format!(
        "Bad request, could not parse parameters: Cannot resolve path parameter ({name}) from value \"{value}\"."
    );
    rest_error(400, "RestHandlerException", &text)
}

fn start_error(cause: &str) -> Reply {
    let vague = "org.apache.flink.util.FlinkRuntimeException: Could not execute application.";
    let first = format!("{REST}RestHandlerException: Could not execute application.");
    let causes = [&format!("{COMPLETION}: {vague}"), vague, cause];
    Reply::json(400, json!({"errors": [trace(&first, &causes)]}))
}

fn server_error(first: &str) -> Reply {
    let trace = format!(
        "<Exception on server side:\n{}\nEnd of exception on server side>",
        trace(first, &[])
    );
    Reply::json(500, json!({"errors": ["Internal server error.", trace]}))
}

/// What the cluster, or a proxy in front of it, answers in a scenario; none if it succeeds.
fn failure(scenario: Scenario, count: u32) -> Option<Reply> {
    let error = |status, text: &str| -> Reply {
        let errors: Value = json!([trace(&format!("{REST}RestHandlerException: {text}"), &[])]);
        Reply::json(status, json!({"errors": errors}))
    };
    let specific = match scenario.answer {
        Own(specific) => specific,
        Same(reply) => return Some(reply(&error)),
    };
    Some(match specific {
        Specific::RejectedArgument => error(400, "Request did not match expected format."),
        Specific::NotFound => error(404, "Job not found"),
        // Of a proxy: Flink itself reports such failures as a savepoint's.
        Specific::ReportedFailure => error(412, "The job is in no state for this."),
        Specific::Throttled => error(429, "too many requests").with("retry-after", "60"),
        Specific::QuotaExceeded => error(429, "too many requests"),
        Specific::PermissionDenied => error(403, "The proxy does not allow this."),
        Specific::CredentialsRejected => error(401, "The token is not valid."),
        Specific::ClockSkew => error(401, "The date of the signature has expired."),
        Specific::Internal => server_error("java.lang.IllegalStateException: simulated"),
        Specific::Recovers if !count.is_multiple_of(3) => error(
            503,
            "Service temporarily unavailable due to an ongoing leader election. Please refresh.",
        ),
        Specific::Recovers | Specific::FailedSavepoint => return None,
    })
}
