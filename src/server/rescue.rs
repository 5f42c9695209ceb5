//! Statuses in the one form of the contract, whoever made them: handlers, the gRPC library, or a
//! panic; in a response's head or in its trailers.

use http::{HeaderMap, Response};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::call::Call;
use crate::rpc::Error;
use crate::rpc::reason::Reason;

/// A response that is nothing but this error.
pub(super) fn failed(error: Error, call: &Call) -> Response<Body> {
    Status::from(call.failed(error)).into_http()
}

/// The error for a panic, of which nothing is shown.
pub(super) fn panicked() -> Error {
    Error::new(Reason::GatewayInternal, "internal error")
}

/// The code that headers or trailers hold, if they hold one.
pub(super) fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()))
}

/// Gives a status that the library made the form of all others: with an `ErrorInfo`, and with
/// the code that the gRPC specification requires. None when it has that form already.
pub(super) fn described(headers: &HeaderMap, call: &Call) -> Option<Status> {
    if !headers.contains_key("grpc-status") || headers.contains_key("grpc-status-details-bin") {
        return None;
    }
    let status = Status::from_header_map(headers)?;
    #[expect(clippy::wildcard_enum_match_arm, reason = "codes that the library never makes")]
    let reason = match status.code() {
        Code::Ok => return None,
        // A compressed message that is larger than it looked.
        Code::OutOfRange | Code::ResourceExhausted => Reason::MessageTooLarge,
        Code::Internal => Reason::MalformedMessage,
        Code::Unimplemented => Reason::UnknownMethod,
        // The health service's own.
        Code::NotFound => Reason::NotFound,
        // An extra service says what it means.
        _ if call.operation().is_none() => return None,
        _ => Reason::GatewayInternal,
    };
    let message = match (reason, status.message()) {
        (Reason::UnknownMethod, "") => "there is no such method here",
        (_, message) => message,
    };
    let error = Error::new(reason, message);
    // That the health service does not know a name is not a failure of the call.
    Some(if reason == Reason::NotFound { error.into() } else { call.failed(error).into() })
}

/// The same for a response, whose status is in its head.
pub(super) fn with_details(response: Response<Body>, call: &Call) -> Response<Body> {
    let Some(status) = described(response.headers(), call) else { return response };
    let mut described: Response<Body> = status.into_http();
    for name in ["grpc-accept-encoding", "grpc-encoding"] {
        if let Some(value) = response.headers().get(name) {
            described.headers_mut().insert(name, value.clone());
        }
    }
    described
}
