//! The gateway from outside: a real gRPC client, the real server on a free port, and a fake
//! provider that records what reaches it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

/// Imports that are answered at random.
mod at_most_once;
/// The binary: its log pipe, and the variables that only a process has.
mod binary;
/// Who called, as log lines tell it.
mod callers;
/// Certificates of callers, and files of certificates that are not as they should be.
mod certificates;
/// `check`: each way in which a step can end.
mod check;
/// What goes over the wire to each provider, byte for byte, and what comes back typed.
mod calls;
/// Options and variables: defaults, and every problem that is reported.
mod configuration;
/// How long connections of callers live.
mod connections;
/// Every source of credentials, from its service to a signed call.
mod credentials;
/// A process that may not open as many files as its options can need.
mod descriptors;
/// The contract as a file: what it holds, and where it is written.
mod descriptor_set;
/// Tables, links and quotes in the documentation, compared with the code.
mod documents;
/// Jobs of DLI: seen, resumed and stopped.
mod dli;
/// How long calls may take, who ends them, and with which status.
mod deadlines;
/// Shutting down with peers of every kind.
mod drain;
/// The shapes of failures and of transport errors, for each RPC.
mod failures;
/// Savepoints and jobs on clusters of Apache Flink.
mod flink;
/// The simulator of Flink, compared with a cluster.
mod flink_shapes;
/// Input that no normal client or provider sends.
mod hostile;
/// Lines of the log: calls, peers without a call, the start, reloads.
mod log_lines;
/// What must hold of the source as a whole: the directions of imports.
mod house;
/// Health and the admin port.
mod operators;
/// The process: exit codes, signals, and options that have their effect.
mod policy;
mod process;
/// The project of requests that do not name one, as IAM knows it.
mod projects;
/// Descriptions of the services for tools.
mod reflection;
/// Calls that are refused before any provider is called, other than for a field.
mod refusals;
/// Which attempts are repeated, and which never.
mod retries;
/// Credentials that change while calls flow.
mod rotation;
/// A proxy on the way to providers, and what it may answer.
mod proxy;
/// ListSavepoints and CreateSavepoint.
mod savepoints;
/// Secrets are never shown.
mod secrets;
/// The scenarios of the simulators.
mod simulators;
/// Unix sockets: which are replaced, which are kept, and who removes them.
mod sockets;
/// Every form of a source, from the option to a call that is signed with its credential.
mod sources;
/// TLS on both sides: who is accepted, who is trusted, and certificates that change.
mod tls;
/// Spans of calls, and collectors that accept them or not.
mod traces;
/// Signatures, stage by stage, against those of the providers' own SDKs.
mod vectors;
/// WatchSavepoint, to its end and to every other.
mod watch;
/// One mistake each, and the answer to it.
mod wrong_configurations;
/// Calls from a browser, where they are allowed.
mod web;
