//! Exports spans to a collector by OTLP, from a background task.
//!
//! At most one queue and one batch are waiting. Further spans are dropped and counted.
//!
//! # Reference
//! - <https://opentelemetry.io/docs/specs/otlp/>
//! - <https://opentelemetry.io/docs/specs/otel/trace/sdk/#batching-processor>

mod http;
pub(crate) mod options;
mod wire;

use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, Uri};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::options::Address;
use crate::pb::otlp::opentelemetry::proto::collector::trace::v1::trace_service_client::TraceServiceClient;
use crate::pb::otlp::opentelemetry::proto::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use crate::pb::otlp::opentelemetry::proto::common::v1::KeyValue;
use crate::pb::otlp::opentelemetry::proto::resource::v1::Resource;
use crate::rpc::Error;
use crate::rpc::reason::Reason;
use crate::rpc::status::code_names;
use crate::telemetry::{Metrics, NotExported, Sampler, Span, SpanQueue};
use crate::tls::Trust;
use crate::transport::connector;
use http::HttpCollector;

/// How traces are accepted, forwarded and exported.
#[derive(Debug, Clone)]
pub struct TraceConfig {
    /// Whether a caller's trace context is accepted.
    pub accept: bool,
    /// Whether the trace context is sent to providers.
    pub forward: bool,
    /// The export of spans, if any.
    pub export: Option<ExportConfig>,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self { accept: true, forward: false, export: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    /// Protobuf in HTTP/1.1.
    Http,
}

#[derive(Clone)]
pub struct ExportConfig {
    /// The collector: an origin for gRPC, a complete URL for HTTP.
    pub endpoint: Uri,
    pub protocol: Protocol,
    pub headers: HeaderMap,
    /// Time limit for one batch, including all attempts.
    pub timeout: Duration,
    /// Whether batches are compressed.
    pub gzip: bool,
    /// The CAs of the collector, if the endpoint uses TLS.
    pub trust: Option<Trust>,
    pub sampler: Sampler,
    /// Maximum number of waiting spans.
    pub max_queue: usize,
    /// Maximum number of spans in a batch.
    pub max_batch: usize,
    /// How long spans are collected before they are sent.
    pub delay: Duration,
    /// The attributes of the process: names and values.
    pub resource: Vec<(String, String)>,
}

impl fmt::Debug for ExportConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the headers, which often contain keys.
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

#[derive(Debug)]
pub(crate) struct Export {
    stop: oneshot::Sender<Instant>,
    task: JoinHandle<()>,
}

impl Export {
    /// Starts the export task and creates its queue. `listen` is the address of the server.
    pub(crate) fn start(
        config: &ExportConfig,
        listen: &Address,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, SpanQueue), Error> {
        let (queue, receiver) = SpanQueue::new(config.max_queue, Arc::clone(&metrics));
        let exporter = Exporter {
            collector: Collector::new(config)?,
            resource: wire::resource(&config.resource),
            server: wire::server(listen),
            config: config.clone(),
            metrics,
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(exporter.run(receiver, stopped));
        Ok((Self { stop, task }, queue))
    }

    /// Exports the remaining spans until this time at the latest. Later spans are dropped.
    pub(crate) async fn end(self, until: Instant) {
        let _ = self.stop.send(until);
        let _ = self.task.await;
    }
}

struct Exporter {
    collector: Collector,
    resource: Resource,
    server: Vec<KeyValue>,
    config: ExportConfig,
    metrics: Arc<Metrics>,
}

impl Exporter {
    async fn run(mut self, mut queue: mpsc::Receiver<Span>, stop: oneshot::Receiver<Instant>) {
        let closing = CancellationToken::new();
        let metrics = Arc::clone(&self.metrics);
        let mut batch = Vec::with_capacity(self.config.max_batch);
        {
            let mut exporting = std::pin::pin!(self.export(&mut queue, &mut batch, &closing));
            let until = tokio::select! {
                () = &mut exporting => return,
                until = stop => until.unwrap_or_else(|_| Instant::now()),
            };
            closing.cancel();
            if tokio::time::timeout_at(until, exporting).await.is_ok() {
                return;
            }
        }
        tracing::warn!("exporting the last spans timed out");
        queue.close();
        queue.recv_many(&mut batch, usize::MAX).await;
        metrics.spans.not_exported(NotExported::Shutdown, batch.len() as u64);
    }

    /// Exports batches until the queue is closed and empty. `batch` holds the spans that are not
    /// exported yet.
    async fn export(
        &mut self,
        queue: &mut mpsc::Receiver<Span>,
        batch: &mut Vec<Span>,
        closing: &CancellationToken,
    ) {
        let mut failing = false;
        loop {
            self.gather(queue, batch, closing).await;
            if batch.is_empty() {
                return;
            }
            let request = wire::request(&self.resource, &self.server, batch);
            let result = self.send(&request).await;
            let count = batch.len() as u64;
            batch.clear();
            let spans = &self.metrics.spans;
            match &result {
                Ok(rejected) => {
                    let rejected = (*rejected).min(count);
                    spans.exported.inc_by(count - rejected);
                    spans.not_exported(NotExported::Rejected, rejected);
                }
                Err(failed) => spans.not_exported(failed.counted(), count),
            }
            // Log only changes: a collector that is down must not fill the log.
            match &result {
                Ok(_) if failing => tracing::info!("span export recovered"),
                Err(why) if !failing => tracing::warn!(%why, "span export failed"),
                Ok(_) | Err(_) => {}
            }
            failing = result.is_err();
        }
    }

    /// Fills the batch until it is full, its first span has waited long enough, or the queue is
    /// closed and empty.
    async fn gather(
        &self,
        queue: &mut mpsc::Receiver<Span>,
        batch: &mut Vec<Span>,
        closing: &CancellationToken,
    ) {
        let mut due = None;
        while batch.len() < self.config.max_batch {
            let room = self.config.max_batch - batch.len();
            tokio::select! {
                biased;
                () = closing.cancelled(), if !queue.is_closed() => queue.close(),
                received = queue.recv_many(batch, room) => {
                    if received == 0 {
                        return;
                    }
                    due.get_or_insert_with(|| Instant::now() + self.config.delay);
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => return,
            }
        }
    }

    /// Sends one batch, with retries if allowed, within the time limit. Returns how many of its
    /// spans the collector rejected.
    async fn send(&mut self, request: &ExportTraceServiceRequest) -> Result<u64, Failed> {
        let until = Instant::now() + self.config.timeout;
        let mut wait = FIRST_WAIT;
        loop {
            let result = tokio::time::timeout_at(until, self.collector.send(request)).await;
            let failed = match result.unwrap_or(Err(Failed::Timeout)) {
                Ok(rejected) => return Ok(rejected),
                Err(failed) => failed,
            };
            let again = match &failed {
                Failed::Unavailable(asked) => asked.unwrap_or(wait),
                Failed::Timeout | Failed::Rejected(_) => return Err(failed),
            };
            if again >= until.saturating_duration_since(Instant::now()) {
                return Err(failed);
            }
            tokio::time::sleep(again).await;
            wait *= 2;
        }
    }
}

/// Wait before the second attempt; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Why a batch was not exported.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("timed out")]
    Timeout,
    /// The collector is unreachable, or asks for a retry after this time.
    #[error("unreachable or overloaded")]
    Unavailable(Option<Duration>),
    /// The collector rejected the batch, for this reason.
    #[error("rejected with {0}")]
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

enum Collector {
    Grpc { client: TraceServiceClient<Channel>, headers: MetadataMap },
    Http { client: HttpCollector, gzip: bool },
}

impl Collector {
    fn new(config: &ExportConfig) -> Result<Self, Error> {
        let trust = match &config.trust {
            Some(trust) => {
                trust.warn();
                trust.clone()
            }
            None => Trust::nothing().map_err(|_| broken())?,
        };
        Ok(match config.protocol {
            Protocol::Grpc => {
                let mut client = TraceServiceClient::new(channel(config, &trust)?);
                if config.gzip {
                    client = client.send_compressed(CompressionEncoding::Gzip);
                }
                let headers = MetadataMap::from_headers(config.headers.clone());
                Self::Grpc { client, headers }
            }
            Protocol::Http => {
                let client = HttpCollector::new(config, &trust).map_err(|_| broken())?;
                Self::Http { client, gzip: config.gzip }
            }
        })
    }

    /// Sends a batch. Returns how many of its spans the collector rejected.
    async fn send(&mut self, batch: &ExportTraceServiceRequest) -> Result<u64, Failed> {
        match self {
            Self::Grpc { client, headers } => {
                let mut request = tonic::Request::new(batch.clone());
                *request.metadata_mut() = headers.clone();
                let answer = client.export(request).await.map_err(|status| of_status(&status))?;
                Ok(rejected(answer.get_ref()))
            }
            Self::Http { client, gzip } => {
                let mut body = batch.encode_to_vec();
                if *gzip {
                    body = compressed(&body).map_err(|_| Failed::Rejected("gzip".into()))?;
                }
                let answer = client.send(body).await.ok_or(Failed::Unavailable(None))?;
                match answer.status {
                    200..=299 => {
                        Ok(ExportTraceServiceResponse::decode(answer.body)
                            .map_or(0, |a| rejected(&a)))
                    }
                    429 | 502 | 503 | 504 => {
                        Err(Failed::Unavailable(answer.retry_after.map(Duration::from_secs)))
                    }
                    status => Err(Failed::Rejected(format!("HTTP status {status}"))),
                }
            }
        }
    }
}

fn broken() -> Error {
    Error::new(Reason::GatewayInternal, "the span exporter did not start")
}

fn channel(config: &ExportConfig, trust: &Trust) -> Result<Channel, Error> {
    let endpoint = Endpoint::from(config.endpoint.clone())
        .user_agent(crate::USER_AGENT)
        .map_err(|_| broken())?
        .connect_timeout(config.timeout);
    Ok(endpoint.connect_with_connector_lazy(connector(&trust.http_2(), config.timeout, None)))
}

/// # Reference
/// Which failures may be retried: <https://opentelemetry.io/docs/specs/otlp/#failures>
fn of_status(status: &Status) -> Failed {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others may not be retried")]
    match status.code() {
        Code::DeadlineExceeded => Failed::Timeout,
        Code::Cancelled | Code::Aborted | Code::OutOfRange | Code::Unavailable | Code::DataLoss => {
            Failed::Unavailable(None)
        }
        code => Failed::Rejected(format!("gRPC code {}", code_names(code).screaming)),
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
