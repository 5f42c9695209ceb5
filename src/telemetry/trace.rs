//! The spans of a call: one for the call, and one for each request to a provider.
//!
//! # Reference
//! - Calls: <https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>
//! - Exchanges: <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tonic::Code;

use super::Metrics;
use super::trace_context::{SpanId, TRACEPARENT, TRACESTATE, TraceContext, TraceId, new_span_id};
use crate::caller::Peer;
use crate::clock::{Clock, SystemClock};
use crate::options::Endpoint;
use crate::rpc::operation::{Operation, Rest};

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Whether to follow the caller's decision, if there is one.
    pub parent_based: bool,
    /// The ratio of other traces, from 0 to 1.
    pub ratio: f64,
}

impl Sampler {
    /// Decides by the id, so that all participants of a trace decide alike.
    fn wants(self, trace_id: TraceId) -> bool {
        let mut tail = [0; 8];
        tail.copy_from_slice(&trace_id.0[8..]);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to 2^63"
        )]
        let end = (self.ratio * (1u64 << 63) as f64) as u64;
        (u64::from_be_bytes(tail) >> 1) < end
    }
}

/// Queues spans for export. Spans that do not fit are dropped and counted.
#[derive(Debug)]
pub(crate) struct SpanQueue {
    sender: mpsc::Sender<Span>,
    metrics: Arc<Metrics>,
}

impl SpanQueue {
    /// A queue of this capacity, and the receiver for the exporter.
    pub(crate) fn new(capacity: usize, metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Span>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self { sender, metrics }, receiver)
    }

    fn push(&self, span: Span) {
        let spans = &self.metrics.spans;
        let counter = match self.sender.try_send(span) {
            Ok(()) => &spans.queued,
            Err(TrySendError::Full(_)) => &spans.queue_full,
            Err(TrySendError::Closed(_)) => &spans.already_shutdown,
        };
        counter.inc();
    }
}

#[derive(Debug)]
pub(super) struct Tracer {
    pub(super) sampler: Sampler,
    pub(super) queue: SpanQueue,
}

#[derive(Debug)]
pub struct Trace {
    /// The context of the call's span, or of the caller's if there is none.
    pub(crate) context: TraceContext,
    recording: Option<Recording>,
}

#[derive(Debug)]
struct Recording {
    tracer: Arc<Tracer>,
    parent: Option<SpanId>,
    /// When the call began: in nanoseconds since the epoch, and by the clock that all its spans
    /// are measured with, so that none ends after the call's own.
    began: (u64, Instant),
}

impl Recording {
    fn push(&self, context: TraceContext, parent: Option<SpanId>, began: Instant, kind: SpanKind) {
        let since = began.duration_since(self.began.1).as_nanos();
        let took = began.elapsed();
        let began = self.began.0.saturating_add(u64::try_from(since).unwrap_or(u64::MAX));
        self.tracer.queue.push(Span { context, parent, began, took, kind });
    }
}

impl Trace {
    /// Joins the caller's trace without own spans.
    pub(super) fn joined(context: TraceContext) -> Self {
        Self { context, recording: None }
    }

    /// Starts the span of a call, if its trace is sampled.
    pub(super) fn begin(tracer: &Arc<Tracer>, caller: Option<TraceContext>) -> Self {
        let sampler = tracer.sampler;
        let parent = caller.as_ref().map(|caller| caller.span_id);
        let context = match caller {
            None => TraceContext::root(|trace_id| sampler.wants(trace_id)),
            Some(caller) => {
                let sampled = match sampler.parent_based {
                    true => caller.is_sampled(),
                    false => sampler.wants(caller.trace_id),
                };
                let span_id = if sampled { new_span_id() } else { caller.span_id };
                TraceContext { span_id, ..caller.sampled(sampled) }
            }
        };
        let recording = context.is_sampled().then(|| Recording {
            tracer: Arc::clone(tracer),
            parent,
            began: (now(), Instant::now()),
        });
        Self { context, recording }
    }

    pub(crate) fn end(
        &self,
        operation: &'static Operation,
        code: Code,
        reason: Option<&'static str>,
        peer: &Peer,
    ) {
        if let Some(recording) = &self.recording {
            let kind = SpanKind::Call { operation, code, reason, peer: peer.clone() };
            recording.push(self.context.clone(), recording.parent, recording.began.1, kind);
        }
    }

    /// Starts the span of an attempt, numbered from 1.
    pub(crate) fn attempt<'a>(
        &'a self,
        rest: &'static Rest,
        endpoint: &'a Endpoint,
        number: u32,
    ) -> AttemptSpan<'a> {
        let recorded = self.recording.as_ref().map(|_| new_span_id());
        let span_id = recorded.unwrap_or(self.context.span_id);
        let resent = number.saturating_sub(1);
        AttemptSpan { trace: self, span_id, began: Instant::now(), rest, endpoint, resent }
    }
}

/// The span of a request to a provider.
#[derive(Debug)]
pub(crate) struct AttemptSpan<'a> {
    trace: &'a Trace,
    /// Its own, or the caller's if nothing is recorded.
    span_id: SpanId,
    began: Instant,
    rest: &'static Rest,
    endpoint: &'a Endpoint,
    resent: u32,
}

impl AttemptSpan<'_> {
    /// Adds the trace context. Neither header is signed.
    pub(crate) fn write_to(&self, headers: &mut HeaderMap) {
        let context = &self.trace.context;
        if let Some(parent) = context.to_header(self.span_id) {
            headers.insert(TRACEPARENT, parent);
            if let Some(state) = &context.state {
                headers.insert(TRACESTATE, state.clone());
            }
        }
    }

    /// Ends the span with an HTTP status, or the reason if there was no response.
    pub(crate) fn end(self, result: Result<u16, &'static str>) {
        let Self { trace, span_id, began, rest, endpoint, resent } = self;
        if let Some(recording) = &trace.recording {
            let (host, tls) = (endpoint.host().clone(), endpoint.is_tls());
            let kind = SpanKind::Attempt { rest, host, tls, result, resent };
            let context = TraceContext { span_id, ..trace.context.clone() };
            recording.push(context, Some(trace.context.span_id), began, kind);
        }
    }
}

/// A finished span. It contains no values chosen by callers or providers, except the caller's trace
/// state, which is bounded.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) context: TraceContext,
    pub(crate) parent: Option<SpanId>,
    /// Nanoseconds since the epoch.
    pub(crate) began: u64,
    pub(crate) took: Duration,
    pub(crate) kind: SpanKind,
}

/// The part of a call that a span describes.
#[derive(Debug)]
pub(crate) enum SpanKind {
    Call {
        operation: &'static Operation,
        code: Code,
        reason: Option<&'static str>,
        peer: Peer,
    },
    Attempt {
        rest: &'static Rest,
        host: HeaderValue,
        tls: bool,
        result: Result<u16, &'static str>,
        resent: u32,
    },
}

/// Nanoseconds since the epoch.
fn now() -> u64 {
    u64::try_from(SystemClock.now().as_nanosecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::trace_context::Id;
    use super::*;

    #[test]
    fn the_trace_id_decides_by_the_sampling_ratio() {
        // Evenly distributed, like random ids.
        let ids: Vec<_> = (0..2000)
            .map(|n: u64| {
                let mut id = [0xff; 16];
                id[8..].copy_from_slice(&(n * (u64::MAX / 2000)).to_be_bytes());
                Id(id)
            })
            .collect();
        for (ratio, want) in [(0.0, 0), (0.25, 501), (1.0, 2000)] {
            let sampler = Sampler { parent_based: true, ratio };
            let wanted = ids.iter().filter(|id| sampler.wants(**id)).count();
            assert_eq!(wanted, want, "{ratio}");
        }
        let half = Sampler { parent_based: false, ratio: 0.5 };
        let mut id = [0xff; 16];
        assert!(!half.wants(Id(id)));
        id[8] = 0x7f;
        assert!(half.wants(Id(id)));
    }
}
