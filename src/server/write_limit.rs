//! A limit on the time in which a peer must take what is written to it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection whose peer must take each buffer that is written within a time limit. A peer that
/// takes a byte now and then does not extend it.
pub(super) struct WriteLimit<S> {
    stream: S,
    patience: Duration,
    /// Runs from when the peer takes no more until all is written.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteLimit<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, blocked: None }
    }

    fn limit<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            let patience = self.patience;
            let timer = self.blocked.get_or_insert_with(|| Box::pin(sleep(patience)));
            if timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(not_read()));
            }
        }
        polled
    }
}

pub(super) fn not_read() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer does not read its responses")
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteLimit<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteLimit<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.limit(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.limit(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The protocols flush when their buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if polled.is_ready() {
            self.blocked = None;
        }
        self.limit(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.limit(polled, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_buffer_must_be_taken_in_time_however_small_the_steps() {
        for (what, pause, ends) in [
            ("not at all", None, true),
            ("a byte a second", Some(Duration::from_secs(1)), true),
            ("a byte now and then, but all of it in time", Some(PATIENCE / 100), false),
        ] {
            let (mut peer, stream) = duplex(16);
            let reading = tokio::spawn(async move {
                let Some(pause) = pause else { return std::future::pending().await };
                loop {
                    tokio::time::sleep(pause).await;
                    if peer.read(&mut [0]).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
            });
            let mut stream = WriteLimit::new(stream, PATIENCE);
            let began = Instant::now();
            let mut writing = async || {
                stream.write_all(&[7; 64]).await?;
                stream.flush().await
            };
            let mut ended = writing().await.is_err();
            if !ended {
                // The time limit starts anew.
                tokio::time::sleep(PATIENCE).await;
                ended = writing().await.is_err();
            } else {
                assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs(), "{what}");
            }
            assert_eq!(ended, ends, "{what}");
            reading.abort();
        }
    }
}
