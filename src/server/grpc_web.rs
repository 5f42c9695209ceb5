//! gRPC-Web: calls from browsers, over HTTP/1.1 or HTTP/2, with CORS.
//!
//! Off by default: pages that may call use the gateway's credentials. Only pages of listed origins
//! are served, also those that a browser takes for the gateway's own because their name leads here
//! (DNS rebinding).
//!
//! # Reference
//! - <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>
//! - <https://fetch.spec.whatwg.org/#http-cors-protocol>

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, ORIGIN, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_layer::Layer;
use tower_service::Service;

use super::connection::Connection;
use super::grpc::{GrpcService, Services, answered, refuse_other_than};
use super::grpc_web_text::Decoded;
use super::media_type::{MediaType, accepted};
use super::options::ServerConfig;

/// The media types of gRPC-Web, first as they are and then in base64.
const BINARY: [&str; 2] = ["application/grpc-web", "application/grpc-web+proto"];
const TEXT: [&str; 2] = ["application/grpc-web-text", "application/grpc-web-text+proto"];
const WEB: [&str; 4] = [BINARY[0], BINARY[1], TEXT[0], TEXT[1]];

/// Request headers of gRPC-Web clients, tracing included.
const SENT: [HeaderName; 9] = [
    CONTENT_TYPE,
    HeaderName::from_static("baggage"),
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
];

/// Response headers that a page may read.
const SHOWN: [HeaderName; 6] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    HeaderName::from_static("grpc-retry-pushback-ms"),
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
];

/// How long a browser may cache a preflight response.
const PREFLIGHT_AGE: Duration = Duration::from_secs(60 * 60);

/// How much of an unread request body is drained before an early response over HTTP/1.1. Closing a
/// connection while the peer still writes would lose the response.
const READ_OUT_BYTES: usize = 1024 * 1024;
const READ_OUT_TIME: Duration = Duration::from_secs(1);

const NOT_WEB: &str = "Over HTTP/1.1 this port speaks gRPC-Web: POST, and content-type \
    application/grpc-web or application/grpc-web-text.\n";

const NOT_ALLOWED: &str =
    "Pages of this origin may not call this gateway; see --grpc-web-allow-origin.\n";

/// gRPC-Web for pages of the allowed origins, and gRPC for all other callers.
#[derive(Debug)]
pub(super) struct GrpcWeb<S> {
    grpc: GrpcService<S>,
    /// None for all.
    origins: Option<Vec<HeaderValue>>,
    cors: CorsLayer,
}

impl<S: Services> GrpcWeb<S> {
    /// None if gRPC-Web is off.
    pub(super) fn new(grpc: GrpcService<S>, config: &ServerConfig) -> Option<Self> {
        let listed = &config.grpc_web_origins;
        if listed.is_empty() {
            return None;
        }
        let origins = (!listed.iter().any(|origin| origin == "*")).then(|| listed.clone());
        let cors = CorsLayer::new()
            .allow_origin(origins.clone().map_or_else(AllowOrigin::any, AllowOrigin::list))
            .allow_methods([Method::POST])
            .allow_headers([&SENT[..], &config.grpc_web_headers].concat())
            .expose_headers(SHOWN)
            .max_age(PREFLIGHT_AGE);
        Some(Self { grpc, origins, cors })
    }

    pub(super) async fn handle(
        &self,
        request: Request<Body>,
        connection: Arc<Connection>,
    ) -> Response<Body> {
        if request.version() == Version::HTTP_2 {
            return self.answer(request, connection).await;
        }
        let (give_back, mut unread) = oneshot::channel();
        let request = request.map(|inner| Body::new(Lent { inner, give_back: Some(give_back) }));
        let mut response = self.answer(request, connection).await;
        if let Ok(rest) = unread.try_recv() {
            let read_out = tokio::time::timeout(READ_OUT_TIME, read_out(rest)).await;
            if !read_out.unwrap_or(false) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        response
    }

    async fn answer(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        if !self.allows(request.headers()) {
            let mut refusal = Response::new(Body::new(Full::from(NOT_ALLOWED)));
            *refusal.status_mut() = StatusCode::FORBIDDEN;
            let headers = refusal.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            headers.insert(VARY, HeaderValue::from_static("origin"));
            return refusal;
        }
        let port = Port { grpc: self.grpc.clone(), connection };
        answered(self.cors.layer(port).call(request).await)
    }

    /// Callers other than browsers send no `Origin`, browsers exactly one.
    fn allows(&self, headers: &HeaderMap) -> bool {
        let mut sent = headers.get_all(ORIGIN).iter();
        match (sent.next(), sent.next()) {
            (None, _) => true,
            (Some(origin), None) => self.origins.as_ref().is_none_or(|all| all.contains(origin)),
            (Some(_), Some(_)) => false,
        }
    }
}

/// What [`CorsLayer`] adds its headers to.
#[derive(Debug)]
struct Port<S> {
    grpc: GrpcService<S>,
    connection: Arc<Connection>,
}

impl<S: Services> Service<Request<Body>> for Port<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Answering {
        let (grpc, connection) = (self.grpc.clone(), Arc::clone(&self.connection));
        Box::pin(async move {
            let kind = MediaType::of(request.headers());
            let is_text = kind.is_some_and(|kind| kind.is_one_of(&TEXT));
            let is_web = kind.is_some_and(|kind| kind.is_one_of(&WEB));
            if !is_web && request.version() == Version::HTTP_2 {
                return Ok(grpc.handle(request, &connection).await);
            }
            if let Some(refusal) = refuse_other_than(&WEB, NOT_WEB, &request) {
                return Ok(refusal);
            }
            // The layer knows these spellings only.
            let accepts = if accepts_text(request.headers(), is_text) { TEXT } else { BINARY }[0];
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(BINARY[0]));
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accepts));
            GrpcWebLayer::new().layer(Framed { grpc, connection, is_text }).call(request).await
        })
    }
}

/// Whether the response is to be in base64: as the caller prefers, else as the request is.
fn accepts_text(headers: &HeaderMap, is_text: bool) -> bool {
    let weight = |kinds: &[&str]| {
        let weights = accepted(headers).filter(|(range, _)| range.is_one_of(kinds));
        weights.map(|(_, weight)| weight).fold(0.0, f32::max)
    };
    let (binary, text) = (weight(&BINARY), weight(&TEXT));
    text > binary || (text > 0.0 && text >= binary && is_text)
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// A gRPC-Web request, as gRPC.
#[derive(Debug)]
struct Framed<S> {
    grpc: GrpcService<S>,
    connection: Arc<Connection>,
    is_text: bool,
}

impl<S: Services> Service<Request<Body>> for Framed<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let (grpc, connection) = (self.grpc.clone(), Arc::clone(&self.connection));
        let is_text = self.is_text;
        Box::pin(async move {
            let decode = |body| if is_text { Body::new(Decoded::new(body)) } else { body };
            Ok(grpc.handle(request.map(decode), &connection).await)
        })
    }
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
