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
    /// The behaviour of the provider.
    pub about: &'static str,
    /// The reason that ImportSavepoint returns; none if it succeeds in the end.
    pub import: Option<Reason>,
    /// The reason that GetSavepoint returns; none if it succeeds in the end.
    pub get: Option<Reason>,
}

const fn both(name: &'static str, job_id: i64, about: &'static str, failure: Reason) -> Scenario {
    Scenario { name, job_id, about, import: Some(failure), get: Some(failure) }
}

/// All scenarios, in the order of the table in the documentation.
pub const SCENARIOS: [Scenario; 23] = [
    both("rejected-argument", 900_001, "finds a parameter wrong", Reason::RejectedArgument),
    both("not-found", 900_002, "does not know the job or savepoint", Reason::NotFound),
    both(
        "reported-failure",
        900_003,
        "answers 200 and says that it failed",
        Reason::ReportedFailure,
    ),
    both("throttled", 900_004, "wants fewer calls, and a wait of 60 s", Reason::Throttled),
    both("permission-denied", 900_005, "misses a permission", Reason::PermissionDenied),
    both(
        "credentials-rejected",
        900_006,
        "does not accept the signature",
        Reason::CredentialsRejected,
    ),
    both("clock-skew", 900_007, "finds the signature's date wrong", Reason::ClockSkew),
    both("provider-timeout", 900_008, "answers 504", Reason::ProviderTimeout),
    both("internal", 900_009, "answers 500", Reason::ProviderInternal),
    both(
        "misconfigured",
        900_010,
        "answers 404 in HTML, as a wrong host does",
        Reason::EndpointMisconfigured,
    ),
    both("request-rejected", 900_011, "answers 415", Reason::RequestRejected),
    both("conflict", 900_012, "answers 409", Reason::Conflict),
    both("unimplemented", 900_013, "answers 501", Reason::Unimplemented),
    both("unavailable", 900_014, "answers 503", Reason::Unavailable),
    both("redirect", 900_015, "answers 302", Reason::RedirectRefused),
    both("malformed", 900_016, "answers 200 with a login page", Reason::MalformedResponse),
    both("cut-short", 900_017, "hangs up within the answer", Reason::TruncatedResponse),
    both("too-large", 900_018, "answers with 2 MiB", Reason::ResponseTooLarge),
    both("connection-lost", 900_019, "hangs up before the answer", Reason::ConnectionLost),
    both("silence", 900_020, "never answers; use a deadline", Reason::DeadlineExceeded),
    Scenario {
        name: "quota-exceeded",
        job_id: 900_021,
        about: "has a quota used up",
        import: Some(Reason::QuotaExceeded),
        get: Some(Reason::Throttled),
    },
    Scenario {
        name: "recovers",
        job_id: 900_022,
        about: "fails twice (429 for imports, 503 for gets), then succeeds",
        import: None,
        get: None,
    },
    Scenario {
        name: "failed-savepoint",
        job_id: 900_023,
        about: "knows the savepoint, which failed: an OK answer",
        import: None,
        get: None,
    },
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
