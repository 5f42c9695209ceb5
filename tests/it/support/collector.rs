//! A collector of traces on loopback, which reads what it gets with the messages that
//! OpenTelemetry itself publishes for Rust.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
pub(crate) use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use savepoint_gateway::otlp::{ExportConfig, Protocol, TraceConfig};
use savepoint_gateway::telemetry::Sampler;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::codec::CompressionEncoding;
use tower_service::Service as _;

use super::eventually;

type Answer = Result<ExportTraceServiceResponse, tonic::Status>;

/// What came in.
#[derive(Default)]
struct Received {
    requests: Vec<ExportTraceServiceRequest>,
    headers: Vec<HeaderMap>,
}

#[derive(Clone)]
struct Inbox {
    received: Arc<Mutex<Received>>,
    answer: Arc<dyn Fn(usize) -> Answer + Send + Sync>,
}

#[tonic::async_trait]
impl TraceService for Inbox {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let (metadata, _, message) = request.into_parts();
        let before = {
            let mut received = self.received.lock().unwrap();
            received.headers.push(metadata.into_headers());
            received.requests.push(message);
            received.requests.len() - 1
        };
        (self.answer)(before).map(tonic::Response::new)
    }
}

pub(crate) struct Collector {
    address: SocketAddr,
    inbox: Inbox,
    serving: JoinHandle<()>,
}

impl Collector {
    /// A collector that takes everything.
    pub(crate) async fn start() -> Self {
        Self::answering(|_| Ok(ExportTraceServiceResponse::default())).await
    }

    /// A collector that answers by how many batches came before, over gRPC.
    pub(crate) async fn answering(
        answer: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::over(None, answer).await
    }

    /// The same behind TLS.
    pub(crate) async fn over(
        tls: Option<rustls::ServerConfig>,
        answer: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inbox = Inbox { received: Arc::default(), answer: Arc::new(answer) };
        let tls = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
        let serving = tokio::spawn({
            let inbox = inbox.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (inbox, tls) = (inbox.clone(), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => inbox.serve(stream).await,
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    inbox.serve(stream).await;
                                }
                            }
                        }
                    });
                }
            }
        });
        Self { address, inbox, serving }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Traces that go here: by gRPC, or else by HTTP.
    pub(crate) fn traces(&self, protocol: Protocol) -> TraceConfig {
        traces_to(&self.address.to_string(), protocol)
    }

    /// All spans so far, in the order in which they came.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let received = self.inbox.received.lock().unwrap();
        let resources = received.requests.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|spans| &spans.scope_spans).flat_map(|s| s.spans.clone()).collect()
    }

    /// Waits until there are these many spans, and no more.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Span> {
        eventually("the spans arrive", || self.spans().len() >= count).await;
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }

    /// How many batches came.
    pub(crate) fn batches(&self) -> usize {
        self.inbox.received.lock().unwrap().requests.len()
    }

    /// The headers of the first batch.
    pub(crate) fn headers(&self) -> HeaderMap {
        self.inbox.received.lock().unwrap().headers[0].clone()
    }

    /// The attributes of the process.
    pub(crate) fn resource(&self) -> BTreeMap<String, String> {
        let received = self.inbox.received.lock().unwrap();
        let resource = received.requests[0].resource_spans[0].resource.clone().unwrap();
        flat(&resource.attributes)
    }

    /// All bytes of all batches, as they are when they are not compressed.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let received = self.inbox.received.lock().unwrap();
        received.requests.iter().flat_map(prost::Message::encode_to_vec).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Inbox {
    /// gRPC over HTTP/2, and `POST /v1/traces` over HTTP/1.1.
    async fn serve<S>(self, stream: S)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let executor = hyper_util::rt::TokioExecutor::new();
        let service = hyper::service::service_fn(move |request: http::Request<_>| {
            let inbox = self.clone();
            async move {
                Ok::<_, Infallible>(match request.uri().path() {
                    "/v1/traces" => inbox.over_http(request).await,
                    _ => {
                        let mut grpc = TraceServiceServer::new(inbox)
                            .accept_compressed(CompressionEncoding::Gzip);
                        match grpc.call(request.map(tonic::body::Body::new)).await {
                            Ok(response) => response,
                            Err(never) => match never {},
                        }
                    }
                })
            }
        });
        let io = hyper_util::rt::TokioIo::new(stream);
        let _ = hyper_util::server::conn::auto::Builder::new(executor)
            .serve_connection(io, service)
            .await;
    }

    async fn over_http(
        self,
        request: http::Request<hyper::body::Incoming>,
    ) -> http::Response<tonic::body::Body> {
        use http_body_util::BodyExt as _;
        let (head, body) = request.into_parts();
        assert_eq!(head.method, http::Method::POST);
        assert_eq!(head.headers["content-type"], "application/x-protobuf");
        let mut bytes = body.collect().await.unwrap().to_bytes().to_vec();
        if head.headers.get("content-encoding").is_some_and(|kind| kind == "gzip") {
            let mut plain = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(&bytes[..]);
            std::io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
            bytes = plain;
        }
        let message = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(head.headers);
        let (status, body) = match self.export(request).await {
            Ok(answer) => (200, answer.into_inner().encode_to_vec()),
            Err(status) if status.code() == tonic::Code::Unavailable => (503, Vec::new()),
            Err(_) => (400, Vec::new()),
        };
        let body = http_body_util::Full::new(bytes::Bytes::from(body));
        http::Response::builder().status(status).body(tonic::body::Body::new(body)).unwrap()
    }
}

/// Traces that go to this host and port, a few moments after they are made.
pub(crate) fn traces_to(address: &str, protocol: Protocol) -> TraceConfig {
    let path = match protocol {
        Protocol::Grpc => "/",
        Protocol::Http => "/v1/traces",
    };
    TraceConfig {
        accept: true,
        forward: false,
        export: Some(ExportConfig {
            endpoint: format!("http://{address}{path}").parse().unwrap(),
            protocol,
            headers: HeaderMap::new(),
            timeout: super::LONG,
            gzip: false,
            trust: None,
            sampler: Sampler { parent_based: true, ratio: 1.0 },
            max_queue: 2048,
            max_batch: 512,
            delay: Duration::from_millis(10),
            resource: vec![("service.name".into(), "under-test".into())],
        }),
    }
}

/// Attributes as text.
pub(crate) fn flat(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Value| {
        if let Value::IntValue(number) = value {
            return number.to_string();
        }
        let Value::StringValue(text) = value else { panic!("{value:?}") };
        text.clone()
    };
    let value = |pair: &KeyValue| text(pair.value.as_ref().unwrap().value.as_ref().unwrap());
    attributes.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

/// Short access to the parts of a span.
pub(crate) trait Shown {
    fn is_server(&self) -> bool;
    fn attributes(&self) -> BTreeMap<String, String>;
    /// The attribute of this name; empty when there is none.
    fn value(&self, name: &str) -> String;
    fn is_error(&self) -> bool;
}

impl Shown for Span {
    fn is_server(&self) -> bool {
        assert!(matches!(self.kind(), SpanKind::Server | SpanKind::Client));
        self.kind() == SpanKind::Server
    }

    fn attributes(&self) -> BTreeMap<String, String> {
        flat(&self.attributes)
    }

    fn value(&self, name: &str) -> String {
        Shown::attributes(self).remove(name).unwrap_or_default()
    }

    fn is_error(&self) -> bool {
        use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
        self.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
    }
}
