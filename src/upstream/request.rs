//! Parts of requests that every provider's requests have.

use bytes::Bytes;
use serde::Serialize;

use crate::rpc::Error;
use crate::rpc::reason::Reason;

/// A body as JSON.
///
/// # Errors
/// If it cannot be serialized, which is a bug.
pub(crate) fn json_body(body: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|_| Error::new(Reason::GatewayInternal, "the request body cannot be serialized"))
}

/// The error for a request whose parts were not checked as they should have been, which is a bug.
pub(crate) fn not_built(_: impl Into<http::Error>) -> Error {
    Error::new(Reason::GatewayInternal, "the request cannot be built")
}
