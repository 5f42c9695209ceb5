//! One request on its way from the connection to its handler, and the answer's way back.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method as HttpMethod, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower_service::Service as _;

use super::beside::Beside;
use super::health::HealthState;
use super::unary::{self, MESSAGE_BYTES};
use crate::call::Call;
use crate::deadline::{Deadline, Timeouts};
use crate::error::Error;
use crate::failure::Failure;
use crate::operation::Operation;
use crate::pb;
use crate::pb::health::health_server::HealthServer;
use crate::pb::savepoint_service_server::SavepointServiceServer;
use crate::service::Service;
use crate::telemetry::{Method, Record, Telemetry};

/// More metadata is answered with a status. What the HTTP/2 library itself refuses, it refuses
/// without one, so its own bound lies higher.
const METADATA_BYTES: usize = 16 * 1024;

/// What a caller that does not speak gRPC is told.
const NOT_GRPC: &str = "This port speaks gRPC: POST, and content-type application/grpc.\n";

/// To these, callers send a stream of messages.
const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Where requests go, as one worker serves them.
#[derive(Debug, Clone)]
pub(super) struct Dispatch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    savepoints: SavepointServiceServer<Service>,
    others: Routes,
    /// The methods among the others whose callers send a stream.
    streamed: Vec<&'static str>,
    /// The largest message that the others read.
    message_bytes: usize,
    /// Whether what is no gRPC is read to its end before it is refused.
    reads_refused: bool,
    timeouts: Timeouts,
    stop: CancellationToken,
    telemetry: Telemetry,
}

impl Dispatch {
    pub(super) fn new(
        service: Service,
        health: HealthState,
        beside: Beside,
        timeouts: Timeouts,
        stop: CancellationToken,
        telemetry: Telemetry,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let savepoints = SavepointServiceServer::new(service)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MESSAGE_BYTES);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(pb::DESCRIPTOR)
                // So that tools can show the details of a status.
                .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        };
        let Beside { routes, mut streamed, message_bytes, reads_refused } = beside;
        streamed.extend(REFLECTION);
        let others = routes
            .add_service(health_service(health))
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .prepare();
        Ok(Self(Arc::new(Inner {
            savepoints,
            others,
            streamed,
            message_bytes,
            reads_refused,
            timeouts,
            stop,
            telemetry,
        })))
    }

    /// Answers one request. Whatever happens, there is an answer.
    pub(super) async fn handle<B>(
        &self,
        request: Request<B>,
        peer: Option<SocketAddr>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if let Some(refusal) = refuse_what_is_not_grpc(&request) {
            if self.0.reads_refused {
                let mut body = request.into_body();
                while let Some(Ok(_)) = body.frame().await {}
            }
            return refusal;
        }
        let method = method_of(request.uri().path());
        let deadline = Deadline::from_headers(request.headers(), self.0.timeouts);
        let trace = self.0.telemetry.trace(method, request.headers());
        let call = Call::new(deadline, self.0.stop.clone(), peer, trace);
        let mut record = Record::begin(self.0.telemetry.clone(), method, call.clone());

        let answering = AssertUnwindSafe(self.answer(method, request, &call));
        let response = match CatchUnwind(Box::pin(answering.0)).await {
            Ok(response) => response,
            Err(()) => {
                let mut error = Error::new(Failure::GatewayInternal, "the gateway failed inside");
                if let Method::Savepoint(operation) = method {
                    error = error.with_operation(operation);
                }
                call.note_failure(&error);
                Status::from(error).into_http()
            }
        };
        let response = with_details(response, method, &call);
        record.end(code_of(&response));
        response
    }

    async fn answer<B>(
        &self,
        method: Method,
        mut request: Request<B>,
        call: &Call,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let refuse = |error: Error| {
            let error = match method {
                Method::Savepoint(operation) => error.with_operation(operation),
                Method::Other => error,
            };
            call.note_failure(&error);
            Status::from(error).into_http()
        };
        if metadata_bytes(request.headers()) > METADATA_BYTES {
            let text = format!("the metadata is larger than {METADATA_BYTES} bytes");
            return refuse(Error::new(Failure::MessageTooLarge, text));
        }
        let other = matches!(method, Method::Other);
        if other && self.0.streamed.contains(&request.uri().path()) {
            return answered(self.0.others.clone().call(request.map(Body::new)).await);
        }
        request.extensions_mut().insert(call.clone());
        let (head, body) = request.into_parts();
        let most = if other { self.0.message_bytes } else { MESSAGE_BYTES };
        let message = match call.bound(pin!(unary::read(body, most))).await {
            Ok(message) => message,
            Err(error) => {
                // Nothing was asked of a provider yet.
                return refuse(error.with_outcome(crate::failure::Outcome::NotApplied));
            }
        };
        let request = Request::from_parts(head, Full::new(message));
        answered(match method {
            Method::Savepoint(_) => self.0.savepoints.clone().call(request).await,
            Method::Other => self.0.others.clone().call(request.map(Body::new)).await,
        })
    }
}

/// The answer of a service that always has one.
pub(super) fn answered<T>(result: Result<T, std::convert::Infallible>) -> T {
    match result {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

/// The health service, for the gRPC port and for the port of the operators.
pub(super) fn health_service(health: HealthState) -> HealthServer<HealthState> {
    HealthServer::new(health).max_decoding_message_size(MESSAGE_BYTES)
}

fn method_of(path: &str) -> Method {
    match path {
        "/savepoint.v1.SavepointService/ImportSavepoint" => {
            Method::Savepoint(Operation::ImportSavepoint)
        }
        "/savepoint.v1.SavepointService/GetSavepoint" => Method::Savepoint(Operation::GetSavepoint),
        _ => Method::Other,
    }
}

/// What is no gRPC at all is answered in plain HTTP, as the gRPC specification asks for: a
/// caller that does not speak gRPC would not understand a gRPC status.
fn refuse_what_is_not_grpc<B>(request: &Request<B>) -> Option<Response<Body>> {
    let refuse = |status, header: Option<(http::HeaderName, &'static str)>| {
        let text = if request.method() == HttpMethod::HEAD { "" } else { NOT_GRPC };
        let mut response = Response::new(Body::new(Full::from(text)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if let Some((name, value)) = header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Some(response)
    };
    let kind = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !is_grpc(kind) {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, None);
    }
    if request.method() != HttpMethod::POST {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, Some((ALLOW, "POST")));
    }
    None
}

/// `application/grpc`, alone, with `+proto`, or with parameters. Other codecs are not served.
fn is_grpc(kind: &[u8]) -> bool {
    let Some(rest) = kind.strip_prefix(b"application/grpc") else { return false };
    let rest = rest.strip_prefix(b"+proto").unwrap_or(rest);
    matches!(rest.first(), None | Some(b';' | b' '))
}

/// The size of the metadata by the measure of RFC 9113, section 6.5.2.
fn metadata_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

fn code_of(response: &Response<Body>) -> Code {
    response.headers().get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// Gives a status that the library made the form of all others: with an `ErrorInfo`, and with
/// the code that the gRPC specification asks for.
fn with_details(response: Response<Body>, method: Method, call: &Call) -> Response<Body> {
    let headers = response.headers();
    if !headers.contains_key("grpc-status") || headers.contains_key("grpc-status-details-bin") {
        return response;
    }
    let Some(status) = Status::from_header_map(headers) else { return response };
    #[expect(clippy::wildcard_enum_match_arm, reason = "codes that the library never makes")]
    let failure = match status.code() {
        Code::Ok => return response,
        // A compressed message that is larger than it looked.
        Code::OutOfRange | Code::ResourceExhausted => Failure::MessageTooLarge,
        Code::Internal => Failure::MalformedMessage,
        Code::Unimplemented => Failure::UnknownMethod,
        // The health service's own.
        Code::NotFound => Failure::NotFound,
        // A service beside the gateway's own says what it means.
        _ if matches!(method, Method::Other) => return response,
        _ => Failure::GatewayInternal,
    };
    let message = match (failure, status.message()) {
        (Failure::UnknownMethod, "") => "there is no such method here",
        (_, message) => message,
    };
    let mut error = Error::new(failure, message);
    if let Method::Savepoint(operation) = method {
        error = error.with_operation(operation);
    }
    if failure != Failure::NotFound {
        call.note_failure(&error);
    }
    let mut described: Response<Body> = Status::from(error).into_http();
    for name in ["grpc-accept-encoding", "grpc-encoding"] {
        if let Some(value) = response.headers().get(name) {
            described.headers_mut().insert(name, value.clone());
        }
    }
    described
}

/// A future whose panic is an answer, too.
struct CatchUnwind<F>(Pin<Box<F>>);

impl<F: Future> Future for CatchUnwind<F> {
    type Output = Result<F::Output, ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A future that panicked is dropped and never polled again, so nobody sees what the
        // panic left half done in it.
        match std::panic::catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(())),
        }
    }
}
