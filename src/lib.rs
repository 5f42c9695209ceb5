//! A gateway from gRPC to the REST APIs that handle Apache Flink savepoints on Huawei Cloud
//! DLI and Alibaba Cloud Realtime Compute.
//!
//! The path of a request:
//!
//! 1. [`server`] accepts a connection and determines operation, deadline and message;
//! 2. [`service`] picks the provider;
//! 3. the provider's module in [`providers`] validates the fields, and builds and signs the
//!    request;
//! 4. [`upstream`] sends it, retries if that is safe, and reads the response;
//! 5. the module turns the response into a message, or [`rpc::reason`] classifies the failure;
//! 6. [`rpc::status`] turns an [`rpc::Error`] into a gRPC status with details, and [`server`]
//!    records the call.
//!
//! The gateway stores nothing, follows no redirects, forwards no metadata of callers (except the
//! trace context, if configured), and returns OK only if the provider proved success.
//!
//! The modules, top down. Each imports only modules below it, which `tests/it/house.rs` checks.

pub mod cli;
pub mod demo;
pub mod check;
pub mod descriptor_set;
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
pub mod caller;
// Shared parts.
pub mod policy;
pub mod transport;
pub mod tls;
mod files;
pub mod refresh;
mod watch;
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

/// Generated messages, clients and servers.
pub mod pb {
    #![allow(unreachable_pub, missing_debug_implementations)]
    #![allow(rustdoc::bare_urls)]
    #![allow(clippy::all, clippy::pedantic, clippy::wildcard_enum_match_arm)]

    // One module for each package.
    include!(concat!(env!("OUT_DIR"), "/pb.rs"));
    pub use grpc::health::v1 as health;
    pub use savepoint::dli::v1 as dli;
    pub use savepoint::flink::v1 as flink;
    pub use savepoint::v1::*;

    /// The messages of OTLP that traces need.
    #[allow(dead_code)]
    pub(crate) mod otlp {
        include!(concat!(env!("OUT_DIR"), "/otlp.rs"));
    }

    /// All that a client needs to know, as a `FileDescriptorSet` that needs no other files: the
    /// contract with its options, health, and the details of a status.
    pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
}
