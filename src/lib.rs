//! A gateway from gRPC to the REST APIs that handle Apache Flink savepoints on Huawei Cloud
//! DLI and Alibaba Cloud Realtime Compute.
//!
//! The way of a request:
//!
//! 1. [`server`] accepts a connection, and finds the method, the deadline and the one message;
//! 2. [`service`] picks the provider;
//! 3. [`huawei`] or [`alibaba`] checks the fields, builds the REST request and signs it;
//! 4. [`upstream`] sends it, as often as is safe, and reads the answer whole;
//! 5. the provider's room reads the answer into a proto message, or [`failure`] finds the row
//!    of the failure table;
//! 6. [`status`] turns an [`error::Error`] into a gRPC status with details, and
//!    [`telemetry`] writes down what happened.
//!
//! What it does not do: it stores nothing, it follows no redirect, it sends nothing that a
//! caller put into metadata, but for the trace context where an option says so, and it never
//! says OK unless the provider proved success.

pub mod alibaba;
pub mod call;
mod canonical;
pub mod certificate;
pub mod clock;
mod codec;
pub mod config;
pub mod credential;
pub mod deadline;
pub mod demo;
pub mod endpoint;
pub mod error;
pub mod failure;
mod fault;
pub mod healthcheck;
pub mod huawei;
#[cfg(feature = "inside")]
pub mod inside;
mod json;
pub mod operation;
pub mod secret;
pub mod server;
pub mod service;
pub mod simulator;
pub mod status;
pub mod telemetry;
mod text;
pub mod upstream;
mod validate;

/// What the gateway calls itself at a provider. It is not part of any signature.
const USER_AGENT: &str = concat!("savepoint-gateway/", env!("CARGO_PKG_VERSION"));

/// The messages, clients and servers that are generated from the protos.
pub mod pb {
    #![allow(missing_docs, unreachable_pub, missing_debug_implementations)]
    #![allow(rustdoc::bare_urls)]
    #![allow(clippy::all, clippy::pedantic, clippy::wildcard_enum_match_arm)]

    tonic::include_proto!("savepoint.v1");

    /// `grpc.health.v1`, which also knows `List`.
    pub mod health {
        tonic::include_proto!("grpc.health.v1");
    }

    /// The OpenTelemetry protocol, as far as traces need it.
    #[allow(dead_code)]
    pub(crate) mod otlp {
        include!(concat!(env!("OUT_DIR"), "/otlp.rs"));
    }

    /// All protos as reflection serves them, options included.
    pub(crate) const DESCRIPTOR: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
}
