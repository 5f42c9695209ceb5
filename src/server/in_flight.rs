//! The calls in flight of one connection, and responses that the peer does not read.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

/// Counts the calls of one connection, from their first byte to the last byte of the response.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    active: AtomicUsize,
    calls: AtomicUsize,
    idle: Notify,
    /// Index of the counter for new waits.
    period: AtomicUsize,
    /// Responses waiting for the peer to read, by the period in which the wait started.
    waiting: [AtomicUsize; 2],
    began_waiting: Notify,
}

impl InFlight {
    /// Starts a call, which ends when the guard is dropped.
    pub(super) fn begin(&self) -> InFlightGuard {
        self.0.active.fetch_add(1, Ordering::Relaxed);
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(self.clone())
    }

    /// Returns once there has been no call for this long.
    pub(super) async fn idle_for(&self, quiet: Duration) {
        loop {
            let idle = self.0.idle.notified();
            if self.0.active.load(Ordering::Relaxed) > 0 {
                idle.await;
                continue;
            }
            let calls = self.0.calls.load(Ordering::Relaxed);
            tokio::time::sleep(quiet).await;
            let still_idle = self.0.active.load(Ordering::Relaxed) == 0;
            if still_idle && self.0.calls.load(Ordering::Relaxed) == calls {
                return;
            }
        }
    }

    /// Returns once a response has waited this long, or up to twice as long, for the peer to read:
    /// waits are counted by period, which costs a response only two additions.
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

    fn write_blocked(&self) -> usize {
        let period = self.0.period.load(Ordering::Relaxed);
        if self.0.waiting[period % 2].fetch_add(1, Ordering::Relaxed) == 0 {
            self.0.began_waiting.notify_one();
        }
        period
    }

    fn write_unblocked(&self, period: usize) {
        self.0.waiting[period % 2].fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(super) struct InFlightGuard(InFlight);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if self.0.0.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.0.idle.notify_waiters();
        }
    }
}

/// A response body that counts as in flight until it is written.
#[derive(Debug)]
pub(super) struct TrackedBody {
    inner: tonic::body::Body,
    active: InFlightGuard,
    /// The period in which the current wait started. A wait starts before each frame is requested.
    waiting: Option<usize>,
}

impl TrackedBody {
    pub(super) fn new(inner: tonic::body::Body, active: InFlightGuard) -> Self {
        let waiting = (!inner.is_end_stream()).then(|| active.0.write_blocked());
        Self { inner, active, waiting }
    }

    fn write_unblocked(&mut self) {
        if let Some(period) = self.waiting.take() {
            self.active.0.write_unblocked(period);
        }
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        self.write_unblocked();
    }
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // A poll means that the connection has room for a frame.
        self.write_unblocked();
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && frame.is_data()
        {
            self.waiting = Some(self.active.0.write_blocked());
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hostile input 46.
    #[tokio::test(start_paused = true)]
    async fn only_an_unread_response_counts_as_stalled() {
        let in_flight = InFlight::default();
        let second = Duration::from_secs(1);
        let body = || {
            let frames = http_body_util::Full::new(Bytes::from_static(b"answer"));
            TrackedBody::new(tonic::body::Body::new(frames), in_flight.begin())
        };
        let mut stalled = std::pin::pin!(in_flight.stalled(second));
        let mut is_stalled =
            async |within: Duration| tokio::time::timeout(within, stalled.as_mut()).await.is_ok();
        assert!(!is_stalled(10 * second).await, "no response was sent");
        for _ in 0..30 {
            let moving = body();
            assert!(!is_stalled(second / 2).await);
            drop(moving);
        }
        let _stuck = body();
        assert!(is_stalled(2 * second).await);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_starts_with_the_end_of_the_last_call() {
        let in_flight = InFlight::default();
        let began = tokio::time::Instant::now();
        let second = Duration::from_secs(1);
        let call = in_flight.begin();
        let waiting = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.idle_for(second).await }
        });
        tokio::time::sleep(5 * second).await;
        drop(call);
        tokio::time::sleep(second / 2).await;
        // A call in between restarts the idle time.
        drop(in_flight.begin());
        waiting.await.unwrap();
        assert!(began.elapsed() >= 6 * second + second / 2, "{:?}", began.elapsed());
        assert!(began.elapsed() <= 8 * second, "{:?}", began.elapsed());
    }
}
