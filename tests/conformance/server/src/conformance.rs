//! `connectrpc.conformance.v1.ConformanceService`, as its proto describes it.

use std::pin::{Pin, pin};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use prost_types::Any;
use savepoint_gateway::call::Call;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::trailers::{Trailers, WithTrailers};
use pb::conformance_payload::RequestInfo;
use pb::conformance_service_server::{ConformanceService, ConformanceServiceServer};
use pb::unary_response_definition::Response as Answer;
use pb::{
    BidiStreamRequest, BidiStreamResponse, ClientStreamRequest, ClientStreamResponse,
    ConformancePayload, Header, IdempotentUnaryRequest, IdempotentUnaryResponse,
    ServerStreamRequest, ServerStreamResponse, StreamResponseDefinition, UnaryRequest,
    UnaryResponse, UnaryResponseDefinition, UnimplementedRequest, UnimplementedResponse,
};

#[allow(clippy::all, dead_code)]
pub mod pb {
    tonic::include_proto!("connectrpc.conformance.v1");
}

pub const STREAMED: &[&str] = &[
    "/connectrpc.conformance.v1.ConformanceService/ClientStream",
    "/connectrpc.conformance.v1.ConformanceService/BidiStream",
];

pub fn service(message_bytes: usize) -> WithTrailers<ConformanceServiceServer<Conformance>> {
    WithTrailers(
        ConformanceServiceServer::new(Conformance)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(message_bytes),
    )
}

#[derive(Debug)]
pub struct Conformance;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ConformanceService for Conformance {
    type ServerStreamStream = Answers<ServerStreamResponse>;
    type BidiStreamStream = Answers<BidiStreamResponse>;

    async fn unary(
        &self,
        request: Request<UnaryRequest>,
    ) -> Result<Response<UnaryResponse>, Status> {
        let definition = request.get_ref().response_definition.clone();
        let info = info_of(&request, "UnaryRequest");
        let call = request.extensions().get::<Call>().cloned();
        answer(definition, info, call)
            .await
            .map(|response| response.map(|payload| UnaryResponse { payload: Some(payload) }))
    }

    async fn idempotent_unary(
        &self,
        request: Request<IdempotentUnaryRequest>,
    ) -> Result<Response<IdempotentUnaryResponse>, Status> {
        let definition = request.get_ref().response_definition.clone();
        let info = info_of(&request, "IdempotentUnaryRequest");
        let call = request.extensions().get::<Call>().cloned();
        answer(definition, info, call).await.map(|response| {
            response.map(|payload| IdempotentUnaryResponse { payload: Some(payload) })
        })
    }

    async fn server_stream(
        &self,
        request: Request<ServerStreamRequest>,
    ) -> Result<Response<Self::ServerStreamStream>, Status> {
        let definition = request.get_ref().response_definition.clone().unwrap_or_default();
        let mut info = Some(info_of(&request, "ServerStreamRequest"));
        let (sender, receiver) = mpsc::channel(1);
        let response = streamed(&definition, receiver);
        tokio::spawn(async move {
            for data in &definition.response_data {
                delay(definition.response_delay_ms).await;
                let payload = ConformancePayload { data: data.clone(), request_info: info.take() };
                let message = ServerStreamResponse { payload: Some(payload) };
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
            }
            if let Some(error) = definition.error {
                let _ = sender.send(Err(status(error, info, HeaderMap::new()))).await;
            }
        });
        Ok(response)
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<ClientStreamRequest>>,
    ) -> Result<Response<ClientStreamResponse>, Status> {
        let mut info = info_of_headers(request.metadata());
        let mut messages = request.into_inner();
        let mut definition = None;
        while let Some(message) = messages.message().await? {
            if info.requests.is_empty() {
                definition = message.response_definition.clone();
            }
            info.requests.push(any("ClientStreamRequest", &message));
        }
        answer(definition, info, None)
            .await
            .map(|response| response.map(|payload| ClientStreamResponse { payload: Some(payload) }))
    }

    async fn bidi_stream(
        &self,
        request: Request<Streaming<BidiStreamRequest>>,
    ) -> Result<Response<Self::BidiStreamStream>, Status> {
        let mut info = info_of_headers(request.metadata());
        let mut messages = request.into_inner();
        // It says which headers the answer begins with.
        let first = messages.message().await?.unwrap_or_default();
        let definition = first.response_definition.clone().unwrap_or_default();
        let full_duplex = first.full_duplex;
        let mut next = Some(first);
        while !full_duplex && let Some(message) = next {
            info.requests.push(any("BidiStreamRequest", &message));
            next = messages.message().await?;
        }
        let (sender, receiver) = mpsc::channel(1);
        let response = streamed(&definition, receiver);
        tokio::spawn(async move {
            let mut data = definition.response_data.into_iter();
            let mut sent = 0;
            while let Some(message) = next {
                info.requests.push(any("BidiStreamRequest", &message));
                let Some(data) = data.next() else { break };
                delay(definition.response_delay_ms).await;
                let request_info = Some(std::mem::take(&mut info));
                let payload = ConformancePayload { data, request_info };
                let message = BidiStreamResponse { payload: Some(payload) };
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
                sent += 1;
                next = match messages.message().await {
                    Ok(next) => next,
                    Err(status) => {
                        let _ = sender.send(Err(status)).await;
                        return;
                    }
                };
            }
            for data in data {
                delay(definition.response_delay_ms).await;
                let request_info = (sent == 0).then(|| std::mem::take(&mut info));
                let payload = ConformancePayload { data, request_info };
                if sender.send(Ok(BidiStreamResponse { payload: Some(payload) })).await.is_err() {
                    return;
                }
                sent += 1;
            }
            if let Some(error) = definition.error {
                let info = (sent == 0).then_some(info);
                let _ = sender.send(Err(status(error, info, HeaderMap::new()))).await;
            }
        });
        Ok(response)
    }

    async fn unimplemented(
        &self,
        _: Request<UnimplementedRequest>,
    ) -> Result<Response<UnimplementedResponse>, Status> {
        Err(Status::unimplemented("not implemented, as the suite demands"))
    }
}

/// The answer of a call with one. The gateway's own deadline bounds it, where it has one.
async fn answer(
    definition: Option<UnaryResponseDefinition>,
    info: RequestInfo,
    call: Option<Call>,
) -> Result<Response<ConformancePayload>, Status> {
    let Some(definition) = definition else {
        let request_info = Some(info);
        return Ok(Response::new(ConformancePayload { data: Vec::new(), request_info }));
    };
    match call {
        Some(call) => {
            let delay = async {
                delay(definition.response_delay_ms).await;
                Ok(())
            };
            call.bound(pin!(delay)).await?;
        }
        None => delay(definition.response_delay_ms).await,
    }
    let headers = header_map(&definition.response_headers);
    let trailers = header_map(&definition.response_trailers);
    let data = match definition.response {
        Some(Answer::Error(error)) => {
            let mut all = headers;
            all.extend(trailers);
            return Err(status(error, Some(info), all));
        }
        Some(Answer::ResponseData(data)) => data,
        None => Vec::new(),
    };
    let mut response = Response::new(ConformancePayload { data, request_info: Some(info) });
    *response.metadata_mut() = MetadataMap::from_headers(headers);
    response.extensions_mut().insert(Trailers(trailers));
    Ok(response)
}

fn streamed<T: Send + 'static>(
    definition: &StreamResponseDefinition,
    receiver: mpsc::Receiver<Result<T, Status>>,
) -> Response<Answers<T>> {
    let mut response = Response::new(Box::pin(ReceiverStream::new(receiver)) as Answers<T>);
    let headers = header_map(&definition.response_headers);
    *response.metadata_mut() = MetadataMap::from_headers(headers);
    response.extensions_mut().insert(Trailers(header_map(&definition.response_trailers)));
    response
}

async fn delay(milliseconds: u32) {
    tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
}

fn info_of<T: Message>(request: &Request<T>, name: &str) -> RequestInfo {
    let mut info = info_of_headers(request.metadata());
    info.requests.push(any(name, request.get_ref()));
    info
}

fn info_of_headers(metadata: &MetadataMap) -> RequestInfo {
    let headers: &HeaderMap = metadata.as_ref();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    RequestInfo {
        request_headers: headers
            .keys()
            .map(|name| Header {
                name: name.to_string(),
                value: headers.get_all(name).iter().map(text).collect(),
            })
            .collect(),
        timeout_ms: headers.get("grpc-timeout").and_then(|value| timeout_ms(&text(value))),
        requests: Vec::new(),
        connect_get_info: None,
    }
}

fn timeout_ms(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at(text.len().checked_sub(1)?);
    let amount: i64 = digits.parse().ok()?;
    Some(match unit {
        "H" => amount * 3_600_000,
        "M" => amount * 60_000,
        "S" => amount * 1000,
        "m" => amount,
        "u" => amount / 1000,
        "n" => amount / 1_000_000,
        _ => return None,
    })
}

fn any<T: Message>(name: &str, message: &T) -> Any {
    Any {
        type_url: format!("type.googleapis.com/connectrpc.conformance.v1.{name}"),
        value: message.encode_to_vec(),
    }
}

fn header_map(headers: &[Header]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for header in headers {
        for value in &header.value {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let value = HeaderValue::from_str(value);
            if let (Ok(name), Ok(value)) = (name, value) {
                map.append(name, value);
            }
        }
    }
    map
}

/// The status that was asked for, with what is known of the request when nothing else said so.
fn status(error: pb::Error, info: Option<RequestInfo>, metadata: HeaderMap) -> Status {
    let message = error.message.unwrap_or_default();
    let mut details = error.details;
    details.extend(info.map(|info| any("ConformancePayload.RequestInfo", &info)));
    let rich = tonic_types::pb::Status { code: error.code, message: message.clone(), details };
    Status::with_details_and_metadata(
        Code::from(error.code),
        message,
        rich.encode_to_vec().into(),
        MetadataMap::from_headers(metadata),
    )
}
