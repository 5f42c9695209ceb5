//! Failures on demand: ids that make a simulator fail like a provider.

use super::Reply;
use crate::rpc::reason::Reason;
use Answer::{Own, Same};

/// A failure that a request selects by its id.
///
/// RPCs of DLI select it with `job_id`; GetSavepoint and WatchSavepoint of Alibaba Cloud with the
/// savepoint id `simulate-{name}`, ListSavepoints and CreateSavepoint with that deployment id; RPCs of
/// Apache Flink with [`Scenario::flink_job`], and ResumeJob with the jar id `simulate-{name}`.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name, for example `throttled`.
    pub name: &'static str,
    pub job_id: i64,
    pub(super) answer: Answer,
    /// The reason that ImportSavepoint returns; none if it succeeds in the end.
    pub import: Option<Reason>,
    /// The reason that the other RPCs return; none if they succeed in the end.
    pub get: Option<Reason>,
}

/// What a provider does in a scenario.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// It answers with codes of its own.
    Own(Specific),
    /// All do the same.
    Same(fn(&ErrorOfProvider<'_>) -> Reply),
}

/// Makes an error of a status and a text in the provider's own shape.
type ErrorOfProvider<'a> = dyn Fn(u16, &str) -> Reply + 'a;

/// The scenarios with codes or shapes of each provider's own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Specific {
    RejectedArgument,
    NotFound,
    /// HTTP 200 that reports a failure.
    ReportedFailure,
    /// With a wait of 60 s.
    Throttled,
    PermissionDenied,
    CredentialsRejected,
    ClockSkew,
    Internal,
    QuotaExceeded,
    /// Fails twice (throttling for changes, 503 for reads), then succeeds.
    Recovers,
    FailedSavepoint,
}

const fn both(name: &'static str, job_id: i64, answer: Answer, failure: Reason) -> Scenario {
    Scenario { name, job_id, answer, import: Some(failure), get: Some(failure) }
}

/// A page of something in front of the service: of a proxy, or of another host.
fn html(status: u16) -> Reply {
    Reply::text(status, "text/html", format!("<html>{status}</html>"))
}

/// The name of the scenario that succeeds at the third attempt.
pub(crate) const RECOVERS: &str = "recovers";

/// All scenarios, in the order of the table in `docs/reference.md`.
#[rustfmt::skip]
pub const SCENARIOS: [Scenario; 23] = [
    both("rejected-argument", 900_001, Own(Specific::RejectedArgument), Reason::RejectedArgument),
    both("not-found", 900_002, Own(Specific::NotFound), Reason::NotFound),
    both("reported-failure", 900_003, Own(Specific::ReportedFailure), Reason::ReportedFailure),
    both("throttled", 900_004, Own(Specific::Throttled), Reason::Throttled),
    both("permission-denied", 900_005, Own(Specific::PermissionDenied), Reason::PermissionDenied),
    both("credentials-rejected", 900_006, Own(Specific::CredentialsRejected), Reason::CredentialsRejected),
    both("clock-skew", 900_007, Own(Specific::ClockSkew), Reason::ClockSkew),
    both("provider-timeout", 900_008, Same(|_| html(504)), Reason::ProviderTimeout),
    both("internal", 900_009, Own(Specific::Internal), Reason::ProviderInternal),
    both("misconfigured", 900_010, Same(|_| html(404)), Reason::EndpointMisconfigured),
    both("request-rejected", 900_011, Same(|json| json(415, "unsupported media type")), Reason::RequestRejected),
    both("conflict", 900_012, Same(|json| json(409, "another change is under way")), Reason::Conflict),
    both("unimplemented", 900_013, Same(|json| json(501, "not implemented")), Reason::Unimplemented),
    both("unavailable", 900_014, Same(|_| html(503)), Reason::Unavailable),
    both("redirect", 900_015, Same(|_| html(302).with("location", "https://elsewhere.example/")), Reason::RedirectRefused),
    both("malformed", 900_016, Same(|_| Reply::text(200, "text/html", "<html>please log in</html>".into())), Reason::MalformedResponse),
    both("cut-short", 900_017, Same(|_| Reply::cut_short()), Reason::TruncatedResponse),
    both("too-large", 900_018, Same(|_| Reply::text(200, "application/json", " ".repeat(2 * 1024 * 1024))), Reason::ResponseTooLarge),
    both("connection-lost", 900_019, Same(|_| Reply::HangUp), Reason::ConnectionLost),
    both("silence", 900_020, Same(|_| Reply::Silence), Reason::DeadlineExceeded),
    Scenario { name: "quota-exceeded", job_id: 900_021, answer: Own(Specific::QuotaExceeded), import: Some(Reason::QuotaExceeded), get: Some(Reason::Throttled) },
    Scenario { name: RECOVERS, job_id: 900_022, answer: Own(Specific::Recovers), import: None, get: None },
    Scenario { name: "failed-savepoint", job_id: 900_023, answer: Own(Specific::FailedSavepoint), import: None, get: None },
];

impl Scenario {
    /// The id of a job on Apache Flink: `job_id` with leading zeros, 32 digits.
    pub fn flink_job(&self) -> String {
        format!("{:032}", self.job_id)
    }

    pub(super) fn of_job(job_id: i64) -> Option<Self> {
        SCENARIOS.into_iter().find(|scenario| scenario.job_id == job_id)
    }

    pub(super) fn of_id(id: &str) -> Option<Self> {
        let name = id.strip_prefix("simulate-")?;
        SCENARIOS.into_iter().find(|scenario| scenario.name == name)
    }

    /// Whether its savepoints end as failed.
    pub(super) fn fails_savepoint(self) -> bool {
        matches!(self.answer, Own(Specific::FailedSavepoint))
    }
}
