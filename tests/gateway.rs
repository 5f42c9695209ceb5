//! The gateway from outside: a real gRPC client, the real server on a free port, and a fake
//! provider that records what reaches it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/mod.rs"]
mod support;

/// What goes over the wire to each provider, byte for byte, and what comes back typed.
#[path = "gateway/calls.rs"]
mod calls;
/// How long connections of callers live.
#[path = "gateway/connections.rs"]
mod connections;
/// Every source of credentials, from its service to a signed call.
#[path = "gateway/credentials.rs"]
mod credentials;
/// How long calls may take, who ends them, and what the wire says then.
#[path = "gateway/deadlines.rs"]
mod deadlines;
/// The pages: their tables are the code's, their quotations real, and their links lead somewhere.
#[path = "gateway/documents.rs"]
mod documents;
/// Shutting down with peers of every kind.
#[path = "gateway/drain.rs"]
mod drain;
/// Every row of the failure table, for both calls.
#[path = "gateway/failures.rs"]
mod failures;
/// What must hold of the source as a whole: directions of imports, lock files.
#[path = "gateway/house.rs"]
mod house;
/// The binary itself: its log pipe, and the variables that only a process has.
#[path = "gateway/observed.rs"]
mod observed;
/// Health, reflection and the admin address.
#[path = "gateway/operators.rs"]
mod operators;
/// The real process: exit codes, signals, and options that reach what they are for.
#[path = "gateway/process.rs"]
mod process;
/// The project of requests that name none, as IAM knows it.
#[path = "gateway/projects.rs"]
mod projects;
/// What is refused before any provider is called.
#[path = "gateway/refusals.rs"]
mod refusals;
/// What is tried again, and what never.
#[path = "gateway/retries.rs"]
mod retries;
/// Credentials that change while calls flow.
#[path = "gateway/rotation.rs"]
mod rotation;
/// Secrets do not leave by any way out.
#[path = "gateway/secrets.rs"]
mod secrets;
/// The simulators fail as docs/reference.md says.
#[path = "gateway/simulators.rs"]
mod simulators;
/// Every form of a source, from the option to a call that its credential was used for.
#[path = "gateway/sources.rs"]
mod sources;
/// TLS on both sides: who is let in, who is believed, and certificates that change.
#[path = "gateway/tls.rs"]
mod tls;
/// Spans of calls, and a collector that takes them or does not.
#[path = "gateway/traces.rs"]
mod traces;
/// Signatures, stage by stage, against those of the providers' own SDKs.
#[path = "gateway/vectors.rs"]
mod vectors;
/// Calls from a browser, where they are allowed.
#[path = "gateway/web.rs"]
mod web;
