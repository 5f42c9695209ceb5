//! Simulators of both REST APIs on loopback, with signature checks, documented responses, and every
//! failure of the table.
//!
//! They are for the demo and for users' own integration tests. Signatures are checked with the
//! gateway's own code, which `tests/vectors` and `tests/cross_check` compare with the providers'
//! SDKs.

mod alibaba;
mod huawei;
mod scenario;

pub use scenario::{SCENARIOS, Scenario};

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::clock::{Clock, random};
use crate::credential::{Credential, Credentials};
use crate::options::Endpoint;
use crate::providers::{alibaba as alibaba_room, huawei as huawei_room};
use crate::secret::Secret;

/// A request that a simulator received, with the HTTP status of the response.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    /// In the order received.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) status: u16,
}

/// The provider that a simulator simulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Huawei Cloud DLI.
    Huawei,
    /// Alibaba Cloud Realtime Compute.
    Alibaba,
}

/// A running simulator.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

/// The simulators' project, which the demo's requests name.
pub const PROJECT_ID: &str = "0605767b3300d5762fb7c0186d9e1779";
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
    nonces: Mutex<std::collections::HashSet<String>>,
    counts: Mutex<std::collections::HashMap<&'static str, u32>>,
}

/// How many requests are kept.
const SEEN: usize = 100;
const BODY_BYTES: usize = 64 * 1024;

impl Simulator {
    /// Starts a simulator on a free loopback port, with a new access key.
    ///
    /// # Errors
    /// If no port is available.
    pub async fn start(api: Api, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // Random, so that nobody mistakes them for real keys.
        let access_key_id = format!("EXAMPLE{}", crate::text::hex(&random::<6>()).to_uppercase());
        let access_key_secret = Secret::new(crate::text::hex(&random::<20>()));
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
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&state)));
        Ok(Self { address, state, serving })
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
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

#[derive(Debug, Clone)]
enum Reply {
    Json(u16, Value),
    /// Any other body.
    Text(u16, &'static str, String),
    /// An additional header.
    With(&'static str, String, Box<Reply>),
    /// A truncated body.
    CutShort,
    /// The connection closes without a response.
    HangUp,
    /// Never a response.
    Silence,
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<ReplyBody>, HangUp> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, BODY_BYTES).collect().await.map_err(|_| HangUp)?.to_bytes();
        let request = Request::from_parts(head, body);
        let reply = match self.api {
            Api::Huawei => huawei::answer(self, &request),
            Api::Alibaba => alibaba::answer(self, &request),
        };
        let mut headers = HeaderMap::new();
        let mut reply = reply;
        while let Reply::With(name, value, inner) = reply {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
            reply = *inner;
        }
        let (status, kind, body) = match reply {
            Reply::Json(status, json) => {
                (status, "application/json;charset=utf-8", ReplyBody::whole(json.to_string()))
            }
            Reply::Text(status, kind, text) => (status, kind, ReplyBody::whole(text)),
            Reply::CutShort => {
                headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from_static("400"));
                (200, "application/json;charset=utf-8", ReplyBody::cut_short())
            }
            Reply::Silence => {
                self.note(&request, 0);
                std::future::pending::<Infallible>().await;
                return Err(HangUp);
            }
            Reply::HangUp | Reply::With(..) => {
                self.note(&request, 0);
                return Err(HangUp);
            }
        };
        self.note(&request, status);
        let id = crate::text::hex(&random::<16>());
        let id_header = match self.api {
            Api::Huawei => "x-request-id",
            Api::Alibaba => "x-acs-request-id",
        };
        headers.insert(
            HeaderName::from_static(id_header),
            HeaderValue::from_str(&id).map_err(|_| HangUp)?,
        );
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).map_err(|_| HangUp)?;
        *response.headers_mut() = headers;
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
            path: request.uri().path().to_owned(),
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

/// A response body that may end in an error, after which the connection is closed.
#[derive(Debug)]
struct ReplyBody {
    text: Option<Bytes>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Orderly,
    AfterPause,
    Broken,
}

impl ReplyBody {
    fn whole(text: String) -> Self {
        Self { text: Some(text.into()), end: End::Orderly }
    }

    fn cut_short() -> Self {
        Self {
            text: Some(Bytes::from_static(b"{\"is_success\": true, \"success\": tr")),
            end: End::AfterPause,
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = HangUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HangUp>>> {
        if let Some(text) = self.text.take() {
            return Poll::Ready(Some(Ok(Frame::data(text))));
        }
        match self.end {
            End::Orderly => Poll::Ready(None),
            End::AfterPause => {
                // Flushes what was written before the connection breaks.
                self.end = End::Broken;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            End::Broken => Poll::Ready(Some(Err(HangUp))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none() && self.end == End::Orderly
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.text {
            Some(text) if self.end == End::Orderly => {
                http_body::SizeHint::with_exact(text.len() as u64)
            }
            _ => http_body::SizeHint::default(),
        }
    }
}
