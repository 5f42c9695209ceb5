//! The one error type: why a call did not succeed, with everything its caller is told.

use std::fmt::Write as _;
use std::time::Duration;

use super::operation::{Operation, Provider};
use super::reason::{Outcome, Reason};

/// Why a call did not succeed.
///
/// It is opaque: [`Error::reason`] says which row of the table it is, and
/// [`crate::rpc::status`] turns it into what goes over the wire. Texts of a provider are cleaned
/// and redacted before they come in here.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    reason: Reason,
    message: String,
    operation: Option<&'static Operation>,
    outcome: Option<Outcome>,
    violations: Vec<FieldViolation>,
    provider_error: ProviderError,
    attempts: u32,
}

/// A field of a request that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The name of the field in the proto, for example `job_id`.
    pub field: &'static str,
    /// The rule that it breaks, for people.
    pub description: String,
}

/// What a provider reports about its failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderError {
    /// The HTTP status of the answer.
    pub http_status: Option<u16>,
    /// The provider's own code, for example `DLI.0001` or `Throttling.User`.
    pub code: Option<String>,
    /// The provider's own text, cleaned and redacted.
    pub message: Option<String>,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
    /// Anything else that helps to fix a refusal, for example the action that was denied, as
    /// metadata names and values.
    pub hints: Vec<(&'static str, String)>,
}

impl Error {
    /// An error of this kind, with a text for people: lower case, no full stop.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            reason,
            message: message.into(),
            operation: None,
            outcome: None,
            violations: Vec::new(),
            provider_error: ProviderError::default(),
            attempts: 0,
        }))
    }

    /// A request whose fields break their rules.
    pub fn invalid_request(violations: Vec<FieldViolation>) -> Self {
        let mut message = String::from("invalid request");
        for (i, violation) in violations.iter().enumerate() {
            message.push_str(if i == 0 { ": " } else { "; " });
            message.push_str(violation.field);
            message.push(' ');
            message.push_str(&violation.description);
        }
        let mut error = Self::new(Reason::InvalidRequest, message);
        error.0.violations = violations;
        error
    }

    /// The error for a response that does not prove a success. `expected` names what a success
    /// would have had.
    pub(crate) fn of_response(
        operation: &'static Operation,
        reason: Reason,
        provider_error: ProviderError,
        expected: &str,
    ) -> Self {
        let provider = operation.provider;
        #[expect(clippy::wildcard_enum_match_arm, reason = "the provider's own words say the rest")]
        let mut message = match reason {
            Reason::MalformedResponse => {
                format!("{provider} answered without a usable {expected}")
            }
            Reason::TruncatedResponse => format!("the answer of {provider} was cut short"),
            Reason::RedirectRefused => format!("{provider} points elsewhere, which is refused"),
            Reason::EndpointMisconfigured => {
                format!("{provider} does not serve this call at the configured endpoint")
            }
            Reason::ReportedFailure => format!("{provider} reports that the call failed"),
            Reason::CredentialsRejected => {
                format!("{provider} rejects the gateway's credential or signature")
            }
            Reason::ClockSkew => {
                format!("{provider} finds the signature's date wrong: check the gateway's clock")
            }
            _ => format!("{provider} answered with an error"),
        };
        // Writing to a string cannot fail.
        if let Some(status) = provider_error.http_status {
            let _ = write!(message, " (HTTP {status}");
            if let Some(code) = &provider_error.code {
                let _ = write!(message, ", {code}");
            }
            message.push(')');
        }
        if let Some(text) = &provider_error.message {
            let _ = write!(message, ": {text}");
        }
        let mut error = Self::new(reason, message).with_operation(operation);
        error.0.provider_error = provider_error;
        error
    }

    /// Adds which RPC failed, unless that is known.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static Operation) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Overrides what the table says about the effect of the call.
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.0.outcome = Some(outcome);
        self
    }

    /// Adds how many requests were made of the provider.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// Which row of the table this is.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The provider that the RPC is served by, if it was one of the contract's.
    pub fn provider(&self) -> Option<&'static Provider> {
        self.0.operation.map(|operation| operation.provider)
    }

    /// Whether the change may have been made all the same. None for an RPC that changes nothing.
    pub fn outcome(&self) -> Option<Outcome> {
        let changes_something = self.0.operation?.changes_something;
        changes_something.then(|| self.0.outcome.unwrap_or(self.0.reason.row().outcome))
    }

    /// The fields that break their rules.
    pub fn violations(&self) -> &[FieldViolation] {
        &self.0.violations
    }

    /// What the provider reports.
    pub fn provider_error(&self) -> &ProviderError {
        &self.0.provider_error
    }

    /// How many requests were made of the provider.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }
}
