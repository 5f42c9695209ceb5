//! The least that answers both RPCs of the benchmark on the gateway's libraries: HTTP/2 server,
//! pooling HTTP/1.1 client, JSON, protobuf, allocator. It signs nothing, validates nothing, has no
//! limit, deadline, retry, log or metric, and so shows what the gateway adds to a call.
//!
//!     bare LISTEN UPSTREAM        two addresses, such as 127.0.0.1:50051

use std::convert::Infallible;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, Response, service::service_fn};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

mod pb;

#[derive(Serialize)]
struct Import<'a> {
    job_id: i64,
    savepoint_path: &'a str,
}

#[derive(Deserialize)]
struct Imported {
    is_success: bool,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Got {
    request_id: String,
    success: bool,
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    savepoint_id: String,
    deployment_id: String,
    job_id: String,
    namespace: String,
    savepoint_origin: String,
    native_format: Option<bool>,
    description: String,
    stop_with_drain_enabled: Option<bool>,
    savepoint_location: String,
    status: Status,
    created_at: i64,
    modified_at: i64,
}

#[derive(Deserialize)]
struct Status {
    state: String,
    failure: Option<Failed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    message: String,
    reason: String,
    failed_at: i64,
}

struct Bare {
    client: Client<HttpConnector, Full<Bytes>>,
    upstream: String,
}

impl Bare {
    /// The message of the response in its gRPC frame.
    async fn call(&self, request: Request<Incoming>) -> Result<Bytes, Failure> {
        let is_import = request.uri().path() == "/savepoint.v1.SavepointService/ImportSavepoint";
        let frame = request.into_body().collect().await?.to_bytes();
        let message = frame.get(5..).ok_or("no frame")?;
        if is_import { self.import(message).await } else { self.get(message).await }
    }

    async fn import(&self, message: &[u8]) -> Result<Bytes, Failure> {
        let asked = pb::ImportRequest::decode(message)?;
        let body = Import { job_id: asked.job_id, savepoint_path: &asked.savepoint_path };
        let request = Request::post(format!(
            "http://{}/v1.0/{}/streaming/jobs/{}/import-savepoint",
            self.upstream, asked.project_id, asked.job_id
        ))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::from(serde_json::to_vec(&body)?))?;
        let (headers, body) = self.exchange(request).await?;
        let imported: Imported = serde_json::from_slice(&body)?;
        if !imported.is_success {
            return Err("no success".into());
        }
        let request_id = headers.get("x-request-id").ok_or("no id")?.to_str()?.to_owned();
        Ok(framed(&pb::ImportResponse { message: imported.message, request_id }))
    }

    async fn get(&self, message: &[u8]) -> Result<Bytes, Failure> {
        let asked = pb::GetRequest::decode(message)?;
        let request = Request::get(format!(
            "http://{}/api/v2/namespaces/{}/savepoints/{}",
            self.upstream, asked.namespace, asked.savepoint_id
        ))
        .header("workspace", &asked.workspace)
        .body(Full::default())?;
        let (_, body) = self.exchange(request).await?;
        let got: Got = serde_json::from_slice(&body)?;
        if !got.success {
            return Err("no success".into());
        }
        let savepoint = Some(pb::Savepoint::from(got.data));
        Ok(framed(&pb::GetResponse { savepoint, request_id: got.request_id }))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(HeaderMap, Bytes), Failure> {
        let (head, body) = self.client.request(request).await?.into_parts();
        if !head.status.is_success() {
            return Err(head.status.as_str().into());
        }
        Ok((head.headers, body.collect().await?.to_bytes()))
    }
}

fn framed(message: &impl Message) -> Bytes {
    let size = message.encoded_len();
    let mut frame = BytesMut::with_capacity(size + 5);
    frame.put_u8(0);
    frame.put_u32(size as u32);
    // There is room for it.
    let _ = message.encode(&mut frame);
    frame.freeze()
}

fn response(
    result: Result<Bytes, Failure>,
) -> Response<impl Body<Data = Bytes, Error = Infallible>> {
    let mut trailers = HeaderMap::new();
    let code = if result.is_ok() { "0" } else { "13" };
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    let body = Full::new(result.unwrap_or_default());
    let mut response = Response::new(body.with_trailers(std::future::ready(Some(Ok(trailers)))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

async fn serve(listen: String, upstream: String) -> Result<(), Failure> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let bare: &'static Bare = Box::leak(Box::new(Bare { client, upstream }));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service =
                service_fn(async |request| Ok::<_, Infallible>(response(bare.call(request).await)));
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // A caller that leaves is nothing to report.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bare LISTEN UPSTREAM".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(serve(listen, upstream))
}
