//! The RPCs and their providers, as data.
//!
//! Each provider's module has its [`Provider`] and its [`Operation`]s as statics, which routing,
//! metrics, logs and errors read.

use std::fmt;

use super::reason::Reason;

/// A REST service, with the facts for reading its errors.
#[derive(Debug)]
pub struct Provider {
    /// The name in status details, metrics and logs, for example `huawei-dli`.
    pub name: &'static str,
    /// The provider's error codes. The first matching pattern applies.
    pub(crate) codes: &'static [(Pattern, Reason)],
    /// Its error messages, where its code does not tell the reason.
    pub(crate) messages: &'static [(Pattern, Reason)],
    /// Fields with an error code, most specific first, each with the fields of its message.
    pub(crate) error_fields: &'static [(&'static str, &'static [&'static str])],
    /// Fields with a message if there is no code.
    pub(crate) text_fields: &'static [&'static str],
    /// Its stack traces, if that is how it reports errors.
    pub(crate) stack_traces: Option<StackTraces>,
    pub request_id: RequestId,
    /// Fields of an error body that help to fix a denied request: the path to each, and its name in
    /// the status details.
    pub(crate) hints: &'static [(&'static [&'static str], &'static str)],
    /// Lower-case labels that precede a secret in error messages. A label that ends with `=` needs
    /// no other separator.
    pub(crate) secret_labels: &'static [&'static str],
}

/// Where a provider puts its request id.
#[derive(Debug, Clone, Copy)]
pub struct RequestId {
    pub header: &'static str,
    /// Fields of the body, most specific first.
    pub fields: &'static [&'static str],
    /// Whether the body takes precedence over the header.
    pub(crate) body_first: bool,
}

/// Where a provider puts the stack traces of Java. Their exception is the code, and the rest of their
/// first line the message.
#[derive(Debug)]
pub(crate) struct StackTraces {
    /// The field with the list of them.
    pub(crate) field: &'static str,
    /// First lines that tell nothing. The last cause is added to them.
    pub(crate) vague: &'static [&'static str],
}

#[derive(Debug)]
pub(crate) enum Pattern {
    Exactly(&'static str),
    StartsWith(&'static str),
    EndsWith(&'static str),
    /// Codes that start with the first text and contain the second after it.
    StartsWithAndHas(&'static str, &'static str),
    /// Codes of several generations of an API gateway: one of these prefixes, a dot, and this
    /// number.
    Prefixed(&'static [&'static str], &'static str),
}

impl Pattern {
    fn matches(&self, code: &str) -> bool {
        match self {
            Self::Exactly(text) => code == *text,
            Self::StartsWith(text) => code.starts_with(text),
            Self::EndsWith(text) => code.ends_with(text),
            Self::StartsWithAndHas(start, middle) => {
                code.strip_prefix(start).is_some_and(|rest| rest.contains(middle))
            }
            Self::Prefixed(prefixes, number) => code
                .split_once('.')
                .is_some_and(|(prefix, rest)| prefixes.contains(&prefix) && rest == *number),
        }
    }
}

impl Provider {
    /// The name as this provider's facts have it, if it is that of a text of an error body.
    pub(crate) fn known_text(&self, name: &str) -> Option<&'static str> {
        let codes =
            self.error_fields.iter().flat_map(|(code, texts)| [code].into_iter().chain(*texts));
        let mut known = codes.chain(self.text_fields).chain(self.request_id.fields);
        known.find(|known| **known == name).copied()
    }

    pub(crate) fn reason_of(&self, code: &str) -> Option<Reason> {
        matching(self.codes, code)
    }

    pub(crate) fn reason_of_message(&self, message: &str) -> Option<Reason> {
        matching(self.messages, message)
    }
}

fn matching(patterns: &[(Pattern, Reason)], text: &str) -> Option<Reason> {
    patterns.iter().find(|(pattern, _)| pattern.matches(text)).map(|(_, reason)| *reason)
}

impl PartialEq for Provider {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Provider {}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One request, one response.
    Unary,
    /// One request, a stream of responses.
    ServerStream,
}

impl Kind {
    /// The value of `grpc_type` in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server_stream",
        }
    }
}

/// A REST call, as metrics and traces name it.
#[derive(Debug, PartialEq, Eq)]
pub struct Rest {
    pub(crate) http_method: &'static str,
    /// The path, with parameter names instead of values.
    pub url_template: &'static str,
}

#[derive(Debug)]
pub struct Operation {
    /// The gRPC service, with its package.
    pub service: &'static str,
    pub name: &'static str,
    pub provider: &'static Provider,
    pub kind: Kind,
    pub rest: &'static [Rest],
    /// Whether it is idempotent, so that it can be retried after a lost response.
    pub(crate) is_idempotent: bool,
    /// Whether it changes something at the provider, so that errors have an outcome.
    pub(crate) changes_something: bool,
    /// Whether it starts or stops jobs, so that it is served only with `--enable-job-control`.
    pub(crate) controls_jobs: bool,
}

impl Operation {
    /// What a caller must know of a change in doubt, as the end of a sentence.
    pub(crate) fn doubt(&self) -> &'static str {
        let makes_savepoint = self.name.starts_with("Create") || self.name.starts_with("Trigger");
        if makes_savepoint {
            "; the savepoint may have been made all the same"
        } else {
            "; the job may have been changed"
        }
    }
}

impl PartialEq for Operation {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Operation {}

impl fmt::Display for Operation {
    /// As in OpenTelemetry: `savepoint.v1.SavepointService/GetSavepoint`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.name)
    }
}
