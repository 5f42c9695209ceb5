//! The spans of a call: one for the call itself, one for each exchange with a provider.
//!
//! # Reference
//! - Calls: <https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>
//! - Exchanges: <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use tonic::Code;

use super::trace_context::{SpanId, TRACEPARENT, TRACESTATE, TraceContext, TraceId, new_span_id};
use super::trace_export::{Export, ExportConfig};
use crate::clock::{Clock, SystemClock};
use crate::deadline::Deadline;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::operation::Operation;

/// How traces are taken over, handed on and exported.
#[derive(Debug, Clone)]
pub struct TraceConfig {
    /// Whether a caller's trace context is taken over.
    pub accept: bool,
    /// Whether providers are told the trace context.
    pub forward: bool,
    /// Where spans go; without it there are none.
    pub export: Option<ExportConfig>,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self { accept: true, forward: false, export: None }
    }
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Whether a caller's decision counts, where there is one.
    pub parent_based: bool,
    /// The share of the others, from 0 to 1.
    pub ratio: f64,
}

impl Sampler {
    /// Decides by the id, so that all who share in a trace decide alike.
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

/// Makes the spans of sampled calls.
#[derive(Debug)]
pub(super) struct Tracer {
    sampler: Sampler,
    export: Export,
}

impl Tracer {
    pub(super) fn new(sampler: Sampler, export: Export) -> Self {
        Self { sampler, export }
    }

    /// Sends what is left, until then at the latest.
    pub(super) async fn end(&self, until: tokio::time::Instant) {
        self.export.end(until).await;
    }
}

/// The trace that a call belongs to.
#[derive(Debug)]
pub struct Trace {
    /// Of the call's own span, or where there is none, of the caller's.
    context: TraceContext,
    recording: Option<Recording>,
}

#[derive(Debug)]
struct Recording {
    tracer: Arc<Tracer>,
    parent: Option<SpanId>,
    began: u64,
}

impl Trace {
    /// Joins the caller's trace without spans of its own.
    pub(super) fn joined(context: TraceContext) -> Self {
        Self { context, recording: None }
    }

    /// Begins the span of a call, if its trace is sampled.
    pub(super) fn begin(tracer: &Arc<Tracer>, parent: Option<TraceContext>) -> Self {
        let sampler = tracer.sampler;
        let Some(parent) = parent else {
            let context = TraceContext::root(|trace_id| sampler.wants(trace_id));
            return Self::recorded(tracer, context, None);
        };
        let sampled =
            if sampler.parent_based { parent.is_sampled() } else { sampler.wants(parent.trace_id) };
        let parent = parent.sampled(sampled);
        if !sampled {
            return Self::joined(parent);
        }
        let above = parent.span_id;
        Self::recorded(tracer, TraceContext { span_id: new_span_id(), ..parent }, Some(above))
    }

    fn recorded(tracer: &Arc<Tracer>, context: TraceContext, parent: Option<SpanId>) -> Self {
        let recording = context.is_sampled().then(|| Recording {
            tracer: Arc::clone(tracer),
            parent,
            began: now(),
        });
        Self { context, recording }
    }

    /// The id of the trace.
    pub fn trace_id(&self) -> TraceId {
        self.context.trace_id
    }

    /// The id of the call's own span, or where there is none, of the caller's.
    pub fn span_id(&self) -> SpanId {
        self.context.span_id
    }

    /// Ends the span of the call.
    pub(super) fn end(
        &self,
        operation: Operation,
        code: Code,
        reason: Option<&'static str>,
        peer: Option<SocketAddr>,
        took: Duration,
    ) {
        let Some(Recording { tracer, parent, began }) = &self.recording else { return };
        tracer.export.push(Span {
            context: self.context.clone(),
            parent: *parent,
            began: *began,
            took,
            of: Of::Call { operation, code, reason, peer },
        });
    }

    /// Begins the span of an exchange with a provider: of the attempt with this number, which
    /// is 1 for the first. The span ends with what is returned, at the deadline if not before.
    pub(crate) fn exchange(
        &self,
        operation: Operation,
        endpoint: &Endpoint,
        attempt: u32,
        deadline: Deadline,
    ) -> Exchange<'_> {
        let span = self.recording.as_ref().map(|recording| ExchangeSpan {
            recording,
            began: (now(), Instant::now()),
            span_id: new_span_id(),
            until: Some(deadline),
            of: Of::Exchange {
                operation,
                host: endpoint.host().clone(),
                tls: endpoint.is_tls(),
                status: None,
                error: None,
                resent: attempt.saturating_sub(1),
            },
        });
        Exchange { context: &self.context, span }
    }
}

/// An exchange with a provider under way.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    context: &'a TraceContext,
    span: Option<ExchangeSpan<'a>>,
}

#[derive(Debug)]
struct ExchangeSpan<'a> {
    recording: &'a Recording,
    began: (u64, Instant),
    span_id: SpanId,
    /// While it is under way.
    until: Option<Deadline>,
    of: Of,
}

impl Exchange<'_> {
    /// Names the place of this exchange in the trace. Neither header is part of a signature.
    pub(crate) fn write_to(&self, headers: &mut HeaderMap) {
        let span_id = self.span.as_ref().map_or(self.context.span_id, |span| span.span_id);
        if let Some(parent) = self.context.to_header(span_id) {
            headers.insert(TRACEPARENT, parent);
            if let Some(state) = &self.context.state {
                headers.insert(TRACESTATE, state.clone());
            }
        }
    }

    /// Notes how it ended: with this status, or for this reason without one.
    pub(crate) fn ended(&mut self, with: Result<u16, &'static str>) {
        if let Some(ExchangeSpan { until, of: Of::Exchange { status, error, .. }, .. }) =
            &mut self.span
        {
            (*until, *status, *error) = (None, with.ok(), with.err());
        }
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        let Some(mut span) = self.span.take() else { return };
        // Nobody waited for the end: the deadline passed, or the caller left.
        if let (Some(until), Of::Exchange { error, .. }) = (span.until, &mut span.of) {
            let passed = until.has_passed();
            let why = if passed { Failure::DeadlineExceeded } else { Failure::Cancelled };
            *error = Some(why.row().reason);
        }
        let context = TraceContext { span_id: span.span_id, ..self.context.clone() };
        span.recording.tracer.export.push(Span {
            context,
            parent: Some(self.context.span_id),
            began: span.began.0,
            took: span.began.1.elapsed(),
            of: span.of,
        });
    }
}

/// A span that has ended. It holds nothing that a caller or a provider chose, but for the state
/// of the caller's trace, which is bounded.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) context: TraceContext,
    pub(super) parent: Option<SpanId>,
    /// Nanoseconds since the epoch.
    pub(super) began: u64,
    pub(super) took: Duration,
    pub(super) of: Of,
}

/// What a span is of.
#[derive(Debug)]
pub(super) enum Of {
    Call {
        operation: Operation,
        code: Code,
        reason: Option<&'static str>,
        peer: Option<SocketAddr>,
    },
    Exchange {
        operation: Operation,
        host: HeaderValue,
        tls: bool,
        status: Option<u16>,
        error: Option<&'static str>,
        resent: u32,
    },
}

/// Nanoseconds since the epoch.
fn now() -> u64 {
    u64::try_from(SystemClock.now().as_nanosecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_traces_is_wanted_and_the_id_decides() {
        // Evenly spread, as random ids are in the long run.
        let ids: Vec<_> = (0..2000)
            .map(|n: u64| {
                let mut id = [0xff; 16];
                id[8..].copy_from_slice(&(n * (u64::MAX / 2000)).to_be_bytes());
                TraceId(id)
            })
            .collect();
        for (ratio, want) in [(0.0, 0), (0.25, 501), (1.0, 2000)] {
            let sampler = Sampler { parent_based: true, ratio };
            let wanted = ids.iter().filter(|id| sampler.wants(**id)).count();
            assert_eq!(wanted, want, "{ratio}");
        }
        let half = Sampler { parent_based: false, ratio: 0.5 };
        let mut id = [0xff; 16];
        assert!(!half.wants(TraceId(id)));
        id[8] = 0x7f;
        assert!(half.wants(TraceId(id)));
    }
}
