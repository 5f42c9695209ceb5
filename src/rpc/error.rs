//! The error of a failed call.

use std::fmt::Write as _;
use std::time::Duration;

use super::operation::{Operation, Provider};
use super::reason::{Outcome, Reason};
use crate::text::clip;

/// The error of a failed call.
///
/// It is opaque: [`Error::reason`] classifies it, and [`crate::rpc::status`] converts it to a gRPC
/// status. Texts of a provider are cleaned and redacted before they are stored here.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}{}", .0.message, .0.provider_text())]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    reason: Reason,
    message: String,
    operation: Option<&'static Operation>,
    outcome: Option<Outcome>,
    violations: Vec<FieldViolation>,
    provider_error: ProviderError,
    attempts: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field's name in the proto, for example `job_id`.
    pub field: &'static str,
    /// The rule that it violates, for people.
    pub description: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProviderError {
    pub(crate) http_status: Option<u16>,
    /// The provider's own code, for example `DLI.0001` or `Throttling.User`.
    pub(crate) code: Option<String>,
    /// The provider's own text, cleaned and redacted.
    pub(crate) message: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// Details that help to fix a denied request, for example the denied action, as metadata names
    /// and values.
    pub(crate) hints: Vec<(&'static str, String)>,
}

impl Inner {
    /// What the provider said, as the end of a sentence.
    fn provider_text(&self) -> String {
        let text = self.provider_error.message.as_ref();
        text.map_or_else(String::new, |text| format!(": {text}"))
    }
}

impl Error {
    /// An error with this reason and a message for people: lower case, no full stop.
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

    pub(crate) fn invalid_request(violations: Vec<FieldViolation>) -> Self {
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

    /// The error for a response that does not prove success. `expected` names the parts that a
    /// success has.
    pub(crate) fn of_response(
        operation: &'static Operation,
        reason: Reason,
        provider_error: ProviderError,
        expected: &str,
    ) -> Self {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the provider's own words say the rest")]
        let mut message = match reason {
            Reason::MalformedResponse => format!("the response has no valid {expected}"),
            Reason::TruncatedResponse => "the response was truncated".to_owned(),
            Reason::RedirectRefused => "sent a redirect, which is not followed".to_owned(),
            Reason::EndpointMisconfigured => {
                "does not serve this operation at the configured endpoint".to_owned()
            }
            Reason::ReportedFailure => "reported that the call failed".to_owned(),
            Reason::CredentialsRejected => {
                "rejected the gateway's credential or signature".to_owned()
            }
            Reason::ClockSkew => {
                "rejected the date of the signature: check the gateway's clock".to_owned()
            }
            _ => "returned an error".to_owned(),
        };
        // Writing to a string cannot fail.
        if let Some(status) = provider_error.http_status {
            let _ = write!(message, " (HTTP {status}");
            if let Some(code) = &provider_error.code {
                let _ = write!(message, ", {code}");
            }
            message.push(')');
        }
        let mut error = Self::new(reason, message).with_operation(operation);
        error.0.provider_error = provider_error;
        error
    }

    /// Sets the RPC that failed, unless it is set.
    #[must_use]
    pub(crate) fn with_operation(mut self, operation: &'static Operation) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    #[must_use]
    pub(crate) fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.0.outcome = Some(outcome);
        self
    }

    #[must_use]
    pub(crate) fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// Adds what the caller should know to the message.
    #[must_use]
    pub(crate) fn with_advice(mut self, advice: &str) -> Self {
        let message = &mut self.0.message;
        let end = message.trim_end_matches('.').len();
        message.truncate(end);
        message.push_str("; ");
        message.push_str(advice);
        self
    }

    /// What went wrong, in the gateway's own words: without who, and without any text of the
    /// provider.
    pub fn own_text(&self) -> &str {
        &self.0.message
    }

    /// The whole text for a caller, whose client may show nothing else: who, what, whether the
    /// change is in doubt, the provider's own text as far as there is room, and the reason.
    pub(crate) fn told(&self, bytes: usize) -> String {
        let doubt = match (self.outcome(), self.0.operation) {
            (Some(Outcome::Unknown), Some(operation)) => operation.doubt(),
            _ => "",
        };
        let reason = format!(" ({})", self.reason().row().name);
        let mut told = format!("{}: {}", self.who(), self.0.message);
        let room = bytes.saturating_sub(doubt.len() + reason.len());
        told.truncate(clip(&told, room).len());
        told.push_str(doubt);
        let room = bytes.saturating_sub(reason.len());
        let text = self.0.provider_text();
        told.push_str(clip(&text, room.saturating_sub(told.len())));
        told.push_str(&reason);
        told
    }

    /// Whose trouble it is: the provider's must not read as if the connection to the gateway had
    /// failed.
    fn who(&self) -> &'static str {
        let name = self.reason().row().name;
        let is_of_provider = self.0.provider_error.http_status.is_some()
            || (name.starts_with("PROVIDER_") && self.reason() != Reason::NotConfigured);
        match self.provider().filter(|_| is_of_provider) {
            Some(provider) => provider.name,
            None => "savepoint-gateway",
        }
    }

    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The provider of the RPC, if it is an RPC of this service.
    pub fn provider(&self) -> Option<&'static Provider> {
        self.0.operation.map(|operation| operation.provider)
    }

    /// Whether the change may have been made; none for an RPC that changes nothing.
    pub fn outcome(&self) -> Option<Outcome> {
        let changes_something = self.0.operation?.changes_something;
        changes_something.then(|| self.0.outcome.unwrap_or(self.0.reason.row().outcome))
    }

    pub fn violations(&self) -> &[FieldViolation] {
        &self.0.violations
    }

    pub(crate) fn provider_error(&self) -> &ProviderError {
        &self.0.provider_error
    }

    /// The number of requests made to the provider.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }
}
