//! A gateway from gRPC to the REST APIs that handle Apache Flink savepoints on Huawei Cloud
//! DLI and Alibaba Cloud Realtime Compute.
//!
//! The way of a request:
//!
//! 1. [`server`] accepts a connection, and finds the operation, the deadline and the one message;
//! 2. [`service`] picks the provider;
//! 3. the provider's room in [`providers`] checks the fields, and builds and signs the request;
//! 4. [`upstream`] sends it, as often as is safe, and reads the response to its end;
//! 5. the room turns the response into a message, or [`rpc::reason`] has the row of the failure
//!    table;
//! 6. [`rpc::status`] turns an [`rpc::Error`] into a gRPC status with details, and [`server`]
//!    records what happened.
//!
//! What it does not do: it stores nothing, it follows no redirect, it sends nothing that a
//! caller put into metadata, except the trace context where an option says so, and it never
//! says OK unless the provider proved success.
//!
//! The modules, from the top floor down. Each imports only what stands below it, which
//! `tests/it/house.rs` checks.

pub mod cli;
pub mod demo;
pub mod healthcheck;
// The composition root.
pub mod gateway;
// gRPC on one side, the providers on the other.
pub mod simulator;
pub mod service;
pub mod server;
pub mod providers;
pub mod upstream;
pub mod otlp;
pub mod credential;
pub mod call;
// What they stand on.
pub mod transport;
pub mod tls;
mod files;
pub mod refresh;
pub mod telemetry;
mod signing;
pub mod rpc;
pub mod options;
pub mod clock;
mod json;
pub mod secret;
mod text;
#[cfg(feature = "internals")]
pub mod test_util;

/// The `User-Agent` of requests to providers. It is not part of any signature.
const USER_AGENT: &str = concat!("savepoint-gateway/", env!("CARGO_PKG_VERSION"));

/// The messages, clients and servers that are generated from the protos.
pub mod pb {
    #![allow(missing_docs, unreachable_pub, missing_debug_implementations)]
    #![allow(rustdoc::bare_urls)]
    #![allow(clippy::all, clippy::pedantic, clippy::wildcard_enum_match_arm)]

    // A module for each package of `proto`.
    include!(concat!(env!("OUT_DIR"), "/pb.rs"));
    pub use grpc::health::v1 as health;
    pub use savepoint::v1::*;

    /// The OpenTelemetry protocol, as far as traces need it.
    #[allow(dead_code)]
    pub(crate) mod otlp {
        include!(concat!(env!("OUT_DIR"), "/otlp.rs"));
    }

    /// All protos as reflection serves them, options included.
    pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
}
