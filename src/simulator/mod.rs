//! Simulators of all REST APIs on loopback, with signature checks, documented responses, and every
//! failure of the table.
//!
//! They are for the demo and for users' own integration tests. Signatures are checked with the
//! gateway's own code, which `tests/vectors` and `tests/cross_check` compare with the providers'
//! SDKs.

mod alibaba;
mod flink;
mod huawei;
mod jobs;
mod nonces;
mod recent;
mod savepoints;
mod scenario;

pub(crate) use scenario::RECOVERS;
pub use scenario::{SCENARIOS, Scenario};

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;

use self::nonces::Nonces;
use crate::clock::{Clock, random};
use crate::credential::{Credential, Credentials};
use crate::options::Endpoint;
use crate::providers::alibaba::{self as alibaba_room, ALIBABA};
use crate::providers::flink as flink_room;
use crate::providers::huawei::{self as huawei_room, HUAWEI};
use crate::secret::Secret;
use crate::text::hex;

/// A request that a simulator received, with the HTTP status of the response.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) status: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    Huawei,
    Alibaba,
    Flink,
}

#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

/// The simulators' project, which the demo's requests name.
pub const PROJECT_ID: &str = "0605767b3300d5762fb7c0186d9e1779";
/// The access key of simulators on fixed ports.
pub const EXAMPLE_ID: &str = "EXAMPLEKEYID";
pub const EXAMPLE_SECRET: &str = "exampleSecretKey";
/// The simulators' workspace, which the demo's requests name.
pub const WORKSPACE: &str = "a14bd5d90a0001";

#[derive(Debug)]
struct State {
    api: Api,
    access_key_id: String,
    access_key_secret: Secret,
    credential: Credential,
    clock: Arc<dyn Clock>,
    seen: Mutex<Vec<Seen>>,
    nonces: Mutex<Nonces>,
    counts: Mutex<std::collections::HashMap<&'static str, u32>>,
    jobs: jobs::Jobs,
    savepoints: savepoints::Savepoints,
    cluster: flink::Cluster,
}

const SEEN: usize = 100;
const BODY_BYTES: usize = 64 * 1024;

impl Simulator {
    /// Starts a simulator on a free loopback port, with a new access key.
    ///
    /// # Errors
    /// If no port is available.
    pub async fn start(api: Api, clock: Arc<dyn Clock>) -> io::Result<Self> {
        // Random, so that nobody mistakes them for real keys.
        let id = format!("EXAMPLE{}", hex(&random::<6>()).to_uppercase());
        Self::start_at(api, clock, 0, id, hex(&random::<20>())).await
    }

    /// Starts a simulator on its own loopback port, with [`EXAMPLE_ID`] and [`EXAMPLE_SECRET`].
    ///
    /// # Errors
    /// If the port is not available.
    pub async fn start_fixed(api: Api, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let port = match api {
            Api::Huawei => 50061,
            Api::Alibaba => 50062,
            Api::Flink => 50063,
        };
        Self::start_at(api, clock, port, EXAMPLE_ID.into(), EXAMPLE_SECRET.into()).await
    }

    async fn start_at(
        api: Api,
        clock: Arc<dyn Clock>,
        port: u16,
        access_key_id: String,
        access_key_secret: String,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let access_key_secret = Secret::new(access_key_secret);
        let credential = Credential::new(access_key_id.clone(), access_key_secret.clone(), None)
            .map_err(io::Error::other)?;
        let state = Arc::new(State {
            api,
            access_key_id,
            access_key_secret,
            credential,
            clock,
            seen: Mutex::default(),
            nonces: Mutex::default(),
            counts: Mutex::default(),
            jobs: jobs::Jobs::default(),
            savepoints: savepoints::Savepoints::default(),
            cluster: flink::Cluster::default(),
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&state)));
        Ok(Self { address, state, serving })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The id and the secret of its access key, for variables and files.
    pub fn key(&self) -> [&str; 2] {
        [&self.state.access_key_id, self.state.access_key_secret.expose()]
    }

    /// The configuration for calling this simulator of Huawei Cloud.
    ///
    /// # Errors
    /// Never for a running simulator; the parts are validated like any others.
    pub fn huawei_setup(&self) -> io::Result<huawei_room::Setup> {
        let (endpoint, credentials) = self.access()?;
        let project = huawei_room::Project::Id(PROJECT_ID.into());
        Ok(huawei_room::Setup::new(endpoint, credentials, project))
    }

    /// The configuration for calling this simulator of Alibaba Cloud.
    ///
    /// # Errors
    /// As [`Simulator::huawei_setup`].
    pub fn alibaba_setup(&self) -> io::Result<alibaba_room::Setup> {
        let (endpoint, credentials) = self.access()?;
        Ok(alibaba_room::Setup::new(endpoint, credentials, Some(WORKSPACE.to_owned())))
    }

    /// The configuration for calling this simulator of Apache Flink, under this name.
    ///
    /// # Errors
    /// As [`Simulator::huawei_setup`].
    pub fn flink_setup(&self, name: &str) -> io::Result<flink_room::Setup> {
        let (endpoint, _) = self.access()?;
        let credentials = Credentials::fixed(Credential::none());
        Ok(flink_room::Setup::new([(name.to_owned(), endpoint)], &credentials))
    }

    fn access(&self) -> io::Result<(Endpoint, Credentials)> {
        let endpoint = Endpoint::parse(&format!("http://{}", self.address), false);
        let secret = self.state.access_key_secret.clone();
        let credential = Credential::new(self.state.access_key_id.clone(), secret, None);
        Ok((
            endpoint.map_err(io::Error::other)?,
            Credentials::fixed(credential.map_err(io::Error::other)?),
        ))
    }

    /// The last 100 requests, oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let state = Arc::clone(&state);
                async move { state.answer(request).await }
            });
            // Broken connections are simulated on purpose.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The simulator closes the connection without a response.
#[derive(Debug, thiserror::Error)]
#[error("the simulator hangs up")]
struct HangUp;

#[derive(Debug)]
enum Reply {
    Response(Response<ReplyBody>),
    /// The connection closes without a response.
    HangUp,
    Silence,
}

/// A body, which may end in an error; the connection is then closed.
type ReplyBody = UnsyncBoxBody<Bytes, HangUp>;

const JSON: &str = "application/json;charset=utf-8";

impl Reply {
    fn json(status: u16, json: Value) -> Self {
        Self::text(status, JSON, json.to_string())
    }

    fn text(status: u16, kind: &'static str, text: String) -> Self {
        let body = Full::from(text).map_err(|never: Infallible| match never {});
        Self::response(status, body.boxed_unsync()).with("content-type", kind)
    }

    /// A body that ends before its announced length.
    fn cut_short() -> Self {
        let text = Bytes::from_static(b"{\"is_success\": true, \"success\": tr");
        // The pause lets the text leave before the connection breaks.
        let frames = tokio_stream::iter([Ok(Frame::data(text)), Err(HangUp)]).then(async |frame| {
            tokio::task::yield_now().await;
            frame
        });
        let body = StreamBody::new(frames).boxed_unsync();
        Self::response(200, body).with("content-type", JSON).with("content-length", "400")
    }

    fn response(status: u16, body: ReplyBody) -> Self {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
        Self::Response(response)
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        if let Self::Response(response) = &mut self {
            let headers = response.headers_mut();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        self
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<ReplyBody>, HangUp> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, BODY_BYTES).collect().await.map_err(|_| HangUp)?.to_bytes();
        let request = Request::from_parts(head, body);
        let (reply, id_header) = match self.api {
            Api::Huawei => (huawei::answer(self, &request), Some(HUAWEI.request_id.header)),
            Api::Alibaba => (alibaba::answer(self, &request), Some(ALIBABA.request_id.header)),
            Api::Flink => (flink::answer(self, &request), None),
        };
        let Reply::Response(mut response) = reply else {
            self.note(&request, 0);
            if matches!(reply, Reply::Silence) {
                std::future::pending::<()>().await;
            }
            return Err(HangUp);
        };
        self.note(&request, response.status().as_u16());
        if let Some(header) = id_header {
            let id = HeaderValue::from_str(&hex(&random::<16>())).map_err(|_| HangUp)?;
            response.headers_mut().insert(header, id);
        }
        Ok(response)
    }

    fn note(&self, request: &Request<Bytes>, status: u16) {
        let headers = request
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() == SEEN {
            seen.remove(0);
        }
        seen.push(Seen {
            method: request.method().to_string(),
            path: request.uri().path_and_query().map_or_else(String::new, ToString::to_string),
            headers,
            body: request.body().clone(),
            status,
        });
    }

    /// The number of such requests, including this one.
    fn count(&self, name: &'static str) -> u32 {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(name).or_default();
        *count += 1;
        *count
    }
}

/// The request before signing: only the signed headers, without those that signing adds.
fn unsigned(request: &Request<Bytes>, signed: &str, added: &[&str]) -> Option<Request<Bytes>> {
    let mut before = Request::new(request.body().clone());
    *before.method_mut() = request.method().clone();
    *before.uri_mut() = request.uri().clone();
    for name in signed.split(';') {
        let name: HeaderName = name.parse().ok()?;
        let value = request.headers().get(&name)?;
        if !added.contains(&name.as_str()) {
            before.headers_mut().insert(name, value.clone());
        }
    }
    Some(before)
}

/// The text between a mark and the next comma.
fn part<'a>(authorization: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = authorization.split_once(mark)?;
    Some(rest.split(',').next().unwrap_or(rest))
}
