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
    /// What the provider does.
    pub(crate) answer: Answer,
    /// The reason that ImportSavepoint returns; none if it succeeds in the end.
    pub import: Option<Reason>,
    /// The reason that GetSavepoint returns; none if it succeeds in the end.
    pub get: Option<Reason>,
}

/// What the provider does in a scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Specific(Specific),
    Common(Common),
}

/// What each provider answers with a code or a shape of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Specific {
    /// Rejects a parameter.
    RejectedArgument,
    /// Does not know the job or savepoint.
    NotFound,
    /// Answers 200 and reports a failure in it.
    ReportedFailure,
    /// Throttles, and asks for a wait of 60 s.
    Throttled,
    /// Reports a missing permission.
    PermissionDenied,
    /// Rejects the signature.
    CredentialsRejected,
    /// Rejects the date of the signature.
    ClockSkew,
    /// Answers 500.
    Internal,
    /// Reports an exhausted quota.
    QuotaExceeded,
    /// Fails twice (429 for imports, 503 for gets), then succeeds.
    Recovers,
    /// Returns a savepoint whose state is FAILED.
    FailedSavepoint,
}

/// What both providers do in the same way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Common {
    /// Answers 504.
    ProviderTimeout,
    /// Answers 404 in HTML, as a wrong host does.
    Misconfigured,
    /// Answers 415.
    RequestRejected,
    /// Answers 409.
    Conflict,
    /// Answers 501.
    Unimplemented,
    /// Answers 503.
    Unavailable,
    /// Answers 302.
    Redirect,
    /// Answers 200 with a login page.
    Malformed,
    /// Closes the connection within the response.
    CutShort,
    /// Answers with 2 MiB.
    TooLarge,
    /// Closes the connection before the response.
    ConnectionLost,
    /// Never answers.
    Silence,
}

const fn both(name: &'static str, job_id: i64, answer: Answer, failure: Reason) -> Scenario {
    Scenario { name, job_id, answer, import: Some(failure), get: Some(failure) }
}

/// The one that succeeds at the third attempt.
pub(crate) const RECOVERS: Scenario = Scenario {
    name: "recovers",
    job_id: 900_022,
    answer: Answer::Specific(Specific::Recovers),
    import: None,
    get: None,
};

/// All scenarios, in the order of the table in `docs/reference.md`.
#[rustfmt::skip]
pub const SCENARIOS: [Scenario; 23] = [
    both("rejected-argument", 900_001, Answer::Specific(Specific::RejectedArgument), Reason::RejectedArgument),
    both("not-found", 900_002, Answer::Specific(Specific::NotFound), Reason::NotFound),
    both("reported-failure", 900_003, Answer::Specific(Specific::ReportedFailure), Reason::ReportedFailure),
    both("throttled", 900_004, Answer::Specific(Specific::Throttled), Reason::Throttled),
    both("permission-denied", 900_005, Answer::Specific(Specific::PermissionDenied), Reason::PermissionDenied),
    both("credentials-rejected", 900_006, Answer::Specific(Specific::CredentialsRejected), Reason::CredentialsRejected),
    both("clock-skew", 900_007, Answer::Specific(Specific::ClockSkew), Reason::ClockSkew),
    both("provider-timeout", 900_008, Answer::Common(Common::ProviderTimeout), Reason::ProviderTimeout),
    both("internal", 900_009, Answer::Specific(Specific::Internal), Reason::ProviderInternal),
    both("misconfigured", 900_010, Answer::Common(Common::Misconfigured), Reason::EndpointMisconfigured),
    both("request-rejected", 900_011, Answer::Common(Common::RequestRejected), Reason::RequestRejected),
    both("conflict", 900_012, Answer::Common(Common::Conflict), Reason::Conflict),
    both("unimplemented", 900_013, Answer::Common(Common::Unimplemented), Reason::Unimplemented),
    both("unavailable", 900_014, Answer::Common(Common::Unavailable), Reason::Unavailable),
    both("redirect", 900_015, Answer::Common(Common::Redirect), Reason::RedirectRefused),
    both("malformed", 900_016, Answer::Common(Common::Malformed), Reason::MalformedResponse),
    both("cut-short", 900_017, Answer::Common(Common::CutShort), Reason::TruncatedResponse),
    both("too-large", 900_018, Answer::Common(Common::TooLarge), Reason::ResponseTooLarge),
    both("connection-lost", 900_019, Answer::Common(Common::ConnectionLost), Reason::ConnectionLost),
    both("silence", 900_020, Answer::Common(Common::Silence), Reason::DeadlineExceeded),
    Scenario { name: "quota-exceeded", job_id: 900_021, answer: Answer::Specific(Specific::QuotaExceeded), import: Some(Reason::QuotaExceeded), get: Some(Reason::Throttled) },
    RECOVERS,
    Scenario { name: "failed-savepoint", job_id: 900_023, answer: Answer::Specific(Specific::FailedSavepoint), import: None, get: None },
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
}

impl Common {
    /// The answer, with `json` for an error in the provider's own shape.
    pub(super) fn reply(self, json: impl Fn(u16, &str) -> Reply) -> Reply {
        match self {
            Self::ProviderTimeout => Reply::Text(504, "text/html", "<html>504</html>".into()),
            Self::Misconfigured => Reply::Text(404, "text/html", "<html>404</html>".into()),
            Self::RequestRejected => json(415, "unsupported media type"),
            Self::Conflict => json(409, "another change is under way"),
            Self::Unimplemented => json(501, "not implemented"),
            Self::Unavailable => Reply::Text(503, "text/html", "<html>503</html>".into()),
            Self::Redirect => Reply::With(
                "location",
                "https://elsewhere.example/".into(),
                Box::new(Reply::Text(302, "text/plain", String::new())),
            ),
            Self::Malformed => Reply::Text(200, "text/html", "<html>please log in</html>".into()),
            Self::CutShort => Reply::CutShort,
            Self::TooLarge => Reply::Text(200, "application/json", " ".repeat(2 * 1024 * 1024)),
            Self::ConnectionLost => Reply::HangUp,
            Self::Silence => Reply::Silence,
        }
    }
}
