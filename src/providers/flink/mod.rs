//! Apache Flink's own REST API, on any number of clusters.
//!
//! # Reference
//! - <https://nightlies.apache.org/flink/flink-docs-stable/docs/ops/rest_api/> (read 2026-11-26)
//! - Running clusters of versions 2.3.0 and 1.20.5, where the documentation says nothing.

#[cfg(feature = "internals")]
mod answers;
mod get_job;
mod get_savepoint;
mod options;
mod probe;
mod rest;
mod resume_job;
mod stop_with_savepoint;
mod trigger_savepoint;
mod watch_savepoint;

#[cfg(feature = "internals")]
pub use answers::ID;
pub use get_job::GET_JOB;
pub use get_savepoint::GET_SAVEPOINT;
pub use options::{Options, Setup};
pub use resume_job::RESUME_JOB;
pub use stop_with_savepoint::STOP_WITH_SAVEPOINT;
pub use trigger_savepoint::TRIGGER_SAVEPOINT;
pub use watch_savepoint::WATCH_SAVEPOINT;

use std::sync::Arc;

use crate::call::{Call, Target};
use crate::policy::Scope;
use crate::rpc::Error;
use crate::rpc::operation::Pattern::{Exactly, StartsWith, StartsWithAndHas};
use crate::rpc::operation::{Pattern, Provider, RequestId, StackTraces};
use crate::rpc::reason::Reason;
use crate::upstream::Upstream;

pub static FLINK: Provider = Provider {
    name: "apache-flink",
    codes: CODES,
    messages: MESSAGES,
    error_fields: &[],
    text_fields: &[],
    stack_traces: Some(StackTraces {
        field: "errors",
        vague: &["Could not execute application.", "Internal server error."],
    }),
    // It has none. A proxy in front of it may.
    request_id: RequestId { header: "x-request-id", fields: &[], body_first: false },
    hints: &[],
    secret_labels: &["authorization", "password", "secret"],
};

/// The exceptions that stack traces name, by their simple names.
#[rustfmt::skip]
const CODES: &[(Pattern, Reason)] = &[
    (Exactly("FlinkJobNotFoundException"),                Reason::NotFound),
    // The first since 2.0, the second before.
    (Exactly("DuplicateApplicationSubmissionException"),  Reason::AlreadyExists),
    (Exactly("DuplicateJobSubmissionException"),          Reason::AlreadyExists),
    (Exactly("ProgramInvocationException"),               Reason::RejectedArgument),
];

/// Where neither exception nor HTTP status tells, the text does: an unknown jar is a 500.
#[rustfmt::skip]
const MESSAGES: &[(Pattern, Reason)] = &[
    (StartsWithAndHas("Jar file ", " does not exist"),    Reason::NotFound),
    (StartsWith("Not found: "),                           Reason::EndpointMisconfigured),
    (StartsWith("Unable to load requested file "),        Reason::EndpointMisconfigured),
];

/// The clients of all clusters of one worker.
#[derive(Debug, Clone)]
pub struct Flink {
    clusters: Arc<[Cluster]>,
}

#[derive(Debug)]
struct Cluster {
    name: String,
    upstream: Upstream,
}

impl Cluster {
    /// Judges a call by its cluster.
    fn judge(&self, call: &Call) -> Result<(), Error> {
        call.judge(&Scope { cluster: Some(&self.name), ..Scope::default() })
    }

    /// What a change of a job is about, for the log.
    fn target(&self, job_id: &str) -> Target {
        Target {
            cluster: Some(self.name.clone()),
            job_id: Some(job_id.to_owned()),
            ..Target::default()
        }
    }
}

impl Flink {
    /// The cluster that a request names; the only one if it names none.
    fn cluster(&self, name: &str) -> Option<&Cluster> {
        match (name, &*self.clusters) {
            ("", [only]) => Some(only),
            (name, all) => all.iter().find(|cluster| cluster.name == name),
        }
    }
}
