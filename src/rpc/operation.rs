//! The RPCs of the contract and the providers that serve them, as data.
//!
//! Each provider's room holds its [`Provider`] and its [`Operation`]s as statics. Everything that
//! works for any of them (routing, metrics, logs, failures) reads them.

use std::fmt;

use super::reason::Reason;

/// A REST service that the gateway calls, with the facts that its failures are read by.
#[derive(Debug)]
pub struct Provider {
    /// The name in status details, metrics and logs, for example `huawei-dli`.
    pub name: &'static str,
    /// The provider's own error codes. The first pattern that matches counts.
    pub codes: &'static [(Pattern, Reason)],
    /// Names of fields that hold an error code, most specific first, each with the names of the
    /// fields that hold its text.
    pub error_fields: &'static [(&'static str, &'static [&'static str])],
    /// Names of fields that hold a text where there is no code.
    pub text_fields: &'static [&'static str],
    /// Where the provider's id of the request is.
    pub request_id: RequestId,
    /// Fields of an error body that help to fix a refusal: the path to each, and the name of its
    /// metadata in the status details.
    pub hints: &'static [(&'static [&'static str], &'static str)],
    /// Texts, in lower case, that stand before a secret where the provider repeats what was
    /// signed. A label that ends with `=` needs no other separator.
    pub secret_labels: &'static [&'static str],
}

/// Where a provider puts its id of the request.
#[derive(Debug, Clone, Copy)]
pub struct RequestId {
    /// The header.
    pub header: &'static str,
    /// Names of fields of the body, most specific first.
    pub fields: &'static [&'static str],
    /// Whether the body counts before the header.
    pub body_first: bool,
}

/// Which error codes a row of [`Provider::codes`] is for.
#[derive(Debug)]
pub enum Pattern {
    /// This code.
    Exactly(&'static str),
    /// Codes that start with this text.
    StartsWith(&'static str),
    /// Codes that end with this text.
    EndsWith(&'static str),
    /// Codes that start with the first text and have the second behind it.
    StartsWithAndHas(&'static str, &'static str),
    /// Codes of several generations of one API gateway: one of these prefixes, a dot, and this
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
    /// What the provider's own code means, if it is known.
    pub fn reason_of(&self, code: &str) -> Option<Reason> {
        self.codes.iter().find(|(pattern, _)| pattern.matches(code)).map(|(_, reason)| *reason)
    }
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

/// How many messages the provider's side of an RPC has.
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
    /// The HTTP method.
    pub http_method: &'static str,
    /// The path, with the names of its parameters instead of their values.
    pub url_template: &'static str,
}

/// An RPC of the contract.
#[derive(Debug)]
pub struct Operation {
    /// The gRPC service, with its package.
    pub service: &'static str,
    /// The name of the RPC.
    pub name: &'static str,
    /// The provider that serves it.
    pub provider: &'static Provider,
    /// How many messages it has.
    pub kind: Kind,
    /// The REST calls that it is made of.
    pub rest: &'static [Rest],
    /// Whether doing it twice is the same as doing it once, so that a lost response may be
    /// requested again.
    pub is_idempotent: bool,
    /// Whether it changes something at the provider, so that a failure says whether the change
    /// may have been made.
    pub changes_something: bool,
}

impl PartialEq for Operation {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Operation {}

impl fmt::Display for Operation {
    /// As OpenTelemetry names it: `savepoint.v1.SavepointService/GetSavepoint`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.name)
    }
}
