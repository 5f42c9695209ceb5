//! The calls in flight of one connection, and responses that the peer does not read.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use super::request_memory::Share;
use super::stream_end::Streaming;

/// Counts the calls of one connection, from their first byte to the last byte of the response.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    calls: AtomicUsize,
    /// Calls whose response is a stream. A connection that closes has told them to end, and waits
    /// only for the others.
    streams: AtomicUsize,
    begun: AtomicUsize,
    idle: Notify,
    /// Index of the counter for new waits.
    period: AtomicUsize,
    /// Pieces of responses waiting for the peer to read, by the period in which the wait started.
    waiting: [AtomicUsize; 2],
    began_waiting: Notify,
}

impl Inner {
    fn active(&self, is_stream: bool) -> &AtomicUsize {
        if is_stream { &self.streams } else { &self.calls }
    }
}

impl InFlight {
    /// Starts a call, which ends when the guard is dropped. It has its share of memory until then.
    pub(super) fn begin(&self, share: Share) -> InFlightGuard {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        InFlightGuard::new(Arc::clone(&self.0), Arc::new(share), false)
    }

    /// Number of calls so far.
    pub(super) fn begun(&self) -> usize {
        self.0.begun.load(Ordering::Relaxed)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.is_done() && self.0.streams.load(Ordering::Relaxed) == 0
    }

    /// Whether there is no call but streams.
    fn is_done(&self) -> bool {
        self.0.calls.load(Ordering::Relaxed) == 0
    }

    /// Returns once there has been no call for this long.
    pub(super) async fn idle_for(&self, quiet: Duration) {
        self.quiet_for(quiet, Self::is_idle).await;
    }

    /// The same, but streams do not count.
    pub(super) async fn done_for(&self, quiet: Duration) {
        self.quiet_for(quiet, Self::is_done).await;
    }

    async fn quiet_for(&self, quiet: Duration, is_quiet: impl Fn(&Self) -> bool) {
        loop {
            let idle = self.0.idle.notified();
            if !is_quiet(self) {
                idle.await;
                continue;
            }
            let begun = self.begun();
            tokio::time::sleep(quiet).await;
            if is_quiet(self) && self.begun() == begun {
                return;
            }
        }
    }

    /// Returns once a piece of a response has waited this long, or up to twice as long, for the
    /// peer to read it: waits are counted by period, which costs only two additions.
    pub(super) async fn stalled(&self, limit: Duration) {
        let waiting = |period: usize| self.0.waiting[period % 2].load(Ordering::Relaxed) > 0;
        loop {
            while !waiting(0) && !waiting(1) {
                self.0.began_waiting.notified().await;
            }
            tokio::time::sleep(limit).await;
            let period = self.0.period.load(Ordering::Relaxed);
            if waiting(period + 1) {
                return;
            }
            self.0.period.store(period + 1, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
pub(super) struct InFlightGuard {
    inner: Arc<Inner>,
    share: Arc<Share>,
    is_stream: bool,
}

impl InFlightGuard {
    fn new(inner: Arc<Inner>, share: Arc<Share>, is_stream: bool) -> Self {
        inner.active(is_stream).fetch_add(1, Ordering::Relaxed);
        Self { inner, share, is_stream }
    }

    /// The same call, whose response is a stream.
    fn into_stream(self) -> Self {
        Self::new(Arc::clone(&self.inner), Arc::clone(&self.share), true)
    }
}

impl Clone for InFlightGuard {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.inner), Arc::clone(&self.share), self.is_stream)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if self.inner.active(self.is_stream).fetch_sub(1, Ordering::Relaxed) == 1 {
            self.inner.idle.notify_waiters();
        }
    }
}

/// A response body that counts as in flight until its last byte is written.
#[derive(Debug)]
pub(super) struct TrackedBody {
    inner: tonic::body::Body,
    active: InFlightGuard,
}

impl TrackedBody {
    pub(super) fn wrap(
        response: Response<tonic::body::Body>,
        active: InFlightGuard,
    ) -> Response<Self> {
        let is_stream = response.extensions().get::<Streaming>().is_some();
        let active = if is_stream { active.into_stream() } else { active };
        let mut response = response.map(|inner| Self { inner, active });
        if response.body().is_end_stream() {
            let kind = written_with(&response);
            response.headers_mut().insert(CONTENT_TYPE, kind);
        }
        response
    }
}

/// A value of this response's `content-type` that keeps its call in flight until it is written, as
/// the pieces of a body do: a response of headers alone has none.
fn written_with(response: &Response<TrackedBody>) -> HeaderValue {
    struct Value(HeaderValue, #[expect(dead_code, reason = "to be dropped")] InFlightGuard);

    impl AsRef<[u8]> for Value {
        fn as_ref(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }

    let given = response.headers().get(CONTENT_TYPE).cloned();
    let given = given.unwrap_or(HeaderValue::from_static("application/grpc"));
    let bytes = Bytes::from_owner(Value(given.clone(), response.body().active.clone()));
    let mut value = HeaderValue::from_maybe_shared(bytes).unwrap_or(given);
    // Else the table of the header compression would keep it.
    value.set_sensitive(true);
    value
}

impl Body for TrackedBody {
    type Data = Piece;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Self::Error>>> {
        let this = &mut *self;
        let frame = Pin::new(&mut this.inner).poll_frame(cx);
        frame.map_ok(|frame| frame.map_data(|bytes| Piece::new(bytes, &this.active)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A piece of a response. It waits from when it is produced until its last byte is written,
/// wherever it stands meanwhile: behind the window of its stream, that of the connection, or in a
/// buffer.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    unread: Option<Unread>,
}

#[derive(Debug)]
struct Unread {
    active: InFlightGuard,
    /// The period in which the wait started.
    period: usize,
}

impl Piece {
    fn new(bytes: Bytes, active: &InFlightGuard) -> Self {
        let unread = (!bytes.is_empty()).then(|| Unread::begin(active.clone()));
        Self { bytes, unread }
    }
}

impl Unread {
    fn begin(active: InFlightGuard) -> Self {
        let inner = &active.inner;
        let period = inner.period.load(Ordering::Relaxed);
        if inner.waiting[period % 2].fetch_add(1, Ordering::Relaxed) == 0 {
            inner.began_waiting.notify_one();
        }
        Self { period, active }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.active.inner.waiting[self.period % 2].fetch_sub(1, Ordering::Relaxed);
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if self.bytes.is_empty() {
            // The connection may keep an empty buffer for a while.
            self.unread = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::super::request_memory::RequestMemory;
    use super::*;

    fn share() -> Share {
        RequestMemory::unlimited().take(0).unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// A piece of an answer of eight bytes.
    async fn piece(in_flight: &InFlight, is_stream: bool) -> Piece {
        let mut response = Response::new(tonic::body::Body::new(
            Full::new(Bytes::from_static(b"answered")).map_err(|never| match never {}),
        ));
        if is_stream {
            response.extensions_mut().insert(Streaming);
        }
        let mut body = TrackedBody::wrap(response, in_flight.begin(share())).into_body();
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    /// Hostile input 46.
    #[tokio::test(start_paused = true)]
    async fn only_an_unread_response_counts_as_stalled() {
        let in_flight = InFlight::default();
        let mut stalled = Box::pin(in_flight.stalled(SECOND));
        let mut is_stalled =
            async |within: Duration| tokio::time::timeout(within, stalled.as_mut()).await.is_ok();
        let _idle = in_flight.begin(share());
        assert!(!is_stalled(10 * SECOND).await, "no response was sent");
        for is_stream in [false, true] {
            for _ in 0..30 {
                // Always at least one that waits, but none of them for long.
                let moving = piece(&in_flight, is_stream).await;
                assert!(!is_stalled(SECOND / 2).await);
                drop(moving);
            }
            let mut read = piece(&in_flight, is_stream).await;
            read.advance(8);
            assert!(!is_stalled(10 * SECOND).await, "what is kept has been read");
        }
        let mut slow = piece(&in_flight, false).await;
        let mut seconds = 0;
        while !is_stalled(SECOND / 4).await {
            seconds += 1;
            slow.advance(usize::from(seconds < 8));
        }
        assert!(seconds <= 8, "a byte now and then does not extend the limit: {seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_starts_with_the_end_of_the_last_call() {
        let in_flight = InFlight::default();
        let began = tokio::time::Instant::now();
        let call = in_flight.begin(share());
        let waiting = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.idle_for(SECOND).await }
        });
        tokio::time::sleep(5 * SECOND).await;
        drop(call);
        tokio::time::sleep(SECOND / 2).await;
        // A call in between restarts the idle time.
        drop(in_flight.begin(share()));
        waiting.await.unwrap();
        assert!(began.elapsed() >= 6 * SECOND + SECOND / 2, "{:?}", began.elapsed());
        assert!(began.elapsed() <= 8 * SECOND, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_closing_connection_waits_for_responses_but_not_for_streams() {
        for (what, is_stream, waits) in [("a response", false, true), ("a stream", true, false)] {
            let in_flight = InFlight::default();
            let unread = piece(&in_flight, is_stream).await;
            assert!(!in_flight.is_idle(), "{what}");
            let done = tokio::time::timeout(10 * SECOND, in_flight.done_for(SECOND)).await;
            assert_eq!(done.is_err(), waits, "{what}");
            drop(unread);
            assert!(in_flight.is_idle(), "{what}");
        }
    }
}
