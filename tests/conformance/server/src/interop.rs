//! `grpc.testing.TestService`, as the gRPC interoperability tests want it.
//!
//! # Reference
//! <https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md>

use std::pin::Pin;
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::trailers::{Trailers, WithTrailers};
use pb::test_service_server::{TestService, TestServiceServer};
use pb::{
    EchoStatus, Empty, Payload, ResponseParameters, SimpleRequest, SimpleResponse,
    StreamingInputCallRequest, StreamingInputCallResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse,
};

#[allow(clippy::all, dead_code)]
mod pb {
    tonic::include_proto!("grpc.testing");
}

pub const STREAMED: &[&str] = &[
    "/grpc.testing.TestService/StreamingInputCall",
    "/grpc.testing.TestService/FullDuplexCall",
    "/grpc.testing.TestService/HalfDuplexCall",
];

const ECHO: &str = "x-grpc-test-echo-initial";
const ECHO_TRAILING: &str = "x-grpc-test-echo-trailing-bin";

pub fn service(message_bytes: usize) -> WithTrailers<TestServiceServer<Interop>> {
    WithTrailers(
        TestServiceServer::new(Interop)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(message_bytes),
    )
}

#[derive(Debug)]
pub struct Interop;

type Answers = Pin<Box<dyn Stream<Item = Result<StreamingOutputCallResponse, Status>> + Send>>;
type Sender = mpsc::Sender<Result<StreamingOutputCallResponse, Status>>;

#[tonic::async_trait]
impl TestService for Interop {
    type StreamingOutputCallStream = Answers;
    type FullDuplexCallStream = Answers;
    type HalfDuplexCallStream = Answers;

    async fn empty_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Ok(Response::new(Empty {}))
    }

    async fn unary_call(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        let asked = request.get_ref();
        refuse(asked.response_status.as_ref())?;
        let payload = Some(payload(asked.response_size));
        let response = Response::new(SimpleResponse { payload, ..SimpleResponse::default() });
        Ok(echo(request.metadata().as_ref(), response))
    }

    async fn cacheable_unary_call(
        &self,
        _: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        Err(Status::unimplemented("no test case of gRPC over HTTP/2 calls this"))
    }

    async fn streaming_output_call(
        &self,
        request: Request<StreamingOutputCallRequest>,
    ) -> Result<Response<Answers>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let parameters = request.into_inner().response_parameters;
        tokio::spawn(async move { send(&sender, &parameters).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn streaming_input_call(
        &self,
        request: Request<Streaming<StreamingInputCallRequest>>,
    ) -> Result<Response<StreamingInputCallResponse>, Status> {
        let mut messages = request.into_inner();
        let mut size = 0;
        while let Some(message) = messages.message().await? {
            size += message.payload.map_or(0, |payload| payload.body.len());
        }
        let aggregated_payload_size = i32::try_from(size).unwrap_or(i32::MAX);
        Ok(Response::new(StreamingInputCallResponse { aggregated_payload_size }))
    }

    async fn full_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let response = Response::new(Box::pin(ReceiverStream::new(receiver)) as Answers);
        let response = echo(request.metadata().as_ref(), response);
        let mut messages = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                if let Err(status) = refuse(message.response_status.as_ref()) {
                    let _ = sender.send(Err(status)).await;
                    return;
                }
                send(&sender, &message.response_parameters).await;
            }
        });
        Ok(response)
    }

    async fn half_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let mut messages = request.into_inner();
        tokio::spawn(async move {
            let mut parameters = Vec::new();
            while let Ok(Some(message)) = messages.message().await {
                parameters.extend(message.response_parameters);
            }
            send(&sender, &parameters).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn unimplemented_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Err(Status::unimplemented("not implemented, as the suite demands"))
    }
}

fn payload(size: i32) -> Payload {
    Payload { body: vec![0; usize::try_from(size).unwrap_or_default()], ..Payload::default() }
}

fn refuse(asked: Option<&EchoStatus>) -> Result<(), Status> {
    match asked {
        Some(asked) if asked.code != 0 => Err(Status::new(Code::from(asked.code), &asked.message)),
        _ => Ok(()),
    }
}

async fn send(sender: &Sender, parameters: &[ResponseParameters]) {
    for parameter in parameters {
        let interval = u64::try_from(parameter.interval_us).unwrap_or_default();
        tokio::time::sleep(Duration::from_micros(interval)).await;
        let payload = Some(payload(parameter.size));
        if sender
            .send(Ok(StreamingOutputCallResponse { payload, ..Default::default() }))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Sends back the metadata that the caller wants to see again.
fn echo<T>(asked: &HeaderMap, mut response: Response<T>) -> Response<T> {
    if let Some(value) = asked.get(ECHO) {
        response.metadata_mut().as_mut().insert(ECHO, value.clone());
    }
    if let Some(value) = asked.get(ECHO_TRAILING) {
        let mut trailers = HeaderMap::new();
        trailers.insert(ECHO_TRAILING, value.clone());
        response.extensions_mut().insert(Trailers(trailers));
    }
    response
}
