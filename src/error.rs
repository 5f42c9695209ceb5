//! The one error type: why a call did not succeed, with everything its caller is told.

use std::fmt;
use std::time::Duration;

use crate::failure::{Failure, Outcome};
use crate::operation::{Operation, Provider};

/// Why a call did not succeed.
///
/// It is opaque: [`Error::failure`] says which row of the table it is, and
/// [`crate::status`] turns it into what goes over the wire. Texts of a provider are cleaned
/// and redacted before they come in here.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    failure: Failure,
    message: String,
    operation: Option<Operation>,
    outcome: Option<Outcome>,
    violations: Vec<FieldViolation>,
    fault: Fault,
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

/// What a provider said of its failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
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
    /// What else helps to mend a refusal, for example the action that was denied, as
    /// metadata names and values.
    pub extra: Vec<(&'static str, String)>,
}

impl Error {
    /// An error of this kind, with a text for people: lower case, no full stop.
    pub fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            failure,
            message: message.into(),
            operation: None,
            outcome: None,
            violations: Vec::new(),
            fault: Fault::default(),
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
        let mut error = Self::new(Failure::InvalidRequest, message);
        error.0.violations = violations;
        error
    }

    /// The error for an answer that is no proven success. `proof` names what a success would
    /// have had.
    pub(crate) fn of_answer(
        operation: Operation,
        failure: Failure,
        fault: Fault,
        proof: &str,
    ) -> Self {
        use fmt::Write as _;
        let provider = operation.provider();
        #[expect(clippy::wildcard_enum_match_arm, reason = "the provider's own words say the rest")]
        let mut message = match failure {
            Failure::MalformedResponse => {
                format!("{provider} answered without a usable {proof}")
            }
            Failure::TruncatedResponse => format!("the answer of {provider} was cut short"),
            Failure::RedirectRefused => format!("{provider} points elsewhere, which is refused"),
            Failure::EndpointMisconfigured => {
                format!("{provider} does not serve this call at the configured endpoint")
            }
            Failure::ReportedFailure => format!("{provider} reports that the call failed"),
            Failure::CredentialsRejected => {
                format!("{provider} rejects the gateway's credential or signature")
            }
            Failure::ClockSkew => {
                format!("{provider} finds the signature's date wrong: check the gateway's clock")
            }
            _ => format!("{provider} answered with an error"),
        };
        // Writing to a string cannot fail.
        if let Some(status) = fault.http_status {
            let _ = write!(message, " (HTTP {status}");
            if let Some(code) = &fault.code {
                let _ = write!(message, ", {code}");
            }
            message.push(')');
        }
        if let Some(text) = &fault.message {
            let _ = write!(message, ": {text}");
        }
        Self::new(failure, message).with_operation(operation).with_fault(fault)
    }

    /// Adds what the provider said.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.0.fault = fault;
        self
    }

    /// Adds which RPC failed, unless that is known.
    #[must_use]
    pub fn with_operation(mut self, operation: Operation) -> Self {
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
    pub fn failure(&self) -> Failure {
        self.0.failure
    }

    /// Which RPC failed, if it was one of the contract's.
    pub fn operation(&self) -> Option<Operation> {
        self.0.operation
    }

    /// The provider that the RPC is served by.
    pub fn provider(&self) -> Option<Provider> {
        self.0.operation.map(Operation::provider)
    }

    /// Whether the job may have been changed all the same. None for an RPC that changes
    /// nothing.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.0.operation? {
            Operation::ImportSavepoint => {
                Some(self.0.outcome.unwrap_or(self.0.failure.row().outcome))
            }
            Operation::GetSavepoint => None,
        }
    }

    /// The fields that break their rules.
    pub fn violations(&self) -> &[FieldViolation] {
        &self.0.violations
    }

    /// What the provider said.
    pub fn fault(&self) -> &Fault {
        &self.0.fault
    }

    /// How many requests were made of the provider.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}
