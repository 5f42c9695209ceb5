//! The gRPC server: connections, requests and their records. It is generic over the services and
//! knows no provider.
//!
//! The generated services run on our own accept loop. tonic's does not end while a connected peer
//! is silent, busy-loops when file descriptors run out, cuts off calls at a connection's maximum
//! age, and reports CANCELLED for deadlines; see `docs/adr/0001-own-accept-loop.md`.

mod access_log;
pub(crate) mod admin;
mod connection;
mod descriptors;
mod extra_services;
mod grpc;
mod grpc_frame;
mod grpc_web;
mod grpc_web_text;
mod h2_guard;
mod health;
mod http1_stream;
mod in_flight;
pub(crate) mod listener;
mod log_line;
mod media_type;
mod message_stream;
mod options;
mod places;
mod reflection;
mod request_memory;
mod rescue;
mod shared;
mod stream_end;
#[cfg(feature = "internals")]
pub(crate) mod test_util;
mod unix_socket;
mod write_limit;

#[cfg(feature = "internals")]
pub(crate) use access_log::Record;
pub(crate) use connection::WrongProtocol;
pub(crate) use connection::{Connection, serve};
pub use extra_services::ExtraServices;
pub use grpc::Services;
pub use grpc_frame::MESSAGE_BYTES;
pub(crate) use health::{HealthState, Stage};
pub(crate) use options::ADMIN_LISTEN;
pub use options::ServerConfig;
pub(crate) use options::ServerOptions;
pub(crate) use shared::Shared;

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::body::Body;

use connection::{ConnectionLimits, Handler};
use grpc::GrpcService;
use grpc_web::GrpcWeb;

#[derive(Debug, Clone)]
pub(crate) struct GrpcPort<S> {
    grpc: GrpcService<S>,
    web: Option<Arc<GrpcWeb<S>>>,
    shared: Arc<Shared>,
}

impl<S: Services> GrpcPort<S> {
    pub(crate) fn new(services: S, extra: ExtraServices, shared: &Arc<Shared>) -> Self {
        let grpc = GrpcService::new(services, extra, Arc::clone(shared));
        let web = GrpcWeb::new(grpc.clone(), &shared.config).map(Arc::new);
        Self { grpc, web, shared: Arc::clone(shared) }
    }

    pub(crate) fn limits(&self) -> &ConnectionLimits {
        &self.shared.limits
    }
}

impl<S: Services> Handler for GrpcPort<S> {
    async fn handle(
        &self,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> Response<Body> {
        match &self.web {
            None => self.grpc.handle(request, &connection).await,
            Some(web) => web.handle(request.map(Body::new), connection).await,
        }
    }
}
