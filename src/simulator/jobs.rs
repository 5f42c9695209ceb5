//! The Flink jobs of the simulated DLI.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::recent::Recent;

/// The jobs that were changed lately. Any other id is a stopped job without a savepoint.
#[derive(Debug, Default)]
pub(super) struct Jobs(Mutex<Recent<i64, Job>>);

#[derive(Debug, Clone)]
struct Job {
    status: &'static str,
    /// The state after the next reading: changes take a moment.
    becomes: Option<&'static str>,
    description: String,
    savepoint: Option<Savepoint>,
    started: Option<Timestamp>,
    updated: Timestamp,
}

#[derive(Debug, Clone)]
struct Savepoint {
    path: String,
    /// Made by stopping the job, so that the next start deletes it.
    is_of_stop: bool,
}

const CREATED: i64 = 1_600_000_000_000;

impl Job {
    fn new(now: Timestamp) -> Self {
        Self {
            status: "job_cancel_success",
            becomes: None,
            description: String::new(),
            savepoint: None,
            started: None,
            updated: now,
        }
    }

    fn is_running(&self) -> bool {
        self.becomes.unwrap_or(self.status) == "job_running"
    }
}

/// What a change answers: the message of a success, or of a failure.
type Changed = Result<&'static str, &'static str>;

impl Jobs {
    fn change(&self, id: i64, now: Timestamp, change: impl FnOnce(&mut Job) -> Changed) -> Changed {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let job = jobs.get_or_add(id, || Job::new(now));
        let changed = change(job);
        if changed.is_ok() {
            job.updated = now;
        }
        changed
    }

    pub(super) fn import(&self, id: i64, path: &str, now: Timestamp) -> Changed {
        self.change(id, now, |job| {
            if job.is_running() {
                return Err("The job is running.");
            }
            job.savepoint = Some(Savepoint { path: path.to_owned(), is_of_stop: false });
            Ok("The job is successfully updated.")
        })
    }

    pub(super) fn trigger(&self, id: i64, path: &str, now: Timestamp) -> Changed {
        self.change(id, now, |job| {
            if !job.is_running() {
                return Err("The job is not running.");
            }
            let path = format!("{}/savepoint-{:06x}-0123456789ab", path.trim_end_matches('/'), id);
            job.savepoint = Some(Savepoint { path, is_of_stop: false });
            (job.status, job.becomes) = ("job_savepointing", Some("job_running"));
            Ok(r#"{"is_success":"true","message":"api.msg.deal_savepoint_success"}"#)
        })
    }

    /// Starts a job. What it started from is in its description, which is how a start without
    /// state shows here.
    pub(super) fn run(&self, id: i64, resumes: bool, now: Timestamp) -> Changed {
        self.change(id, now, |job| {
            if job.is_running() {
                return Err("The job is running.");
            }
            job.description = match &job.savepoint {
                Some(savepoint) if resumes => format!("started from {}", savepoint.path),
                Some(_) => "started without state, although there is a savepoint".to_owned(),
                None => "started without state: there is no savepoint".to_owned(),
            };
            job.savepoint.take_if(|savepoint| savepoint.is_of_stop);
            job.started = Some(now);
            (job.status, job.becomes) = ("job_submitting", Some("job_running"));
            Ok("The request for submitting DLI jobs is delivered successfully.")
        })
    }

    pub(super) fn stop(&self, id: i64, with_savepoint: bool, now: Timestamp) -> Changed {
        self.change(id, now, |job| {
            if !job.is_running() {
                return Err("The job is not running.");
            }
            if with_savepoint {
                let path = format!("obs://bucket-name/jobs/savepoint/{id}/2026-01-15_08-30-00/");
                job.savepoint = Some(Savepoint { path, is_of_stop: true });
            }
            (job.status, job.becomes) = ("job_canceling", Some("job_cancel_success"));
            Ok("The request for stopping DLI jobs is delivered successfully.")
        })
    }

    /// Describes a job, as the provider documents it.
    pub(super) fn read(&self, id: i64, now: Timestamp) -> Value {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = Job::new(now);
        let job = jobs.get_mut(&id).unwrap_or(&mut new);
        let detail = json!({
            "job_id": id,
            "name": format!("job-{id}"),
            "desc": "",
            "job_type": "flink_jar_job",
            "queue_name": "queue-1",
            "status": job.status,
            "status_desc": job.description,
            "has_savepoint": job.savepoint.is_some(),
            "savepoint_path": job.savepoint.as_ref().map(|savepoint| &savepoint.path),
            "create_time": CREATED,
            "start_time": job.started.map(Timestamp::as_millisecond),
            "update_time": job.updated.as_millisecond(),
        });
        if let Some(next) = job.becomes.take() {
            job.status = next;
        }
        detail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the job says that it was started from, and whether it still has a savepoint.
    fn started(jobs: &Jobs, resumes: bool) -> (String, bool) {
        jobs.run(1, resumes, Timestamp::UNIX_EPOCH).unwrap();
        let detail = jobs.read(1, Timestamp::UNIX_EPOCH);
        (
            detail["status_desc"].as_str().unwrap().to_owned(),
            detail["has_savepoint"].as_bool().unwrap(),
        )
    }

    #[test]
    fn a_start_without_resuming_begins_empty_and_says_so() {
        let imported = Jobs::default();
        imported.import(1, "obs://bucket/dir", Timestamp::UNIX_EPOCH).unwrap();
        let without = "started without state, although there is a savepoint".to_owned();
        assert_eq!(started(&imported, false), (without, true));

        let resumed = Jobs::default();
        resumed.import(1, "obs://bucket/dir", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(started(&resumed, true), ("started from obs://bucket/dir".to_owned(), true));

        let nothing = "started without state: there is no savepoint".to_owned();
        assert_eq!(started(&Jobs::default(), true), (nothing, false));
    }
}
