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
    pub(super) inner: tonic::body::Body,
    pub(super) active: Active,
}

impl Body for ActiveBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // The guard ends with the body, so it must live as long.
        let _: &Active = &self.active;
        Pin::new(&mut self.inner).poll_frame(cx)
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
