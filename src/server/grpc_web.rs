//! gRPC-Web: calls from browsers, over HTTP/1.1 or HTTP/2, with CORS.
//!
//! Off by default: pages that may call use the gateway's credentials.
//!
//! # Reference
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer};
use tower_layer::Layer;
use tower_service::Service;

use super::connection::Connection;
use super::grpc::{GrpcService, Services, answered};

/// Request headers of gRPC-Web clients, tracing included.
const SENT: [HeaderName; 6] = [
    CONTENT_TYPE,
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
];

/// Response headers that a page may read.
const SHOWN: [HeaderName; 4] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    HeaderName::from_static("grpc-retry-pushback-ms"),
];

/// How long a browser may cache a preflight response.
const PREFLIGHT_AGE: Duration = Duration::from_secs(60 * 60);

/// How much of an unread request body is drained before an early response over HTTP/1.1. Closing a
/// connection while the peer still writes would lose the response.
const READ_OUT_BYTES: usize = 1024 * 1024;
const READ_OUT_TIME: Duration = Duration::from_secs(1);

/// gRPC-Web for pages of the allowed origins, and gRPC for all other callers.
#[derive(Debug, Clone)]
pub(super) struct GrpcWeb<S>(Cors<GrpcWebService<Native<S>>>);

impl<S: Services> GrpcWeb<S> {
    /// Allows these origins; `*` allows all.
    pub(super) fn new(grpc: GrpcService<S>, origins: &[HeaderValue]) -> Self {
        let all = origins.iter().any(|origin| origin == "*");
        let origins =
            if all { AllowOrigin::any() } else { AllowOrigin::list(origins.iter().cloned()) };
        let cors = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::POST])
            .allow_headers(SENT)
            .expose_headers(SHOWN)
            .max_age(PREFLIGHT_AGE);
        Self(cors.layer(GrpcWebLayer::new().layer(Native(grpc))))
    }

    pub(super) async fn handle(
        &self,
        mut request: Request<Body>,
        connection: Arc<Connection>,
    ) -> Response<Body> {
        request.extensions_mut().insert(connection);
        if request.version() == Version::HTTP_2 {
            return answered(self.0.clone().call(request).await);
        }
        let (give_back, mut unread) = oneshot::channel();
        let request = request.map(|inner| Body::new(Lent { inner, give_back: Some(give_back) }));
        let mut response = if is_not_web(&request) {
            let mut refusal = Response::new(Body::empty());
            *refusal.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            drop(request);
            refusal
        } else {
            answered(self.0.clone().call(request).await)
        };
        if let Ok(rest) = unread.try_recv() {
            let read_out = tokio::time::timeout(READ_OUT_TIME, read_out(rest)).await;
            if !read_out.unwrap_or(false) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        response
    }
}

/// Over HTTP/1.1 only gRPC-Web is served.
fn is_not_web(request: &Request<Body>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    request.method() == Method::POST && !kind.starts_with(b"application/grpc-web")
}

/// Drains a request body, within a limit. Returns whether it reached the end.
async fn read_out(mut body: Body) -> bool {
    let mut left = READ_OUT_BYTES;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => return false,
        }
    }
    true
}

/// A request body that is given back if it is dropped before its end.
struct Lent {
    inner: Body,
    give_back: Option<oneshot::Sender<Body>>,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = frame {
            self.give_back = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(give_back) = self.give_back.take() {
            // The receiver is gone if the connection is.
            let _ = give_back.send(std::mem::take(&mut self.inner));
        }
    }
}

#[derive(Debug, Clone)]
struct Native<S>(GrpcService<S>);

impl<S: Services> Service<Request<Body>> for Native<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let grpc = self.0.clone();
        let connection = request.extensions_mut().remove::<Arc<Connection>>();
        Box::pin(async move {
            let connection = connection.expect("the layers pass it on");
            Ok(grpc.handle(request, &connection).await)
        })
    }
}
