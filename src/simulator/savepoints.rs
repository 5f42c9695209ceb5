//! The savepoints of the simulated Realtime Compute.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::clock::random;
use crate::text::hex;

/// How many created savepoints are remembered.
const CREATED: usize = 1000;

/// A savepoint is complete at its third reading.
const READINGS: u32 = 3;

/// The savepoints that were created, oldest first, and one that was always there.
#[derive(Debug, Default)]
pub(super) struct Savepoints(Mutex<VecDeque<Savepoint>>);

#[derive(Debug, Clone)]
pub(super) struct Savepoint {
    pub(super) id: String,
    pub(super) namespace: String,
    pub(super) deployment: String,
    pub(super) description: String,
    pub(super) native_format: Option<bool>,
    readings: u32,
    pub(super) fails: bool,
    created_at: i64,
}

const ALWAYS: &str = "88a8fc49-e090-430a-85d8-3ee8c79c0001";
const DEPLOYMENT: &str = "1d716b22-6aad-4be2-85c2-50cfc7570001";
const JOB: &str = "5af678c0-7db0-4650-94c2-d2604f0a0001";

impl Savepoint {
    /// A complete savepoint, as the provider documents it.
    pub(super) fn documented(namespace: &str, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            namespace: namespace.to_owned(),
            deployment: DEPLOYMENT.to_owned(),
            description: "Job snapshot 1".to_owned(),
            native_format: Some(true),
            readings: READINGS,
            fails: false,
            created_at: 1_659_066_711,
        }
    }

    /// A savepoint that has just begun.
    pub(super) fn begun(namespace: &str, deployment: &str, now: jiff::Timestamp) -> Self {
        let bytes = hex(&random::<16>());
        let parts = [&bytes[..8], &bytes[8..12], &bytes[12..16], &bytes[16..20], &bytes[20..]];
        Self {
            deployment: deployment.to_owned(),
            description: String::new(),
            native_format: None,
            readings: 0,
            created_at: now.as_second(),
            ..Self::documented(namespace, &parts.join("-"))
        }
    }

    fn state(&self) -> &'static str {
        match (self.readings >= READINGS, self.fails) {
            (false, _) => "STARTED",
            (true, false) => "COMPLETED",
            (true, true) => "FAILED",
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let state = self.state();
        let failure = match state {
            "FAILED" => json!({
                "message": "create savepoint failed",
                "reason": "IO Exception",
                "failedAt": 1_655_006_835,
            }),
            _ => Value::Null,
        };
        let location = format!(
            "https://oss/bucket/flink/flink-jobs/namespaces/{}/deployments/{}/checkpoints/sp-{}",
            self.namespace,
            self.deployment,
            &self.id[..4.min(self.id.len())]
        );
        json!({
            "savepointId": self.id,
            "deploymentId": self.deployment,
            "jobId": JOB,
            "namespace": self.namespace,
            "savepointOrigin": "USER_REQUEST",
            "nativeFormat": self.native_format.unwrap_or(true),
            "description": self.description,
            "stopWithDrainEnabled": false,
            "savepointLocation": if state == "COMPLETED" { Value::String(location) } else { Value::Null },
            "status": {"state": state, "failure": failure},
            "createdAt": self.created_at,
            "modifiedAt": self.created_at + if state == "STARTED" { 0 } else { 2 },
        })
    }
}

impl Savepoints {
    pub(super) fn add(&self, savepoint: Savepoint) {
        let mut created = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if created.len() == CREATED {
            created.pop_front();
        }
        created.push_back(savepoint);
    }

    /// Reads a savepoint. One that was not created here counts as complete, so that any id works.
    pub(super) fn read(&self, namespace: &str, id: &str) -> Savepoint {
        let mut created = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = created.iter_mut().find(|found| found.id == id && found.namespace == namespace);
        match found {
            Some(found) => {
                found.readings = (found.readings + 1).min(READINGS);
                found.clone()
            }
            None => Savepoint::documented(namespace, id),
        }
    }

    /// Lists the savepoints of a namespace; empty filters fit all.
    pub(super) fn list(&self, namespace: &str, deployment: &str, job: &str) -> Vec<Savepoint> {
        let created = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let always = Savepoint::documented(namespace, ALWAYS);
        let fits = |savepoint: &Savepoint| {
            savepoint.namespace == namespace
                && (deployment.is_empty() || savepoint.deployment == deployment)
                && (job.is_empty() || job == JOB)
        };
        std::iter::once(&always).chain(&*created).filter(|found| fits(found)).cloned().collect()
    }
}
