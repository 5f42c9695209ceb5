//! The stream of an HTTP/1.1 connection, whose peer may end its side before it has its response.
//!
//! hyper then does not read while it responds. So it does not see either that the peer of a response
//! without an end has gone.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Clones are the same stream, for use in one task.
pub(super) struct Http1Stream<S>(Arc<Mutex<Inner<S>>>);

struct Inner<S> {
    stream: S,
    /// Bytes that were read before their turn.
    ahead: BytesMut,
    has_ended: bool,
}

impl<S: AsyncRead + Unpin> Http1Stream<S> {
    /// These bytes have already been read.
    pub(super) fn new(stream: S, begun: &[u8]) -> Self {
        Self(Arc::new(Mutex::new(Inner { stream, ahead: begun.into(), has_ended: false })))
    }

    /// Returns when the peer has ended its side. A peer that has sent its next request has not.
    pub(super) async fn end_of_peer(self) {
        poll_fn(|cx| {
            let mut inner = self.lock();
            if !inner.ahead.is_empty() {
                return Poll::Pending;
            }
            let mut byte = [0];
            let mut buf = ReadBuf::new(&mut byte);
            let read = ready!(inner.poll_read(cx, &mut buf));
            inner.ahead.extend_from_slice(buf.filled());
            if read.is_err() || inner.has_ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl<S> Http1Stream<S> {
    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        // A panic ends the connection, and its stream is used no more.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Clone for Http1Stream<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: AsyncRead + Unpin> Inner<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.has_ended {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.has_ended = buf.filled().len() == before && buf.remaining() > 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Http1Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        if inner.ahead.is_empty() {
            return inner.poll_read(cx, buf);
        }
        let count = inner.ahead.len().min(buf.remaining());
        buf.put_slice(&inner.ahead[..count]);
        inner.ahead.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Http1Stream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_peer_is_seen_and_no_byte_is_lost() {
        let (mut peer, stream) = duplex(64);
        let mut stream = Http1Stream::new(stream, b"begun");
        let mut end = Box::pin(stream.clone().end_of_peer());
        let mut is_over = async || {
            tokio::select! {
                biased;
                () = end.as_mut() => true,
                () = tokio::task::yield_now() => false,
            }
        };
        assert!(!is_over().await, "there are bytes to read");
        stream.read_exact(&mut [0; 5]).await.unwrap();
        assert!(!is_over().await, "the peer may send more");
        peer.write_all(b"next").await.unwrap();
        assert!(!is_over().await, "it has");
        let mut next = [0; 4];
        stream.read_exact(&mut next).await.unwrap();
        assert_eq!(&next, b"next");
        peer.shutdown().await.unwrap();
        assert!(is_over().await);
        assert_eq!(stream.read(&mut next).await.unwrap(), 0);
        stream.write_all(b"answer").await.unwrap();
    }
}
