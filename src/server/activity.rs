//! How busy one connection is.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

/// Counts the calls of one connection from their first byte to the last byte of their answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Activity(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    active: AtomicUsize,
    calls: AtomicUsize,
    idle: Notify,
    /// Which of the two counts below new waits go to.
    period: AtomicUsize,
    /// Answers that wait for the peer to make room, by the period in which the wait began.
    waiting: [AtomicUsize; 2],
    began_to_wait: Notify,
}

impl Activity {
    /// A call begins; it ends when the guard is dropped.
    pub(super) fn begin(&self) -> Active {
        self.0.active.fetch_add(1, Ordering::Relaxed);
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        Active(self.clone())
    }

    /// Returns when there was no call for this long.
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

    /// Returns when the peer has left no room for an answer for this long, or for up to twice
    /// as long: waits are counted by periods, which costs an answer two additions.
    pub(super) async fn stalled(&self, limit: Duration) {
        let waiting = |period: usize| self.0.waiting[period % 2].load(Ordering::Relaxed) > 0;
        loop {
            while !waiting(0) && !waiting(1) {
                self.0.began_to_wait.notified().await;
            }
            tokio::time::sleep(limit).await;
            let period = self.0.period.load(Ordering::Relaxed);
            if waiting(period + 1) {
                return;
            }
            self.0.period.store(period + 1, Ordering::Relaxed);
        }
    }

    fn begin_to_wait(&self) -> usize {
        let period = self.0.period.load(Ordering::Relaxed);
        if self.0.waiting[period % 2].fetch_add(1, Ordering::Relaxed) == 0 {
            self.0.began_to_wait.notify_one();
        }
        period
    }

    fn end_to_wait(&self, period: usize) {
        self.0.waiting[period % 2].fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call on a connection.
#[derive(Debug)]
pub(super) struct Active(Activity);

impl Drop for Active {
    fn drop(&mut self) {
        if self.0.0.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.0.idle.notify_waiters();
        }
    }
}

/// A response body that keeps its connection busy until it is written.
#[derive(Debug)]
pub(super) struct ActiveBody {
    inner: tonic::body::Body,
    active: Active,
    /// Since which period the peer has to make room: it does so before each frame is asked
    /// for.
    waiting: Option<usize>,
}

impl ActiveBody {
    pub(super) fn new(inner: tonic::body::Body, active: Active) -> Self {
        let waiting = (!inner.is_end_stream()).then(|| active.0.begin_to_wait());
        Self { inner, active, waiting }
    }

    fn end_to_wait(&mut self) {
        if let Some(period) = self.waiting.take() {
            self.active.0.end_to_wait(period);
        }
    }
}

impl Drop for ActiveBody {
    fn drop(&mut self) {
        self.end_to_wait();
    }
}

impl Body for ActiveBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // Being asked means that there is room.
        self.end_to_wait();
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && frame.is_data()
        {
            self.waiting = Some(self.active.0.begin_to_wait());
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

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_finds_no_room_is_noticed_and_one_that_moves_is_not() {
        let activity = Activity::default();
        let second = Duration::from_secs(1);
        let body = || {
            let frames = http_body_util::Full::new(Bytes::from_static(b"answer"));
            ActiveBody::new(tonic::body::Body::new(frames), activity.begin())
        };
        let mut stalled = std::pin::pin!(activity.stalled(second));
        let mut is_stalled =
            async |within: Duration| tokio::time::timeout(within, stalled.as_mut()).await.is_ok();
        assert!(!is_stalled(10 * second).await, "nothing was answered");
        for _ in 0..30 {
            let moving = body();
            assert!(!is_stalled(second / 2).await);
            drop(moving);
        }
        let _stuck = body();
        assert!(is_stalled(2 * second).await);
    }

    #[tokio::test(start_paused = true)]
    async fn idleness_is_counted_from_the_last_call() {
        let activity = Activity::default();
        let began = tokio::time::Instant::now();
        let second = Duration::from_secs(1);
        let call = activity.begin();
        let waiting = tokio::spawn({
            let activity = activity.clone();
            async move { activity.idle_for(second).await }
        });
        tokio::time::sleep(5 * second).await;
        drop(call);
        tokio::time::sleep(second / 2).await;
        // A call in between starts the count again.
        drop(activity.begin());
        waiting.await.unwrap();
        assert!(began.elapsed() >= 6 * second + second / 2, "{:?}", began.elapsed());
        assert!(began.elapsed() <= 8 * second, "{:?}", began.elapsed());
    }
}
