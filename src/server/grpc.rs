//! Routes a request to its handler, and records the response.

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tower_service::Service as _;

use super::access_log::{Record, RecordedBody};
use super::connection::{Connection, Overloaded};
use super::extra_services::ExtraServices;
use super::grpc_frame::{MESSAGE_BYTES, read_single_message};
use super::health::HealthState;
use super::media_type::{GRPC, MediaType};
use super::message_stream::MessageStream;
use super::reflection;
use super::request_memory;
use super::rescue;
use super::shared::Shared;
use super::stream_end;
use crate::call::Call;
use crate::pb::health::health_server::HealthServer;
use crate::policy::Access;
use crate::rpc::operation::{Kind, Operation};
use crate::rpc::reason::{Outcome, Reason};
use crate::rpc::{Deadline, Error, Timeouts};

/// Larger metadata gets a gRPC status. h2 refuses without a status, so its limit is higher.
const METADATA_BYTES: usize = 16 * 1024;

const NOT_GRPC: &str = "This port speaks gRPC: POST, and content-type application/grpc.\n";

const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// The services whose RPCs are [`Operation`]s. The server knows nothing else of them.
pub trait Services: Clone + Send + Sync + 'static {
    fn operations(&self) -> &'static [&'static Operation];

    /// Serves one RPC. The request has its [`Call`] as an extension, and exactly one message.
    fn serve(
        &self,
        operation: &'static Operation,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// The gRPC port's router of one worker.
#[derive(Debug, Clone)]
pub(super) struct GrpcService<S>(Arc<Inner<S>>);

#[derive(Debug)]
struct Inner<S> {
    services: S,
    others: Routes,
    /// Methods of extra services with a request stream.
    streamed: Vec<&'static str>,
    /// The maximum message size of services without operations.
    message_bytes: usize,
    /// Whether a non-gRPC request is read to its end before it is refused.
    reads_refused: bool,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl<S: Services> GrpcService<S> {
    pub(super) fn new(services: S, extra: ExtraServices, shared: Arc<Shared>) -> Self {
        let ExtraServices { routes, mut streamed, message_bytes, reads_refused } = extra;
        // Also if it is off: whoever waits for a first answer gets the status at once.
        streamed.extend(reflection::METHODS);
        let mut others = routes.add_service(health_service(shared.health.clone()));
        if shared.config.reflection {
            others = reflection::add_to(others);
        }
        let others = others.prepare();
        // A token for each worker: calls wait for it, and share its lock.
        let stop = shared.stop.child_token();
        let inner =
            Inner { services, others, streamed, message_bytes, reads_refused, shared, stop };
        Self(Arc::new(inner))
    }

    /// Handles one request. There is always a response.
    pub(super) async fn handle<B>(
        &self,
        request: Request<B>,
        connection: &Arc<Connection>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if let Some(refusal) = refuse_other_than(&GRPC, NOT_GRPC, &request) {
            if self.0.reads_refused {
                let mut body = request.into_body();
                while let Some(Ok(_)) = body.frame().await {}
            }
            return refusal;
        }
        let Inner { services, shared, stop, .. } = &*self.0;
        let operation = find(services.operations(), request.uri().path());
        let kind = self.kind(operation, request.uri().path());
        let timeouts = if self.has_request_stream(operation, request.uri().path()) {
            // Such a caller has its answers as soon as it asks, and nothing to wait for.
            Timeouts { default: shared.config.timeouts.max, ..shared.config.timeouts }
        } else {
            shared.config.timeouts(kind)
        };
        let deadline = Deadline::from_headers(request.headers(), timeouts);
        let trace = shared.telemetry.trace(operation, request.headers());
        let peer = connection.peer.clone();
        let enforcement = operation.zip(shared.config.policy.as_ref());
        let access = enforcement.map(|(operation, enforcement)| {
            Access::new(enforcement, &shared.policy_metrics, &peer.caller, operation)
        });
        let call = Call::judged(operation, deadline, stop.clone(), peer, trace, access);
        let record = Record::begin(shared.telemetry.clone(), call.clone());

        // A future that panicked is dropped and never polled again, so nothing sees broken state.
        let answering = AssertUnwindSafe(self.answer(operation, kind, request, &call, connection));
        let mut response = match answering.catch_unwind().await {
            Ok(response) => response,
            Err(_) => rescue::failed(rescue::panicked(), &call),
        };
        if kind == Kind::ServerStream || operation.is_none() {
            let (call, connection) = (call.clone(), Arc::clone(connection));
            response = stream_end::ended_by(response, async move {
                call.failed(limit_of_stream(&call, &connection).await).into()
            });
        }
        RecordedBody::wrap(response, record, call)
    }

    fn kind(&self, operation: Option<&'static Operation>, path: &str) -> Kind {
        match operation {
            Some(operation) => operation.kind,
            None if path == WATCH || self.has_request_stream(None, path) => Kind::ServerStream,
            None => Kind::Unary,
        }
    }

    /// The deadline of a stream is far away, so its request has a time limit of its own.
    async fn request_of_stream_late(&self, kind: Kind) -> Error {
        if kind == Kind::Unary {
            return std::future::pending().await;
        }
        tokio::time::sleep(self.0.shared.config.peer_timeout).await;
        Error::new(Reason::DeadlineExceeded, "the request did not arrive in time")
    }

    fn has_request_stream(&self, operation: Option<&'static Operation>, path: &str) -> bool {
        operation.is_none() && self.0.streamed.contains(&path)
    }

    async fn answer<B>(
        &self,
        operation: Option<&'static Operation>,
        kind: Kind,
        mut request: Request<B>,
        call: &Call,
        connection: &Connection,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if request.extensions().get::<Overloaded>().is_some() {
            return rescue::failed(request_memory::overloaded(), call);
        }
        if metadata_bytes(request.headers()) > METADATA_BYTES {
            let text = format!("the metadata is larger than {METADATA_BYTES} bytes");
            return rescue::failed(Error::new(Reason::MessageTooLarge, text), call);
        }
        // Health and reflection are open, since probes need them.
        if let Some(Err(error)) = call.access().map(Access::judge_caller) {
            return rescue::failed(error, call);
        }
        let Inner { services, others, message_bytes, .. } = &*self.0;
        let limited = async |answering: Pin<&mut (dyn Future<Output = Response<Body>> + Send)>| {
            tokio::select! {
                biased;
                response = answering => response,
                error = limit_of_stream(call, connection) => rescue::failed(error, call),
            }
        };
        if self.has_request_stream(operation, request.uri().path()) {
            let (head, body) = request.into_parts();
            let memory = &connection.memory;
            let body = match MessageStream::new(body, *message_bytes, memory, call.clone()) {
                Ok(body) => Body::new(body),
                Err(error) => return rescue::failed(error, call),
            };
            let answering = others.clone().call(Request::from_parts(head, body));
            return limited(pin!(async { answered(answering.await) })).await;
        }
        request.extensions_mut().insert(call.clone());
        let (head, body) = request.into_parts();
        let most = if operation.is_some() { MESSAGE_BYTES } else { *message_bytes };
        let reading = pin!(read_single_message(body, most, &connection.memory));
        let message = tokio::select! {
            biased;
            message = call.bound(reading) => message,
            error = connection.closed_to_requests() => Err(error),
            error = self.request_of_stream_late(kind) => Err(error),
        };
        let message = match message {
            Ok(message) => message,
            // No provider has been called yet.
            Err(error) => return rescue::failed(error.with_outcome(Outcome::NotApplied), call),
        };
        let request = Request::from_parts(head, Full::new(message));
        match operation {
            Some(operation) if kind == Kind::ServerStream => {
                limited(pin!(services.serve(operation, request))).await
            }
            Some(operation) => services.serve(operation, request).await,
            None => answered(others.clone().call(request.map(Body::new)).await),
        }
    }
}

/// Returns when a stream must end whatever it does: at the limits of its call, and when its
/// connection closes, so that its caller goes on at another copy.
async fn limit_of_stream(call: &Call, connection: &Connection) -> Error {
    tokio::select! {
        error = call.limit() => error,
        error = connection.closed() => error,
        error = right_lost(call) => error,
    }
}

/// Returns when the policy has changed, and allows the call no longer.
async fn right_lost(call: &Call) -> Error {
    match call.access() {
        Some(access) => access.lost().await,
        None => std::future::pending().await,
    }
}

/// Unwraps the result of a service that cannot fail.
pub(super) fn answered<T>(result: Result<T, std::convert::Infallible>) -> T {
    match result {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

pub(super) fn health_service(health: HealthState) -> HealthServer<HealthState> {
    HealthServer::new(health).max_decoding_message_size(MESSAGE_BYTES)
}

/// Finds the RPC for a path, `/package.Service/Method`.
fn find(operations: &[&'static Operation], path: &str) -> Option<&'static Operation> {
    let (service, name) = path.strip_prefix('/')?.split_once('/')?;
    operations
        .iter()
        .find(|operation| operation.name == name && operation.service == service)
        .copied()
}

/// Refuses requests of other media types and methods in plain HTTP, as the gRPC specification requires.
pub(super) fn refuse_other_than<B>(
    media_types: &[&str],
    text: &'static str,
    request: &Request<B>,
) -> Option<Response<Body>> {
    let is_meant = MediaType::of(request.headers()).is_some_and(|kind| kind.is_one_of(media_types));
    let status = match (is_meant, request.method()) {
        (false, _) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        (true, &Method::POST) => return None,
        (true, _) => StatusCode::METHOD_NOT_ALLOWED,
    };
    let text = if request.method() == Method::HEAD { "" } else { text };
    let mut response = Response::new(Body::new(Full::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if is_meant {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    Some(response)
}

/// The size of the metadata as defined by RFC 9113, section 6.5.2.
fn metadata_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}
