//! Sending spans to a collector, from a thread of its own that no call waits for.
//!
//! What waits is bounded: a queue, and one batch on its way. What does not fit is dropped and
//! counted.
//!
//! # Reference
//! - <https://opentelemetry.io/docs/specs/otlp/>
//! - <https://opentelemetry.io/docs/specs/otel/trace/sdk/#batching-processor>

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write as _};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Uri};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::trace::{Sampler, Span};
use super::trace_metrics::{NotExported, NotQueued};
use super::{Metrics, trace_wire};
use crate::error::Error;
use crate::healthcheck::tower_fn;
use crate::pb::otlp::opentelemetry::proto::collector::trace::v1::trace_service_client::TraceServiceClient;
use crate::pb::otlp::opentelemetry::proto::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use crate::pb::otlp::opentelemetry::proto::common::v1::KeyValue;
use crate::pb::otlp::opentelemetry::proto::resource::v1::Resource;
use crate::upstream::{Client, ClientOptions, Sent, Trust};

/// How the collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Grpc,
    /// Protobuf in HTTP/1.1.
    Http,
}

/// Where spans go, and what waits for it.
#[derive(Clone)]
pub struct ExportConfig {
    /// The collector: for gRPC an origin, for HTTP the whole URL.
    pub endpoint: Uri,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What every request carries.
    pub headers: HeaderMap,
    /// How long one batch may take, with all attempts.
    pub timeout: Duration,
    /// Whether batches are compressed.
    pub gzip: bool,
    /// Which certificates are believed, where the endpoint has TLS.
    pub trust: Option<Trust>,
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// How many spans wait at most.
    pub max_queue: usize,
    /// How many are sent at once at most.
    pub max_batch: usize,
    /// How long spans are gathered.
    pub delay: Duration,
    /// What is known of the process: names and values.
    pub resource: Vec<(String, String)>,
}

impl fmt::Debug for ExportConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the headers: they are where collectors want their keys.
        f.debug_struct("ExportConfig")
            .field("endpoint", &self.endpoint)
            .field("protocol", &self.protocol)
            .field("timeout", &self.timeout)
            .field("gzip", &self.gzip)
            .field("sampler", &self.sampler)
            .field("max_queue", &self.max_queue)
            .field("max_batch", &self.max_batch)
            .field("delay", &self.delay)
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

/// The way out for spans.
#[derive(Debug)]
pub(super) struct Export {
    queue: Arc<Queue>,
    ending: Mutex<Option<Ending>>,
}

#[derive(Debug)]
struct Ending {
    tell: oneshot::Sender<Instant>,
    ended: oneshot::Receiver<()>,
}

impl Export {
    /// Starts the thread. `server` is what every call's span says of this server.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(
        config: &ExportConfig,
        server: Vec<KeyValue>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        // Two: a name lookup that hangs must not pile up more of its kind.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .build()?;
        let queue = Arc::new(Queue {
            state: Mutex::default(),
            filled: Notify::new(),
            capacity: config.max_queue,
            batch: config.max_batch,
            metrics,
        });
        let exporter = {
            let _inside = runtime.enter();
            Exporter {
                collector: Collector::new(config).map_err(io::Error::other)?,
                resource: trace_wire::resource(&config.resource),
                server,
                timeout: config.timeout,
                delay: config.delay,
                queue: Arc::clone(&queue),
            }
        };
        let (tell, told) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("traces".into()).spawn(move || {
            runtime.block_on(exporter.run_until_told(told));
            // A name lookup that hangs must not hold up the end of the process.
            runtime.shutdown_background();
            let _ = end.send(());
        })?;
        Ok(Self { queue, ending: Mutex::new(Some(Ending { tell, ended })) })
    }

    /// Takes a span, and never waits for more than a moment.
    pub(super) fn push(&self, span: Span) {
        self.queue.push(span);
    }

    /// Sends what waits, until then at the latest.
    pub(super) async fn end(&self, until: Instant) {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Ending { tell, ended }) = ending {
            let _ = tell.send(until);
            let _ = tokio::time::timeout_at(until, ended).await;
        }
    }
}

#[derive(Debug)]
struct Queue {
    state: Mutex<Waiting>,
    /// A whole batch waits, or there will be no more.
    filled: Notify,
    capacity: usize,
    batch: usize,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<Span>,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, span: Span) {
        let metrics = self.metrics.spans();
        let mut waiting = self.lock();
        if waiting.closed {
            drop(waiting);
            metrics.not_queued(NotQueued::AlreadyShutdown);
        } else if waiting.spans.len() >= self.capacity {
            drop(waiting);
            metrics.not_queued(NotQueued::QueueFull);
        } else {
            waiting.spans.push_back(span);
            let is_batch = waiting.spans.len() == self.batch;
            drop(waiting);
            metrics.queued();
            if is_batch {
                self.filled.notify_one();
            }
        }
    }

    fn len(&self) -> usize {
        self.lock().spans.len()
    }

    fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The next spans to send; nothing when there are none.
    fn take(&self) -> Option<Batch<'_>> {
        let mut waiting = self.lock();
        let many = waiting.spans.len().min(self.batch);
        let spans: Vec<_> = waiting.spans.drain(..many).collect();
        drop(waiting);
        (!spans.is_empty()).then_some(Batch { queue: self, spans, lost: NotExported::Shutdown })
    }
}

/// Spans on their way. Those whose way is broken off are counted as lost.
struct Batch<'a> {
    queue: &'a Queue,
    spans: Vec<Span>,
    lost: NotExported,
}

impl Batch<'_> {
    fn len(&self) -> u64 {
        self.spans.len() as u64
    }

    /// The collector took them, but for these many.
    fn taken(mut self, rejected: u64) {
        let metrics = self.queue.metrics.spans();
        let rejected = rejected.min(self.len());
        metrics.exported(self.len() - rejected);
        metrics.not_exported(NotExported::Rejected, rejected);
        self.spans.clear();
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.queue.metrics.spans().not_exported(self.lost, self.len());
    }
}

struct Exporter {
    collector: Collector,
    resource: Resource,
    server: Vec<KeyValue>,
    timeout: Duration,
    delay: Duration,
    queue: Arc<Queue>,
}

impl Exporter {
    async fn run_until_told(self, told: oneshot::Receiver<Instant>) {
        let queue = Arc::clone(&self.queue);
        let mut running = pin!(self.run());
        let until = tokio::select! {
            () = &mut running => return,
            until = told => until.unwrap_or_else(|_| Instant::now()),
        };
        queue.close();
        // What is under way when the time is over counts itself as lost, and so does the rest.
        if tokio::time::timeout_at(until, running).await.is_err() {
            tracing::warn!("the last spans did not leave in time");
            while queue.take().is_some() {}
        }
    }

    /// Sends batches until the queue is closed and empty.
    async fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let mut failing = false;
        loop {
            let mut due = 0;
            tokio::select! {
                () = queue.filled.notified() => {}
                () = tokio::time::sleep(self.delay) => due = queue.len(),
            }
            while due > 0 || queue.is_closed() || queue.len() >= queue.batch {
                let Some(batch) = queue.take() else { break };
                due = due.saturating_sub(batch.spans.len());
                let request = trace_wire::request(&self.resource, &self.server, &batch.spans);
                let failed = self.send(batch, &request).await.err();
                // Once for each change: a collector that stays away fills no log.
                match &failed {
                    None if failing => tracing::info!("spans reach the collector again"),
                    Some(why) if !failing => {
                        tracing::warn!(%why, "spans do not reach the collector");
                    }
                    None | Some(_) => {}
                }
                failing = failed.is_some();
            }
            if queue.is_closed() {
                return;
            }
        }
    }

    /// Sends one batch, again where that may help, within the timeout.
    async fn send(
        &mut self,
        mut batch: Batch<'_>,
        request: &ExportTraceServiceRequest,
    ) -> Result<(), Failed> {
        let until = Instant::now() + self.timeout;
        let mut wait = FIRST_WAIT;
        loop {
            // Broken off from here on, the spans were lost at the end of the process.
            batch.lost = NotExported::Shutdown;
            let result = tokio::time::timeout_at(until, self.collector.send(request)).await;
            let failed = match result {
                Ok(Ok(rejected)) => {
                    batch.taken(rejected);
                    return Ok(());
                }
                Ok(Err(failed)) => failed,
                Err(_) => Failed::Timeout,
            };
            let again = match &failed {
                Failed::Unavailable(asked) => asked.unwrap_or(wait),
                Failed::Timeout | Failed::Rejected(_) => Duration::MAX,
            };
            if again >= until.saturating_duration_since(Instant::now()) {
                batch.lost = failed.counted();
                return Err(failed);
            }
            tokio::time::sleep(again).await;
            wait *= 2;
        }
    }
}

/// Before the second attempt; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Why a batch was not taken.
#[derive(Debug)]
enum Failed {
    /// There was no answer in time.
    Timeout,
    /// The collector is not to be reached, or wants to be asked again after this time.
    Unavailable(Option<Duration>),
    /// It does not want the batch, for this reason.
    Rejected(String),
}

impl Failed {
    const fn counted(&self) -> NotExported {
        match self {
            Self::Timeout => NotExported::Timeout,
            Self::Unavailable(_) => NotExported::Unavailable,
            Self::Rejected(_) => NotExported::Rejected,
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::Unavailable(_) => f.write_str("it is not to be reached, or overloaded"),
            Self::Rejected(why) => write!(f, "refused with {why}"),
        }
    }
}

/// The other side.
enum Collector {
    Grpc { client: TraceServiceClient<Channel>, headers: MetadataMap },
    Http { client: Client, endpoint: Uri, headers: HeaderMap, gzip: bool },
}

impl Collector {
    fn new(config: &ExportConfig) -> Result<Self, Error> {
        let trust = match &config.trust {
            Some(trust) => trust.clone(),
            None => Trust::nothing().map_err(|_| broken())?,
        };
        let mut headers = config.headers.clone();
        Ok(match config.protocol {
            Protocol::Grpc => {
                let client = TraceServiceClient::new(channel(config, trust)?);
                let client = match config.gzip {
                    true => client.send_compressed(CompressionEncoding::Gzip),
                    false => client,
                };
                Self::Grpc { client, headers: MetadataMap::from_headers(headers) }
            }
            Protocol::Http => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
                headers.insert(USER_AGENT, HeaderValue::from_static(crate::USER_AGENT));
                if config.gzip {
                    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                }
                let client = Client::new(&ClientOptions {
                    connect_timeout: config.timeout,
                    max_idle: 1,
                    trust,
                    proxy: None,
                })?;
                Self::Http { client, endpoint: config.endpoint.clone(), headers, gzip: config.gzip }
            }
        })
    }

    /// Sends a batch, and says how many spans of it the collector did not want.
    async fn send(&mut self, batch: &ExportTraceServiceRequest) -> Result<u64, Failed> {
        match self {
            Self::Grpc { client, headers } => {
                let mut request = tonic::Request::new(batch.clone());
                *request.metadata_mut() = headers.clone();
                let answer = client.export(request).await.map_err(|status| of_status(&status))?;
                Ok(rejected(answer.get_ref()))
            }
            Self::Http { client, endpoint, headers, gzip } => {
                let mut body = batch.encode_to_vec();
                if *gzip {
                    body = compressed(&body).map_err(|_| Failed::Rejected("gzip".into()))?;
                }
                let mut request = Request::post(endpoint.clone())
                    .body(Bytes::from(body))
                    .map_err(|_| Failed::Rejected("its own URL".into()))?;
                *request.headers_mut() = headers.clone();
                let answer = client
                    .send(request, &Sent::default())
                    .await
                    .map_err(|_| Failed::Unavailable(None))?;
                match answer.status {
                    200..=299 => {
                        Ok(ExportTraceServiceResponse::decode(answer.body)
                            .map_or(0, |a| rejected(&a)))
                    }
                    429 | 502 | 503 | 504 => {
                        let asked = answer.header("retry-after").and_then(|s| s.parse().ok());
                        Err(Failed::Unavailable(asked.map(Duration::from_secs)))
                    }
                    status => Err(Failed::Rejected(format!("HTTP status {status}"))),
                }
            }
        }
    }
}

fn broken() -> Error {
    Error::new(crate::failure::Failure::GatewayInternal, "the exporter of spans did not start")
}

fn channel(config: &ExportConfig, trust: Trust) -> Result<Channel, Error> {
    let host = config.endpoint.host().ok_or_else(broken)?.to_owned();
    let tls = (config.endpoint.scheme_str() == Some("https")).then(|| trust.http_2());
    let port = config.endpoint.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let connector = tower_fn(move |_: Uri| {
        let (host, tls) = (host.clone(), tls.clone());
        async move {
            let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let stream = TcpStream::connect((bare.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Stream> = match tls {
                None => Box::new(stream),
                Some(tls) => {
                    let name = bare.try_into().map_err(io::Error::other)?;
                    let connector = tokio_rustls::TlsConnector::from(tls);
                    Box::new(connector.connect(name, stream).await?)
                }
            };
            Ok(TokioIo::new(stream))
        }
    });
    let endpoint = Endpoint::from(config.endpoint.clone())
        .user_agent(crate::USER_AGENT)
        .map_err(|_| broken())?
        .connect_timeout(config.timeout);
    Ok(endpoint.connect_with_connector_lazy(connector))
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}

/// Which failures may be tried again is said by the protocol's specification.
fn of_status(status: &Status) -> Failed {
    match status.code() {
        Code::DeadlineExceeded => Failed::Timeout,
        Code::Cancelled | Code::Aborted | Code::OutOfRange | Code::Unavailable | Code::DataLoss => {
            Failed::Unavailable(None)
        }
        code @ (Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Internal
        | Code::Unauthenticated) => Failed::Rejected(format!("gRPC code {code:?}")),
    }
}

fn rejected(answer: &ExportTraceServiceResponse) -> u64 {
    let partial = answer.partial_success.as_ref();
    partial.and_then(|partial| u64::try_from(partial.rejected_spans).ok()).unwrap_or_default()
}

fn compressed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}
