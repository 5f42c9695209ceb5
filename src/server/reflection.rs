//! Server reflection: describes the services to tools, such as grpcurl.
//!
//! tonic's own ends the stream at the first name that it does not know, and knows no extensions.
//!
//! # Reference
//! <https://github.com/grpc/grpc/blob/master/doc/server-reflection.md>

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use tokio_stream::{Stream, StreamExt as _};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Code, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest as Asked;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse as Told;
use tonic_reflection::pb::v1::server_reflection_server::{
    ServerReflection, ServerReflectionServer,
};
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};
use tonic_reflection::pb::{v1, v1alpha};
use tower_service::Service;

use super::descriptors::DESCRIPTORS;
use super::grpc_frame::MESSAGE_BYTES;
use super::rescue;
use crate::rpc::Error;

/// The one method, in both versions.
pub(super) const METHODS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Adds both versions.
pub(super) fn add_to(routes: Routes) -> Routes {
    let server = |service| {
        ServerReflectionServer::new(Reflection { service }).max_decoding_message_size(MESSAGE_BYTES)
    };
    routes
        .add_service(server(v1::server_reflection_server::SERVICE_NAME))
        .add_service(Alpha(server(v1alpha::server_reflection_server::SERVICE_NAME)))
}

/// The messages of v1alpha are those of v1, so only the path differs.
#[derive(Debug, Clone)]
struct Alpha(ServerReflectionServer<Reflection>);

impl NamedService for Alpha {
    const NAME: &'static str = v1alpha::server_reflection_server::SERVICE_NAME;
}

impl Service<Request<Body>> for Alpha {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <ServerReflectionServer<Reflection> as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let [stable, alpha] = METHODS;
        if request.uri().path() == alpha {
            *request.uri_mut() = Uri::from(PathAndQuery::from_static(stable));
        }
        self.0.call(request)
    }
}

#[derive(Debug, Clone)]
struct Reflection {
    /// The name of this version, which is listed.
    service: &'static str,
}

#[tonic::async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream =
        Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    /// Each request is read only when its answer can be sent, so that answers do not pile up.
    async fn server_reflection_info(
        &self,
        requests: tonic::Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<tonic::Response<Self::ServerReflectionInfoStream>, Status> {
        let mut answers = Answers { version: self.service, sent: Vec::new() };
        let told = requests.into_inner().map(move |request| match request {
            Ok(request) => Ok(answers.answer(request)),
            Err(status) => Err(described(status)),
        });
        Ok(tonic::Response::new(Box::pin(told)))
    }
}

/// Why a request could not be read, in the form of all statuses.
fn described(status: Status) -> Status {
    match rescue::reason_of(status.code()) {
        Some(reason) => Error::new(reason, status.message()).into(),
        None => status,
    }
}

/// The answers of one stream.
struct Answers {
    /// The name of the reflection service that is asked.
    version: &'static str,
    /// The files that the caller has.
    sent: Vec<bool>,
}

impl Answers {
    fn answer(&mut self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let told = match &request.message_request {
            None => Err((Code::InvalidArgument, "the request asks for nothing")),
            Some(asked) => self.find(asked).ok_or((Code::NotFound, "not found")),
        };
        let told = told.unwrap_or_else(|(code, message)| {
            let (error_code, error_message) = (code.into(), message.to_owned());
            Told::ErrorResponse(ErrorResponse { error_code, error_message })
        });
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(told),
        }
    }

    fn find(&mut self, asked: &Asked) -> Option<Told> {
        let file = match asked {
            Asked::FileByFilename(name) => DESCRIPTORS.by_name(name),
            Asked::FileContainingSymbol(name) => DESCRIPTORS.by_symbol(name),
            Asked::FileContainingExtension(extension) => {
                DESCRIPTORS.by_extension(&extension.containing_type, extension.extension_number)
            }
            Asked::AllExtensionNumbersOfType(name) => {
                let extension_number = DESCRIPTORS.extensions(name)?;
                let base_type_name = name.clone();
                let numbers = ExtensionNumberResponse { base_type_name, extension_number };
                return Some(Told::AllExtensionNumbersResponse(numbers));
            }
            Asked::ListServices(_) => return Some(Told::ListServicesResponse(self.services())),
        };
        let file_descriptor_proto = DESCRIPTORS.with_dependencies(file?, &mut self.sent);
        Some(Told::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto }))
    }

    /// The services of the gateway, and reflection in this version.
    fn services(&self) -> ListServiceResponse {
        let is_other = |name: &&str| name.starts_with("grpc.reflection.") && *name != self.version;
        let names = DESCRIPTORS.services().filter(|name| !is_other(name));
        let mut service: Vec<_> =
            names.map(|name| ServiceResponse { name: name.to_owned() }).collect();
        service.sort_by(|one, other| one.name.cmp(&other.name));
        ListServiceResponse { service }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody};
    use prost::Message as _;

    use super::*;

    /// More is not kept of a stream whose answers nobody reads.
    #[tokio::test]
    async fn requests_are_taken_only_as_fast_as_answers_are() {
        let ask = ServerReflectionRequest {
            message_request: Some(Asked::FileByFilename("google/protobuf/descriptor.proto".into())),
            ..Default::default()
        };
        let message = ask.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let message = Bytes::from([&[0][..], &length, &message].concat());
        let taken = Arc::new(AtomicUsize::new(0));
        let without_end = {
            let taken = Arc::clone(&taken);
            tokio_stream::iter(std::iter::repeat_with(move || {
                taken.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Status>(Frame::data(message.clone()))
            }))
        };
        let request = Request::post(METHODS[0]).header("content-type", "application/grpc");
        let request = request.body(Body::new(StreamBody::new(without_end))).unwrap();
        let mut routes = add_to(Routes::default()).prepare();
        let mut body = routes.call(request).await.unwrap().into_body();
        for read in 1..=10 {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(frame.len() < 128 * 1024, "{} bytes", frame.len());
            // Nothing goes on behind the reader's back.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let taken = taken.load(Ordering::Relaxed);
            assert!(taken <= 16 * read, "{taken} requests for {read} reads");
        }
    }
}
