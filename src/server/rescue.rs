//! Gives every status the same form, whether it comes from a handler, the gRPC library or a panic,
//! in the headers or the trailers of a response.

use http::{HeaderMap, HeaderName, Response};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::call::Call;
use crate::rpc::Error;
use crate::rpc::reason::Reason;

/// A response with only this error.
pub(super) fn failed(error: Error, call: &Call) -> Response<Body> {
    Status::from(call.failed(error)).into_http()
}

/// The error for a panic, whose message is not shown.
pub(super) fn panicked() -> Error {
    Error::new(Reason::GatewayInternal, "internal error")
}

// Made once: parsing a name costs more than looking it up.
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The gRPC code in headers or trailers, if any.
pub(super) fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(&GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// Rebuilds a status of the gRPC library with an `ErrorInfo` and the code that the gRPC
/// specification requires. None if it already has that form, or `code`, which is its code, is OK.
pub(super) fn described(code: Code, headers: &HeaderMap, call: &Call) -> Option<Status> {
    if code == Code::Ok || headers.contains_key(&GRPC_STATUS_DETAILS) {
        return None;
    }
    let status = Status::from_header_map(headers)?;
    let reason = match reason_of(code) {
        Some(reason) => reason,
        // Statuses of an extra service are passed on unchanged.
        None if call.operation().is_none() => return None,
        None => Reason::GatewayInternal,
    };
    let message = match (reason, status.message()) {
        (Reason::UnknownMethod, "") => "unknown method",
        (_, message) => message,
    };
    let error = Error::new(reason, message);
    // An unknown health name does not count as a failed call.
    Some(if reason == Reason::NotFound { error.into() } else { call.failed(error).into() })
}

/// What the gRPC library means by its codes.
#[expect(clippy::wildcard_enum_match_arm, reason = "codes that the library never makes")]
pub(super) fn reason_of(code: Code) -> Option<Reason> {
    match code {
        // Also a compressed message that exceeds the limit when decompressed.
        Code::OutOfRange | Code::ResourceExhausted => Some(Reason::MessageTooLarge),
        Code::Internal => Some(Reason::MalformedMessage),
        Code::Unimplemented => Some(Reason::UnknownMethod),
        // From the health service.
        Code::NotFound => Some(Reason::NotFound),
        _ => None,
    }
}

/// The same for a response with its status in the headers, with the code if there is one.
pub(super) fn with_details(
    response: Response<Body>,
    call: &Call,
) -> (Option<Code>, Response<Body>) {
    let Some(code) = code_of(response.headers()) else { return (None, response) };
    let Some(status) = described(code, response.headers(), call) else {
        return (Some(code), response);
    };
    let code = status.code();
    let mut described: Response<Body> = status.into_http();
    for name in ["grpc-accept-encoding", "grpc-encoding"] {
        if let Some(value) = response.headers().get(name) {
            described.headers_mut().insert(name, value.clone());
        }
    }
    (Some(code), described)
}
