//! What operators and probes ask: metrics, `/livez`, `/readyz`, and `grpc.health.v1`.
//!
//! On an address of its own, in plain HTTP, because Kubernetes' gRPC probes dial the pod's
//! address without TLS while the gRPC port may be loopback only.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::service::Routes;
use tower_service::Service as _;

use super::dispatch::{answered, health_service};
use super::health::Stage;
use super::listener::{Accepted, Bound};
use super::readiness;
use super::worker::Shared;

/// Operators are few. More connections wait.
const CONNECTIONS: usize = 64;

/// A connection that takes longer is no operator's.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Serves until the task is aborted.
pub(super) async fn serve(bound: Bound, shared: Arc<Shared>) {
    let routes = Routes::default().add_service(health_service(shared.health.clone())).prepare();
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
        let (routes, shared) = (routes.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let serving = async {
                match accepted {
                    Accepted::Tcp(stream, _) => {
                        serve_connection(TcpStream::from_std(stream)?, routes, shared).await
                    }
                    Accepted::Unix(stream) => {
                        serve_connection(UnixStream::from_std(stream)?, routes, shared).await
                    }
                }
            };
            if let Ok(Err(error)) = tokio::time::timeout(LONGEST, serving).await {
                tracing::debug!(error = %error, "admin connection ended");
            }
            drop(place);
        });
    }
}

async fn serve_connection<S>(stream: S, routes: Routes, shared: Arc<Shared>) -> std::io::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (routes, shared) = (routes.clone(), Arc::clone(&shared));
        async move { Ok::<_, Infallible>(answer(request, routes, &shared).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(16);
    builder.serve_connection(TokioIo::new(stream), service).await.map_err(std::io::Error::other)
}

async fn answer(request: Request<Incoming>, mut routes: Routes, shared: &Shared) -> Response<Body> {
    let is_grpc = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc {
        return answered(routes.call(request.map(Body::new)).await);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n".into());
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n".into()),
        "/readyz" => {
            let (status, mut body) = match shared.health.stage() {
                Stage::Serving => (StatusCode::OK, "ok\n".to_owned()),
                Stage::Starting => {
                    (StatusCode::SERVICE_UNAVAILABLE, "waiting for credentials\n".to_owned())
                }
                Stage::Ended => {
                    (StatusCode::SERVICE_UNAVAILABLE, "all credentials have ended\n".to_owned())
                }
                Stage::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned()),
            };
            for line in readiness::missing(shared) {
                body.push_str(&line);
                body.push('\n');
            }
            text(status, body)
        }
        "/metrics" => {
            let dropped = shared.telemetry.log().dropped();
            let mut response = text(StatusCode::OK, shared.telemetry.metrics().encode(dropped));
            response.headers_mut().insert(
                CONTENT_TYPE,
                HeaderValue::from_static(
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                ),
            );
            response
        }
        _ => text(StatusCode::NOT_FOUND, "/metrics, /livez and /readyz are served here\n".into()),
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
