//! The admin port: metrics, `/livez`, `/readyz`, and `grpc.health.v1` for probes.
//!
//! It has its own address and plain HTTP: Kubernetes' gRPC probes dial the pod's address without
//! TLS, while the gRPC port may be on loopback only.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tower_service::Service as _;

use super::Peer;
use super::connection::{self, ConnectionLimits, Handler};
use super::grpc::{answered, health_service};
use super::health::Stage;
use super::listener::Bound;
use super::shared::Shared;

/// There are few operators and probes. Further connections wait.
const CONNECTIONS: usize = 64;

/// Maximum number of concurrent calls of one connection.
const STREAMS: u32 = 16;

/// Maximum idle time and age of a connection: longer than any scrape interval.
const MAX_IDLE: Duration = Duration::from_secs(5 * 60);
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// Lists what is missing to serve every call, one line each.
pub(crate) type Missing = dyn Fn() -> Vec<String> + Send + Sync;

pub(crate) async fn serve(bound: Bound, shared: Arc<Shared>, missing: Arc<Missing>) {
    let limits = Arc::new(ConnectionLimits {
        peer_timeout: shared.config.peer_timeout,
        max_age: Some(MAX_AGE),
        max_idle: Some(MAX_IDLE),
        max_streams: STREAMS,
        http_1: true,
        // Probes must work during a drain.
        drain: CancellationToken::new(),
        clock: Arc::clone(&shared.clock),
    });
    let routes = Routes::default().add_service(health_service(shared.health.clone())).prepare();
    let admin = Admin { routes, shared, missing };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = match bound.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (admin, limits) = (admin.clone(), Arc::clone(&limits));
        tokio::spawn(async move {
            let served = async {
                let (stream, peer) = accepted.into_stream()?;
                connection::serve(stream, peer, admin, &limits).await
            };
            if let Err(error) = served.await {
                tracing::debug!(error = %error, "admin connection ended");
            }
            drop(place);
        });
    }
}

#[derive(Clone)]
struct Admin {
    routes: Routes,
    shared: Arc<Shared>,
    missing: Arc<Missing>,
}

impl Handler for Admin {
    async fn handle(&self, request: Request<Incoming>, _: Peer) -> Response<Body> {
        let kind = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        if kind.starts_with(b"application/grpc") {
            return answered(self.routes.clone().call(request.map(Body::new)).await);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n".into());
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => {
                let paths = "/metrics, /livez and /readyz are served here\n";
                text(StatusCode::NOT_FOUND, paths.into())
            }
        }
    }
}

impl Admin {
    fn ready(&self) -> Response<Body> {
        let (status, line) = match self.shared.health.stage() {
            Stage::Serving => (StatusCode::OK, "ok"),
            Stage::Starting => (StatusCode::SERVICE_UNAVAILABLE, "waiting for credentials"),
            Stage::Expired => (StatusCode::SERVICE_UNAVAILABLE, "all credentials have expired"),
            Stage::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        };
        let mut lines = vec![line.to_owned()];
        lines.extend((self.missing)());
        lines.push(String::new());
        text(status, lines.join("\n"))
    }

    fn metrics(&self) -> Response<Body> {
        let telemetry = &self.shared.telemetry;
        let page = telemetry.metrics().encode(telemetry.log().dropped());
        let mut response = text(StatusCode::OK, page);
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
