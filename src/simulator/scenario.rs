//! Failures on demand: ids that make a simulator answer as a provider in trouble does.

use serde_json::json;

use super::{Reply, alibaba, huawei};
use crate::failure::Failure;

/// A failure that a request can ask for by its id.
///
/// ImportSavepoint asks with `job_id`, GetSavepoint with the savepoint id `simulate-{name}`.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name, for example `throttled`.
    pub name: &'static str,
    /// The job id that asks for it.
    pub job_id: i64,
    /// What the provider does.
    pub about: &'static str,
    /// What the caller of ImportSavepoint gets; none when the call succeeds in the end.
    pub import: Option<Failure>,
    /// What the caller of GetSavepoint gets; none when the call succeeds in the end.
    pub get: Option<Failure>,
}

const fn both(name: &'static str, job_id: i64, about: &'static str, failure: Failure) -> Scenario {
    Scenario { name, job_id, about, import: Some(failure), get: Some(failure) }
}

/// All of them, in the order of the README's table.
pub const SCENARIOS: [Scenario; 23] = [
    both("rejected-argument", 900_001, "finds a parameter wrong", Failure::RejectedArgument),
    both("not-found", 900_002, "does not know the job or savepoint", Failure::NotFound),
    both(
        "reported-failure",
        900_003,
        "answers 200 and says that it failed",
        Failure::ReportedFailure,
    ),
    both("throttled", 900_004, "wants fewer calls, and a wait of 60 s", Failure::Throttled),
    both("permission-denied", 900_005, "misses a permission", Failure::PermissionDenied),
    both(
        "credentials-rejected",
        900_006,
        "does not accept the signature",
        Failure::CredentialsRejected,
    ),
    both("clock-skew", 900_007, "finds the signature's date wrong", Failure::ClockSkew),
    both("provider-timeout", 900_008, "answers 504", Failure::ProviderTimeout),
    both("internal", 900_009, "answers 500", Failure::ProviderInternal),
    both(
        "misconfigured",
        900_010,
        "answers 404 in HTML, as a wrong host does",
        Failure::EndpointMisconfigured,
    ),
    both("request-rejected", 900_011, "answers 415", Failure::RequestRejected),
    both("conflict", 900_012, "answers 409", Failure::Conflict),
    both("unimplemented", 900_013, "answers 501", Failure::Unimplemented),
    both("unavailable", 900_014, "answers 503", Failure::Unavailable),
    both("redirect", 900_015, "answers 302", Failure::RedirectRefused),
    both("malformed", 900_016, "answers 200 with a login page", Failure::MalformedResponse),
    both("cut-short", 900_017, "hangs up within the answer", Failure::TruncatedResponse),
    both("too-large", 900_018, "answers with 2 MiB", Failure::ResponseTooLarge),
    both("connection-lost", 900_019, "hangs up before the answer", Failure::ConnectionLost),
    both("silence", 900_020, "never answers; use a deadline", Failure::DeadlineExceeded),
    Scenario {
        name: "quota-exceeded",
        job_id: 900_021,
        about: "has a quota used up",
        import: Some(Failure::QuotaExceeded),
        get: Some(Failure::Throttled),
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

    /// What both providers do alike.
    fn either(self, json: impl Fn(u16, &str) -> Reply) -> Reply {
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

    pub(super) fn huawei(self, count: u32) -> Reply {
        let error = |status, code: &str, text: &str| {
            Reply::Json(status, json!({"error_code": code, "error_msg": text}))
        };
        let throttled = || {
            error(
                429,
                "APIG.0308",
                "The throttling threshold has been reached: policy user over ratelimit",
            )
        };
        match self.name {
            "rejected-argument" => error(400, "DLI.0001", "Parameter check errors occur."),
            "not-found" => {
                error(400, "DLI.12004", "The job does not exist. Check the reason or create a job.")
            }
            "reported-failure" => {
                Reply::Json(200, json!({"is_success": "false", "message": "The job is running."}))
            }
            "throttled" => Reply::With("retry-after", "60".into(), Box::new(throttled())),
            "quota-exceeded" => error(400, "DLI.1028", "The quota is exceeded."),
            "permission-denied" => error(403, "DLI.0016", "No permission: dli:jobs:update."),
            "credentials-rejected" => error(
                401,
                "APIG.0301",
                "Incorrect IAM authentication information: verify aksk signature fail",
            ),
            "clock-skew" => error(
                401,
                "APIG.0301",
                "Incorrect IAM authentication information: signature expired",
            ),
            "internal" => error(500, "DLI.0999", "Queue backend is too busy."),
            "recovers" if !count.is_multiple_of(3) => throttled(),
            "recovers" | "failed-savepoint" => huawei::success(),
            _ => self.either(|status, text| error(status, "DLI.9999", text)),
        }
    }

    pub(super) fn alibaba(self, count: u32, namespace: &str, savepoint: &str) -> Reply {
        use alibaba::{business_error, gateway_error, success};
        match self.name {
            "rejected-argument" => gateway_error(
                400,
                "InvalidNamespaceParameter.Format",
                "The namespace is not valid.",
            ),
            "not-found" => business_error("990301", "The savepoint does not exist."),
            "reported-failure" => business_error("990000", "The workspace is being upgraded."),
            "throttled" => Reply::With(
                "x-acs-retry-after",
                "60000".into(),
                Box::new(gateway_error(
                    400,
                    "Throttling.User",
                    "Request was denied due to user flow control.",
                )),
            ),
            "quota-exceeded" => gateway_error(429, "QuotaExceeded", "The quota is used up."),
            "permission-denied" => Reply::Json(
                403,
                json!({
                    "RequestId": "0B7C9E0F-1111-5222-9333-ABCDEF000001",
                    "Code": "NoPermission",
                    "Message": "You are not authorized to do this action.",
                    "AccessDeniedDetail": {
                        "AuthAction": "stream:GetSavepoint",
                        "NoPermissionType": "ImplicitDeny",
                    },
                }),
            ),
            "credentials-rejected" => gateway_error(
                400,
                "SignatureDoesNotMatch",
                "Specified signature does not match our calculation.",
            ),
            "clock-skew" => gateway_error(
                400,
                "InvalidTimeStamp.Expired",
                "Specified time stamp or date value is expired.",
            ),
            "internal" => gateway_error(500, "InternalError", "The request processing has failed."),
            "recovers" if !count.is_multiple_of(3) => gateway_error(
                503,
                "ServiceUnavailable",
                "The request has failed due to a temporary failure of the server.",
            ),
            "recovers" => success(namespace, savepoint, "COMPLETED"),
            "failed-savepoint" => success(namespace, savepoint, "FAILED"),
            _ => self.either(|status, text| gateway_error(status, "Other", text)),
        }
    }
}
