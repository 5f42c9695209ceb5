//! gRPC-Web: the same calls from a browser, over HTTP/1.1 or HTTP/2, with CORS.
//!
//! Off unless origins are allowed: a page is a caller like any other, and uses the gateway's
//! credentials.
//!
//! # Reference
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use tonic::body::Body;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer};
use tower_layer::Layer;
use tower_service::Service;

use super::Peer;
use super::dispatch::{Dispatch, answered};

/// What the known gRPC-Web clients ask to send, traced ones among them.
const SENT: [HeaderName; 6] = [
    CONTENT_TYPE,
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
];

/// What a page may read besides the message.
const SHOWN: [HeaderName; 4] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    HeaderName::from_static("grpc-retry-pushback-ms"),
];

/// A browser asks again after this time whether it may call.
const PREFLIGHT_AGE: Duration = Duration::from_secs(60 * 60);

/// Dispatch for pages of some origins, and for everybody else as before.
#[derive(Debug, Clone)]
pub(super) struct Web(Cors<GrpcWebService<Native>>);

impl Web {
    /// Allows these origins; `*` allows all.
    pub(super) fn new(dispatch: Dispatch, origins: &[HeaderValue]) -> Self {
        let all = origins.iter().any(|origin| origin == "*");
        let origins =
            if all { AllowOrigin::any() } else { AllowOrigin::list(origins.iter().cloned()) };
        let cors = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::POST])
            .allow_headers(SENT)
            .expose_headers(SHOWN)
            .max_age(PREFLIGHT_AGE);
        Self(cors.layer(GrpcWebLayer::new().layer(Native(dispatch))))
    }

    /// Answers one request, of whatever kind.
    pub(super) async fn handle(&self, mut request: Request<Body>, peer: Peer) -> Response<Body> {
        request.extensions_mut().insert(Caller(peer));
        answered(self.0.clone().call(request).await)
    }
}

/// The caller's address on its way through the layers.
#[derive(Debug, Clone, Copy)]
struct Caller(Peer);

/// Dispatch as the layers want it.
#[derive(Debug, Clone)]
struct Native(Dispatch);

impl Service<Request<Body>> for Native {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let dispatch = self.0.clone();
        let caller = request.extensions_mut().remove::<Caller>();
        Box::pin(
            async move { Ok(dispatch.handle(request, caller.and_then(|Caller(peer)| peer)).await) },
        )
    }
}
