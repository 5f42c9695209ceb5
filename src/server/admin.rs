//! The admin port: metrics, `/livez`, `/readyz`, and `grpc.health.v1` for probes.
//!
//! It has its own address and plain HTTP: Kubernetes' gRPC probes dial the pod's address without
//! TLS, while the gRPC port may be on loopback only.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ORIGIN, VARY};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower_service::Service as _;

use super::connection::{self, Connection, ConnectionLimits, Crowd, Handler, Overloaded};
use super::grpc::{answered, health_service};
use super::grpc_frame::{MESSAGE_BYTES, read_single_message};
use super::health::Stage;
use super::listener::{Bound, is_of_one_connection};
use super::media_type::{GRPC, MediaType, accepted};
use super::places::{Place, Places};
use super::request_memory::{self, RequestMemory};
use super::shared::Shared;
use super::stream_end;
use crate::telemetry::{Exposition, Gauge};

/// There are few operators and probes.
pub(crate) const CONNECTIONS: usize = 64;

/// Maximum number of concurrent calls of one connection.
const STREAMS: u32 = 4;

/// What requests may make the process hold here: with usual metadata, enough for all calls that all
/// connections can make. Callers of the gRPC port cannot use it up.
const MEMORY: usize = 4 * 1024 * 1024;

/// Maximum idle time and age of a connection. Scrapers and probes come more often, or connect anew.
const MAX_IDLE: Duration = Duration::from_secs(60);
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// How long accepting pauses if the process is out of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Lists what is missing to serve every call, one line each.
pub(crate) type Missing = dyn Fn() -> Vec<String> + Send + Sync;

pub(crate) async fn serve(bound: Bound, shared: Arc<Shared>, missing: Arc<Missing>) {
    let limits = Arc::new(ConnectionLimits {
        peer_timeout: shared.config.peer_timeout,
        max_age: Some(MAX_AGE),
        max_idle: Some(MAX_IDLE),
        crowd: Crowd::default(),
        max_streams: STREAMS,
        memory: RequestMemory::new(MEMORY, Gauge::default(), None),
        http_1: true,
        // Probes must work during a drain.
        drain: CancellationToken::new(),
        clock: Arc::clone(&shared.clock),
    });
    let routes = Routes::default().add_service(health_service(shared.health.clone())).prepare();
    let admin = Admin { routes, shared, missing };
    let places = Places::new(CONNECTIONS);
    loop {
        let accepted = match bound.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(_) => {
                // Its file descriptor is enough for the newcomer.
                places.free_one();
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (stream, peer) = match accepted.into_stream() {
            Ok(accepted) => accepted,
            Err(_) => continue,
        };
        let connection = Connection::new(peer, &limits);
        let place = Arc::new(places.take(Arc::clone(&connection)));
        let port = Port { admin: admin.clone(), place: Arc::clone(&place) };
        let limits = Arc::clone(&limits);
        tokio::spawn(async move {
            let served = tokio::select! {
                served = connection::serve(stream, connection, port, &limits) => served,
                () = place.lost() => Err(io::Error::other("another connection got its place")),
            };
            if let Err(error) = served {
                tracing::debug!(error = %error, "admin connection ended");
            }
        });
        // The newcomer has its turn before the next can take its place.
        tokio::task::yield_now().await;
    }
}

#[derive(Clone)]
struct Admin {
    routes: Routes,
    shared: Arc<Shared>,
    missing: Arc<Missing>,
}

/// The admin port as one connection uses it.
#[derive(Clone)]
struct Port {
    admin: Admin,
    place: Arc<Place>,
}

impl Handler for Port {
    async fn handle(
        &self,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> Response<Body> {
        self.place.used();
        let Self { admin, .. } = self;
        // Only pages send it, and none is meant to read or probe here, also not one whose name leads
        // to this address.
        if request.headers().contains_key(ORIGIN) {
            return text(StatusCode::FORBIDDEN, "pages are not served here\n".into());
        }
        if MediaType::of(request.headers()).is_some_and(|kind| kind.is_one_of(&GRPC)) {
            return admin.health(request, connection).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n".into());
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => admin.ready(),
            "/metrics" => admin.metrics(&connection, preferred(request.headers())),
            _ => {
                let paths = "/metrics, /livez and /readyz are served here\n";
                text(StatusCode::NOT_FOUND, paths.into())
            }
        }
    }
}

impl Admin {
    /// A call of `grpc.health.v1`, whose request must arrive in time.
    async fn health(
        &self,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> Response<Body> {
        if request.extensions().get::<Overloaded>().is_some() {
            return Status::from(request_memory::overloaded()).into_http();
        }
        let (head, body) = request.into_parts();
        let reading = read_single_message(body, MESSAGE_BYTES, &connection.memory);
        let patience = self.shared.config.peer_timeout;
        let message = match tokio::time::timeout(patience, reading).await {
            Ok(Ok(message)) => Full::new(message),
            Ok(Err(error)) => return Status::from(error).into_http(),
            Err(_) => {
                return Status::deadline_exceeded("the request did not arrive in time").into_http();
            }
        };
        let request = Request::from_parts(head, Body::new(message.map_err(|never| match never {})));
        let response = self.routes.clone().call(request).await;
        stream_end::ended_by(answered(response), async move { connection.closed().await.into() })
    }

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
        text(status, lines.join("\n").into())
    }

    fn metrics(&self, connection: &Connection, format: Exposition) -> Response<Body> {
        let telemetry = &self.shared.telemetry;
        let page = telemetry.metrics().encode(telemetry.log().dropped(), format);
        // Whoever asks again and again and does not read would have very many.
        let Ok(share) = connection.memory.take(page.capacity()) else {
            let busy = "too many pages are being read\n";
            return text(StatusCode::SERVICE_UNAVAILABLE, busy.into());
        };
        let mut response = text(StatusCode::OK, share.hold(page.into_bytes()));
        let kind = HeaderValue::from_static(format.content_type());
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
        response
    }
}

/// OpenMetrics for a scraper that asks for it and does not like the text format better.
fn preferred(headers: &HeaderMap) -> Exposition {
    let weight = |essence, version| {
        let is_meant = |range: MediaType<'_>| {
            let asked = range.parameter("version");
            range.is(essence) && asked.is_none_or(|asked| asked == version)
        };
        let weights = accepted(headers).filter(|(range, _)| is_meant(*range));
        weights.map(|(_, weight)| weight).fold(0.0, f32::max)
    };
    let open_metrics = weight("application/openmetrics-text", "1.0.0");
    if open_metrics > 0.0 && open_metrics >= weight("text/plain", "0.0.4") {
        Exposition::OpenMetrics
    } else {
        Exposition::Text
    }
}

fn text(status: StatusCode, text: Bytes) -> Response<Body> {
    let body = Full::new(text).map_err(|never| match never {});
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
