//! W3C Trace Context.
//!
//! # Reference
//! <https://www.w3.org/TR/trace-context/>

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The minimum that the specification requires to be propagated.
const STATE_BYTES: usize = 512;

/// The defined flags: sampled, and random trace id.
const KNOWN_FLAGS: u8 = SAMPLED | RANDOM;
const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// A trace id: 16 bytes, not all zero.
pub(crate) type TraceId = Id<16>;

/// A span id: 8 bytes, not all zero.
pub(crate) type SpanId = Id<8>;

/// An id, shown in lower-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Id<N> {
    // All-zero ids are invalid; setting one bit avoids them.
    fn never_zero(mut id: [u8; N]) -> Self {
        id[N - 1] |= u8::from(id == [0; N]);
        Self(id)
    }
}

impl<const N: usize> fmt::Display for Id<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct TraceContext {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) flags: u8,
    /// The `tracestate` of other tracing systems.
    pub(crate) state: Option<HeaderValue>,
}

impl TraceContext {
    /// The caller's context; none if it is malformed.
    pub(super) fn of_caller(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let parent = values.next()?;
        if values.next().is_some() {
            return None;
        }
        let (trace_id, span_id, flags) = parse(parent.as_bytes())?;
        Some(Self { trace_id, span_id, flags, state: state(headers) })
    }

    pub(super) fn root(sampled: impl FnOnce(TraceId) -> bool) -> Self {
        let trace_id = Id::never_zero(crate::clock::random());
        let flags = RANDOM | if sampled(trace_id) { SAMPLED } else { 0 };
        Self { trace_id, span_id: new_span_id(), flags, state: None }
    }

    pub(super) fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    pub(super) fn sampled(mut self, sampled: bool) -> Self {
        self.flags = self.flags & !SAMPLED | if sampled { SAMPLED } else { 0 };
        self
    }

    /// The `traceparent` header for `span_id` in this trace.
    ///
    /// # Format
    /// ```text
    /// 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    /// ```
    pub(super) fn to_header(&self, span_id: SpanId) -> Option<HeaderValue> {
        let text = format!("00-{}-{span_id}-{:02x}", self.trace_id, self.flags);
        HeaderValue::try_from(text).ok()
    }
}

pub(super) fn new_span_id() -> SpanId {
    Id::never_zero(crate::clock::random())
}

fn parse(text: &[u8]) -> Option<(TraceId, SpanId, u8)> {
    const LENGTH: usize = 55;
    let known = text.get(..LENGTH)?;
    let [version] = bytes(&known[..2])?;
    let rest = &text[LENGTH..];
    let may_go_on = version != 0 && rest.first() == Some(&b'-');
    if version == 0xff || !(rest.is_empty() || may_go_on) {
        return None;
    }
    if [known[2], known[35], known[52]] != *b"---" {
        return None;
    }
    let (trace, span) = (bytes(&known[3..35])?, bytes(&known[36..52])?);
    let [flags] = bytes(&known[53..])?;
    (trace != [0; 16] && span != [0; 8]).then_some((Id(trace), Id(span), flags & KNOWN_FLAGS))
}

/// Parses lower-case hex only.
fn bytes<const N: usize>(hex: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let values = headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes);
    let all = values.collect::<Vec<_>>().join(&b',');
    let is_text = all.iter().all(|b| (b' '..=b'~').contains(b));
    let is_carried = !all.is_empty() && all.len() <= STATE_BYTES && is_text;
    is_carried.then(|| HeaderValue::from_maybe_shared(Bytes::from(all)).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn headers(parents: &[&str], states: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(TRACEPARENT, parent.parse().unwrap());
        }
        for state in states {
            headers.append(TRACESTATE, state.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_well_formed_parent_is_accepted() {
        for (text, flags) in [
            (format!("00-{TRACE}-{SPAN}-01"), 1),
            (format!("00-{TRACE}-{SPAN}-00"), 0),
            (format!("00-{TRACE}-{SPAN}-ff"), 3),
            (format!("01-{TRACE}-{SPAN}-01"), 1),
            (format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings"), 1),
        ] {
            let context = TraceContext::of_caller(&headers(&[&text], &[])).expect(&text);
            assert_eq!(context.trace_id.to_string(), TRACE);
            assert_eq!(context.span_id.to_string(), SPAN);
            assert_eq!(context.flags, flags, "{text}");
            assert_eq!(context.is_sampled(), flags & 1 == 1);
        }
    }

    #[test]
    fn a_malformed_parent_is_ignored() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        for text in [
            String::new(),
            "00".into(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!(" {good}"),
            good[..54].into(),
        ] {
            assert!(TraceContext::of_caller(&headers(&[&text], &[])).is_none(), "{text:?}");
        }
        assert!(TraceContext::of_caller(&headers(&[&good, &good], &[])).is_none());
        assert!(TraceContext::of_caller(&headers(&[], &["a=1"])).is_none());
    }

    #[test]
    fn state_is_propagated_within_limits() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let long = format!("a={}", "x".repeat(STATE_BYTES));
        for (states, want) in [
            (vec!["a=1"], Some("a=1")),
            (vec!["a=1", "b=2"], Some("a=1,b=2")),
            (vec![""], None),
            (vec![&long], None),
            (vec!["a=1", &long], None),
        ] {
            let context = TraceContext::of_caller(&headers(&[&parent], &states)).unwrap();
            assert_eq!(context.state.as_ref().map(|s| s.to_str().unwrap()), want, "{states:?}");
        }
    }

    #[test]
    fn a_written_header_can_be_read() {
        let root = TraceContext::root(|_| true);
        let child = new_span_id();
        let header = root.to_header(child).unwrap();
        let read = TraceContext::of_caller(&headers(&[header.to_str().unwrap()], &[])).unwrap();
        assert_eq!((read.trace_id, read.span_id, read.flags), (root.trace_id, child, 3));
        assert!(!root.sampled(false).is_sampled());
    }
}
