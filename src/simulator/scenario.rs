//! Failures on demand: ids that make a simulator fail like a provider.

use super::Reply;
use crate::rpc::reason::Reason;

/// A failure that a request selects by its id.
///
/// ImportSavepoint selects it with `job_id`, GetSavepoint with the savepoint id `simulate-{name}`.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name, for example `throttled`.
    pub name: &'static str,
    /// The job id that selects it.
    pub job_id: i64,
    /// The reason that ImportSavepoint returns; none if it succeeds in the end.
    pub import: Option<Reason>,
    /// The reason that GetSavepoint returns; none if it succeeds in the end.
    pub get: Option<Reason>,
}

const fn both(name: &'static str, job_id: i64, failure: Reason) -> Scenario {
    Scenario { name, job_id, import: Some(failure), get: Some(failure) }
}

const fn ok(name: &'static str, job_id: i64) -> Scenario {
    Scenario { name, job_id, import: None, get: None }
}

/// All scenarios, in the order of the table in `docs/reference.md`.
pub const SCENARIOS: [Scenario; 23] = [
    both("rejected-argument", 900_001, Reason::RejectedArgument),
    both("not-found", 900_002, Reason::NotFound),
    both("reported-failure", 900_003, Reason::ReportedFailure),
    both("throttled", 900_004, Reason::Throttled),
    both("permission-denied", 900_005, Reason::PermissionDenied),
    both("credentials-rejected", 900_006, Reason::CredentialsRejected),
    both("clock-skew", 900_007, Reason::ClockSkew),
    both("provider-timeout", 900_008, Reason::ProviderTimeout),
    both("internal", 900_009, Reason::ProviderInternal),
    both("misconfigured", 900_010, Reason::EndpointMisconfigured),
    both("request-rejected", 900_011, Reason::RequestRejected),
    both("conflict", 900_012, Reason::Conflict),
    both("unimplemented", 900_013, Reason::Unimplemented),
    both("unavailable", 900_014, Reason::Unavailable),
    both("redirect", 900_015, Reason::RedirectRefused),
    both("malformed", 900_016, Reason::MalformedResponse),
    both("cut-short", 900_017, Reason::TruncatedResponse),
    both("too-large", 900_018, Reason::ResponseTooLarge),
    both("connection-lost", 900_019, Reason::ConnectionLost),
    both("silence", 900_020, Reason::DeadlineExceeded),
    Scenario {
        name: "quota-exceeded",
        job_id: 900_021,
        import: Some(Reason::QuotaExceeded),
        get: Some(Reason::Throttled),
    },
    ok("recovers", 900_022),
    ok("failed-savepoint", 900_023),
];

impl Scenario {
    pub(super) fn of_job(job_id: &str) -> Option<Self> {
        let job_id: i64 = job_id.parse().ok()?;
        SCENARIOS.into_iter().find(|scenario| scenario.job_id == job_id)
    }

    pub(super) fn of_savepoint(savepoint_id: &str) -> Option<Self> {
        let name = savepoint_id.strip_prefix("simulate-")?;
        SCENARIOS.into_iter().find(|scenario| scenario.name == name)
    }

    /// Responses that are the same for both providers.
    pub(super) fn either(self, json: impl Fn(u16, &str) -> Reply) -> Reply {
        match self.name {
            "provider-timeout" => Reply::Text(504, "text/html", "<html>504</html>".into()),
            "misconfigured" => Reply::Text(404, "text/html", "<html>404</html>".into()),
            "request-rejected" => json(415, "unsupported media type"),
            "conflict" => json(409, "another change is under way"),
            "unimplemented" => json(501, "not implemented"),
            "unavailable" => Reply::Text(503, "text/html", "<html>503</html>".into()),
            "redirect" => Reply::With(
                "location",
                "https://elsewhere.example/".into(),
                Box::new(Reply::Text(302, "text/plain", String::new())),
            ),
            "malformed" => Reply::Text(200, "text/html", "<html>please log in</html>".into()),
            "cut-short" => Reply::CutShort,
            "too-large" => Reply::Text(200, "application/json", " ".repeat(2 * 1024 * 1024)),
            "silence" => Reply::Silence,
            _ => Reply::HangUp,
        }
    }
}
